//! A regular expression that is none.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "bad-pattern",
    level: Level::Error,
    summary: "`args` of `match` is no regular expression",
    explain: "\
`args` is a regular expression in the syntax of Rust's regex crate, which is close to that of Perl and Python, \
without look-around and back references. It is looked for in the arguments of the process, joined by spaces: \
`^` and `$` bind it to the beginning and the end.

Write it between single quotes, where TOML leaves backslashes alone: `args = '-i rtmp://\\S+'`.",
    bad: &[Example::Job(
        r#"
[attach]
match = { name = "ffmpeg", args = "-i (rtmp://" }
"#,
    )],
    good: &[Example::Job(
        r#"
[attach]
match = { name = "ffmpeg", args = '-i rtmp://\S+' }
"#,
    )],
    check: Check::Loader,
};
