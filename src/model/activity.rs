//! How far the processes of a run have got, as the kernel counts it: enough to tell one that is finishing
//! its work from one that waits for something that may never come.

use std::time::Duration;

/// CPU time in a span of which a process that only waits may use a hundredth: ffmpeg that is blocked in a
/// network read looks ten times a second whether it is to give up, for each of its inputs.
const IDLE_SHARE: u32 = 100;

/// The same for short spans: `/proc/PID/stat` counts in ticks of 10 ms, user and system time each.
const IDLE_TICKS: Duration = Duration::from_millis(20);

/// What the processes of a run had done by some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Activity {
    /// How many they are.
    pub processes: usize,
    /// When the youngest of them began, in clock ticks since boot.
    pub newest: u64,
    /// CPU time of all their threads, those that have ended included.
    pub cpu: Duration,
    /// Bytes that they have written: to files, pipes and terminals (`wchar`, proc_pid_io(5)).
    pub written: u64,
    /// One of their threads waits for a disk, so that it can do nothing else (state D, proc_pid_stat(5)).
    pub waits_for_disk: bool,
}

impl Activity {
    /// Whether they did anything since `earlier`, which was so long ago. In doubt they did.
    #[must_use]
    pub fn goes_on_since(&self, earlier: &Self, span: Duration) -> bool {
        let idle = (span / IDLE_SHARE).max(IDLE_TICKS);
        (self.processes, self.newest, self.written) != (earlier.processes, earlier.newest, earlier.written)
            || self.cpu < earlier.cpu
            || self.cpu - earlier.cpu > idle
            || self.waits_for_disk
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_only_waits_is_told_from_who_works() {
        let ms = Duration::from_millis;
        let before = Activity { processes: 2, newest: 700, cpu: ms(500), written: 10, waits_for_disk: false };
        let after = |change: fn(&mut Activity)| {
            let mut after = before;
            change(&mut after);
            after.goes_on_since(&before, ms(2500))
        };
        assert!(!after(|_| {}));
        assert!(!after(|e| e.cpu += Duration::from_millis(20)), "it looks around, and waits on");
        assert!(after(|e| e.cpu += Duration::from_millis(30)));
        assert!(after(|e| e.written += 1));
        assert!(after(|e| e.waits_for_disk = true), "a slow disk is no reason to give up the output");
        assert!(after(|e| e.processes = 1), "a child has ended");
        assert!(after(|e| e.newest = 800), "another child");
        assert!(after(|e| e.cpu = Duration::ZERO), "what cannot be compared is no proof");
        // Over a longer time more looking around comes together.
        let mut later = before;
        later.cpu += ms(200);
        assert!(!later.goes_on_since(&before, ms(30_000)) && later.goes_on_since(&before, ms(10_000)));
    }
}
