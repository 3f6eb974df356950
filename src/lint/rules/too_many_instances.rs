//! A template that would fill the memory.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "too-many-instances",
    level: Level::Error,
    summary: "A template comes to too many jobs",
    explain: "\
A template may have 1000 instances, and all its jobs together may come to 16 MiB of text. A file beyond \
that is a mistake, or meant to exhaust the memory of the supervisor.",
    bad: &[Example::Words("instances = [...] with 1001 entries")],
    good: &[Example::Job(
        r#"
instances = ["a", "b"]
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    check: Check::Loader,
};
