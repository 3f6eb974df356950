//! PURE: `[[schedule]]`: the windows of time in which other constraints are in force.

use super::constraints;
use super::reader::Reader;
use crate::config::problem::{At, KeyPath};
use crate::config::schema::{ConstraintsTable, ScheduleTable};
use crate::config::suggest::nearest;
use crate::model::constraints::Constraints;
use crate::model::schedule::{DayTime, Days, Window};

/// Most windows of a schedule: they are compared with each other, and each is a copy of all constraints.
const MAX_WINDOWS: usize = 32;

/// A window of a schedule, with nothing but what it says itself.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowLayer {
    /// The profiles whose constraints it takes.
    pub profiles: Vec<String>,
    pub(super) window: Window,
    pub(super) strict: Option<bool>,
}

/// Reads the tables.
pub(super) fn read(read: &mut Reader, tables: &[ScheduleTable]) -> Vec<WindowLayer> {
    let path = KeyPath::of("schedule");
    if tables.len() > MAX_WINDOWS {
        read.error(
            "too-many-windows",
            At::Key(path),
            format!("`schedule` has {} windows; at most {MAX_WINDOWS} are allowed", tables.len()),
            "days that are alike can share a window: days = [\"mon-fri\"]",
        );
        return Vec::new();
    }
    let mut windows = Vec::new();
    let mut good = true;
    for (n, table) in tables.iter().enumerate() {
        let mut own = Reader::default();
        windows.extend(window(&mut own, table));
        good &= own.problems.is_empty();
        let table = path.clone().index(n);
        read.problems.extend(own.problems.into_iter().map(|problem| problem.below(&table)));
    }
    // With one missing the others would have wrong places.
    if good { windows } else { Vec::new() }
}

/// The windows of a job that has these constraints, `strict` among them.
pub(super) fn finish(windows: Vec<WindowLayer>, constraints: &Constraints) -> Vec<Window> {
    let finish = |WindowLayer { window, strict, .. }| {
        let own = constraints::overlay(constraints.clone(), window.constraints);
        let strict = strict.unwrap_or(constraints.strict);
        Window { constraints: Constraints { strict, ..own }, ..window }
    };
    windows.into_iter().map(finish).collect()
}

/// A window; places are told from its own table on.
fn window(read: &mut Reader, table: &ScheduleTable) -> Option<WindowLayer> {
    let days = match &table.days {
        None => Some(Days::ALL),
        Some(names) => {
            let known = names.iter().enumerate().map(|(n, name)| self::days(read, n, name));
            known.collect::<Vec<_>>().into_iter().try_fold(Days::NONE, |days, more| Some(days.and(more?)))
        }
    };
    let from = table.from.as_ref().map_or(Some(DayTime::START), |text| day_time(read, "from", text));
    let to = table.to.as_ref().map_or(Some(DayTime::END), |text| day_time(read, "to", text));
    // Both are midnight; as an end it is that of the day.
    let to = to.map(|to| if to == DayTime::START { DayTime::END } else { to });
    let timezone = read.text("timezone", table.timezone.as_ref());
    let constraints =
        constraints::read(read, table.constraints.as_ref().unwrap_or(&ConstraintsTable::default()));
    let (days, from, to) = (days?, from?, to?);
    if days == Days::NONE {
        let at = At::Value(KeyPath::of("days"));
        let help = "name a day, or leave `days` out for every day";
        read.error("schedule-never", at, "the window begins on no day", help);
    }
    if from == to || from == DayTime::END {
        let message = format!("the window goes from {from} to {to}, which is no time at all");
        let help = "for a whole day leave `from` and `to` out, or write \"00:00\" and \"24:00\"";
        read.error("schedule-never", At::Value(KeyPath::of("from")), message, help);
    }
    let window = Window { days, from, to, timezone, constraints };
    let profiles = table.profiles.clone().unwrap_or_default();
    Some(WindowLayer { profiles, window, strict: table.constraints.as_ref().and_then(|c| c.strict) })
}

