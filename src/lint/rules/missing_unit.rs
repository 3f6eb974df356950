//! A size or duration that is only a number.

use crate::lint::rule::rule;

rule! {
    "missing-unit" Error "A size or a duration has no unit"
    because "\
Is \"30\" half a minute or half an hour? Units are always written: `ms`, `s`, `m`, `h`, `d` for times, \
`KiB`, `MiB`, `GiB` or `KB`, `MB`, `GB` for sizes. They may be put together: `1m30s`.

Only memory sizes may be bare numbers, without quotes: those are MiB."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[stop]
timeout = "30"
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "512"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[stop]
timeout = "30s"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "512MiB"
"#
}
