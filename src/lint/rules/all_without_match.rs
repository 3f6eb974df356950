//! `all` beside a single process.

use crate::lint::rule::rule;

rule! {
    "all-without-match" Error "`all` is set where one process is named"
    because "\
`all = true` governs every process that fits `match`, each as a run of its own. `pid` and `pid_file` name one \
process: there is nothing that `all` could mean."
    bad r#"
[attach]
pid_file = "/run/obs.pid"
all = true
"#
    good r#"
[attach]
match = { name = "ffmpeg", user = "alice" }
all = true
"#
}
