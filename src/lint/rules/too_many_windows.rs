//! A schedule that is a calendar.

use crate::lint::rule::rule;

rule! {
    "too-many-windows" Error "A schedule has too many windows"
    because "\
A schedule may have 32 windows: four for each day of the week. Days that are alike can share one, as \
`days = [\"mon-fri\"]`, and so can a night and the morning after it: a window may go over midnight."
    bad Words "33 times [[schedule]]"
    good r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
days = ["mon-fri"]
from = "22:00"
to = "06:00"
constraints = { nice = 10 }
"#
}
