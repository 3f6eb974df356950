//! An attached workload that is to be ended.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "stop-of-attached",
    level: Level::Error,
    summary: "`on_remove = \"stop\"` for an attached workload",
    explain: "\
What the supervisor did not start, it never ends. When the file of an attached job goes away, the \
process is let go: it gets back the priorities and the cgroup it had, and runs on.",
    bad: &[Example::Job(
        r#"
[attach]
pid_file = "/run/obs.pid"

[stop]
on_remove = "stop"
"#,
    )],
    good: &[Example::Job(
        r#"
[attach]
pid_file = "/run/obs.pid"
"#,
    )],
    check: Check::Loader,
};
