//! A run as this supervisor knows it: its records, its report, its constraints, and what is watched of it.
//!
//! `absorb.rs` takes in what was seen of it; `records.rs` looks at its records, and writes those anew that went;
//! `limits.rs` puts its constraints in force and reads them back; `processes.rs` has what it consists of, and ends what is
//! left.

mod absorb;
mod limits;
mod processes;
mod records;

use std::sync::Arc;

use tokio::task::AbortHandle;

use crate::linux::exits::ExitWatch;
use crate::linux::process::PidFd;
use crate::model::cgroup::Cgroup;
use crate::model::ids::RunId;
use crate::model::process::ProcessIdentity;
use crate::model::report::Report;
use crate::reconcile::plan::{Observed, Phase};
use crate::runs::dir::RunDir;
use crate::runs::record::{Exited, Spec, Started};

/// A run, as far as this supervisor knows it.
pub struct Run {
    /// What the plan sees.
    pub seen: Observed,
    pub(crate) dir: RunDir,
    pub(crate) spec: Spec,
    pub(crate) started: Option<Started>,
    /// How it ended.
    pub(crate) ended: Option<Exited>,
    /// `ended` is not on disk yet, and we must write it.
    pub(crate) unrecorded: bool,
    pub(crate) report: Report,
    /// The workload, held while it has a wrapper.
    workload: Option<PidFd>,
    /// The workload, watched by ourselves since the wrapper is gone.
    pub(crate) orphan: Option<Arc<ExitWatch>>,
    /// Waits for the wrapper or the workload to end.
    pub(crate) watch: Option<AbortHandle>,
    /// Its last report is on disk.
    pub(crate) filed: bool,
    /// Another run of the job has followed.
    pub(crate) followed: bool,
    /// The run before, for as long as this one may come to nothing: then that one counts.
    pub(crate) before: Option<Box<Run>>,
}

/// What tells that something happened to a run.
pub(crate) enum Watched {
    Wrapper(PidFd),
    Orphan(Arc<ExitWatch>),
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl Run {
    /// A run of which no more is known than what was recorded before its start.
    pub(crate) fn new(seen: Observed, dir: RunDir, spec: Spec, mut report: Report) -> Self {
        if let Some(attached) = &spec.attached {
            report.command.clone_from(&attached.command);
        }
        Self {
            seen,
            dir,
            spec,
            started: None,
            ended: None,
            unrecorded: false,
            report,
            workload: None,
            orphan: None,
            watch: None,
            filed: false,
            followed: false,
            before: None,
        }
    }

    /// This run, or the one before, if it has this id.
    pub(crate) fn with_id(&mut self, id: &RunId) -> Option<&mut Self> {
        if self.seen.id == *id {
            return Some(self);
        }
        self.before.as_mut()?.with_id(id)
    }

    /// Something of it lives.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self.seen.phase, Phase::Ended { .. })
    }

    /// Whether it may come to nothing: the process that it is to govern may have ended before it is taken over.
    /// Nobody is told of it before that is known.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        self.spec.attached.is_some() && self.seen.phase == Phase::Starting
    }

    /// Its last report is written.
    #[must_use]
    pub fn is_reported(&self) -> bool {
        matches!(self.seen.phase, Phase::Ended { reported: true, .. })
    }

    /// It can change without an event that we get: it has to be looked at from time to time.
    #[must_use]
    pub fn gives_no_event(&self) -> bool {
        self.is_live() && self.watch.as_ref().is_none_or(AbortHandle::is_finished)
    }

    /// Its main process is gone, its wrapper is not, and that stood so at the look before, too.
    #[must_use]
    pub fn has_lost_its_workload(&self) -> bool {
        let gone =
            self.workload.as_ref().is_some_and(|workload| workload.has_exited().is_ok_and(|gone| gone));
        gone && self.is_live() && self.orphan.is_none()
    }

    /// The cgroup that it lives in, or is about to.
    #[must_use]
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.spec.cgroup.as_ref().filter(|_| self.is_live())
    }

    /// The workload, once it is known which process that is.
    #[must_use]
    pub fn process(&self) -> Option<&ProcessIdentity> {
        self.started.as_ref().map(|started| &started.process)
    }

    /// Whether this process is its main one.
    #[must_use]
    pub fn governs(&self, process: &ProcessIdentity) -> bool {
        self.seen.target.as_ref().or(self.process()) == Some(process)
    }

    /// Its processes that are none to take over: the wrapper, and the main process that it started.
    pub fn ours(&self) -> impl Iterator<Item = ProcessIdentity> + '_ {
        let started = self.started.iter().filter(|_| self.seen.target.is_none());
        let main = started.map(|started| started.process.clone());
        self.started.iter().map(|started| started.wrapper.clone()).chain(main)
    }

    /// It ended, we are the ones to record that, and it could not be done yet.
    #[must_use]
    pub fn owes_record(&self) -> bool {
        self.unrecorded
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::path::Path;

    use super::*;
    use crate::linux::{clock, process};
    use crate::model::history::StartHistory;
    use crate::reconcile::plan::tests::job;
    use crate::runs::dir::new_run_id;

    /// A run of the job `a` that is about to start, with its directory below `runs`.
    pub(crate) fn starting(runs: &Path) -> Run {
        let (now, job) = (clock::now(), Arc::new(job("a", "")));
        let (id, boot) = (new_run_id(now, None), process::boot_id().expect("proc"));
        let spec = Spec::new(Arc::clone(&job), id.clone(), boot, now);
        let (dir, _) = RunDir::create(runs, &spec).expect("a folder");
        let report = Report::starting(&job, id.clone(), 0, now.wall, "starting".into());
        let (history, phase) = (StartHistory::default(), Phase::Starting);
        let seen = Observed { id, job, history, phase, stop: None, released: false, target: None };
        Run::new(seen, dir, spec, report)
    }

    #[test]
    fn a_run_before_is_found_as_long_as_this_one_may_come_to_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let before = starting(folder.path());
        let id = before.seen.id.clone();
        let mut run = starting(folder.path());
        assert!(run.with_id(&id).is_none());
        run.before = Some(Box::new(before));
        assert_eq!(run.with_id(&id).map(|run| run.seen.id.clone()), Some(id));
    }
}
