//! A bandwidth the kernel would refuse.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "bad-cpu-max",
    level: Level::Error,
    summary: "`cpu_max` is not what cpu.max takes",
    explain: "\
Two numbers of microseconds: how much CPU time, in each period of how long. `\"50000 100000\"` is half a \
core. The period goes from 1000 to 1000000 and is 100000 if left out; the quota is at least 1000, or \
`max` for no limit. `cpu_quota` says the same in percent of a core.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_max = "50%"
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_max = "50000 100000"
"#,
    )],
    check: Check::Loader,
};
