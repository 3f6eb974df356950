//! A time that no clock shows.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "bad-time",
    level: Level::Error,
    summary: "`from` or `to` of a schedule is no time of day",
    explain: "\
Times are texts of two digits for hours and minutes, and seconds where they matter: \"06:00\", \
\"22:30:15\". The clock has 24 hours; \"24:00\" is the end of a day.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "10pm"
constraints = { nice = 10 }
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "22:00"
constraints = { nice = 10 }
"#,
    )],
    check: Check::Loader,
};
