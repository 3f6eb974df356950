//! An I/O class the kernel does not have.

use crate::lint::rule::rule;

rule! {
    "bad-io-class" Error "`io_class` is no I/O scheduling class"
    because "\
There are three (ioprio_set(2)): `idle`, which has no levels, and `best-effort` and `realtime` with \
levels from 0, the highest, to 7."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
io_class = "idle:3"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
io_class = "best-effort:6"
"#
}
