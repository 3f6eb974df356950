//! Two ways to make several jobs of one file.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "all-in-template",
    level: Level::Error,
    summary: "`all` is set in a template",
    explain: "\
With `all = true` each process that fits is a run of its own, which is called `<job>@<pid>`; with `instances` \
each entry is a job of its own, which is called `<job>@<entry>`. Both at once would give one name to two things.

`all` needs no `instances`: it finds however many processes there are.",
    bad: &[Example::Job(
        r#"
instances = ["a", "b"]

[attach]
match = { name = "ffmpeg", args = "/srv/%i/" }
all = true
"#,
    )],
    good: &[
        Example::Job(
            r#"
instances = ["a", "b"]

[attach]
match = { name = "ffmpeg", args = "/srv/%i/" }
"#,
        ),
        Example::Job(
            r#"
[attach]
match = { name = "ffmpeg", args = "/srv/" }
all = true
"#,
        ),
    ],
    check: Check::Loader,
};
