//! A schedule that is a calendar.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "too-many-windows",
    level: Level::Error,
    summary: "A schedule has too many windows",
    explain: "\
A schedule may have 32 windows: four for each day of the week. Days that are alike can share one, as \
`days = [\"mon-fri\"]`, and so can a night and the morning after it: a window may go over midnight.",
    bad: &[Example::Words("33 times [[schedule]]")],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
days = ["mon-fri"]
from = "22:00"
to = "06:00"
constraints = { nice = 10 }
"#,
    )],
    check: Check::Loader,
};
