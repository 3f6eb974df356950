//! A template that stands for nothing.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "no-instances",
    level: Level::Error,
    summary: "`instances` is empty",
    explain: "\
Each entry of `instances` becomes a job; without entries the file declares nothing, which it could say \
more clearly with `enabled = false`.",
    bad: &[Example::Job(
        r#"
instances = []
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
