//! Reports: what is told of a run, at every moment of its life (schema `ffrtmp.report/1`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::constraints::ConstraintStatus;
use super::exit::{ExitReason, ObservedBy, State, Verdict};
use super::ids::{JobId, RunId};
use super::job::{Intent, Job, Workload};
use super::process::Pid;
use super::signal::Signal;
use super::time::WallTime;
pub use super::usage::Usage;

/// The name of this form of report.
pub const SCHEMA: &str = "ffrtmp.report/1";

/// Most events that a report keeps: the first one and the newest.
pub const MAX_EVENTS: usize = 50;

/// What is known of a run. A value nobody observed is null.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The job.
    pub job_id: JobId,
    /// The run.
    pub run_id: RunId,
    /// Whether the workload was started or taken over.
    pub mode: Mode,
    /// Where it stands.
    pub state: State,
    /// What the job runs for.
    pub intent: Intent,
    /// Counts towards the platform's service level.
    pub sla_eligible: bool,
    /// The job's labels.
    pub tags: BTreeMap<String, String>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The main process.
    pub pid: Option<Pid>,
    /// When the workload began.
    pub started_at: Option<WallTime>,
    /// When it ended.
    pub ended_at: Option<WallTime>,
    /// How long it ran, by the clock that does not jump.
    pub duration_sec: Option<f64>,
    /// The code, if the process exited by itself.
    pub exit_code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// Who told the code or the signal; null while it runs, and if nobody did.
    #[serde(default)]
    pub exit_observed_by: Option<ObservedBy>,
    /// Why it ended; null while it runs.
    pub exit_reason: Option<ExitReason>,
    /// The platform did its part; null while it runs.
    pub platform_sla: Option<bool>,
    /// Why it is held to have done so.
    pub platform_sla_reason: Option<String>,
    /// What was asked of the kernel, and what became of it.
    pub constraints: Vec<ConstraintStatus>,
    /// How often somebody else changed a constraint and the supervisor restored it.
    #[serde(default)]
    pub drift_corrected: u32,
    /// What the run used.
    pub usage: Usage,
    /// How often the job was started again before this run.
    pub restarts: u32,
    /// When the job will be started again; null if it will not.
    #[serde(default)]
    pub next_start_at: Option<WallTime>,
    /// What happened, oldest first.
    pub events: Vec<Event>,
}

/// Whether a workload was started or taken over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Started.
    Run,
    /// Taken over.
    Attach,
}

/// Something that happened to a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: WallTime,
    /// The state from then on.
    pub state: State,
    /// In words.
    pub message: String,
}

impl Report {
    /// The report of a run that is about to start.
    #[must_use]
    pub fn starting(job: &Job, run_id: RunId, restarts: u32, at: WallTime, message: String) -> Self {
        let mut report = Self {
            schema: SCHEMA.into(),
            job_id: job.id.clone(),
            run_id,
            mode: Mode::Run,
            state: State::Starting,
            intent: job.intent,
            sla_eligible: job.sla_eligible,
            tags: BTreeMap::new(),
            command: Vec::new(),
            pid: None,
            started_at: None,
            ended_at: None,
            duration_sec: None,
            exit_code: None,
            signal: None,
            exit_observed_by: None,
            exit_reason: None,
            platform_sla: None,
            platform_sla_reason: None,
            constraints: Vec::new(),
            drift_corrected: 0,
            usage: Usage::default(),
            restarts,
            next_start_at: None,
            events: Vec::new(),
        };
        report.describe(job);
        report.event(at, State::Starting, message);
        report
    }

    /// Takes over what the job's declaration says now.
    pub fn describe(&mut self, job: &Job) {
        self.intent = job.intent;
        self.sla_eligible = job.sla_eligible;
        self.tags.clone_from(&job.tags);
        self.mode = match &job.workload {
            Workload::Exec(exec) => {
                self.command.clone_from(&exec.command);
                Mode::Run
            }
            // Its command is that of the process, and no declaration says it.
            Workload::Attach(_) => Mode::Attach,
        };
    }

    /// Notes what happened. The first event and the newest are kept.
    pub fn event(&mut self, at: WallTime, state: State, message: String) {
        self.state = state;
        if self.events.len() >= MAX_EVENTS {
            self.events.remove(1);
        }
        self.events.push(Event { at, state, message });
    }

    /// Notes that a process that was taken over was let go. What became of it is not for this report.
    pub fn let_go(&mut self, at: WallTime, message: String) {
        self.platform_sla_reason = Some("detached_workload_continues".into());
        self.event(at, State::Running, message);
    }

    /// Whether nothing more is to come: the run ended, or its process was let go.
    #[must_use]
    pub fn is_last(&self) -> bool {
        self.platform_sla_reason.is_some()
    }

    /// Notes the end of the run, and who told of it.
    pub fn end(
        &mut self,
        at: WallTime,
        duration_sec: Option<f64>,
        observed_by: Option<ObservedBy>,
        usage: Usage,
        verdict: Verdict,
    ) {
        self.ended_at = Some(at);
        self.duration_sec = duration_sec;
        self.usage = usage;
        self.exit_code = verdict.exit_code;
        self.signal = verdict.signal;
        self.exit_observed_by = observed_by;
        self.exit_reason = Some(verdict.reason);
        self.platform_sla = Some(verdict.platform_sla);
        self.platform_sla_reason = Some(verdict.platform_sla_reason.into());
        self.event(at, verdict.state, verdict.message);
    }
}
