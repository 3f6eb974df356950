//! A job that does nothing.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "no-workload",
    level: Level::Error,
    summary: "The job has neither a command nor a process to attach to",
    explain: "\
Every job either starts a program, with `[exec]` and its `command`, or takes over a process that runs, \
with `[attach]`. A profile cannot give the command.",
    bad: &[Example::Job(
        r#"
description = "Channel 7"
"#,
    )],
    good: &[Example::Job(
        r#"
description = "Channel 7"

[exec]
command = ["/usr/bin/true"]
"#,
    )],
    check: Check::Loader,
};
