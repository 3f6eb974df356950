//! None or several ways to find a process.

use crate::lint::rule::rule;

rule! {
    "attach-one-of" Error "[attach] needs exactly one of `pid`, `pid_file` and `match`"
    because "\
Each of the three tells which process is meant. Two of them may come to contradict each other, and none \
names no process at all."
    bad r#"
[attach]
pid_file = "/run/obs.pid"
match = { name = "obs" }
"#
    good r#"
[attach]
pid_file = "/run/obs.pid"
"#
}
