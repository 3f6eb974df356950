//! One limit in two spellings.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "cpu-quota-and-max",
    level: Level::Error,
    summary: "Both `cpu_quota` and `cpu_max` are given",
    explain: "\
`cpu_quota = 200` and `cpu_max = \"200000 100000\"` both set the kernel's `cpu.max`. With both given, \
one of them would have to be passed over.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_quota = 200
cpu_max = "50000 100000"
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
