//! The CPU time that cgroups use, judged so that it holds however little of it is left for them: a quota
//! is a ceiling, and weights say who gets more.
//!
//! Where the whole machine stands still for a while, who was at work is charged for it, and the scheduler
//! makes good for that later: what is looked at gets the time to come out right.

use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::wait::await_within;

/// Waiting for CPU time, which others may take.
const PATIENCE: Duration = Duration::from_secs(180);

/// A cgroup whose CPU time is counted.
pub trait Counted {
    /// The CPU time that was used in it.
    fn used(&self) -> Duration;

    /// In how many periods its quota was used up (`cpu.stat`).
    fn throttled(&self) -> u64;

    /// Waits until it has used some more CPU time.
    fn await_use(&self, more: Duration) {
        let enough = self.used() + more;
        await_within(PATIENCE, "it is at work", || (self.used() >= enough).then_some(()));
    }

    /// That over this while, or longer, it uses no more than this part of one CPU, in percent, and is kept
    /// from using more.
    fn assert_held_to(&self, percent: f64, over: Duration) {
        let throttled = self.throttled();
        // Around the counter, so that a pause of this test never looks like use.
        let (begin, before) = (Instant::now(), self.used());
        sleep(over);
        let held = || {
            let used = self.used() - before;
            let share = used.as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
            if share >= percent {
                eprintln!("{share:.1} % used, at most {percent} % wanted");
            }
            share < percent
        };
        await_within(PATIENCE, "it uses no more than its quota", || held().then_some(()));
        await_within(PATIENCE, "its quota holds it back", || (self.throttled() > throttled).then_some(()));
    }

    /// That nothing holds it back while it is at work.
    fn assert_not_held(&self) {
        let throttled = self.throttled();
        self.await_use(Duration::from_secs(1));
        assert_eq!(self.throttled(), throttled, "it is held back");
    }
}

/// That cgroups which share one CPU come to use it in this ratio.
pub fn assert_ratio<C: Counted>(of: &[&C], ratio: &[f64], tolerance: f64) {
    let used = || -> Vec<Duration> { of.iter().map(|cgroup| cgroup.used()).collect() };
    let before = used();
    let fits = || {
        let used = used();
        let used: Vec<f64> = used.iter().zip(&before).map(|(now, was)| (*now - *was).as_secs_f64()).collect();
        let unit = used.iter().sum::<f64>() / ratio.iter().sum::<f64>();
        let off = |(used, part): (&f64, &f64)| (used / unit / part - 1.0).abs();
        // Long against one turn of the scheduler's, and the time between two looks.
        let enough = used.iter().all(|used| *used > 1.0);
        let fits = enough && used.iter().zip(ratio).all(|pair| off(pair) < tolerance);
        if enough && !fits {
            eprintln!("{used:.2?} seconds are not {ratio:?}");
        }
        fits
    };
    await_within(PATIENCE, "they share as they should", || fits().then_some(()));
}
