//! A restart limit with only one of its two numbers.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "incomplete-limit",
    level: Level::Error,
    summary: "`restart.limit` needs both `starts` and `within`",
    explain: "\
A limit is a number of starts in a length of time. Ten starts are few for a channel that has run for a \
year, and many for one minute.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
limit = { starts = 10 }
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
limit = { starts = 10, within = "10m" }
"#,
    )],
    check: Check::Loader,
};
