//! A text that ends too early for the kernel.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "nul-character",
    level: Level::Error,
    summary: "A text holds a NUL character",
    explain: "\
Arguments, environment variables and paths end at their first NUL character for the kernel, so what \
follows could never arrive.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true", "a\u0000b"]
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true", "ab"]
"#,
    )],
    check: Check::Loader,
};
