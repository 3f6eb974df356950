//! A profile that cannot be used.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "broken-profile",
    level: Level::Error,
    summary: "A profile that is used has errors",
    explain: "\
A profile with an error is not used at all: half of it might loosen what the other half limits. The \
error itself is told of the profile's own file; mend that one.",
    bad: &[Example::Job(
        r#"
profiles = ["broken"] # profiles.d/broken.toml has an error
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    good: &[Example::Job(
        r#"
profiles = ["low-priority"]
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    check: Check::Loader,
};
