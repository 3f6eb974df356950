//! A template that would fill the memory.

use crate::lint::rule::rule;

rule! {
    "too-many-instances" Error "A template comes to too many jobs"
    because "\
A template may have 1000 instances, and all its jobs together may come to 16 MiB of text. A file beyond \
that is a mistake, or meant to exhaust the memory of the supervisor."
    bad Words "instances = [...] with 1001 entries"
    good r#"
instances = ["a", "b"]
[exec]
command = ["/usr/bin/true"]
"#
}
