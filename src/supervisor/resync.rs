//! When everything is looked at for what no event told: the files, and the limits of all jobs.

use std::time::Duration;

use crate::model::time::BootTime;

/// Between two looks at everything.
pub const RESYNC: Duration = Duration::from_secs(30);

/// Before a limit is tried again for the first time that an edit asked for and the kernel refused.
const VERIFY_SOON: Duration = Duration::from_millis(250);

/// The next looks.
#[derive(Debug)]
pub struct Resync {
    /// When files are read again; `None`: they were not read yet.
    rescan_at: Option<BootTime>,
    /// When limits are read back.
    verify_at: BootTime,
    /// The pause before that.
    verify_pause: Duration,
}

impl Resync {
    /// Limits are known to be in force now.
    #[must_use]
    pub fn new(now: BootTime) -> Self {
        Self { rescan_at: None, verify_at: now + RESYNC, verify_pause: RESYNC }
    }

    /// When the next look is due.
    #[must_use]
    pub fn wake(&self) -> BootTime {
        self.rescan_at.map_or(self.verify_at, |rescan| rescan.min(self.verify_at))
    }

    /// Whether files are to be read.
    #[must_use]
    pub fn rescan_is_due(&self, now: BootTime) -> bool {
        self.rescan_at.is_some_and(|at| at <= now)
    }

    /// Files are read again at this time at the latest.
    pub fn rescan_by(&mut self, at: BootTime) {
        self.rescan_at = Some(self.rescan_at.map_or(at, |known| known.min(at)));
    }

    /// Files were read.
    pub fn rescanned(&mut self, now: BootTime) {
        self.rescan_at = Some(now + RESYNC);
    }

    /// Whether limits are to be read back.
    #[must_use]
    pub fn verify_is_due(&self, now: BootTime) -> bool {
        self.verify_at <= now
    }

    /// A limit was refused for now: looks again soon, then after pauses that double.
    pub fn verify_soon(&mut self, now: BootTime) {
        self.verify_pause = VERIFY_SOON;
        self.verify_at = self.verify_at.min(now + VERIFY_SOON);
    }

    /// Limits were read back.
    pub fn verified(&mut self, now: BootTime) {
        self.verify_pause = (self.verify_pause * 2).min(RESYNC);
        self.verify_at = match self.rescan_at {
            // One awakening for both.
            Some(rescan) if self.verify_pause == RESYNC => rescan,
            _ => now + self.verify_pause,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: BootTime = BootTime(1_000_000_000_000);

    #[test]
    fn a_refused_limit_is_tried_soon_then_less_and_less_until_both_looks_are_one() {
        let mut resync = Resync::new(NOW);
        resync.rescanned(NOW);
        assert_eq!(resync.wake(), NOW + RESYNC);
        resync.verify_soon(NOW);
        let (mut now, mut pauses) = (NOW, Vec::new());
        while now < NOW + Duration::from_secs(15) {
            let next = resync.wake();
            assert!(resync.verify_is_due(next) && !resync.rescan_is_due(next));
            pauses.push(next.since(now).as_millis());
            now = next;
            resync.verified(now);
        }
        assert_eq!(pauses, [250, 500, 1000, 2000, 4000, 8000]);
        let rescan = resync.wake();
        assert_eq!(rescan, NOW + RESYNC);
        resync.rescanned(rescan);
        resync.verified(resync.wake());
        assert_eq!(resync.wake(), rescan + RESYNC, "with the look at the files");
        assert!(resync.verify_is_due(resync.wake()) && resync.rescan_is_due(resync.wake()));
    }

    #[test]
    fn files_are_read_earlier_where_somebody_asks_and_never_later() {
        let mut resync = Resync::new(NOW);
        resync.rescan_by(NOW + Duration::from_secs(5));
        resync.rescan_by(NOW + Duration::from_secs(9));
        assert!(resync.rescan_is_due(NOW + Duration::from_secs(5)));
    }
}
