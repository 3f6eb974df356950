//! A restart limit with only one of its two numbers.

use crate::lint::rule::rule;

rule! {
    "incomplete-limit" Error "`restart.limit` needs both `starts` and `within`"
    because "\
A limit is a number of starts in a length of time. Ten starts are few for a channel that has run for a \
year, and many for one minute."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
limit = { starts = 10 }
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
limit = { starts = 10, within = "10m" }
"#
}
