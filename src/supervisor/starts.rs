//! The queue of starts. A start is the dearest thing that the supervisor does, so a storm of restarts is
//! bounded as a whole: a job's first start and starts after an edit go first, restarts wait in turn, and only
//! so many are in flight. A new job is never behind a thousand that fail.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::model::ids::JobId;
use crate::model::time::BootTime;
use crate::reconcile::plan::StartReason;

/// Starts whose workload does not run yet. More of them at once make none of them faster.
const MAX_IN_FLIGHT: usize = 16;

/// A start that takes longer than this counts no more: it waits for something else than the processor.
const SLOW: Duration = Duration::from_secs(1);

/// Jobs that wait for their start, and those that are being started.
#[derive(Debug, Default)]
pub struct Starts {
    first: VecDeque<JobId>,
    again: VecDeque<JobId>,
    waiting: BTreeMap<JobId, StartReason>,
    in_flight: BTreeMap<JobId, BootTime>,
    /// The jobs that may start in this round.
    granted: BTreeSet<JobId>,
}

impl Starts {
    /// Whether a job may start now; otherwise it is queued. Who is granted once has to say so by
    /// [`Starts::began`], or by asking again.
    pub fn may_start(&mut self, job: &JobId, why: StartReason) -> bool {
        if self.granted.remove(job) {
            return true;
        }
        let is_first = |why| why != StartReason::Restart;
        match self.waiting.insert(job.clone(), why) {
            Some(before) if is_first(before) || !is_first(why) => {}
            // An edit came while it waited for its restart. It stands in both queues now; the first one counts.
            _ if is_first(why) => self.first.push_back(job.clone()),
            _ => self.again.push_back(job.clone()),
        }
        false
    }

    /// A start is under way.
    pub fn began(&mut self, job: &JobId, now: BootTime) {
        self.in_flight.insert(job.clone(), now);
    }

    /// A job's workload runs, or its run came to an end.
    pub fn settled(&mut self, job: &JobId) {
        self.in_flight.remove(job);
    }

    /// Takes the next job of the queue that may start. It is planned again: what it waited for may not be wanted
    /// any more.
    pub fn next(&mut self, now: BootTime) -> Option<JobId> {
        if self.in_flight.values().filter(|since| **since + SLOW > now).count() >= MAX_IN_FLIGHT {
            return None;
        }
        loop {
            let job = self.first.pop_front().or_else(|| self.again.pop_front())?;
            if self.waiting.remove(&job).is_some() {
                self.granted.insert(job.clone());
                return Some(job);
            }
        }
    }

    /// Whether starts have become slow since this was last asked.
    pub fn slow(&mut self, now: BootTime) -> bool {
        let before = self.in_flight.len();
        self.in_flight.retain(|_, since| *since + SLOW > now);
        self.in_flight.len() < before
    }

    /// A job was planned: where it did not start, its grant is over.
    pub fn planned(&mut self, job: &JobId) {
        self.granted.remove(job);
    }

    /// When to look again at the latest: at once where a start could be made, else when one of those in flight is slow.
    #[must_use]
    pub fn wake(&self) -> Option<BootTime> {
        if !self.waiting.is_empty() && self.in_flight.len() < MAX_IN_FLIGHT {
            return Some(BootTime(0));
        }
        self.in_flight.values().min().map(|since| *since + SLOW)
    }

    /// No first start waits.
    #[must_use]
    pub fn none_first(&self) -> bool {
        self.waiting.values().all(|why| *why == StartReason::Restart)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(n: usize) -> JobId {
        JobId::new(&format!("job-{n}")).expect("an id")
    }

    const NOW: BootTime = BootTime(1_000_000_000_000);

    /// Takes the next one and starts it.
    fn start(starts: &mut Starts, why: StartReason) -> Option<JobId> {
        let job = starts.next(NOW)?;
        assert!(starts.may_start(&job, why), "{job} was granted its start");
        starts.began(&job, NOW);
        Some(job)
    }

    #[test]
    fn a_new_job_is_before_a_thousand_restarts_and_they_take_turns() {
        let mut starts = Starts::default();
        (0..1000).for_each(|n| assert!(!starts.may_start(&job(n), StartReason::Restart)));
        // Asking twice gives no second place.
        assert!(!starts.may_start(&job(0), StartReason::Restart));
        assert!(!starts.may_start(&job(5000), StartReason::Declared));
        // An edit of one that waits already.
        assert!(!starts.may_start(&job(999), StartReason::Edited));
        assert_eq!(start(&mut starts, StartReason::Declared), Some(job(5000)));
        assert_eq!(start(&mut starts, StartReason::Edited), Some(job(999)));
        for n in 0..10 {
            assert_eq!(start(&mut starts, StartReason::Restart), Some(job(n)));
            assert!(
                !starts.may_start(&job(n), StartReason::Restart),
                "it failed at once, and goes to the end"
            );
        }
        assert_eq!(start(&mut starts, StartReason::Restart), Some(job(10)));
    }

    #[test]
    fn so_many_are_in_flight_and_one_that_hangs_blocks_nobody_for_long() {
        let mut starts = Starts::default();
        (0..100).for_each(|n| assert!(!starts.may_start(&job(n), StartReason::Declared)));
        let begun = std::iter::from_fn(|| start(&mut starts, StartReason::Declared)).count();
        assert_eq!(begun, MAX_IN_FLIGHT);
        assert_eq!(starts.wake(), Some(NOW + SLOW));
        starts.settled(&job(3));
        assert_eq!(starts.wake(), Some(BootTime(0)));
        assert_eq!(start(&mut starts, StartReason::Declared), Some(job(MAX_IN_FLIGHT)));
        assert_eq!(starts.next(NOW), None);
        assert!(starts.next(NOW + SLOW).is_some(), "all of them hang, and others begin");
    }

    #[test]
    fn a_start_that_is_not_wanted_any_more_leaves_no_grant() {
        let mut starts = Starts::default();
        assert!(!starts.may_start(&job(1), StartReason::Restart));
        assert_eq!(starts.next(NOW), Some(job(1)));
        starts.planned(&job(1));
        assert!(!starts.may_start(&job(1), StartReason::Restart));
    }
}
