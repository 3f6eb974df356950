//! A key that jobs cannot share.

use crate::lint::rule::rule;

rule! {
    "not-in-profile" Error "A profile has a key that only a job can have"
    because "\
A profile holds what jobs have in common: limits, restarts, environment. What a job runs is its own, so \
a profile has no `exec.command`, no `[attach]` and no `instances`."
    bad Profile r#"
[exec]
command = ["/usr/bin/true"]
"#
    good Profile r#"
[exec]
env = { LANG = "C" }
"#
}