fn days(read: &mut Reader, n: usize, name: &str) -> Option<Days> {
    let days = Days::parse(name);
    if days.is_none() {
        let known = || Days::NAMES.iter().map(|(name, _)| *name);
        // Written out, as in `monday`.
        let near = known().take(7).find(|day| name.to_lowercase().starts_with(day) && !name.contains('-'));
        let help = match near.or_else(|| nearest(name, known())) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => {
                format!("write one of {}, or a range as \"mon-fri\"", known().collect::<Vec<_>>().join(", "))
            }
        };
        let at = At::Value(KeyPath::of("days").index(n));
        read.error("unknown-value", at, format!("{name:?} is no day of the week"), help);
    }
    days
}

fn day_time(read: &mut Reader, key: &'static str, text: &str) -> Option<DayTime> {
    let time = DayTime::parse(text);
    if time.is_none() {
        // A digit is missing, most often.
        let padded = format!("0{text}");
        let help = match DayTime::parse(&padded) {
            Some(_) => format!("did you mean \"{padded}\"?"),
            None => "write hours and minutes of a day of 24 hours, as \"06:00\" or \"22:30\"".into(),
        };
        read.error("bad-time", At::Value(KeyPath::of(key)), format!("{text:?} is no time of day"), help);
    }
    time
}

#[cfg(test)]
mod tests {
    use crate::config::resolve::testing::{EXEC, codes_with, one};
    use crate::model::constraints::CpuLimit;

    #[test]
    fn a_window_has_its_profiles_and_its_own_values_over_what_the_job_has() {
        let job = one(&format!(
            "profiles = [\"low-priority\"]\n{EXEC}[constraints]\ncpu_quota = 50\nstrict = true\n\
             [[schedule]]\nprofiles = [\"live-hls\"]\nconstraints = {{ nice = 1, strict = false }}\n\
             [[schedule]]\ndays = [\"weekend\", \"fri\"]\nfrom = \"22:00\"\nto = \"00:00\"\ntimezone = \"UTC\"\n"
        ));
        assert_eq!(job.constraints.nice, Some(10));
        let night = &job.schedule[0].constraints;
        assert_eq!(
            (night.nice, night.cpu_weight, night.cpu),
            (Some(1), Some(200), Some(CpuLimit::Quota(50)))
        );
        assert_eq!((night.oom_score_adj, night.strict), (Some(500), false));
        assert_eq!(job.schedule[0].to_string(), "daily 00:00-24:00");
        assert_eq!(job.schedule[1].to_string(), "fri-sun 22:00-24:00 UTC");
        assert_eq!(job.schedule[1].constraints, job.constraints);
    }

    #[test]
    fn every_wrong_value_has_its_code() {
        assert_eq!(codes_with("[[schedule]]\nfrom = \"6:00\"\nto = \"25:00\"\n"), ["bad-time", "bad-time"]);
        assert_eq!(
            codes_with("[[schedule]]\ndays = [\"monday\", \"tue-\"]\n"),
            ["unknown-value", "unknown-value"]
        );
        assert_eq!(codes_with("[[schedule]]\ndays = []\n"), ["schedule-never"]);
        assert_eq!(codes_with("[[schedule]]\nfrom = \"08:00\"\nto = \"08:00\"\n"), ["schedule-never"]);
        assert_eq!(codes_with("[[schedule]]\nfrom = \"24:00\"\nto = \"08:00\"\n"), ["schedule-never"]);
        assert_eq!(codes_with("[[schedule]]\nconstraints = { nice = 20 }\n"), ["out-of-range"]);
        assert_eq!(codes_with("[[schedule]]\nprofiles = [\"x\"]\n"), ["unknown-profile"]);
        assert_eq!(codes_with(&"[[schedule]]\n".repeat(33)), ["too-many-windows"]);
    }
}
