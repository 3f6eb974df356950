//! Workloads that run without records: the state folder was deleted, cleaned, or is an older copy. They are
//! found by what they carry in their environment, and taken over instead of being started a second time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::Uid;
use tracing::{info, warn};

use super::daemon::Daemon;
use super::environment::{RUN_VARIABLE, STATE_VARIABLE, user_of};
use super::observed;
use crate::linux::cgroup::{self, Before};
use crate::linux::marked::{self, Marked};
use crate::linux::process::{self, PidFd};
use crate::model::history::StartHistory;
use crate::model::ids::{JobId, RunId};
use crate::model::job::Job;
use crate::runs::dir::{RunDir, job_runs};
use crate::runs::record::{Spec, Started, VERSION};

const WITHOUT_RECORDS: &str = "adopted: it was running without records (its state was lost or replaced), and nothing \
                               was started beside it; what it used before now is not known";

/// Workloads of this state of which no record tells, by their job.
#[derive(Debug, Default)]
pub struct Orphans {
    found: BTreeMap<JobId, Vec<Marked>>,
}

impl Orphans {
    /// Looks at every process of the host, once. `is_known`: whether records tell of that run, or of one that
    /// followed it.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn census(state: &Path, is_known: impl Fn(&JobId, &RunId) -> bool) -> io::Result<Self> {
        let mut found: BTreeMap<JobId, Vec<Marked>> = BTreeMap::new();
        // No path that is not UTF-8 is in an environment of ours.
        let Some(state) = state.to_str() else { return Ok(Self::default()) };
        for marked in marked::topmost(STATE_VARIABLE, state)? {
            let Some(job) =
                marked.variable("FFRTMP_JOB").and_then(|job| JobId::try_from(job.to_owned()).ok())
            else {
                continue;
            };
            if !run_of(&marked).is_some_and(|run| is_known(&job, &run)) {
                found.entry(job).or_default().push(marked);
            }
        }
        Ok(Self { found })
    }

    /// The workload of a job that still lives. If there are several, the first process of the last run: what escaped
    /// from a run before it is not the job. Only one of the job's own user: anybody can put anything into his
    /// environment.
    fn take(&mut self, job: &Job) -> Option<Marked> {
        let uid = job.exec().and_then(user_of).map_or_else(Uid::effective, |user| user.uid).as_raw();
        let lives = |marked: &Marked| {
            PidFd::open(&marked.process)
                .is_ok_and(|fd| fd.is_some_and(|fd| fd.has_exited().is_ok_and(|gone| !gone)))
        };
        let found = self.found.remove(&job.id)?.into_iter();
        found
            .filter(|marked| marked.uid == uid && lives(marked))
            .min_by_key(|marked| (Reverse(run_of(marked)), marked.process.start_time))
    }

    /// Says of which nobody declares the job: they are left alone.
    pub fn tell_undeclared<'a>(&self, declared: impl Iterator<Item = &'a JobId>) {
        let declared: Vec<&JobId> = declared.collect();
        for (job, found) in self.found.iter().filter(|(job, _)| !declared.contains(job)) {
            let pids: Vec<String> = found.iter().map(|marked| marked.process.pid.to_string()).collect();
            warn!(
                job = %job,
                "pid {} runs as this job, but no file declares it and no record tells of it; it is left alone: \
                 declare the job again to govern it, or end the process yourself",
                pids.join(", ")
            );
        }
    }
}

fn run_of(marked: &Marked) -> Option<RunId> {
    RunId::try_from(marked.variable(RUN_VARIABLE)?.to_owned()).ok()
}

impl Daemon {
    /// Takes over a job's workload that runs without records, if there is one. Records are made for it, as its
    /// wrapper would have; then it is a run like any whose wrapper was lost.
    pub(super) fn adopt(&mut self, job: &Arc<Job>, history: &StartHistory) -> io::Result<bool> {
        let Some(found) = self.orphans.take(job) else { return Ok(false) };
        let process = found.process.clone();
        let spec = self.spec_of(job);
        // Where its wrapper still lives, it records the exit under this name.
        let run_id = run_of(&found).unwrap_or_else(|| spec.run_id.clone());
        let (cgroup, limits) = match self.cgroups.create(job.id.as_str()) {
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
        let (dir, lock) = RunDir::create(&self.layout.runs(), &spec)?;
        self.tell_log(&spec);
        let recorded = dir.write_started(&started);
        drop(lock);
        if let Err(error) = recorded {
            // It never began, as far as records tell, so the next try begins anew.
            let _ = dir.remove();
            self.orphans.found.entry(job.id.clone()).or_default().push(found);
            return Err(error);
        }
        warn!(job = %job.id, run = %spec.run_id, pid = %process.pid, "{WITHOUT_RECORDS}");
        if let Some(old) = self.slots.get_mut(&job.id).and_then(|slot| slot.run.take()) {
            self.discard(old);
        }
        self.take_over_run(&job.id, dir);
        if let Some(run) = self.run_of(&job.id) {
            run.report.constraints = run.enforce(&started, job.in_force(), "it was adopted");
        }
        self.publish(&job.id);
        Ok(true)
    }

    /// Looks for workloads of which no record tells.
    pub(super) fn find_orphans(&mut self) {
        let is_known = |job: &JobId, run: &RunId| {
            let ended = self.layout.history().join(job.as_str()).join(format!("{run}.json"));
            let followed = observed::report_of(&self.layout, job).is_some_and(|report| report.run_id > *run);
            let recorded = job_runs(&self.layout.runs(), job).unwrap_or_default();
            let recorded = recorded.iter().filter_map(RunDir::run_id).any(|recorded| recorded >= *run);
            recorded || followed || ended.exists()
        };
        match Orphans::census(&self.identity, is_known) {
            Ok(orphans) => self.orphans = orphans,
            Err(error) => warn!("cannot look for workloads without records: {error}"),
        }
        let found = self.orphans.found.len();
        if found > 0 {
            info!("{found} jobs have a workload of which no record tells");
        }
    }
}
