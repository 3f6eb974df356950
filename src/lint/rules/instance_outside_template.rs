//! `%i` where there are no instances.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "instance-outside-template",
    level: Level::Error,
    summary: "`%i` is used in a file without `instances`",
    explain: "\
`%i` stands for the entry of `instances` that a job was made from. In a file without instances it stands \
for nothing. `%%` is a single `%`; `%n` is the name of the job and can be used anywhere. Other uses of \
`%`, such as `segment_%03d.ts`, need no care.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true", "%i"]
"#,
    )],
    good: &[
        Example::Job(
            r#"
instances = ["a"]
[exec]
command = ["/usr/bin/true", "%i"]
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true", "%%i"]
"#,
        ),
    ],
    check: Check::Loader,
};
