//! A job that needs half the machine.

use crate::lint::rule::rule;

rule! {
    "too-many-needs" Error "A job has too many needs"
    because "\
A job may have 16 needs: each of them is asked for before each start. Paths on one file system can share an entry."
    bad Words "17 times [[needs]]"
    good r#"
[exec]
command = ["/usr/bin/true"]

[[needs]]
free = { path = "/srv/out", at_least = "5GiB" }
"#
}
