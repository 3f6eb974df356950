//! A value of another kind than its key takes.

use crate::lint::rule::rule;

rule! {
    "wrong-type" Error "A value has the wrong type"
    because "\
A key takes a text, a number, true or false, a list or a table, and nothing is converted: `enabled = \
\"false\"` is a text, and reading it as true or as false would be a guess.

The message says what was found and what was expected."
    bad r#"
enabled = "false"
[exec]
command = ["/usr/bin/true"]
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
nice = 2.5
"#
    good r#"
enabled = false
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
nice = 2
"#
}
