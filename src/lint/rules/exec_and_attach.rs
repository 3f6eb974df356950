//! Two sources for one workload.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "exec-and-attach",
    level: Level::Error,
    summary: "A job has both [exec] and [attach]",
    explain: "\
`[exec]` starts a workload and ends it again; `[attach]` takes over one that runs already, and is never \
allowed to end it. A job can do only one of the two.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[attach]
pid_file = "/run/obs.pid"
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
