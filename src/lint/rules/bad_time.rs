//! A time that no clock shows.

use crate::lint::rule::rule;

rule! {
    "bad-time" Error "`from` or `to` of a schedule is no time of day"
    because "\
Times are texts of two digits for hours and minutes, and seconds where they matter: \"06:00\", \
\"22:30:15\". The clock has 24 hours; \"24:00\" is the end of a day."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "10pm"
constraints = { nice = 10 }
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "22:00"
constraints = { nice = 10 }
"#
}
