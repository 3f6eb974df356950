//! A description that fits every process.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "match-all",
    level: Level::Error,
    summary: "`match` fits every process",
    explain: "\
`min_runtime` alone says nothing about which program is meant, and an empty `match` fits the first \
process there is. At least one of `name`, `args` and `user` has to be given.",
    bad: &[Example::Job(
        r#"
[attach]
match = { min_runtime = "5s" }
"#,
    )],
    good: &[Example::Job(
        r#"
[attach]
match = { name = "obs", min_runtime = "5s" }
"#,
    )],
    check: Check::Loader,
};
