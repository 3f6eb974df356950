//! One instance twice.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "duplicate-instance",
    level: Level::Error,
    summary: "An instance is named twice",
    explain: "\
Each entry of `instances` becomes a job named after it, and two jobs cannot have one name.",
    bad: &[Example::Job(
        r#"
instances = ["a", "b", "a"]
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    good: &[Example::Job(
        r#"
instances = ["a", "b"]
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    check: Check::Loader,
};
