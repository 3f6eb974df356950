//! A value of another kind than its key takes.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "wrong-type",
    level: Level::Error,
    summary: "A value has the wrong type",
    explain: "\
A key takes a text, a number, true or false, a list or a table, and nothing is converted: `enabled = \
\"false\"` is a text, and reading it as true or as false would be a guess.

The message says what was found and what was expected.",
    bad: &[
        Example::Job(
            r#"
enabled = "false"
[exec]
command = ["/usr/bin/true"]
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
nice = 2.5
"#,
        ),
    ],
    good: &[
        Example::Job(
            r#"
enabled = false
[exec]
command = ["/usr/bin/true"]
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
nice = 2
"#,
        ),
    ],
    check: Check::Loader,
};
