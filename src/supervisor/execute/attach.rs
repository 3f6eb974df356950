//! Processes that somebody else started: taking them over, and letting them go. Nothing here signals one of them.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::info;

use super::Executor;
use crate::abort::{self, Point};
use crate::linux::attach;
use crate::linux::clock;
use crate::linux::process::{self, PidFd};
use crate::model::exit::{Stage, StartError};
use crate::model::ids::JobId;
use crate::model::job::{Job, Workload};
use crate::model::process::ProcessIdentity;
use crate::model::signal::Signal;
use crate::runs::record::Spec;

/// How long a wrapper that was sent SIGKILL has to be gone.
const DYING: Duration = Duration::from_secs(1);

impl Executor {
    /// Takes over a process: records what it is like, then starts the wrapper, which changes it.
    pub(super) fn take(&mut self, job: &Arc<Job>, process: &ProcessIdentity) -> io::Result<()> {
        let Workload::Attach(attach) = &job.workload else { return Ok(()) };
        let (attached, cgroup) =
            match attach::survey(process, attach.relocate, self.host.cgroups(), job.id.as_str()) {
                Ok(found) => found,
                // There never was a run.
                Err(_) if matches!(process::has_ended(process), Ok(true)) => {
                    self.attach_news.miss(&job.id, process, clock::boot());
                    return Ok(());
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) =>
                {
                    self.refuse(job, error.to_string())?;
                    // It is this one that was refused, and not tried again.
                    if let Some(run) = self.jobs.run_mut(&job.id) {
                        run.seen.target = Some(process.clone());
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
        abort::at(Point::ProcessSurveyed);
        let why = format!("taking over process {}", process.pid);
        let spec = Spec { cgroup, attached: Some(attached), ..self.spec_of(job) };
        self.begin(spec, &why, None)
    }

    /// Reports that there is nothing to take over.
    pub(super) fn refuse(&mut self, job: &Arc<Job>, why: String) -> io::Result<()> {
        let error = StartError { stage: Stage::Attach, errno: None, detail: why };
        self.begin(self.spec_of(job), "looking for its process", Some(error))
    }

    /// Lets a process go: its wrapper first, which only watches, then what was changed is restored.
    pub(super) fn detach(&mut self, job: &JobId) -> io::Result<()> {
        let Some(run) = self.jobs.run_mut(job) else { return Ok(()) };
        let (Some(started), Some(attached)) = (run.started.clone(), run.spec.attached.clone()) else {
            return Ok(());
        };
        run.record_release()?;
        abort::at(Point::LetGoRecorded);
        if let Some(wrapper) = PidFd::open(&started.wrapper)? {
            wrapper.send(Signal::KILL)?;
            if !wrapper.await_exit(DYING)? {
                return Err(io::Error::other(format!(
                    "the wrapper, pid {}, does not end",
                    started.wrapper.pid
                )));
            }
        }
        if matches!(run.dir.exited(), Ok(Some(_))) {
            // It ended meanwhile, and its wrapper saw it.
            self.look_again(job, None, None);
            return Ok(());
        }
        abort::at(Point::ObserverEnded);
        let lost = attach::release(&attached, run.spec.cgroup.as_ref(), run.spec.job.in_force());
        abort::at(Point::ProcessRestored);
        let now = clock::now().wall;
        let text = format!("let go: process {} runs on without us, as it was before", attached.process.pid);
        let text = if lost.is_empty() { text } else { format!("{text}, but for: {}", lost.join("; ")) };
        info!(job = %job, run = %run.seen.id, "{text}");
        run.report.let_go(now, text);
        self.reporter.publish(run);
        abort::at(Point::LetGoReported);
        if let Some(run) = self.jobs.take_run(job) {
            self.reporter.discard(run);
        }
        self.attach_news.free();
        Ok(())
    }
}
