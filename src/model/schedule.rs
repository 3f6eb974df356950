//! PURE: schedules, windows of time in which other constraints are in force.
//!
//! A window begins when the clock on the wall first reaches `from`, and ends when it first reaches `to`.
//! So each is one stretch of time, whatever daylight saving does: a time that is skipped is reached when
//! the clock jumps over it, a time that happens twice is reached the first time. Windows that do not
//! overlap on the dial never overlap, and one that ends when another begins leaves no gap.

use std::fmt;
use std::ops::Range;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};
use serde::{Deserialize, Serialize};

use super::constraints::Constraints;
use super::time::WallTime;
use super::zones::Zones;

/// A stretch of time that recurs on days of the week, and what is in force in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// The days on which it begins.
    pub days: Days,
    /// When it begins.
    pub from: DayTime,
    /// When it ends: on the same day if that is later than `from`, else on the next.
    pub to: DayTime,
    /// The zone in which days and times are meant (`Europe/Berlin`); the host's own if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timezone: Option<String>,
    /// All that is in force in it: the job's constraints with the window's own laid over them.
    pub constraints: Constraints,
}

/// What comes next in a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Boundary {
    /// When.
    pub at: WallTime,
    /// The window in force from then on; `None`: the job's own constraints.
    pub active: Option<usize>,
}

/// Which window is in force at a time, and what comes next; nothing, if that never changes.
#[must_use]
pub fn outlook(windows: &[Window], now: WallTime, zones: &Zones) -> (Option<usize>, Option<Boundary>) {
    // Windows recur every week, and a clock change can swallow one of them once.
    const HORIZON: SignedDuration = SignedDuration::from_hours(16 * 24);
    let zoned: Vec<(usize, &Window, TimeZone)> =
        windows.iter().enumerate().filter_map(|(n, window)| Some((n, window, window.zone(zones)?))).collect();
    // The window in force, and when any of them begins or ends next.
    let look = |at| {
        let (mut active, mut turn) = (None, None::<Timestamp>);
        for (n, window, zone) in &zoned {
            let Some(next) = window.around(at, zone) else { continue };
            let begun = next.start <= at;
            if begun && active.is_none() {
                active = Some(*n);
            }
            let end = if begun { next.end } else { next.start };
            turn = Some(turn.map_or(end, |turn| turn.min(end)));
        }
        (active, turn)
    };
    let (current, mut turn) = look(now.0);
    while let Some(at) = turn.filter(|at| at.duration_since(now.0) <= HORIZON) {
        let (active, next) = look(at);
        if active != current {
            return (current, Some(Boundary { at: WallTime(at), active }));
        }
        turn = next;
    }
    (current, None)
}

/// The first instant in a stretch of days at which both windows hold.
#[must_use]
pub fn overlap(one: &Window, other: &Window, days: Range<Date>, zones: &Zones) -> Option<Timestamp> {
    let all = |window: &Window| -> Vec<Range<Timestamp>> {
        let Some(zone) = window.zone(zones) else { return Vec::new() };
        let dates = days.start.series(1.day()).take_while(|day| *day < days.end);
        dates.filter_map(|day| window.on(day, &zone)).collect()
    };
    let (one, other) = (all(one), all(other));
    let (mut a, mut b) = (one.iter().peekable(), other.iter().peekable());
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        let begin = x.start.max(y.start);
        if begin < x.end.min(y.end) {
            return Some(begin);
        }
        if x.end <= y.end {
            a.next()
        } else {
            b.next()
        };
    }
    None
}

impl Window {
    /// The zone it is meant in; `None` if that is not known any more.
    #[must_use]
    pub fn zone(&self, zones: &Zones) -> Option<TimeZone> {
        match &self.timezone {
            Some(name) => (zones.named)(name),
            None => Some((zones.local)()),
        }
    }

    /// When it holds that begins on this day; `None` if it does not, or if the clock jumps over all of it.
    fn on(&self, day: Date, zone: &TimeZone) -> Option<Range<Timestamp>> {
        if !self.days.contains(day.weekday()) {
            return None;
        }
        let last = if self.to <= self.from { day.tomorrow().ok()? } else { day };
        let (begin, end) = (reached(self.from.on(day)?, zone)?, reached(self.to.on(last)?, zone)?);
        (begin < end).then_some(begin..end)
    }

