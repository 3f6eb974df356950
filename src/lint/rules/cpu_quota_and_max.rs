//! One limit in two spellings.

use crate::lint::rule::rule;

rule! {
    "cpu-quota-and-max" Error "Both `cpu_quota` and `cpu_max` are given"
    because "\
`cpu_quota = 200` and `cpu_max = \"200000 100000\"` both set the kernel's `cpu.max`. With both given, \
one of them would have to be passed over."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_quota = 200
cpu_max = "50000 100000"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_max = "50000 100000"
"#
}
