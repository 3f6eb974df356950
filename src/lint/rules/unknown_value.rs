//! A word where only certain words have a meaning.

use crate::lint::rule::rule;

rule! {
    "unknown-value" Error "A value is not one of those there are"
    because "\
Some keys take one of a few words, or the name of a signal. The message lists them, and names the \
nearest."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-error"
"#
    bad Supervisor r#"
[log]
level = "verbose"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
"#
    good Supervisor r#"
[log]
level = "debug"
"#
}
