//! One instance twice.

use crate::lint::rule::rule;

rule! {
    "duplicate-instance" Error "An instance is named twice"
    because "\
Each entry of `instances` becomes a job named after it, and two jobs cannot have one name."
    bad r#"
instances = ["a", "b", "a"]
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
instances = ["a", "b"]
[exec]
command = ["/usr/bin/true"]
"#
}
