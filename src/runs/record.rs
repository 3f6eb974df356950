//! The records of a run, one JSON file each, each with a version. Records of version 1 load for ever:
//! fields may be added with a default, and never change their meaning.

use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::model::attached::Attached;
use crate::model::cgroup::Cgroup;
use crate::model::constraints::{ConstraintStatus, Constraints};
use crate::model::evidence::{Counters, Evidence};
use crate::model::exit::{Ended, ObservedBy, StopReason, judge};
use crate::model::history::StartHistory;
use crate::model::ids::RunId;
use crate::model::job::Job;
use crate::model::process::{BootId, ProcessIdentity};
use crate::model::report::{Report, Usage};
use crate::model::signal::Signal;
use crate::model::time::Moment;

/// The version of all records that this program writes.
pub const VERSION: u32 = 1;

/// `spec.json`: what is to run. Written by the supervisor before it starts the wrapper, and again
/// when an edit changes the job in place; `job` is what the run is governed by.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Spec {
    /// [`VERSION`].
    pub version: u32,
    /// The run.
    pub run_id: RunId,
    /// The boot it was made in.
    pub boot_id: BootId,
    /// When it was made.
    pub created: Moment,
    /// The job as it was resolved.
    pub job: Arc<Job>,
    /// The workload's whole environment.
    pub environment: Vec<(String, String)>,
    /// Where output goes, for a job whose output goes to a file.
    pub log: PathBuf,
    /// The starts before this one.
    pub history: StartHistory,
    /// The soft limit on open files that the workload is to have: the supervisor raised its own
    /// (`RLIMIT_NOFILE`, setrlimit(2)). Inherited if `None`.
    #[serde(default)]
    pub open_files: Option<u64>,
    /// The cgroup that the workload starts in. Its limits are in force before there is a process in it.
    #[serde(default)]
    pub cgroup: Option<Cgroup>,
    /// What became of the constraints that a cgroup keeps, as read back before the start.
    #[serde(default)]
    pub limits: Vec<ConstraintStatus>,
    /// The constraints that were in force before the last edit in place: whoever finds that edit unfinished
    /// knows what to reset.
    #[serde(default)]
    pub before: Option<Constraints>,
    /// The workload was let go (`stop.on_remove`): it runs without us, also under the next supervisor.
    #[serde(default)]
    pub released: bool,
    /// For an attach job: the process, and what it was like before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attached: Option<Attached>,
}

impl Spec {
    /// A run of a job that is about to be made, with nothing of what only some runs have.
    #[must_use]
    pub fn new(job: impl Into<Arc<Job>>, run_id: RunId, boot_id: BootId, created: Moment) -> Self {
        Self {
            version: VERSION,
            run_id,
            boot_id,
            created,
            job: job.into(),
            environment: Vec::new(),
            log: PathBuf::new(),
            history: StartHistory::default(),
            open_files: None,
            cgroup: None,
            limits: Vec::new(),
            before: None,
            released: false,
            attached: None,
        }
    }
}

/// `started.json`: written by the wrapper when the workload's process exists and is set up,
/// before its first instruction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Started {
    /// [`VERSION`].
    pub version: u32,
    /// The run.
    pub run_id: RunId,
    /// When: just before this was written, with all of the set-up done. The workload's time counts from here.
    pub at: Moment,
    /// The main process.
    pub process: ProcessIdentity,
    /// The wrapper.
    pub wrapper: ProcessIdentity,
    /// What was asked of the kernel, as read back.
    pub constraints: Vec<ConstraintStatus>,
    /// What else is worth telling.
    #[serde(default)]
    pub notes: Vec<String>,
    /// What the kernel had counted by then, for whoever sees the end.
    #[serde(default)]
    pub baseline: Option<Counters>,
}

/// `exited.json`: written by the wrapper, durably, before it ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exited {
    /// [`VERSION`].
    pub version: u32,
    /// The run.
    pub run_id: RunId,
    /// When the main process ended.
    pub at: Moment,
    /// How.
    pub ended: Ended,
    /// Who told how; `None` if nobody did, and in records of programs that did not say.
    #[serde(default)]
    pub observed_by: Option<ObservedBy>,
    /// What it used.
    #[serde(default)]
    pub usage: Usage,
    /// What the kernel counted meanwhile; `None` if nobody looked.
    #[serde(default)]
    pub evidence: Option<Evidence>,
    /// The names of processes that the main process left behind, which are ended now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<String>,
}

impl Exited {
    /// An end of which nothing but itself is known.
    #[must_use]
    pub fn unmeasured(run_id: RunId, at: Moment, ended: Ended) -> Self {
        Self {
            version: VERSION,
            run_id,
            at,
            ended,
            observed_by: None,
            usage: Usage::default(),
            evidence: None,
            left: Vec::new(),
        }
    }

    /// Notes the end in the report of its run, with what is to be thought of it. `stop`: that we ended it.
    /// `began`: when the workload did, if it did.
    pub fn conclude(&self, report: &mut Report, job: &Job, stop: Option<StopReason>, began: Option<Moment>) {
        let verdict = judge(job, &self.ended, stop, self.evidence.as_ref());
        let lasted = began.map(|began| self.at.boot.since(began.boot).as_secs_f64());
        report.end(self.at.wall, lasted, self.observed_by, self.usage, verdict);
    }

    /// An end that somebody told of: a raw wait status (wait(2)).
    #[must_use]
    pub fn waited(run_id: RunId, at: Moment, status: i32, by: ObservedBy) -> Self {
        Self { observed_by: Some(by), ..Self::unmeasured(run_id, at, Ended::Waited { status }) }
    }
}

/// `stop.json`: that we are ending this run. Written by the supervisor before it sends the signal,
/// so that its successor neither sends it twice nor takes the exit for the workload's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    /// [`VERSION`].
    pub version: u32,
    /// When the signal was sent.
    pub at: Moment,
    /// Why.
    pub reason: StopReason,
    /// The signal.
    pub signal: Signal,
    /// When it was sent a second time, because nothing came of the first; written before that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub again: Option<Moment>,
    /// When the other processes of the run got it; written before that is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others: Option<Moment>,
}
