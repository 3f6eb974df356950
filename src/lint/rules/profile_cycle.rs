//! Profiles that build on themselves.

use crate::lint::rule::rule;

rule! {
    "profile-cycle" Error "Profiles go round in a circle"
    because "\
A profile may build on others, which are laid down first. When the way leads back to itself, there is no \
first one. All profiles on the circle, and the jobs that use them, are refused; jobs that run keep \
running with their last good version."
    bad Profile r#"
# example.toml
profiles = ["example"]
"#
    good Profile r#"
# example.toml
profiles = ["low-priority"]
"#
}
