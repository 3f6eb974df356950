//! A profile that cannot be used.

use crate::lint::rule::rule;

rule! {
    "broken-profile" Error "A profile that is used has errors"
    because "\
A profile with an error is not used at all: half of it might loosen what the other half limits. The \
error itself is told of the profile's own file; mend that one."
    bad r#"
profiles = ["broken"] # profiles.d/broken.toml has an error
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
profiles = ["low-priority"]
[exec]
command = ["/usr/bin/true"]
"#
}
