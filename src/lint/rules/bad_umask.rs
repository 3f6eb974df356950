//! A mask that is not octal.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "bad-umask",
    level: Level::Error,
    summary: "The umask is no file mode creation mask",
    explain: "\
A mask is an octal number of up to three digits, from \"000\" to \"777\". It is written in quotes: TOML \
reads a bare `022` as an error and a bare `22` as the decimal number, which is 026 in octal.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]
umask = "rwx"
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]
umask = "027"
"#,
    )],
    check: Check::Loader,
};
