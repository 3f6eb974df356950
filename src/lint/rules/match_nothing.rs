//! A description that fits no process.

use crate::lint::rule::rule;

rule! {
    "match-nothing" Error "`match` fits no process"
    because "\
No process has been running for `min_runtime` and for less than `max_runtime` where the second is not the longer \
of the two. In `not`, an empty `args` is contained in every text, and every process is in the cgroup `/` and works \
in a folder below `/`: that rules everybody out."
    bad r#"
[attach]
match = { name = "obs", min_runtime = "1m", max_runtime = "5s" }
"#
    bad r#"
[attach]
match = { name = "obs", not = { working_dir = "/" } }
"#
    good r#"
[attach]
match = { name = "obs", min_runtime = "5s", max_runtime = "1m", not = { working_dir = "/srv/test" } }
"#
}
