//! None or several ways to find a process.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "attach-one-of",
    level: Level::Error,
    summary: "[attach] needs exactly one of `pid`, `pid_file` and `match`",
    explain: "\
Each of the three tells which process is meant. Two of them may come to contradict each other, and none \
names no process at all.",
    bad: &[Example::Job(
        r#"
[attach]
pid_file = "/run/obs.pid"
match = { name = "obs" }
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
