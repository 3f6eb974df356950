//! Two windows at the same time.

use jiff::civil::{Date, date};
use std::ops::Range;

use crate::lint::rule::{At, Context, KeyPath, Problem, rule};
use crate::model::schedule::overlap;

/// The days that are looked at: a year and the rest of its last week, so that each day of the week and
/// each clock change is among them. Which year does not matter, but it is the same at each run.
const DAYS: Range<Date> = date(2026, 1, 1)..date(2027, 1, 8);

rule! {
    "schedule-overlap" Error "Two windows of a schedule hold at the same time"
    because "\
At each time at most one window is in force, so that what a job asks for does not hang on the order of \
its windows. A window that goes over midnight reaches into the next day: `days = [\"fri\"]` from 22:00 to \
06:00 holds on Saturday morning. A window that ends when the next begins does not overlap it.

Windows in different time zones are compared over a year, with its clock changes."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
days = ["mon-fri"]
from = "22:00"
to = "06:00"
constraints = { nice = 10 }

[[schedule]]
days = ["weekend"]
constraints = { nice = 5 }
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "20:00"
to = "23:00"
timezone = "Europe/Berlin"
constraints = { nice = 10 }

[[schedule]]
from = "17:00"
to = "20:00"
timezone = "America/New_York"
constraints = { nice = 5 }
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
days = ["mon-fri"]
from = "22:00"
to = "06:00"
constraints = { nice = 10 }

[[schedule]]
days = ["sat"]
from = "06:00"
constraints = { nice = 5 }

[[schedule]]
days = ["sun"]
constraints = { nice = 5 }
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let (windows, zones) = (&context.job.schedule, &context.facts.zones);
    for (n, later) in windows.iter().enumerate() {
        let found = windows[..n]
            .iter()
            .enumerate()
            .find_map(|(m, earlier)| overlap(earlier, later, DAYS, zones).map(|at| (m, earlier, at)));
        let Some((m, earlier, at)) = found else { continue };
        let Some(zone) = later.zone(zones) else { continue };
        let message = format!(
            "{later}: holds at the same time as window {} ({earlier}), for example on {}",
            m + 1,
            zone.to_datetime(at).strftime("%A, %-d %B %Y, at %H:%M")
        );
        let help = "let one of them end when the other begins, or take a day out of one";
        problems.push(RULE.problem(At::Value(KeyPath::of("schedule").index(n)), message).help(help));
    }
}
