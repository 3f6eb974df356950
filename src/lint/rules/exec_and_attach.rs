//! Two sources for one workload.

use crate::lint::rule::rule;

rule! {
    "exec-and-attach" Error "A job has both [exec] and [attach]"
    because "\
`[exec]` starts a workload and ends it again; `[attach]` takes over one that runs already, and is never \
allowed to end it. A job can do only one of the two."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[attach]
pid_file = "/run/obs.pid"
"#
    good r#"
[attach]
pid_file = "/run/obs.pid"
"#
}
