//! A size or duration that is only a number.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "missing-unit",
    level: Level::Error,
    summary: "A size or a duration has no unit",
    explain: "\
Is \"30\" half a minute or half an hour? Units are always written: `ms`, `s`, `m`, `h`, `d` for times, \
`KiB`, `MiB`, `GiB` or `KB`, `MB`, `GB` for sizes. They may be put together: `1m30s`.

Only memory sizes may be bare numbers, without quotes: those are MiB.",
    bad: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[stop]
timeout = "30"
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "512"
"#,
        ),
    ],
    good: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[stop]
timeout = "30s"
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "512MiB"
"#,
        ),
    ],
    check: Check::Loader,
};
