//! Taking over a workload that runs without records.

use std::io;
use std::sync::Arc;

use tracing::{info, warn};

use super::Executor;
use crate::linux::cgroup::{self, Before};
use crate::linux::process;
use crate::model::history::StartHistory;
use crate::model::ids::{JobId, RunId};
use crate::model::job::Job;
use crate::runs::dir::{RunDir, job_runs};
use crate::runs::record::{Spec, Started, VERSION};
use crate::supervisor::observed;
use crate::supervisor::orphans::{Orphans, run_of};

const WITHOUT_RECORDS: &str = "adopted: it was running without records (its state was lost or replaced), and nothing \
                               was started beside it; what it used before now is not known";

impl Executor {
    /// Takes over a job's workload that runs without records, if there is one. Records are made for it, as its
    /// wrapper would have; then it is a run like any whose wrapper was lost.
    pub(super) fn adopt(&mut self, job: &Arc<Job>, history: &StartHistory) -> io::Result<bool> {
        let Some(found) = self.orphans.take(job) else { return Ok(false) };
        let process = found.process.clone();
        let spec = self.spec_of(job);
        // Where its wrapper still lives, it records the exit under this name.
        let run_id = run_of(&found).unwrap_or_else(|| spec.run_id.clone());
        let (cgroup, limits) = match self.host.cgroups().create(job.id.as_str()) {
            Ok(cgroup) if cgroup::procs(&cgroup).is_ok_and(|procs| procs.contains(&process.pid)) => {
                let limits = cgroup::apply(&cgroup, job.in_force(), Before::Unknown);
                (Some(cgroup), limits)
            }
            Ok(_) => {
                let why =
                    "the workload was adopted and is in no cgroup of its own; restart the job to give it one";
                (None, cgroup::not_in_force(job.in_force(), why))
            }
            Err(why) => (None, cgroup::not_in_force(job.in_force(), &why)),
        };
        let began = process::began(&process);
        let spec =
            Spec { run_id: run_id.clone(), created: began, history: history.clone(), cgroup, limits, ..spec };
        let started = Started {
            version: VERSION,
            run_id,
            at: began,
            process: process.clone(),
            // It is not known, and nobody may be taken for it: what is ended with a wrapper are its children.
            wrapper: process.clone(),
            constraints: spec.limits.clone(),
            notes: vec![WITHOUT_RECORDS.into()],
            baseline: None,
        };
        let (dir, lock) = RunDir::create(&self.host.layout().runs(), &spec)?;
        self.logs.tell(&spec);
        let recorded = dir.write_started(&started);
        drop(lock);
        if let Err(error) = recorded {
            // It never began, as far as records tell, so the next try begins anew.
            let _ = dir.remove();
            self.orphans.put_back(&job.id, found);
            return Err(error);
        }
        warn!(job = %job.id, run = %spec.run_id, pid = %process.pid, "{WITHOUT_RECORDS}");
        if let Some(old) = self.jobs.take_run(&job.id) {
            self.reporter.discard(old);
        }
        self.resume(&job.id, dir);
        if let Some(run) = self.jobs.run_mut(&job.id) {
            run.report.constraints = run.enforce(&started, job.in_force(), "it was adopted");
        }
        self.publish(&job.id);
        Ok(true)
    }

    /// Looks for workloads of which no record tells.
    pub fn find_orphans(&mut self) {
        let layout = self.host.layout();
        let is_known = |job: &JobId, run: &RunId| {
            let ended = layout.history().join(job.as_str()).join(format!("{run}.json"));
            let followed = observed::report_of(layout, job).is_some_and(|report| report.run_id > *run);
            let recorded = job_runs(&layout.runs(), job).unwrap_or_default();
            let recorded = recorded.iter().filter_map(RunDir::run_id).any(|recorded| recorded >= *run);
            recorded || followed || ended.exists()
        };
        match Orphans::census(self.host.identity(), is_known) {
            Ok(orphans) => self.orphans = orphans,
            Err(error) => warn!("cannot look for workloads without records: {error}"),
        }
        let found = self.orphans.len();
        if found > 0 {
            info!("{found} jobs have a workload of which no record tells");
        }
    }

    /// Says of which workloads without records nobody declares the job.
    pub fn tell_undeclared<'a>(&self, declared: impl Iterator<Item = &'a JobId>) {
        self.orphans.tell_undeclared(declared);
    }
}
