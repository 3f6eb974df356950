//! A limit on a disk the kernel would refuse.

use crate::lint::rule::rule;

rule! {
    "bad-io-max" Error "An entry of `io_max` is not what io.max takes"
    because "\
The kernel's form: the number of the device (`lsblk -o NAME,MAJ:MIN`), then limits in bytes or \
operations per second: `rbps`, `wbps`, `riops`, `wiops`. Partitions have no limits of their own; name \
the whole disk."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
io_max = ["sda wbps=10485760"]
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
io_max = ["8:0 wbps=10485760"]
"#
}
