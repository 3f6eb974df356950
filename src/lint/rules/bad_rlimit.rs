//! A limit that the kernel would refuse, or that would not do what is meant.

use crate::lint::rule::rule;

rule! {
    "bad-rlimit" Error "This is no limit of a process"
    because "\
`[exec.rlimits]` holds the limits of setrlimit(2): a whole number for what is counted (`nofile`, `nproc`, \
`rtprio`, `sigpending`), a duration of whole seconds for `cpu`, a size with its unit for the others, or \
`\"unlimited\"`. One value is both the soft and the hard limit; `\"SOFT:HARD\"` tells them apart, and the \
soft one, which holds, cannot be above the hard one.

At the soft limit of `cpu` a process is sent SIGXCPU, so that it can end well, and at the hard one SIGKILL. \
If the two are the same there is no SIGXCPU; with one value the hard limit is 5 s above the soft one."
    bad r#"
[exec]
command = ["/usr/bin/true"]
rlimits = { nofile = "4096:1024" }
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]
rlimits = { cpu = "10m:10m" }
"#
    good r#"
[exec]
command = ["/usr/bin/true"]
rlimits = { nofile = "1024:4096", cpu = "10m" }
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[exec.rlimits]
core = 0
as = "8GiB"
stack = "8MiB:unlimited"
"#
}
