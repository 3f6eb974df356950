//! Alarms: what the whole host lacks is told once, with what to do, however many jobs it meets and however
//! often it is tried again; and once more when it is over.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use tracing::{debug, error, info};

use crate::model::ids::JobId;
use crate::model::shortage::Shortage;
use crate::runs::durable::errno;

/// Before an action that failed for want of something, such as disk space, is tried again.
pub const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What cannot be done.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Task {
    /// What the plan asks for of a job: a start, an edit, a stop.
    Act(JobId),
    /// Seeing what became of a job's run.
    See(JobId),
    /// Recording a job's exit.
    Record(JobId),
    /// Writing reports.
    Report,
}

/// What the host lacks, and what waits for it.
#[derive(Debug, Default)]
pub struct Alarms {
    standing: BTreeMap<Shortage, BTreeSet<Task>>,
}

impl Alarms {
    /// Tells that something cannot be done, if that is for want of something that this host has in common
    /// for all jobs. False: it is not, and was not told.
    pub fn raise(&mut self, task: Task, error: &io::Error) -> bool {
        let Some(shortage) = errno(error).and_then(Shortage::of) else {
            self.clear(&task);
            return false;
        };
        // The task may have been waiting for a different shortage before.
        self.clear_but(&task, Some(shortage));
        let waiting = self.standing.entry(shortage).or_default();
        if waiting.is_empty() {
            error!(
                "{error}; workloads run on, and what cannot be done is tried again every {} s and on SIGHUP: {}",
                TRY_AGAIN.as_secs(),
                shortage.advice()
            );
        } else if !waiting.contains(&task) {
            debug!("{error}; {} is known", shortage.describe());
        }
        waiting.insert(task);
        true
    }

    /// It was done.
    pub fn clear(&mut self, task: &Task) {
        self.clear_but(task, None);
    }

    fn clear_but(&mut self, task: &Task, still: Option<Shortage>) {
        self.standing.retain(|shortage, waiting| {
            if still != Some(*shortage) && waiting.remove(task) && waiting.is_empty() {
                info!("{} resolved; delayed work is done", shortage.describe());
            }
            !waiting.is_empty()
        });
    }

    /// Nothing is wanted of a job any more.
    pub fn forget(&mut self, job: &JobId) {
        for task in [Task::Act, Task::See, Task::Record].map(|task| task(job.clone())) {
            self.clear(&task);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::runs::durable::at;

    fn standing(alarms: &Alarms) -> Vec<(Shortage, usize)> {
        alarms.standing.iter().map(|(shortage, waiting)| (*shortage, waiting.len())).collect()
    }

    #[test]
    fn one_alarm_stands_until_the_last_that_waits_is_done() {
        let mut alarms = Alarms::default();
        let act = |name: &str| Task::Act(JobId::new(name).expect("a name"));
        let full = || at(Path::new("/state"), io::Error::from_raw_os_error(libc::ENOSPC));
        for task in [act("a"), act("b"), act("a"), Task::Report] {
            assert!(alarms.raise(task, &full()));
        }
        assert_eq!(standing(&alarms), [(Shortage::Disk, 3)]);
        alarms.clear(&act("a"));
        alarms.forget(&JobId::new("b").expect("a name"));
        assert_eq!(standing(&alarms), [(Shortage::Disk, 1)]);
        // What fails for another reason does not wait for this one any more.
        assert!(alarms.raise(Task::Report, &io::Error::from_raw_os_error(libc::EROFS)));
        assert_eq!(standing(&alarms), [(Shortage::ReadOnly, 1)]);
        assert!(!alarms.raise(Task::Report, &io::Error::other("not of the host")));
        assert_eq!(standing(&alarms), []);
    }
}
