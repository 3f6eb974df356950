//! A limit on a disk the kernel would refuse.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "bad-io-max",
    level: Level::Error,
    summary: "An entry of `io_max` is not what io.max takes",
    explain: "\
The kernel's form: the number of the device (`lsblk -o NAME,MAJ:MIN`), then limits in bytes or \
operations per second: `rbps`, `wbps`, `riops`, `wiops`. Partitions have no limits of their own; name \
the whole disk.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
io_max = ["sda wbps=10485760"]
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
io_max = ["8:0 wbps=10485760"]
"#,
    )],
    check: Check::Loader,
};
