//! A job that does nothing.

use crate::lint::rule::rule;

rule! {
    "no-workload" Error "The job has neither a command nor a process to attach to"
    because "\
Every job either starts a program, with `[exec]` and its `command`, or takes over a process that runs, \
with `[attach]`. A profile cannot give the command."
    bad r#"
description = "Channel 7"
"#
    good r#"
description = "Channel 7"

[exec]
command = ["/usr/bin/true"]
"#
}
