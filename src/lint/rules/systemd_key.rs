//! A name from a systemd unit.

use crate::lint::rule::rule;

rule! {
    "systemd-key" Error "A key or section of systemd units"
    because "\
Job files mean much the same as systemd units, but have names of their own. A key that was copied from a \
unit would do nothing here, so it is an error, and the message gives the name it has here."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
MemoryMax = "1GiB"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "1GiB"
"#
}
