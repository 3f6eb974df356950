//! What is done for jobs: the actions that the plan asks for, and what is seen of the runs that follow from them. No
//! decisions here.
//!
//! Whatever fails is told once, and tried again later; nothing is taken for done that was not. `act.rs` is the list of
//! actions. The other files are one concern each: `start.rs`, `adopt.rs` (a workload without records), `edit.rs`,
//! `stop.rs`, `attach.rs` (taking processes over, letting them go), `report.rs` (the end of a run), `look.rs` (what became
//! of a run), `verify.rs` (whether limits are in force), and `take_over.rs` and `resume.rs` (what another supervisor left).

mod act;
mod adopt;
mod attach;
mod edit;
mod look;
mod report;
mod resume;
mod start;
mod stop;
mod take_over;
mod verify;

use std::io;
use std::sync::Arc;

use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info};

use super::alarms::{Alarms, TRY_AGAIN, Task};
use super::attach_news::AttachNews;
use super::changes::RunChanged;
use super::claim::Claim;
use super::host::Host;
use super::jobs::Jobs;
use super::kept_logs::KeptLogs;
use super::lock::SupervisorLock;
use super::open_files;
use super::orphans::Orphans;
use super::reaper::Reaper;
use super::reporter::Reporter;
use super::resync::Resync;
use super::run::Run;
use super::starts::Starts;
use super::writer::Outcome;
use crate::linux::clock;
use crate::model::ids::JobId;
use crate::model::job::Job;
use crate::model::time::BootTime;
use crate::runs::record::Spec;
use crate::runs::retention::Needed;

/// Who does it, with what it takes.
pub struct Executor {
    host: Host,
    jobs: Jobs,
    starts: Starts,
    orphans: Orphans,
    reaper: Reaper,
    reporter: Reporter,
    logs: KeptLogs,
    alarms: Alarms,
    resync: Resync,
    attach_news: AttachNews,
    changes: UnboundedSender<RunChanged>,
    /// Last: it is held until all others are gone.
    claim: Claim,
}

impl Executor {
    /// Nothing is known of any job yet.
    #[must_use]
    pub fn new(
        host: Host,
        claim: Claim,
        reporter: Reporter,
        logs: KeptLogs,
        changes: UnboundedSender<RunChanged>,
    ) -> Self {
        Self {
            host,
            jobs: Jobs::default(),
            starts: Starts::default(),
            orphans: Orphans::default(),
            reaper: Reaper::default(),
            reporter,
            logs,
            alarms: Alarms::default(),
            resync: Resync::new(clock::boot()),
            attach_news: AttachNews::default(),
            changes,
            claim,
        }
    }

    /// What is tracked of jobs.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// The same.
    pub fn jobs_mut(&mut self) -> &mut Jobs {
        &mut self.jobs
    }

    /// The queue of starts.
    #[must_use]
    pub fn starts(&self) -> &Starts {
        &self.starts
    }

    /// The same.
    pub fn starts_mut(&mut self) -> &mut Starts {
        &mut self.starts
    }

    /// When everything is looked at.
    #[must_use]
    pub fn resync(&self) -> &Resync {
        &self.resync
    }

    /// The same.
    pub fn resync_mut(&mut self) -> &mut Resync {
        &mut self.resync
    }

    /// What those who look for processes do not know yet.
    pub fn attach_news(&mut self) -> &mut AttachNews {
        &mut self.attach_news
    }

    /// Makes sure that the state is still ours. Where its lock file was deleted, other records may have been, too.
    ///
    /// # Errors
    /// It cannot be had any more: [`Executor::usurped`] says whether another supervisor has it.
    pub fn check_claim(&mut self) -> io::Result<()> {
        if self.claim.check()? {
            self.jobs.restore_records();
        }
        Ok(())
    }

    /// Another supervisor has the state, and why: we are to leave.
    #[must_use]
    pub fn usurped(&self) -> Option<&str> {
        self.claim.lost()
    }

    /// Has logs kept within their bounds from now on.
    pub fn keep_logs(&mut self) {
        self.logs.start(self.host.layout().logs(), self.jobs.runs().map(|(_, run)| &run.spec));
    }

    /// Has them looked at now, since there is little room.
    pub fn look_at_logs(&self) {
        self.logs.look();
    }

    /// Waits for our children that have ended.
    pub fn reap(&mut self) {
        self.reaper.reap();
        if self.reaper.is_crowded() {
            let jobs = &self.jobs;
            self.reaper.keep_only(|process| jobs.runs().any(|(_, run)| run.process() == Some(process)));
        }
    }