    /// The first time that it holds and that is not over.
    fn around(&self, at: Timestamp, zone: &TimeZone) -> Option<Range<Timestamp>> {
        let today = zone.to_datetime(at).date();
        // It lasts a day at most; one more, as the calendar can skip one. It recurs within a week; one more,
        // as the clock can jump over it.
        (-2..=15)
            .filter_map(|days| today.checked_add(days.days()).ok())
            .filter_map(|day| self.on(day, zone))
            .find(|found| found.end > at)
    }
}

/// When the clock on the wall first shows this time, or jumps over it.
fn reached(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let instants = zone.to_ambiguous_timestamp(time);
    // Mostly the same. Of a time that is skipped they lie on both sides of the jump.
    let (earlier, later) = (instants.earlier().ok()?, instants.later().ok()?);
    if zone.to_datetime(earlier) >= time {
        return Some(earlier);
    }
    let mut jumps = zone.following(earlier).map(|jump| jump.timestamp()).take_while(|jump| *jump <= later);
    Some(jumps.find(|jump| zone.to_datetime(*jump) >= time).unwrap_or(later))
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}-{}", self.days, self.from, self.to)?;
        self.timezone.as_ref().map_or(Ok(()), |zone| write!(f, " {zone}"))
    }
}

/// A time of day, from 00:00 to 24:00, in whole seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DayTime(u32);

impl DayTime {
    /// The beginning of a day.
    pub const START: Self = Self(0);
    /// The end of a day.
    pub const END: Self = Self(86_400);

    /// Reads `HH:MM` or `HH:MM:SS`; `24:00` is the end of the day.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':').map(|part| {
            let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| part.parse::<u32>().ok()).flatten()
        });
        let (hours, minutes) = (parts.next()??, parts.next()??);
        let seconds = parts.next().unwrap_or(Some(0))?;
        let sum = hours * 3600 + minutes * 60 + seconds;
        (parts.next().is_none() && minutes < 60 && seconds < 60 && sum <= Self::END.0).then_some(Self(sum))
    }

    /// This time of that day.
    fn on(self, day: Date) -> Option<DateTime> {
        day.to_datetime(jiff::civil::Time::midnight()).checked_add(i64::from(self.0).seconds()).ok()
    }
}

impl fmt::Display for DayTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 3600, self.0 / 60 % 60)?;
        if self.0.is_multiple_of(60) { Ok(()) } else { write!(f, ":{:02}", self.0 % 60) }
    }
}

impl From<DayTime> for String {
    fn from(time: DayTime) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for DayTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no time of day"))
    }
}

/// Days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Days(u8);

impl Days {
    /// No day.
    pub const NONE: Self = Self(0);
    /// Every day.
    pub const ALL: Self = Self(0b111_1111);
    /// What the days and some sets of them are called.
    pub const NAMES: [(&str, Self); 9] = [
        ("mon", Self(1)),
        ("tue", Self(1 << 1)),
        ("wed", Self(1 << 2)),
        ("thu", Self(1 << 3)),
        ("fri", Self(1 << 4)),
        ("sat", Self(1 << 5)),
        ("sun", Self(1 << 6)),
        ("weekdays", Self(0b001_1111)),
        ("weekend", Self(0b110_0000)),
    ];

    /// Reads `mon`, `mon-fri` (`fri-mon` goes over the weekend), `weekdays` or `weekend`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let named = |text: &str| Self::NAMES.iter().find(|(name, _)| *name == text).map(|(_, days)| *days);
        let day = |text: &str| Self::NAMES[..7].iter().position(|(name, _)| *name == text);
        match text.split_once('-') {
            None => named(text),
            Some((first, last)) => {
                let (first, last) = (day(first)?, day(last)?);
                let length = (last + 7 - first) % 7;
                Some((0..=length).fold(Self::NONE, |days, n| days.and(Self(1 << ((first + n) % 7)))))
            }
        }
    }

    /// These and those.
    #[must_use]
    pub fn and(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }

    fn contains(self, day: Weekday) -> bool {
        self.0 & (1 << day.to_monday_zero_offset()) != 0
    }
}

