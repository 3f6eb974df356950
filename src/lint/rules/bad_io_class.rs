//! An I/O class the kernel does not have.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "bad-io-class",
    level: Level::Error,
    summary: "`io_class` is no I/O scheduling class",
    explain: "\
There are three (ioprio_set(2)): `idle`, which has no levels, and `best-effort` and `realtime` with \
levels from 0, the highest, to 7.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
io_class = "idle:3"
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
io_class = "best-effort:6"
"#,
    )],
    check: Check::Loader,
};
