//! A name from a systemd unit.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "systemd-key",
    level: Level::Error,
    summary: "A key or section of systemd units",
    explain: "\
Job files mean much the same as systemd units, but have names of their own. A key that was copied from a \
unit would do nothing here, so it is an error, and the message gives the name it has here.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
MemoryMax = "1GiB"
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "1GiB"
"#,
    )],
    check: Check::Loader,
};