impl fmt::Display for Days {
    /// `daily`, or days and ranges as [`Days::parse`] reads them, with commas between.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("daily");
        }
        let has = |n: usize| self.0 & (1 << n) != 0;
        let name = |n: usize| Self::NAMES[n].0;
        let mut comma = "";
        let mut n = 0;
        while n < 7 {
            let length = (n..7).take_while(|n| has(*n)).count();
            match length {
                0 => {}
                1 => write!(f, "{comma}{}", name(n))?,
                _ => write!(f, "{comma}{}-{}", name(n), name(n + length - 1))?,
            }
            if length > 0 {
                comma = ",";
            }
            n += length + 1;
        }
        Ok(())
    }
}

impl From<Days> for String {
    fn from(days: Days) -> Self {
        days.to_string()
    }
}

impl TryFrom<String> for Days {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text == "daily" {
            return Ok(Self::ALL);
        }
        let parts =
            text.split(',').map(|part| Self::parse(part).ok_or_else(|| format!("{part:?} is no day")));
        parts.filter(|_| !text.is_empty()).try_fold(Self::NONE, |days, more| Ok(days.and(more?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &str, from: &str, to: &str, zone: &str) -> Window {
        let days = Days::try_from(days.to_owned()).expect("days");
        let (from, to) = (DayTime::parse(from).expect("a time"), DayTime::parse(to).expect("a time"));
        Window { days, from, to, timezone: Some(zone.into()), constraints: Constraints::default() }
    }

    fn wall(text: &str) -> WallTime {
        WallTime(text.parse().expect("an instant"))
    }

    /// What is in force at each change from one instant to another, as the schedule itself tells it.
    fn changes(windows: &[Window], from: WallTime, to: WallTime) -> Vec<(Timestamp, Option<usize>)> {
        let (active, mut next) = outlook(windows, from, &Zones::BUILT_IN);
        let mut list = vec![(from.0, active)];
        while let Some(boundary) = next.filter(|next| next.at < to) {
            let before = WallTime::from_unix_ms(boundary.at.unix_ms() - 1);
            assert_eq!(outlook(windows, before, &Zones::BUILT_IN), (list[list.len() - 1].1, Some(boundary)));
            let (active, after) = outlook(windows, boundary.at, &Zones::BUILT_IN);
            assert_eq!(active, boundary.active, "at {}", boundary.at);
            list.push((boundary.at.0, active));
            next = after;
        }
        list
    }

    /// A clock on the wall that is looked at every five minutes. What counts is the latest that it has ever
    /// shown, so that a time that comes twice counts once, and one that is skipped is passed.
    fn watch(zone: &TimeZone, from: WallTime, to: WallTime) -> Vec<(Timestamp, DateTime)> {
        let (mut at, mut shown, mut list) = (from.0, DateTime::MIN, Vec::new());
        while at < to.0 {
            shown = shown.max(zone.to_datetime(at));
            list.push((at, shown));
            at += SignedDuration::from_mins(5);
        }
        list
    }

    /// What [`changes`] tells, from such a clock.
    fn watched(windows: &[Window], clock: &[(Timestamp, DateTime)]) -> Vec<(Timestamp, Option<usize>)> {
        let mut list: Vec<(Timestamp, Option<usize>)> = Vec::new();
        for (at, shown) in clock {
            let (today, yesterday) = (shown.weekday(), shown.weekday().previous());
            let second = (shown.hour() as u32 * 60 + shown.minute() as u32) * 60;
            let holds = |window: &Window| {
                let begun = |day| window.days.contains(day);
                let Window { from: DayTime(from), to: DayTime(to), .. } = *window;
                match to > from {
                    true => begun(today) && (from..to).contains(&second),
                    false => (begun(today) && second >= from) || (begun(yesterday) && second < to),
                }
            };
            let active = windows.iter().position(holds);
            if list.last().is_none_or(|(_, last)| *last != active) {
                list.push((*at, active));
            }
        }
        list
    }

    #[test]
    fn around_each_clock_change_of_many_zones_it_is_as_a_clock_on_the_wall_shows_it() {
        // The clock jumps at 0, 1, 2, 3 and 4 o'clock, by 30 minutes, one, two and 24 hours, forward and
        // back, over midnight, in Ramadan, and never.
        let zones = [
            ("Europe/Berlin", 2025),
            ("Europe/London", 2026),
            ("America/New_York", 2026),
            ("America/Sao_Paulo", 2018),
            ("America/Havana", 2026),
            ("America/Santiago", 2026),
            ("America/Nuuk", 2023),
            ("America/Nuuk", 2026),
            ("Asia/Beirut", 2026),
            ("Asia/Tehran", 2021),
            ("Asia/Gaza", 2026),
            ("Asia/Kathmandu", 2026),
            ("Africa/Casablanca", 2026),
            ("Africa/Cairo", 2026),
            ("Atlantic/Azores", 2026),
            ("Australia/Lord_Howe", 2026),
            ("Australia/Adelaide", 2031),
            ("Antarctica/Troll", 2026),
            ("Pacific/Apia", 2011),
            ("Pacific/Chatham", 2045),
            ("UTC", 2026),
        ];
        let schedules: &[&[(&str, &str, &str)]] = &[
            &[("mon-fri", "22:00", "06:00"), ("sat", "06:00", "24:00"), ("sun", "00:00", "24:00")],
            // Into what is skipped and what comes twice, tile by tile.
            &[
                ("daily", "23:40", "00:10"),
                ("daily", "00:10", "00:50"),
                ("daily", "00:50", "01:30"),
                ("daily", "01:30", "02:10"),
                ("daily", "02:30", "02:40"),
                ("daily", "02:40", "03:30"),
            ],
            &[("sun", "02:10", "02:50")],
            &[("fri,sun", "23:00", "23:30"), ("sat", "23:30", "22:00")],
            &[("daily", "00:00", "24:00")],
        ];
        let mut found = 0;
        for (zone, year) in zones {
            let rules = (Zones::BUILT_IN.named)(zone).expect("a zone");
            let begin = wall(&format!("{year}-01-02T00:00:00Z")).0;
            let jumps = rules.following(begin).map(|jump| jump.timestamp());
            let jumps =
                jumps.take_while(|at| at.duration_since(begin) < SignedDuration::from_hours(24 * 365));
            for around in jumps.chain([begin]) {
                let week = SignedDuration::from_hours(24 * 8);
                let midnight = rules.to_datetime(around - week / 4).date();
                let from = WallTime(reached(midnight.into(), &rules).expect("in range"));
                let to = WallTime(around + week);
                let clock = watch(&rules, from, to);
                for schedule in schedules {
                    let windows: Vec<Window> =
                        schedule.iter().map(|(days, begin, end)| window(days, begin, end, zone)).collect();
                    let (told, seen) = (changes(&windows, from, to), watched(&windows, &clock));
                    for (told, seen) in told.iter().zip(&seen) {
                        assert_eq!(told, seen, "{zone} {year}: {schedule:?}");
                    }
                    assert_eq!(told.len(), seen.len(), "{zone} {year}: {schedule:?}");
                    found += seen.len();
                }
            }
        }
        assert!(found > 5_000, "{found}");
    }

    #[test]
    fn clock_changes_make_a_window_longer_or_shorter_and_never_two() {
        let berlin = |from, to| [window("daily", from, to, "Europe/Berlin")];
        let times = |windows: &[Window], from: &str, to: &str| -> Vec<String> {
            changes(windows, wall(from), wall(to)).iter().skip(1).map(|(at, _)| at.to_string()).collect()
        };
        // 02:00 to 03:00 is skipped: what begins in it begins with the jump, and what lies in it is left out.
        let spring = ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
        assert_eq!(
            times(&berlin("02:30", "06:00"), spring.0, spring.1),
            ["2026-03-29T01:00:00Z", "2026-03-29T04:00:00Z"]
        );
        assert_eq!(
            times(&berlin("22:00", "02:30"), spring.0, spring.1),
            ["2026-03-28T21:00:00Z", "2026-03-29T01:00:00Z"]
        );
        assert_eq!(times(&berlin("02:10", "02:50"), spring.0, spring.1), [] as [&str; 0]);
        // 02:00 to 03:00 comes twice, and the first time counts.
        let autumn = ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");
        assert_eq!(
            times(&berlin("02:30", "06:00"), autumn.0, autumn.1),
            ["2026-10-25T00:30:00Z", "2026-10-25T05:00:00Z"]
        );
        assert_eq!(
            times(&berlin("22:00", "02:30"), autumn.0, autumn.1),
            ["2026-10-24T20:00:00Z", "2026-10-25T00:30:00Z"]
        );
        assert_eq!(
            times(&berlin("02:10", "02:50"), autumn.0, autumn.1),
            ["2026-10-25T00:10:00Z", "2026-10-25T00:50:00Z"]
        );
    }

    #[test]
    fn the_day_of_a_window_is_the_one_on_which_it_begins() {
        let night = [window("fri", "22:00", "06:00", "UTC")];
        let active = |at: &str| outlook(&night, wall(at), &Zones::BUILT_IN).0;
        assert_eq!((active("2026-01-02T21:59:59.999Z"), active("2026-01-02T22:00:00Z")), (None, Some(0)));
        assert_eq!((active("2026-01-03T05:59:59.999Z"), active("2026-01-03T06:00:00Z")), (Some(0), None));
        assert_eq!(active("2026-01-02T05:00:00Z"), None, "Friday morning belongs to Thursday");
    }

    #[test]
    fn the_ends_of_time_and_unknown_zones_are_borne() {
        let windows =
            [window("daily", "22:00", "06:00", "Europe/Berlin"), window("mon", "00:00", "24:00", "No/Where")];
        for at in [WallTime(Timestamp::MIN), WallTime(Timestamp::MAX), wall("-004000-01-01T00:00:00Z")] {
            let _ = outlook(&windows, at, &Zones::BUILT_IN);
        }
        assert_eq!(outlook(&windows[1..], wall("2026-01-05T12:00:00Z"), &Zones::BUILT_IN), (None, None));
    }

    #[test]
    fn windows_that_hold_at_once_are_found_in_other_zones_too() {
        let days = jiff::civil::date(2026, 1, 1)..jiff::civil::date(2027, 1, 8);
        let both = |one: &Window, other: &Window| {
            let found = overlap(one, other, days.clone(), &Zones::BUILT_IN);
            assert_eq!(found, overlap(other, one, days.clone(), &Zones::BUILT_IN));
            found.map(|at| at.to_string())
        };
        let berlin = window("daily", "20:00", "23:00", "Europe/Berlin");
        // Six hours apart, but for some weeks in spring and autumn.
        let york = |from, to| window("daily", from, to, "America/New_York");
        assert_eq!(both(&berlin, &york("17:00", "20:00")).as_deref(), Some("2026-03-08T21:00:00Z"));
        assert_eq!(both(&berlin, &york("18:00", "20:00")), None);
        let late = window("fri", "22:00", "06:00", "UTC");
        assert_eq!(
            both(&late, &window("sat", "05:59", "07:00", "UTC")).as_deref(),
            Some("2026-01-03T05:59:00Z")
        );
        assert_eq!(both(&late, &window("sat", "06:00", "07:00", "UTC")), None);
    }

    #[test]
    fn days_and_times_are_read_as_they_are_written() {
        for text in ["daily", "mon", "mon-fri", "sat-sun", "mon,wed,fri-sun"] {
            assert_eq!(Days::try_from(text.to_owned()).expect(text).to_string(), text);
        }
        assert_eq!(Days::parse("fri-mon").expect("days").to_string(), "mon,fri-sun");
        assert_eq!(Days::parse("mon-mon"), Days::parse("mon"));
        for text in ["", "monday", "mon-", "-", "mon-weekend", "Mon"] {
            assert_eq!(Days::parse(text), None, "{text}");
        }
        for (text, shown) in
            [("00:00", "00:00"), ("22:30:00", "22:30"), ("06:00:05", "06:00:05"), ("24:00", "24:00")]
        {
            assert_eq!(DayTime::parse(text).expect(text).to_string(), shown);
        }
        for text in ["", "6:00", "24:01", "23:60", "22", "22:00:00:00", "+1:00", "22:00:60", "99:00"] {
            assert_eq!(DayTime::parse(text), None, "{text}");
        }
        let window = window("mon-fri", "22:00", "06:00", "Europe/Berlin");
        let json = serde_json::to_string(&window).expect("recorded");
        assert!(json.starts_with("{\"days\":\"mon-fri\",\"from\":\"22:00\",\"to\":\"06:00\""), "{json}");
        assert_eq!(serde_json::from_str::<Window>(&json).expect("and read"), window);
    }
}
