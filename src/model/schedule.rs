//! PURE: schedules, windows of time in which other constraints are in force.
//!
//! A window begins when the clock on the wall first reaches `from`, and ends when it first reaches `to`.
//! So each is one stretch of time, whatever daylight saving does: a time that is skipped is reached when
//! the clock jumps over it, a time that happens twice is reached the first time. Windows that do not
//! overlap on the dial never overlap, and one that ends when another begins leaves no gap.

use std::fmt;
use std::ops::Range;

use jiff::civil::{Date, DateTime, Weekday};
use jiff::tz::{AmbiguousOffset, TimeZone};
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
    let zoned: Vec<(usize, &Window, TimeZone)> = windows
        .iter()
        .enumerate()
        .filter_map(|(n, window)| Some((n, window, window.zone(zones)?)))
        .collect();
    let active = |at| zoned.iter().find(|(_, window, zone)| window.holds(at, zone)).map(|(n, ..)| *n);
    let now = now.0;
    let current = active(now);
    let mut at = now;
    while let Some(next) = zoned.iter().filter_map(|(_, window, zone)| window.turns_after(at, zone)).min()
        && next.duration_since(now) <= HORIZON
    {
        let then = active(next);
        if then != current {
            return (current, Some(Boundary { at: WallTime(next), active: then }));
        }
        at = next;
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
        if x.end <= y.end { a.next() } else { b.next() };
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

    fn holds(&self, at: Timestamp, zone: &TimeZone) -> bool {
        self.around(at, zone, 1).is_some_and(|found| found.contains(&at))
    }

    /// When it begins or ends next.
    fn turns_after(&self, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        // Every week, and not in one in which the clock jumps over it.
        let found = self.around(at, zone, 15)?;
        Some(if found.start > at { found.start } else { found.end })
    }

    /// The first time that it holds and that is not over, begun at most so many days from now.
    fn around(&self, at: Timestamp, zone: &TimeZone, ahead: i32) -> Option<Range<Timestamp>> {
        let today = zone.to_datetime(at).date();
        // It lasts a day at most; one more, as the calendar can skip one.
        (-2..=ahead)
            .filter_map(|days| today.checked_add(days.days()).ok())
            .filter_map(|day| self.on(day, zone))
            .find(|found| found.end > at)
    }
}

/// When the clock on the wall first shows this time, or jumps over it.
fn reached(time: DateTime, zone: &TimeZone) -> Option<Timestamp> {
    let instants = zone.to_ambiguous_timestamp(time);
    let earlier = instants.earlier().ok()?;
    if !matches!(instants.offset(), AmbiguousOffset::Gap { .. }) {
        return Some(earlier);
    }
    // In a gap the two are the instants that far before and after the jump.
    let later = instants.later().ok()?;
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
        if self.0 % 60 == 0 { Ok(()) } else { write!(f, ":{:02}", self.0 % 60) }
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
        let parts = text.split(',').map(|part| Self::parse(part).ok_or_else(|| format!("{part:?} is no day")));
        parts.filter(|_| !text.is_empty()).try_fold(Self::NONE, |days, more| Ok(days.and(more?)))
    }
}
