//! A text that is no TOML.

use crate::lint::rule::rule;

rule! {
    "syntax" Error "The file is not TOML"
    because "\
Nothing of such a file can be relied on, so nothing of it is used: a job that runs already keeps the \
last good version of its file.

Job files are TOML (https://toml.io). The usual causes: a text without its quotes, a `\\` in a \"text\" \
(write `\\\\`, or use 'single quotes'), a key that is given twice, a bracket that is not closed. Arrays \
may go over several lines."
    bad r#"
[exec]
command = ["/usr/bin/true]
"#
    bad r#"
description = live channel
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
description = "live channel"
[exec]
command = ["/usr/bin/true"]
"#
}
