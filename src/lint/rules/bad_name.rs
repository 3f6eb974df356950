//! A name that cannot be that of a job.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "bad-name",
    level: Level::Error,
    summary: "This is no name of a job or an instance",
    explain: "\
Names become parts of paths, of log lines and of labels in metrics. So they hold a-z, 0-9, `.`, `_` and \
`-`, begin with a letter or a digit, and have at most 64 characters. A job's name is the name of its \
file without `.toml`.",
    bad: &[Example::Job(
        r#"
instances = ["Studio A"]
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    good: &[Example::Job(
        r#"
instances = ["studio-a"]
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    check: Check::Loader,
};
