//! An attached workload that is to be ended.

use crate::lint::rule::rule;

rule! {
    "stop-of-attached" Error "`on_remove = \"stop\"` for an attached workload"
    because "\
What the supervisor did not start, it never ends. When the file of an attached job goes away, the \
process is let go: it gets back the priorities and the cgroup it had, and runs on."
    bad r#"
[attach]
pid_file = "/run/obs.pid"

[stop]
on_remove = "stop"
"#
    good r#"
[attach]
pid_file = "/run/obs.pid"
"#
}
