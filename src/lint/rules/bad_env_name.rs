//! A name no environment variable can have.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "bad-env-name",
    level: Level::Error,
    summary: "This is no name of an environment variable",
    explain: "\
The kernel hands the environment over as texts of the form NAME=value. A name that is empty, or holds a \
`=` or a NUL character, cannot arrive as it is written.",
    bad: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]
env = { "A=B" = "1" }
"#,
        ),
        Example::Supervisor(
            r#"
[environment]
pass = ["LANG=C"]
"#,
        ),
    ],
    good: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]
env = { A = "1" }
"#,
        ),
        Example::Supervisor(
            r#"
[environment]
pass = ["LANG"]
"#,
        ),
    ],
    check: Check::Loader,
};
