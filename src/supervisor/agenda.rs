//! Which jobs are planned next. Those whose time came or whose file changed go first, all others in the
//! order in which something happened to them: a storm of exits delays nobody's time-out.

use std::collections::{BTreeSet, VecDeque};

use crate::model::ids::JobId;

/// The jobs that have to be planned, each of them once.
#[derive(Debug, Default)]
pub struct Agenda {
    /// Their time came, or their declaration changed.
    urgent: Lane,
    /// Something happened to a run of theirs.
    ordinary: Lane,
    /// How many were taken from here.
    taken: u64,
}

#[derive(Debug, Default)]
struct Lane {
    order: VecDeque<JobId>,
    members: BTreeSet<JobId>,
}

impl Lane {
    fn push(&mut self, job: JobId) {
        if self.members.insert(job.clone()) {
            self.order.push_back(job);
        }
    }

    fn pop(&mut self) -> Option<JobId> {
        let job = self.order.pop_front()?;
        self.members.remove(&job);
        Some(job)
    }
}

/// A place in the agenda: reached when all that stood in it at that time was planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(u64);

impl Agenda {
    /// Has a job planned soon: something happened to it.
    pub fn add(&mut self, job: JobId) {
        if !self.urgent.members.contains(&job) {
            self.ordinary.push(job);
        }
    }

    /// Has a job planned before those to which only something happened.
    pub fn add_urgent(&mut self, job: JobId) {
        self.urgent.push(job);
    }

    /// The job to plan now. In the ordinary lane it may be one that was planned as an urgent one meanwhile;
    /// planning twice changes nothing.
    pub fn pop(&mut self) -> Option<JobId> {
        let job = self.urgent.pop().or_else(|| self.ordinary.pop())?;
        self.taken += 1;
        Some(job)
    }

    /// Nobody has to be planned.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.urgent.order.is_empty() && self.ordinary.order.is_empty()
    }

    /// The place behind all that stand in it now.
    #[must_use]
    pub fn end(&self) -> Place {
        Place(self.taken + (self.urgent.order.len() + self.ordinary.order.len()) as u64)
    }

    /// Whether as many were planned as stood before that place: in a storm the agenda may never be empty.
    #[must_use]
    pub fn has_reached(&self, place: Place) -> bool {
        self.taken >= place.0 || self.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn job(n: u8) -> JobId {
        JobId::new(&format!("job-{n}")).expect("an id")
    }

    #[test]
    fn a_storm_of_events_delays_no_time_out() {
        let mut agenda = Agenda::default();
        (0..200).for_each(|n| agenda.add(job(n)));
        agenda.add_urgent(job(222));
        // It was marked for an event before: its time has come all the same.
        agenda.add_urgent(job(150));
        assert_eq!(
            [agenda.pop(), agenda.pop(), agenda.pop()],
            [Some(job(222)), Some(job(150)), Some(job(0))]
        );
    }

    proptest! {
        /// Whatever comes in whatever order: who stands in it is planned within as many steps as jobs stand
        /// before it, and nobody is forgotten.
        #[test]
        fn everybody_is_planned_in_time(steps in proptest::collection::vec((0_u8..30, any::<bool>(), any::<bool>()), 1..200)) {
            let mut agenda = Agenda::default();
            let mut waiting = BTreeSet::new();
            for (n, urgent, take) in steps {
                if urgent { agenda.add_urgent(job(n)) } else { agenda.add(job(n)) }
                waiting.insert(job(n));
                if take && let Some(next) = agenda.pop() {
                    waiting.remove(&next);
                }
            }
            let end = agenda.end();
            let mut planned = 0;
            while let Some(next) = agenda.pop() {
                waiting.remove(&next);
                planned += 1;
            }
            prop_assert!(waiting.is_empty(), "{waiting:?}");
            prop_assert!(planned <= 60);
            prop_assert!(agenda.has_reached(end));
        }
    }
}
