//! A list of CPUs that cannot be read.

use crate::lint::rule::rule;

rule! {
    "bad-cpus" Error "This is no list of CPUs"
    because "\
CPUs are written as the kernel writes them: numbers and ranges, with commas between them and without \
blanks, as in `/sys/devices/system/cpu/online`."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpus = "3-1"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpus = "0-1"
"#
}
