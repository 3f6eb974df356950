//! A command without a program.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "empty-command",
    level: Level::Error,
    summary: "`command` names no program",
    explain: "\
The first entry of `command` is the program; the others are its arguments.",
    bad: &[Example::Job(
        r#"
[exec]
command = []
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    check: Check::Loader,
};
