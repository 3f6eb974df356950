//! Starting a run: recorded first, then its wrapper is started, which starts the workload.

use std::io;
use std::sync::Arc;

use tracing::{info, warn};

use super::{Executor, because};
use crate::abort::{self, Point};
use crate::linux::cgroup::{self, Before};
use crate::linux::clock;
use crate::model::cgroup::Cgroup;
use crate::model::exit::{Ended, Stage, StartError};
use crate::model::history::StartHistory;
use crate::model::job::Job;
use crate::model::report::Report;
use crate::reconcile::plan::{Observed, Phase, StartReason};
use crate::runs::dir::RunDir;
use crate::runs::durable::errno;
use crate::runs::record::{Exited, Spec};
use crate::supervisor::changes::{self, RunChanged};
use crate::supervisor::reporter::remove;
use crate::supervisor::run::Run;

impl Executor {
    /// Starts a run of a job; unless its workload runs already, without records.
    pub(super) fn start(
        &mut self,
        job: &Arc<Job>,
        mut history: StartHistory,
        why: StartReason,
    ) -> io::Result<()> {
        if self.adopt(job, &history)? {
            return Ok(());
        }
        let spec = self.spec_of(job);
        history.recent.push(spec.created.boot);
        let (environment, failed) = match self.host.environment(job, &spec.run_id) {
            Ok(environment) => (environment, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let cgroup = self.host.cgroups().create(job.id.as_str());
        abort::at(Point::CgroupMade);
        if let Ok(cgroup) = &cgroup
            && self.jobs.run(&job.id).is_none()
        {
            refuse_inhabited(cgroup)?;
        }
        let (cgroup, limits) = match cgroup {
            Ok(cgroup) => {
                let limits = cgroup::apply(&cgroup, job.in_force(), Before::Fresh);
                (Some(cgroup), limits)
            }
            Err(why) => (None, cgroup::not_in_force(job.in_force(), &why)),
        };
        abort::at(Point::LimitsSet);
        let spec = Spec { environment, history, open_files: self.host.open_files(), cgroup, limits, ..spec };
        let begun = self.begin(spec, why.describe(), failed);
        if self.jobs.run(&job.id).is_some_and(|run| run.seen.phase == Phase::Starting) {
            self.starts.began(&job.id, clock::boot());
        }
        begun
    }

    /// Records a run and starts its wrapper; if it already failed, only records that.
    pub(super) fn begin(&mut self, spec: Spec, why: &str, failed: Option<StartError>) -> io::Result<()> {
        let (now, run_id, job) = (spec.created, spec.run_id.clone(), Arc::clone(&spec.job));
        let (dir, lock) = RunDir::create(&self.host.layout().runs(), &spec)
            .map_err(|error| because("cannot record a new run, so it is not started", error))?;
        abort::at(Point::SpecWritten);
        self.logs.tell(&spec);
        let report = Report::starting(&job, run_id.clone(), spec.history.restarts, now.wall, why.to_owned());
        let seen = Observed {
            id: run_id.clone(),
            job: Arc::clone(&job),
            history: spec.history.clone(),
            phase: Phase::Starting,
            stop: None,
            released: false,
            target: spec.attached.as_ref().map(|attached| attached.process.clone()),
        };
        let mut run = Run::new(seen, dir, spec, report);
        let failed = match failed {
            Some(error) => Some(error),
            None => match self.host.launch(&run.dir, lock) {
                Ok(ready) => {
                    abort::at(Point::WrapperLaunched);
                    let change = RunChanged { job: job.id.clone(), run: run_id, refused: None };
                    match changes::when_begun(ready, change, &self.changes) {
                        Ok(watch) => run.watch = Some(watch),
                        // Without descriptors it is looked at from time to time instead.
                        Err(error) => warn!(job = %job.id, "cannot wait for the start: {error}"),
                    }
                    None
                }
                Err(error) => {
                    let detail = format!("cannot start the wrapper: {error}");
                    let failed = StartError { stage: Stage::Wrapper, errno: errno(&error), detail };
                    if failed.shortage().is_some() {
                        // Nothing was started, so the start is still owed, and no run of it.
                        remove(&job.id, run.dir.clone());
                        return Err(because("cannot start the wrapper", error));
                    }
                    Some(failed)
                }
            },
        };
        // That a process was taken over is told once it was: it may have ended before.
        if failed.is_some() || run.spec.attached.is_none() {
            info!(job = %job.id, run = %run.seen.id, "{why}");
        }
        if let Some(error) = failed {
            let how = Ended::NotStarted(error);
            let exited = Exited::unmeasured(run.seen.id.clone(), now, how.clone());
            run.seen.phase = Phase::Ended { started: None, at: Some(now.boot), how, reported: false };
            (run.ended, run.unrecorded) = (Some(exited), true);
        }
        self.reporter.publish(&run);
        abort::at(Point::StartReported);
        let old = self.jobs.take_run(&job.id);
        if run.seen.phase == Phase::Starting {
            // It may come to nothing.
            run.before = old.map(Box::new);
        } else {
            old.into_iter().for_each(|old| self.reporter.discard(old));
        }
        self.jobs.put_run(&job.id, run);
        Ok(())
    }
}

/// A job of which no run is known starts in an empty cgroup only: what lives there may be the job itself.
fn refuse_inhabited(cgroup: &Cgroup) -> io::Result<()> {
    let procs = cgroup::procs(cgroup)?;
    if procs.is_empty() {
        return Ok(());
    }
    let pids: Vec<String> = procs.iter().take(5).map(ToString::to_string).collect();
    let more = if procs.len() > pids.len() { ", ..." } else { "" };
    Err(io::Error::other(format!(
        "not started: its cgroup holds processes ({}) of which no record tells (pid {}{more}), which may be this job; end what \
         is left over, and it starts",
        procs.len(),
        pids.join(", ")
    )))
}
