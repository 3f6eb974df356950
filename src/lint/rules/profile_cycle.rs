//! Profiles that build on themselves.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "profile-cycle",
    level: Level::Error,
    summary: "Profiles go round in a circle",
    explain: "\
A profile may build on others, which are laid down first. When the way leads back to itself, there is no \
first one. All profiles on the circle, and the jobs that use them, are refused; jobs that run keep \
running with their last good version.",
    bad: &[Example::Profile(
        r#"
# example.toml
profiles = ["example"]
"#,
    )],
    good: &[Example::Profile(
        r#"
# example.toml
profiles = ["low-priority"]
"#,
    )],
    check: Check::Loader,
};
