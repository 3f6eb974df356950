//! What is tracked of each job beside its declaration: its run, when it is planned next, and what was said of it.

use std::collections::{BTreeMap, BTreeSet};

use tracing::warn;

use super::agenda::Agenda;
use super::run::Run;
use crate::model::ids::JobId;
use crate::model::process::ProcessIdentity;
use crate::model::space::NoSpace;
use crate::model::time::BootTime;

/// All jobs of which something is tracked.
#[derive(Default)]
pub struct Jobs {
    tracked: BTreeMap<JobId, Tracked>,
    /// Their wake-ups.
    timers: BTreeSet<(BootTime, JobId)>,
    /// Those that are to be planned.
    agenda: Agenda,
}

/// What is tracked of one job.
#[derive(Default)]
pub struct Tracked {
    /// Its live run, or its last.
    run: Option<Run>,
    /// Its wake-up, as it stands in the timers.
    wake: Option<BootTime>,
    /// Nothing is tried before this.
    retry_at: Option<BootTime>,
    /// What was said last of an action that failed, so that it is said once.
    failing: Option<String>,
    /// What was said last of why an attach job waits.
    waits: Option<String>,
    /// The space that it waits for, as it was told.
    no_space: Option<NoSpace>,
    /// What runs of it is not known: its records cannot be read.
    opaque: bool,
}

impl Tracked {
    /// Its live run, or its last.
    #[must_use]
    pub fn run(&self) -> Option<&Run> {
        self.run.as_ref()
    }

    /// Nothing is tried before this time.
    pub fn retry_at(&mut self, at: BootTime) {
        self.retry_at = Some(at);
    }

    /// Until when nothing is tried. Once that is over, it is forgotten.
    pub fn retry_pending(&mut self, now: BootTime) -> Option<BootTime> {
        self.retry_at = self.retry_at.filter(|at| *at > now);
        self.retry_at
    }

    /// Whether this failure is another one than was told last: then it is to be told.
    pub fn is_news(&mut self, failure: &str) -> bool {
        let news = self.failing.as_deref() != Some(failure);
        self.failing = Some(failure.to_owned());
        news
    }

    /// Forgets what was said of a failure. True: something was.
    pub fn recovered(&mut self) -> bool {
        self.failing.take().is_some()
    }

    /// Whether it waits for something else than was told last: then it is to be told.
    pub fn is_new_wait(&mut self, waits: &str) -> bool {
        let news = self.waits.as_deref() != Some(waits);
        self.waits = Some(waits.to_owned());
        news
    }

    /// Whether it waits for other free space than was told last: then it is to be told. `None`: it waits for none.
    pub fn is_new_lack(&mut self, why: Option<&NoSpace>) -> bool {
        let Some(why) = why else {
            self.no_space = None;
            return false;
        };
        let news = !self.no_space.as_ref().is_some_and(|known| known.is_as(why));
        if news {
            self.no_space = Some(why.clone());
        }
        news
    }

    /// What runs of it is not known, so that nothing is done for it.
    pub fn set_opaque(&mut self) {
        self.opaque = true;
    }

    /// Whether that is so.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.opaque
    }
}

impl Jobs {
    /// What is tracked of a job; nothing yet, where it is a new one.
    pub fn entry(&mut self, job: &JobId) -> &mut Tracked {
        self.tracked.entry(job.clone()).or_default()
    }

    /// The same, if the job is known.
    pub fn get_mut(&mut self, job: &JobId) -> Option<&mut Tracked> {
        self.tracked.get_mut(job)
    }

    /// Nothing is tracked of a job any more.
    pub fn remove(&mut self, job: &JobId) {
        self.set_wake(job, None);
        self.tracked.remove(job);
    }

    /// The jobs.
    pub fn names(&self) -> impl Iterator<Item = &JobId> {
        self.tracked.keys()
    }

    /// Jobs that are declared together with another one (`<stem>@...`), in its file or by its rule.
    pub fn instances<'a>(&'a self, stem: &'a str) -> impl Iterator<Item = &'a JobId> {
        // No entry comes before this one.
        let first = JobId::instance(stem, "0").ok();
        let from = first.map(|first| self.tracked.range(first..)).into_iter().flatten();
        from.map(|(id, _)| id).take_while(move |id| id.stem() == stem)
    }

    /// A job's live run, or its last.
    #[must_use]
    pub fn run(&self, job: &JobId) -> Option<&Run> {
        self.tracked.get(job)?.run.as_ref()
    }

    /// The same.
    pub fn run_mut(&mut self, job: &JobId) -> Option<&mut Run> {
        self.tracked.get_mut(job)?.run.as_mut()
    }

    /// Sets a job's run. Gives the one before.
    pub fn put_run(&mut self, job: &JobId, run: Run) -> Option<Run> {
        self.entry(job).run.replace(run)
    }

    /// Takes a job's run out.
    pub fn take_run(&mut self, job: &JobId) -> Option<Run> {
        self.tracked.get_mut(job)?.run.take()
    }

    /// The runs of all jobs.
    pub fn runs(&self) -> impl Iterator<Item = (&JobId, &Run)> {
        self.tracked.iter().filter_map(|(job, tracked)| Some((job, tracked.run.as_ref()?)))
    }

