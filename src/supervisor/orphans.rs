//! Workloads that run without records: the state folder was deleted, cleaned, or is an older copy. They are
//! found by what they carry in their environment, to be taken over instead of being started a second time.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use nix::unistd::Uid;
use tracing::warn;

use super::environment::{RUN_VARIABLE, STATE_VARIABLE, user_of};
use crate::linux::marked::{self, Marked};
use crate::linux::process::PidFd;
use crate::model::ids::{JobId, RunId};
use crate::model::job::Job;

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

    /// Of how many jobs there is one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Puts back one that could not be adopted.
    pub fn put_back(&mut self, job: &JobId, marked: Marked) {
        self.found.entry(job.clone()).or_default().push(marked);
    }

    /// The workload of a job that still lives. If there are several, the first process of the last run: what escaped
    /// from a run before it is not the job. Only one of the job's own user: anybody can put anything into his
    /// environment.
    pub fn take(&mut self, job: &Job) -> Option<Marked> {
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

/// The run that a workload carries the name of.
#[must_use]
pub fn run_of(marked: &Marked) -> Option<RunId> {
    RunId::try_from(marked.variable(RUN_VARIABLE)?.to_owned()).ok()
}
