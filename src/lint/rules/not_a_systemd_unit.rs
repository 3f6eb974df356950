//! The name of a unit that no process can be in.

use crate::lint::rule::rule;

rule! {
    "not-a-systemd-unit" Error "`unit` of `match` is no systemd unit that processes are in"
    because "\
Processes are in services, scopes and slices, and their names end so: `obs.service`, `run-u17.scope`, \
`user-1000.slice`. A name without its ending would never fit, and neither would a socket or a timer. \
`systemctl status PID` shows the unit of a process."
    bad r#"
[attach]
match = { unit = "obs" }
"#
    good r#"
[attach]
match = { unit = "obs.service" }
"#
}