    /// How many runs live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.runs().filter(|(_, run)| run.is_live()).count()
    }

    /// The job that governs a process, other than this one.
    #[must_use]
    pub fn governor(&self, process: &ProcessIdentity, but: &JobId) -> Option<&JobId> {
        let mut others = self.runs().filter(|(job, run)| *job != but && run.is_live());
        others.find(|(_, run)| run.governs(process)).map(|(job, _)| job)
    }

    /// Writes records of runs anew that somebody removed while their workloads run.
    pub fn restore_records(&self) {
        for (job, run) in self.runs() {
            if let Err(error) = run.restore() {
                warn!(job = %job, "the records of a run were removed, and cannot be made anew: {error}");
            }
        }
    }

    /// Has a job planned soon.
    pub fn mark(&mut self, job: &JobId) {
        self.agenda.add(job.clone());
    }

    /// Has a job planned before those to which only something happened.
    pub fn mark_urgent(&mut self, job: &JobId) {
        self.agenda.add_urgent(job.clone());
    }

    /// Has those planned that could not be served before, or whose exit is not recorded yet.
    pub fn mark_failed(&mut self) {
        for (job, tracked) in &mut self.tracked {
            let owes = tracked.run().is_some_and(Run::owes_record);
            if tracked.retry_at.take().is_some() || owes {
                self.agenda.add(job.clone());
            }
        }
    }

    /// The jobs that are to be planned.
    #[must_use]
    pub fn agenda(&self) -> &Agenda {
        &self.agenda
    }

    /// Takes the next job that is to be planned.
    pub fn pop(&mut self) -> Option<JobId> {
        self.agenda.pop()
    }

    /// Jobs of which it was not known what runs. That counts no more until it is found again.
    pub fn take_opaque(&mut self) -> Vec<JobId> {
        let was_opaque = |tracked: &mut Tracked| std::mem::take(&mut tracked.opaque);
        self.tracked.iter_mut().filter_map(|(job, one)| was_opaque(one).then(|| job.clone())).collect()
    }

    /// Sets when a job that is tracked is planned again if nothing happens before.
    pub fn set_wake(&mut self, job: &JobId, wake: Option<BootTime>) {
        let Some(tracked) = self.tracked.get_mut(job) else { return };
        if let Some(old) = std::mem::replace(&mut tracked.wake, wake) {
            self.timers.remove(&(old, job.clone()));
        }
        if let Some(at) = wake {
            self.timers.insert((at, job.clone()));
        }
    }

    /// When the next one is.
    #[must_use]
    pub fn next_wake(&self) -> Option<BootTime> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Takes the next job whose time has come.
    pub fn pop_due(&mut self, now: BootTime) -> Option<JobId> {
        self.timers.first().filter(|(at, _)| *at <= now)?;
        let (_, job) = self.timers.pop_first()?;
        if let Some(tracked) = self.tracked.get_mut(&job) {
            tracked.wake = None;
        }
        Some(job)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: BootTime = BootTime(1_000_000_000_000);

    fn job(name: &str) -> JobId {
        JobId::try_from(name.to_owned()).expect("a name")
    }

    fn later(seconds: u64) -> BootTime {
        NOW + Duration::from_secs(seconds)
    }

    #[test]
    fn a_job_has_one_wake_up_and_the_earliest_comes_first() {
        let mut jobs = Jobs::default();
        for name in ["a", "b"] {
            jobs.entry(&job(name));
        }
        jobs.set_wake(&job("a"), Some(later(1)));
        jobs.set_wake(&job("b"), Some(later(2)));
        jobs.set_wake(&job("a"), Some(later(3)));
        jobs.set_wake(&job("unknown"), Some(NOW));
        assert_eq!(jobs.next_wake(), Some(later(2)));
        assert_eq!(jobs.pop_due(later(1)), None);
        assert_eq!([jobs.pop_due(later(3)), jobs.pop_due(later(3))], [Some(job("b")), Some(job("a"))]);
        jobs.set_wake(&job("a"), Some(later(4)));
        jobs.remove(&job("a"));
        assert_eq!(jobs.next_wake(), None, "one that is gone wakes nobody");
    }

    #[test]
    fn what_failed_is_said_once_and_tried_when_its_time_has_come_or_somebody_asks() {
        let mut jobs = Jobs::default();
        let tracked = jobs.entry(&job("a"));
        assert!(tracked.is_news("no") && !tracked.is_news("no") && tracked.is_news("never"));
        assert!(tracked.recovered() && !tracked.recovered() && tracked.is_news("never"));
        tracked.retry_at(later(5));
        assert_eq!(tracked.retry_pending(later(4)), Some(later(5)));
        assert_eq!(tracked.retry_pending(later(5)), None);
        tracked.retry_at(later(9));
        jobs.entry(&job("b"));
        jobs.mark_failed();
        assert_eq!([jobs.pop(), jobs.pop()], [Some(job("a")), None], "and not the one that never failed");
        assert_eq!(jobs.entry(&job("a")).retry_pending(NOW), None);
    }

    #[test]
    fn instances_are_found_by_their_file() {
        let mut jobs = Jobs::default();
        for name in ["a", "a@0", "a@x", "a.b", "b@1"] {
            jobs.entry(&job(name));
        }
        assert_eq!(jobs.instances("a").map(JobId::as_str).collect::<Vec<_>>(), ["a@0", "a@x"]);
    }

    #[test]
    fn what_is_not_known_is_looked_at_once_for_each_time_it_was_found() {
        let mut jobs = Jobs::default();
        jobs.entry(&job("a")).set_opaque();
        jobs.entry(&job("b"));
        assert!(jobs.entry(&job("a")).is_opaque());
        assert_eq!(jobs.take_opaque(), [job("a")]);
        assert_eq!(jobs.take_opaque(), []);
    }
}
