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

/// What a run used. Null where nobody measured.
///
/// Of a run in a cgroup, that is what all its processes used; of one without, its main process and the
/// children that this waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in seconds, user and system.
    pub cpu_sec: Option<f64>,
    /// Seconds for which it had to wait because its CPU quota was used up.
    pub cpu_throttled_sec: Option<f64>,
    /// Periods in which its CPU quota was used up.
    pub cpu_throttled_periods: Option<u64>,
    /// Most memory in use: in a cgroup with the files that the kernel caches for it, else the largest
    /// resident memory of a process.
    pub memory_peak_bytes: Option<u64>,
    /// Kills for memory, as the kernel counts them: more than 0 if there was any. It may count one twice.
    pub oom_kills: Option<u64>,
    /// Read from storage.
    pub io_read_bytes: Option<u64>,
    /// Written to storage.
    pub io_write_bytes: Option<u64>,
    /// Seconds for which at least one of its tasks waited for a CPU (`some` of `cpu.pressure`,
    /// Documentation/accounting/psi.rst); only cgroups of version 2 count this and the following.
    #[serde(default)]
    pub cpu_pressure_sec: Option<f64>,
    /// Seconds for which at least one of its tasks waited for memory (`some` of `memory.pressure`).
    #[serde(default)]
    pub memory_pressure_sec: Option<f64>,
    /// Seconds for which all of its tasks that were not idle did (`full`).
    #[serde(default)]
    pub memory_pressure_full_sec: Option<f64>,
    /// Seconds for which at least one of its tasks waited for storage (`some` of `io.pressure`).
    #[serde(default)]
    pub io_pressure_sec: Option<f64>,
    /// Seconds for which all of its tasks that were not idle did (`full`).
    #[serde(default)]
    pub io_pressure_full_sec: Option<f64>,
}

impl Usage {
    /// What was used since the baseline; of what that does not know, nothing is.
    #[must_use]
    pub fn since(&self, baseline: &Self) -> Self {
        let count = |now: Option<u64>, before: Option<u64>| now?.checked_sub(before?);
        // In microseconds, which is what the kernel counts: 0.3 - 0.1 is not quite 0.2.
        let seconds = |now: Option<f64>, before: Option<f64>| {
            let difference = ((now? - before?) * 1e6).round() / 1e6;
            (difference >= 0.0).then_some(difference)
        };
        Self {
            cpu_sec: seconds(self.cpu_sec, baseline.cpu_sec),
            cpu_throttled_sec: seconds(self.cpu_throttled_sec, baseline.cpu_throttled_sec),
            cpu_throttled_periods: count(self.cpu_throttled_periods, baseline.cpu_throttled_periods),
            // A peak is not counted up.
            memory_peak_bytes: baseline.memory_peak_bytes.and(self.memory_peak_bytes),
            oom_kills: count(self.oom_kills, baseline.oom_kills),
            io_read_bytes: count(self.io_read_bytes, baseline.io_read_bytes),
            io_write_bytes: count(self.io_write_bytes, baseline.io_write_bytes),
            cpu_pressure_sec: seconds(self.cpu_pressure_sec, baseline.cpu_pressure_sec),
            memory_pressure_sec: seconds(self.memory_pressure_sec, baseline.memory_pressure_sec),
            memory_pressure_full_sec: seconds(
                self.memory_pressure_full_sec,
                baseline.memory_pressure_full_sec,
            ),
            io_pressure_sec: seconds(self.io_pressure_sec, baseline.io_pressure_sec),
            io_pressure_full_sec: seconds(self.io_pressure_full_sec, baseline.io_pressure_full_sec),
        }
    }

    /// What a cgroup counted (`self`), completed by what was seen of the main process.
    ///
    /// Of bytes the larger count is taken, because each misses some: the cgroup what is still to be written
    /// when the run ends, the process what children did that it did not wait for.
    #[must_use]
    pub fn or(&self, process: &Self) -> Self {
        Self {
            cpu_sec: self.cpu_sec.or(process.cpu_sec),
            cpu_throttled_sec: self.cpu_throttled_sec.or(process.cpu_throttled_sec),
            cpu_throttled_periods: self.cpu_throttled_periods.or(process.cpu_throttled_periods),
            memory_peak_bytes: self.memory_peak_bytes.or(process.memory_peak_bytes),
            oom_kills: self.oom_kills.or(process.oom_kills),
            io_read_bytes: self.io_read_bytes.max(process.io_read_bytes),
            io_write_bytes: self.io_write_bytes.max(process.io_write_bytes),
            // No process has any of its own.
            ..*self
        }
    }
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
