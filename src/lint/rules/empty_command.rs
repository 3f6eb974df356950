//! A command without a program.

use crate::lint::rule::rule;

rule! {
    "empty-command" Error "`command` names no program"
    because "\
The first entry of `command` is the program; the others are its arguments."
    bad r#"
[exec]
command = []
"#
    good r#"
[exec]
command = ["/usr/bin/true"]
"#
}
