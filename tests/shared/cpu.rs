//! The CPU time that cgroups use, judged so that it holds however little of it is left for them: a quota
//! is a ceiling, and weights say who gets more.

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

    /// That it uses no more than this part of one CPU, in percent, and is kept from using more.
    fn assert_held_to(&self, percent: f64, over: Duration) {
        let throttled = self.throttled();
        // Around the counter, so that a pause of this test never looks like use.
        let (begin, before) = (Instant::now(), self.used());
        sleep(over);
        let used = (self.used() - before).as_secs_f64() / begin.elapsed().as_secs_f64() * 100.0;
        assert!(used < percent, "at most {percent} % asked for, {used:.1} % used");
        await_within(PATIENCE, "its quota holds it back", || (self.throttled() > throttled).then_some(()));
    }

    /// That nothing holds it back while it is at work.
    fn assert_not_held(&self) {
        let throttled = self.throttled();
        self.await_use(Duration::from_secs(1));
        assert_eq!(self.throttled(), throttled, "it is held back");
    }
}

/// That cgroups which share one CPU use it in this ratio. The last one's part is the smallest.
pub fn assert_ratio<C: Counted>(of: &[&C], ratio: &[f64], tolerance: f64) {
    let used = || -> Vec<Duration> { of.iter().map(|cgroup| cgroup.used()).collect() };
    let before = used();
    // Long against one turn of the scheduler's, and the time between two looks.
    of[of.len() - 1].await_use(Duration::from_secs(1));
    let used: Vec<f64> = used().iter().zip(&before).map(|(now, was)| (*now - *was).as_secs_f64()).collect();
    let unit = used.iter().sum::<f64>() / ratio.iter().sum::<f64>();
    let fits = |(used, part): (&f64, &f64)| (used / unit / part - 1.0).abs() < tolerance;
    assert!(used.iter().zip(ratio).all(fits), "{used:.2?} seconds are not {ratio:?}");
}
