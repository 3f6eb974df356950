//! Whether the limits of running jobs are in force. What somebody else has changed is put right; what was refused is tried
//! again.

use tracing::{error, info, warn};

use super::Executor;
use crate::linux::clock;
use crate::linux::process::PidFd;
use crate::model::cgroup::Controller;
use crate::model::constraints::{ConstraintName, ConstraintStatus};
use crate::model::drift::{self, Drift};
use crate::model::exit::State;
use crate::model::ids::JobId;
use crate::reconcile::plan::Phase;
use crate::supervisor::observed;

impl Executor {
    /// Puts an edit in force that another supervisor had recorded, and was killed before it reported it.
    pub(super) fn finish_edit(&mut self, job: &JobId) {
        let why = self.host.why_without_cgroup();
        let Some(run) = self.jobs.run_mut(job).filter(|run| matches!(run.seen.phase, Phase::Running { .. }))
        else {
            return;
        };
        let (Some(started), Some(before)) = (&run.started, &run.spec.before) else { return };
        let told = |list: &[(ConstraintName, String)], status: &ConstraintStatus| {
            list.iter().any(|(name, value)| (*name, value) == (status.name, &status.requested))
        };
        let (was, wanted) = (before.requested(), run.seen.job.in_force().requested());
        let as_before = |status: &ConstraintStatus| told(&was, status) && !told(&wanted, status);
        let all_told = wanted.iter().all(|(name, value)| {
            run.report.constraints.iter().any(|s| (s.name, &s.requested) == (*name, value))
        });
        if run.seen.released || (all_told && !run.report.constraints.iter().any(as_before)) {
            return;
        }
        run.report.constraints = run.enforce(started, before, &why);
        let text = "an edit in place that was interrupted is finished";
        info!(job = %job, run = %run.seen.id, "{text}");
        run.report.event(clock::now().wall, State::Running, text.into());
        self.reporter.publish(run);
    }

    /// Reads back what is declared to be in force, puts right what somebody else has changed, and tries
    /// again what was refused: the job may use less by now.
    pub(super) fn verify_constraints(&mut self, job: &JobId) {
        let why = self.host.why_without_cgroup();
        let Some(run) = self.jobs.run_mut(job).filter(|run| matches!(run.seen.phase, Phase::Running { .. }))
        else {
            return;
        };
        let Some(started) = &run.started else { return };
        if run.seen.released {
            return;
        }
        let found = run.read_back(started, &why);
        let known = run.report.constraints.clone();
        let lost = found.iter().any(|status| !status.applied && drift::was_in_force(&known, status));
        if lost
            && !matches!(
                PidFd::open(&started.process).map(|p| p.map(|p| p.has_exited())),
                Ok(Some(Ok(false)))
            )
        {
            // It has just ended, and that is about to be told.
            return;
        }
        let tried = if lost {
            run.enforce(started, run.seen.job.in_force(), &why)
        } else if found.iter().any(may_be_granted) {
            run.try_again()
        } else {
            Vec::new()
        };
        let (now, drift) = drift::settle(&known, found, &tried);
        if now == known && drift == Drift::default() {
            return;
        }
        run.report.constraints = now;
        run.report.drift_corrected += u32::try_from(drift.put_right.len()).unwrap_or(u32::MAX);
        let mut tell = |what: &str, list: Vec<String>| {
            if !list.is_empty() {
                let text = format!("{what}: {}", list.join("; "));
                warn!(job = %job, run = %run.seen.id, "{text}");
                run.report.event(clock::now().wall, State::Running, text);
            }
        };
        tell("changed by someone else; restored", drift.put_right);
        tell("not in force any more", drift.lost);
        tell("in force now", drift.gained);
        self.reporter.publish(run);
    }

    /// A main process that is gone while its wrapper lives, and no record of that: it is told, once. Only the wrapper's
    /// end is an event, and it does not end before it could record this.
    fn look_for_lost_end(&mut self, job: &JobId) {
        let Some(run) = self.jobs.run(job).filter(|run| run.has_lost_its_workload()) else { return };
        let Some(text) = observed::cannot_be_recorded(&run.dir) else { return };
        if self.jobs.entry(job).is_news(&text) {
            error!(job = %job, "{text}");
        }
    }

    /// Looks at the limits of every job, and for cgroups that are nobody's any more.
    pub fn verify_all(&mut self) {
        self.jobs.restore_records();
        let jobs: Vec<JobId> = self.jobs.names().cloned().collect();
        for job in jobs {
            self.look_for_lost_end(&job);
            self.verify_constraints(&job);
        }
        self.sweep();
    }

    /// Logs what is not in force, but for what was known before, and for what the host as a whole lacks:
    /// that was told at the start.
    pub(super) fn warn_of(&self, job: &JobId, known: &[ConstraintStatus]) {
        let Some(run) = self.jobs.run(job) else { return };
        let host = self.host.cgroups().why_none();
        let told = |status: &&ConstraintStatus| {
            let same =
                |was: &ConstraintStatus| (was.name, &was.requested) == (status.name, &status.requested);
            known.iter().any(|was| !was.applied && same(was))
                || (host.is_some() && status.reason.as_deref() == host)
        };
        for status in run.report.constraints.iter().filter(|status| !status.applied && !told(status)) {
            let reason = status.reason.as_deref().unwrap_or("not read back");
            warn!(job = %job, "{} {} is not in force: {reason}", status.name, status.requested);
        }
    }
}

/// Whether a limit is refused whose file is there: a job that uses less, or a disk that comes back, is
/// reason enough to try again.
pub(super) fn may_be_granted(status: &ConstraintStatus) -> bool {
    !status.applied && status.actual.is_some() && Controller::of(status.name).is_some()
}
