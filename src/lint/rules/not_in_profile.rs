//! A key that jobs cannot share.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "not-in-profile",
    level: Level::Error,
    summary: "A profile has a key that only a job can have",
    explain: "\
A profile holds what jobs have in common: limits, restarts, environment. What a job runs is its own, so \
a profile has no `exec.command`, no `[attach]` and no `instances`.",
    bad: &[Example::Profile(
        r#"
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    good: &[Example::Profile(
        r#"
[exec]
env = { LANG = "C" }
"#,
    )],
    check: Check::Loader,
};
