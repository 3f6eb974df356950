//! Taking over what another supervisor left: what runs goes on, what ended meanwhile is reported.

use anyhow::Context;
use tracing::{error, warn};

use super::Executor;
use crate::abort::{self, Point};
use crate::linux::clock;
use crate::model::ids::JobId;
use crate::reconcile::plan::{Action, Outlook};
use crate::runs::dir::{RunDir, all_jobs, current, job_runs, remove_empty};
use crate::supervisor::observed::{self, LookError, RunStatus};
use crate::supervisor::reporter::remove;
use crate::supervisor::run::Run;

impl Executor {
    /// The jobs that have run directories.
    ///
    /// # Errors
    /// These cannot be read. Without knowing what runs we would start it twice.
    pub fn recorded(&self) -> anyhow::Result<Vec<JobId>> {
        all_jobs(&self.host.layout().runs()).context("cannot read the run directories; refusing to start")
    }

    /// Reads the run directories of a job. Where they cannot be read, nothing is done for it.
    pub fn take_over(&mut self, job: &JobId) {
        let dirs = match job_runs(&self.host.layout().runs(), job) {
            Ok(dirs) => dirs,
            Err(error) => return self.leave_alone(job, &LookError::Io(error)),
        };
        let (mut newest, mut older) = current(dirs);
        // A start that came to nothing is still owed. The run before it, if that is there, decides what
        // follows, and knows how often the job was started.
        // A run whose report exists must get its final report.
        let told = observed::report_of(self.host.layout(), job).map(|report| report.run_id);
        let is_told = |dir: &RunDir| dir.run_id() == told;
        while let Some(dir) =
            newest.take_if(|dir| is_half_removed(dir) || (!is_told(dir) && never_began(dir)))
        {
            if let Ok(snapshot) = observed::look(&dir, clock::now()) {
                // A process that was taken over may have been changed before that was recorded.
                Run::resume(self.host.layout(), dir.clone(), snapshot).close_cgroup();
            }
            remove(job, dir);
            newest = older.pop();
        }
        for dir in older {
            self.finish_superseded_run(job, dir, newest.is_some());
            abort::at(Point::BookClosed);
        }
        match newest {
            Some(dir) => self.resume(job, dir),
            None => remove_empty(&self.host.layout().runs(), job),
        }
    }

    /// A run that was succeeded by another before its report was known to be on disk.
    fn finish_superseded_run(&mut self, job: &JobId, dir: RunDir, followed: bool) {
        let snapshot = match observed::look(&dir, clock::now()) {
            Ok(snapshot) => snapshot,
            Err(LookError::NeverBegan | LookError::Damaged(_)) => {
                return remove(job, dir);
            }
            // The next supervisor may see more.
            Err(error) => return warn!(job = %job, "{error}; that older run is left as it is"),
        };
        let mut run = Run::resume(self.host.layout(), dir, snapshot);
        run.followed = followed;
        if run.is_live() {
            error!(job = %job, run = %run.seen.id, "two live runs of this job found; not touching the older one");
            return;
        }
        self.jobs.put_run(job, run);
        self.report_only(job);
        if let Some(run) = self.jobs.take_run(job) {
            self.reporter.discard(run);
        }
    }

    /// Reports the end of a job's run, and plans nothing.
    fn report_only(&mut self, job: &JobId) {
        if !self.jobs.run(job).is_none_or(Run::is_reported) {
            self.record_end(job);
            self.execute(job, Action::Report, Outlook::Settled);
        }
    }
}

/// Whether somebody was interrupted who removed the run, whose report was filed before, or who made it. (What lacks its spec
/// is no run.)
fn is_half_removed(dir: &RunDir) -> bool {
    matches!(observed::look(dir, clock::now()), Err(LookError::NeverBegan))
}

/// Whether a run came to nothing before its workload was recorded, because somebody was interrupted, or because the
/// process that it was to take over had ended.
fn never_began(dir: &RunDir) -> bool {
    match observed::look(dir, clock::now()) {
        Ok(snapshot) => matches!(snapshot.status, RunStatus::NeverBegan) || snapshot.came_too_late(),
        Err(error) => matches!(error, LookError::NeverBegan),
    }
}
