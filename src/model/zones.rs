//! PURE: where the rules of time zones come from. They are an input, as the time itself is.

use jiff::tz::{TimeZone, TimeZoneDatabase};

/// A source of time zones. The host's own is `linux::clock::ZONES`.
#[derive(Debug, Clone, Copy)]
pub struct Zones {
    /// The zone of a name as `Europe/Berlin`; `None` if there is none.
    pub named: fn(&str) -> Option<TimeZone>,
    /// The zone of a schedule that names none.
    pub local: fn() -> TimeZone,
}

impl Zones {
    /// The zones that are built into the program, with UTC as the local one.
    pub const BUILT_IN: Self = Self { named: built_in, local: || TimeZone::UTC };

    /// Every name that is built in, for suggestions.
    #[must_use]
    pub fn names() -> Vec<String> {
        TimeZoneDatabase::bundled().available().map(|name| name.as_str().to_owned()).collect()
    }
}

impl Default for Zones {
    fn default() -> Self {
        Self::BUILT_IN
    }
}

/// The built-in zone of a name.
#[must_use]
pub fn built_in(name: &str) -> Option<TimeZone> {
    TimeZoneDatabase::bundled().get(name).ok()
}
