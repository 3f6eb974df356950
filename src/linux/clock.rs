//! The one place that reads clocks.

use nix::time::{ClockId, clock_gettime};

use crate::model::time::{BootTime, Moment, WallTime};

/// Now, on both clocks (`CLOCK_REALTIME` and `CLOCK_BOOTTIME`, clock_gettime(2)).
#[must_use]
pub fn now() -> Moment {
    Moment { wall: WallTime::from_unix_ms(read(ClockId::CLOCK_REALTIME)), boot: boot() }
}

/// Now, for decisions.
#[must_use]
pub fn boot() -> BootTime {
    BootTime(read(ClockId::CLOCK_BOOTTIME).unsigned_abs())
}

/// A clock in milliseconds.
fn read(clock: ClockId) -> i64 {
    // Both clocks exist on every Linux that this program runs on: the call has no other way to fail.
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000)
}
