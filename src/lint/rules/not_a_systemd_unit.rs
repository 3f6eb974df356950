//! The name of a unit that no process can be in.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "not-a-systemd-unit",
    level: Level::Error,
    summary: "`unit` of `match` is no systemd unit that processes are in",
    explain: "\
Processes are in services, scopes and slices, and their names end so: `obs.service`, `run-u17.scope`, \
`user-1000.slice`. A name without its ending would never fit, and neither would a socket or a timer. \
`systemctl status PID` shows the unit of a process.",
    bad: &[Example::Job(
        r#"
[attach]
match = { unit = "obs" }
"#,
    )],
    good: &[Example::Job(
        r#"
[attach]
match = { unit = "obs.service" }
"#,
    )],
    check: Check::Loader,
};
