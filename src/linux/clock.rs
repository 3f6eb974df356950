//! The one place that reads clocks, and the host's time zones.

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use jiff::tz::TimeZone;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use crate::model::time::{BootTime, Moment, WallTime};
use crate::model::zones::{Zones, built_in};

/// The host's time zones: those of `/usr/share/zoneinfo`, and where one is missing there, those built in.
/// The local one is that of `TZ`, else of `/etc/localtime`, else UTC. Both are read again when they are
/// older than five minutes.
pub const ZONES: Zones =
    Zones { named: |name| TimeZone::get(name).ok().or_else(|| built_in(name)), local: TimeZone::system };

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

/// So many clock ticks, in which `/proc` counts time (`_SC_CLK_TCK`, sysconf(3)).
#[must_use]
pub fn ticks(count: u64) -> Duration {
    // 100 a second on every Linux that runs media; the call cannot fail for it.
    let second = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
    Duration::from_millis(count.saturating_mul(1000) / second.unwrap_or(100).max(1))
}

/// A descriptor that becomes readable each time the wall clock is set, and when the host wakes from
/// suspend (`TFD_TIMER_CANCEL_ON_SET`, timerfd_create(2)). A read of it fails then with `ECANCELED`, and
/// it waits for the next time.
///
/// # Errors
/// There are no descriptors left.
pub fn tells_when_set() -> io::Result<OwnedFd> {
    let timer = TimerFd::new(TimerClock::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?;
    // It is not to expire: the kernel cuts this down to the latest time that it knows.
    let never = Expiration::OneShot(TimeSpec::new(i64::MAX as _, 0));
    timer.set(never, TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET)?;
    Ok(timer.into())
}

/// A clock in milliseconds.
fn read(clock: ClockId) -> i64 {
    // Both clocks exist on every Linux that this program runs on: the call has no other way to fail.
    clock_gettime(clock).map_or(0, |time| time.tv_sec() * 1000 + time.tv_nsec() / 1_000_000)
}
