//! Waiting for what is to come, on a machine that may be many times slower than the usual one.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it. What comes sooner costs nothing.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Looks until there is something to see.
pub fn await_some<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    await_within(DEADLINE, what, look)
}

/// The same, for what takes much CPU time, of which other tests may leave little.
pub fn await_within<T>(deadline: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < deadline, "waited in vain: {what}");
        // Often at first; later less, to leave the CPU to what is waited for.
        sleep((begin.elapsed() / 20).clamp(Duration::from_millis(5), Duration::from_millis(100)));
    }
}

/// Looks until it is so.
pub fn await_true(what: &str, mut look: impl FnMut() -> bool) {
    await_some(what, || look().then_some(()));
}
