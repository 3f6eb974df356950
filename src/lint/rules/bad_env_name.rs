//! A name no environment variable can have.

use crate::lint::rule::rule;

rule! {
    "bad-env-name" Error "This is no name of an environment variable"
    because "\
The kernel hands the environment over as texts of the form NAME=value. A name that is empty, or holds a \
`=` or a NUL character, cannot arrive as it is written."
    bad r#"
[exec]
command = ["/usr/bin/true"]
env = { "A=B" = "1" }
"#
    bad Supervisor r#"
[environment]
pass = ["LANG=C"]
"#
    good r#"
[exec]
command = ["/usr/bin/true"]
env = { A = "1" }
"#
    good Supervisor r#"
[environment]
pass = ["LANG"]
"#
}
