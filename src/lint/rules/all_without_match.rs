//! `all` beside a single process.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "all-without-match",
    level: Level::Error,
    summary: "`all` is set where one process is named",
    explain: "\
`all = true` governs every process that fits `match`, each as a run of its own. `pid` and `pid_file` name one \
process: there is nothing that `all` could mean.",
    bad: &[Example::Job(
        r#"
[attach]
pid_file = "/run/obs.pid"
all = true
"#,
    )],
    good: &[Example::Job(
        r#"
[attach]
match = { name = "ffmpeg", user = "alice" }
all = true
"#,
    )],
    check: Check::Loader,
};
