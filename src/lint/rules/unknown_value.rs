//! A word where only certain words have a meaning.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "unknown-value",
    level: Level::Error,
    summary: "A value is not one of those there are",
    explain: "\
Some keys take one of a few words, or the name of a signal. The message lists them, and names the \
nearest.",
    bad: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-error"
"#,
        ),
        Example::Supervisor(
            r#"
[log]
level = "verbose"
"#,
        ),
    ],
    good: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
"#,
        ),
        Example::Supervisor(
            r#"
[log]
level = "debug"
"#,
        ),
    ],
    check: Check::Loader,
};