    /// Whether children have ended that were not reaped in the last round.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.reaper.is_behind()
    }

    /// Reaps those.
    pub fn catch_up(&mut self) {
        if self.reaper.was_behind() {
            self.reap();
        }
    }

    /// The jobs whose workload's exit is known to us alone.
    #[must_use]
    pub fn reaped(&self) -> Vec<JobId> {
        let is_reaped = |run: &Run| run.process().is_some_and(|process| self.reaper.knows(process));
        self.jobs.runs().filter(|(_, run)| is_reaped(run)).map(|(job, _)| job.clone()).collect()
    }

    /// Replaces what starts wrappers where starts have become slow.
    pub fn check_starts(&mut self, now: BootTime) {
        if self.starts.slow(now) {
            self.host.check_launcher();
        }
    }

    /// Notes what became of reports.
    pub fn written(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Filed { job, run } => {
                let current = self.jobs.run_mut(&job);
                if let Some(filed) = current.and_then(|current| current.with_id(&run)) {
                    filed.filed = true;
                }
                self.reporter.filed(&job, &run);
            }
            Outcome::Failing(error) => {
                if !self.alarms.raise(Task::Report, &error) {
                    error!(
                        "reports cannot be written: {error}; jobs run on, the reports are kept and tried again"
                    );
                }
            }
            Outcome::Mended => {
                self.alarms.clear(&Task::Report);
                info!("reports can be written again; the missing ones are written now");
            }
        }
    }

    /// Has everything tried again now that could not be done.
    pub fn try_again(&mut self) {
        self.jobs.mark_failed();
        self.reporter.try_again();
    }

    /// Waits until all reports are on disk, or were tried.
    pub fn flush(&self) {
        self.reporter.flush();
    }

    /// Whether it is time to look for files of jobs that are gone.
    #[must_use]
    pub fn retention_is_due(&self, now: BootTime) -> bool {
        self.reporter.retention_is_due(now)
    }

    /// Has the files of jobs removed that are gone for long, or too many: [`Reporter::retain`].
    pub fn retain(&mut self, now: BootTime, needed: Option<Needed>) {
        self.reporter.retain(now, needed);
    }

    /// Nothing is wanted of a job any more, and nothing of it is left.
    pub fn forget_job(&mut self, job: &JobId) {
        self.jobs.remove(job);
        self.alarms.forget(job);
    }

    /// A job's records can be read again.
    pub fn is_seen_again(&mut self, job: &JobId) {
        info!(job = %job, "its records can be read again");
        self.jobs.entry(job).recovered();
        self.alarms.clear(&Task::See(job.clone()));
        self.jobs.mark(job);
    }

    /// Removes cgroups that are nobody's any more.
    pub fn sweep(&self) {
        let in_use: Vec<_> = self.jobs.runs().filter_map(|(_, run)| run.cgroup()).collect();
        self.host.cgroups().sweep(&in_use);
    }

    /// Has another program executed in this process, which is to find what we found. Returns where that fails.
    pub fn hand_on<E>(&self, execute: impl FnOnce(&SupervisorLock) -> E) -> E {
        open_files::restore(self.host.open_files());
        let error = execute(self.claim.lock());
        let _ = open_files::raise();
        error
    }

    /// Hands over the job's report as it is now.
    fn publish(&self, job: &JobId) {
        if let Some(run) = self.jobs.run(job) {
            self.reporter.publish(run);
        }
    }

    /// What is recorded of a new run of a job.
    fn spec_of(&self, job: &Arc<Job>) -> Spec {
        self.host.spec(job, self.jobs.run(&job.id).map(|run| &run.seen.id))
    }

    /// What was to be done for a job is done.
    fn acted(&mut self, job: &JobId) {
        let Some(tracked) = self.jobs.get_mut(job) else { return };
        self.alarms.clear(&Task::Act(job.clone()));
        if tracked.recovered() {
            info!(job = %job, "recovered: the last action succeeded");
        }
    }

    /// What was to be done for a job could not be done. It is tried again.
    fn failed(&mut self, job: &JobId, error: &io::Error) {
        let of_the_host = self.alarms.raise(Task::Act(job.clone()), error);
        let Some(tracked) = self.jobs.get_mut(job) else { return };
        let text = error.to_string();
        if of_the_host {
            tracked.recovered();
        } else if tracked.is_news(&text) {
            error!(job = %job, "{text}; tried again every {} s", TRY_AGAIN.as_secs());
        }
        tracked.retry_at(clock::boot() + TRY_AGAIN);
    }
}

/// The first of a list, and how many more there are.
fn some_of(list: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = list.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The same error, with what could not be done for it.
fn because(what: &str, error: io::Error) -> io::Error {
    #[derive(Debug, thiserror::Error)]
    #[error("{what}: {error}")]
    struct Because {
        what: String,
        #[source]
        error: io::Error,
    }
    io::Error::new(error.kind(), Because { what: what.into(), error })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let list: Vec<String> = (1..=7).map(|n| n.to_string()).collect();
        assert_eq!(some_of(&list[..5]), "1, 2, 3, 4, 5");
        assert_eq!(some_of(&list), "1, 2, 3, 4, 5 and 2 more");
    }
}
