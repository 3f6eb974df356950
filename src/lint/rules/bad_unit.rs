//! A size or duration that cannot be read.

use crate::lint::rule::rule;

rule! {
    "bad-unit" Error "A size or a duration cannot be read"
    because "\
A number and a unit are needed: `10s`, `1m30s`, `2h` for times; `512MiB`, `1.5GiB`, `10MB` for sizes. \
`m` is a minute and `M` is a MiB; there are no weeks, months or years, because a timeout of a month is \
better written in days."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[timeouts]
run = "2 hours"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[timeouts]
run = "2h"
"#
}
