//! A regular expression that is none.

use crate::lint::rule::rule;

rule! {
    "bad-pattern" Error "`args` of `match` is no regular expression"
    because "\
`args` is a regular expression in the syntax of Rust's regex crate, which is close to that of Perl and Python, \
without look-around and back references. It is looked for in the arguments of the process, joined by spaces: \
`^` and `$` bind it to the beginning and the end.

Write it between single quotes, where TOML leaves backslashes alone: `args = '-i rtmp://\\S+'`."
    bad r#"
[attach]
match = { name = "ffmpeg", args = "-i (rtmp://" }
"#
    good r#"
[attach]
match = { name = "ffmpeg", args = '-i rtmp://\S+' }
"#
}
