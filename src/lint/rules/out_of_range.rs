//! A number the kernel would refuse.

use crate::lint::rule::rule;

rule! {
    "out-of-range" Error "A value is outside of what is possible"
    because "\
The kernel, or the way supervision works, sets the limits: nice goes from -20 to 19, weights from 1 to \
10000, OOM scores from -1000 to 1000. A value outside could only be refused later, when the job starts; \
or be cut down in silence, which would be worse.

Times and sizes of 0 are refused where nothing could run with them."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
nice = 20
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]

[stop]
timeout = "0s"
"#
    bad Supervisor r#"
[reports]
keep = 0
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
nice = 19
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[stop]
timeout = "10s"
"#
    good Supervisor r#"
[reports]
keep = 1
"#
}
