//! A text that is no TOML.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "syntax",
    level: Level::Error,
    summary: "The file is not TOML",
    explain: "\
Nothing of such a file can be relied on, so nothing of it is used: a job that runs already keeps the \
last good version of its file.

Job files are TOML (https://toml.io). The usual causes: a text without its quotes, a `\\` in a \"text\" \
(write `\\\\`, or use 'single quotes'), a key that is given twice, a bracket that is not closed. Arrays \
may go over several lines.",
    bad: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true]
"#,
        ),
        Example::Job(
            r#"
description = live channel
[exec]
command = ["/usr/bin/true"]
"#,
        ),
    ],
    good: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]
"#,
        ),
        Example::Job(
            r#"
description = "live channel"
[exec]
command = ["/usr/bin/true"]
"#,
        ),
    ],
    check: Check::Loader,
};
