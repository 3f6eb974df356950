//! A description that fits no process.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "match-nothing",
    level: Level::Error,
    summary: "`match` fits no process",
    explain: "\
No process has been running for `min_runtime` and for less than `max_runtime` where the second is not the longer \
of the two. In `not`, an empty `args` is contained in every text, and every process is in the cgroup `/` and works \
in a folder below `/`: that rules everybody out.",
    bad: &[
        Example::Job(
            r#"
[attach]
match = { name = "obs", min_runtime = "1m", max_runtime = "5s" }
"#,
        ),
        Example::Job(
            r#"
[attach]
match = { name = "obs", not = { working_dir = "/" } }
"#,
        ),
    ],
    good: &[Example::Job(
        r#"
[attach]
match = { name = "obs", min_runtime = "5s", max_runtime = "1m", not = { working_dir = "/srv/test" } }
"#,
    )],
    check: Check::Loader,
};
