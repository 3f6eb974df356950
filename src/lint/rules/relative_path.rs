//! A path that depends on where it is read.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "relative-path",
    level: Level::Error,
    summary: "A path does not begin at /",
    explain: "\
A supervisor has no folder of its own that a path could be relative to: started by systemd it runs in \
`/`, started by hand wherever you are. The same file has to mean the same thing in both.

A program may be given by its bare name; it is then looked for on the PATH.",
    bad: &[
        Example::Job(
            r#"
[exec]
command = ["./encode"]
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]
working_dir = "media"
"#,
        ),
    ],
    good: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/local/bin/encode"]
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]
working_dir = "/srv/media"
"#,
        ),
    ],
    check: Check::Loader,
};
