//! A template that stands for nothing.

use crate::lint::rule::rule;

rule! {
    "no-instances" Error "`instances` is empty"
    because "\
Each entry of `instances` becomes a job; without entries the file declares nothing, which it could say \
more clearly with `enabled = false`."
    bad r#"
instances = []
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
instances = ["a", "b"]
[exec]
command = ["/usr/bin/true"]
"#
}
