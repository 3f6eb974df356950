//! A need that does not say what is needed.

use crate::lint::rule::rule;

rule! {
    "incomplete-need" Error "An entry of `needs` does not say what is needed"
    because "\
A need for free space names a path on the file system that is meant, and how much has to be free there: without one of \
the two nobody knows what to wait for."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[[needs]]
free = { path = "/srv/out" }
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[[needs]]
free = { path = "/srv/out", at_least = "5GiB" }
"#
}
