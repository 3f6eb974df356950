//! A command line instead of a list.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "shell-string",
    level: Level::Error,
    summary: "`command` is one text instead of a list",
    explain: "\
No shell is involved in starting a job: the program gets exactly the arguments that are listed, whatever \
characters they hold. So a file name with a blank or a quote can break nothing, and signals reach the \
program itself.

Write each argument as an entry of its own. Where you do need a shell, name it: `[\"/bin/sh\", \"-c\", \
\"exec a | b\"]`.",
    bad: &[Example::Job(
        r#"
[exec]
command = "/usr/bin/ffprobe /srv/in.mp4"
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/ffprobe", "/srv/in.mp4"]
"#,
    )],
    check: Check::Loader,
};
