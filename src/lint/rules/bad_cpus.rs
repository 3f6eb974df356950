//! A list of CPUs that cannot be read.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "bad-cpus",
    level: Level::Error,
    summary: "This is no list of CPUs",
    explain: "\
CPUs are written as the kernel writes them: numbers and ranges, with commas between them and without \
blanks, as in `/sys/devices/system/cpu/online`.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpus = "3-1"
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpus = "0-1"
"#,
    )],
    check: Check::Loader,
};
