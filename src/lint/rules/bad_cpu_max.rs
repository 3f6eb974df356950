//! A bandwidth the kernel would refuse.

use crate::lint::rule::rule;

rule! {
    "bad-cpu-max" Error "`cpu_max` is not what cpu.max takes"
    because "\
Two numbers of microseconds: how much CPU time, in each period of how long. `\"50000 100000\"` is half a \
core. The period goes from 1000 to 1000000 and is 100000 if left out; the quota is at least 1000, or \
`max` for no limit. `cpu_quota` says the same in percent of a core."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_max = "50%"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_max = "50000 100000"
"#
}
