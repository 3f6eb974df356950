//! Exits: the evidence a wrapper leaves, and the verdict that follows from it.

use serde::{Deserialize, Serialize};

use super::job::{Job, Lifecycle};
use super::rlimit::Resource;
use super::signal::Signal;

/// How a run ended, as somebody saw it. Never a guess.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Ended {
    /// The main process ended with this status, as wait(2) gives it.
    Waited {
        /// The raw wait status.
        status: i32,
    },
    /// The workload never ran: a step before its first instruction failed.
    NotStarted(StartError),
    /// Nobody saw the exit.
    Lost(LostCause),
}

/// The step of a start that failed, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartError {
    /// The step.
    pub stage: Stage,
    /// The system's error number, where there is one.
    pub errno: Option<i32>,
    /// What was tried on what, and what to do.
    pub detail: String,
}

/// The steps between a decision to start and the workload's first instruction, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Making the run directory and its records.
    Record,
    /// Reading the env files.
    Environment,
    /// Starting the wrapper.
    Wrapper,
    /// Opening the output.
    Output,
    /// Looking up user and group.
    User,
    /// Making the process.
    Fork,
    /// A session of its own (setsid(2)).
    Session,
    /// A constraint that `strict` insists on.
    Constraint,
    /// Standard input, output and error.
    Stdio,
    /// Dropping privileges: groups, gid, uid.
    Credentials,
    /// Entering the working directory.
    WorkingDir,
    /// Executing the program.
    Exec,
}

/// Why nobody saw an exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LostCause {
    /// The wrapper went away first.
    WrapperLost,
    /// The machine was started anew while the job ran.
    HostRebooted,
    /// The record of the run cannot be read.
    RecordDamaged,
}

/// Why we ended a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its file went away.
    Removed,
    /// Its file says `enabled = false`.
    Disabled,
    /// An edit that needs a restart.
    Changed,
    /// It ran longer than `timeouts.run`.
    Timeout,
}

impl StopReason {
    /// In words, for events.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Removed => "its file was removed",
            Self::Disabled => "it was disabled",
            Self::Changed => "an edit needs a restart",
            Self::Timeout => "it ran longer than timeouts.run",
        }
    }
}

/// A stage of a job's life, as reports name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Nobody can tell.
    Unknown,
    /// Being started.
    Starting,
    /// Running.
    Running,
    /// Ended well.
    Completed,
    /// Ended badly, or never began.
    Failed,
    /// Ended by a signal.
    Killed,
}

/// Why a run ended, as reports name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitReason {
    /// As it should.
    Success,
    /// By itself, badly.
    Error,
    /// By a signal.
    Signal,
    /// It took longer than it may.
    Timeout,
    /// Out of memory.
    Oom,
    /// A limit of its cgroup.
    CgroupLimit,
    /// It broke a rule of its declaration.
    PolicyViolation,
    /// Nobody saw it.
    Unknown,
}

/// What an exit means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// The state the run ends in.
    pub state: State,
    /// The code, if the process exited by itself.
    pub exit_code: Option<u8>,
    /// The signal that ended it.
    pub signal: Option<Signal>,
    /// Why it ended.
    pub reason: ExitReason,
    /// The platform did its part.
    pub platform_sla: bool,
    /// Why it is held to have done so, or not.
    pub platform_sla_reason: &'static str,
    /// In words.
    pub message: String,
}

/// What wait(2) reported, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitStatus {
    /// `_exit(2)` with this code.
    Exited(u8),
    /// Ended by this signal.
    Signaled(Signal),
}

impl WaitStatus {
    /// Takes a raw wait status apart; `None` for a status that is no end.
    #[must_use]
    pub fn from_raw(status: i32) -> Option<Self> {
        if libc::WIFEXITED(status) {
            u8::try_from(libc::WEXITSTATUS(status)).ok().map(Self::Exited)
        } else if libc::WIFSIGNALED(status) {
            Signal::from_number(libc::WTERMSIG(status)).map(Self::Signaled)
        } else {
            None
        }
    }
}

/// ffmpeg's exit code after a signal it obeyed. Without our signal it may as well be a failure.
const FFMPEG_STOPPED: u8 = 255;

/// The verdict on a run: from what was seen, and from whether we asked for it.
#[must_use]
pub fn judge(job: &Job, ended: &Ended, stop: Option<StopReason>) -> Verdict {
    let lost = |platform_sla_reason, message: &str| Verdict {
        state: State::Unknown,
        exit_code: None,
        signal: None,
        reason: ExitReason::Unknown,
        platform_sla: false,
        platform_sla_reason,
        message: message.into(),
    };
    match ended {
        Ended::Lost(LostCause::WrapperLost) => {
            lost("exit_lost", "the wrapper was lost before it could record the exit")
        }
        Ended::Lost(LostCause::HostRebooted) => {
            lost("host_rebooted", "the host was started anew while the job ran")
        }
        Ended::Lost(LostCause::RecordDamaged) => lost("exit_lost", "the record of the run cannot be read"),
        Ended::NotStarted(error) => Verdict {
            state: State::Failed,
            exit_code: None,
            signal: None,
            reason: ExitReason::Error,
            platform_sla: false,
            platform_sla_reason: "setup_failed",
            message: format!("not started: {}", error.detail),
        },
        Ended::Waited { status } => match WaitStatus::from_raw(*status) {
            None => lost("exit_lost", "the recorded wait status is not an end"),
            Some(WaitStatus::Exited(code)) => judge_code(job, code, stop),
            Some(WaitStatus::Signaled(signal)) => judge_signal(job, signal, libc::WCOREDUMP(*status), stop),
        },
    }
}

fn judge_code(job: &Job, code: u8, stop: Option<StopReason>) -> Verdict {
    let listed = job.restart.success_exit_codes.contains(&code);
    let (state, reason, sla, message) = match stop {
        Some(StopReason::Timeout) => (
            State::Killed,
            ExitReason::Timeout,
            "workload_timeout",
            format!("stopped after timeouts.run, with exit code {code}"),
        ),
        Some(why) if listed || code == 0 || code == FFMPEG_STOPPED => (
            State::Completed,
            ExitReason::Success,
            "stopped_on_request",
            format!("stopped because {}, with exit code {code}", why.describe()),
        ),
        Some(why) => (
            State::Failed,
            ExitReason::Error,
            "stopped_on_request",
            format!("stopped because {}, and ended badly with exit code {code}", why.describe()),
        ),
        None if listed && job.lifecycle == Lifecycle::Oneshot => {
            (State::Completed, ExitReason::Success, "success", format!("completed with exit code {code}"))
        }
        None if listed => (
            State::Failed,
            ExitReason::Error,
            "workload_failed",
            format!("ended by itself with exit code {code}, which a continuous job should not"),
        ),
        None => {
            (State::Failed, ExitReason::Error, "workload_failed", format!("failed with exit code {code}"))
        }
    };
    Verdict {
        state,
        exit_code: Some(code),
        signal: None,
        reason,
        platform_sla: true,
        platform_sla_reason: sla,
        message,
    }
}

/// The limit of the job's for which the kernel sends this signal, if it has one, and what to do.
fn broken_limit(job: &Job, signal: Signal) -> Option<String> {
    let (resource, what, advice) = match signal.number() {
        libc::SIGXCPU => (Resource::Cpu, "used more CPU time than", "let the command do less"),
        libc::SIGXFSZ => (Resource::Fsize, "wrote a larger file than", "let the command write smaller files"),
        _ => return None,
    };
    let limit = job.exec()?.rlimits.get(&resource).filter(|limit| limit.soft.is_some())?;
    let path = resource.path();
    Some(format!("it {what} {path} ({}) allows; raise that, or {advice}", limit.show(resource)))
}

fn judge_signal(job: &Job, signal: Signal, dumped: bool, stop: Option<StopReason>) -> Verdict {
    let core = if dumped { ", with a core dump" } else { "" };
    let (reason, sla, message) = match stop {
        Some(StopReason::Timeout) => (
            ExitReason::Timeout,
            "workload_timeout",
            format!("stopped after timeouts.run, by {signal}{core}"),
        ),
        Some(why) => (
            ExitReason::Signal,
            "stopped_on_request",
            format!("stopped because {}, by {signal}{core}", why.describe()),
        ),
        None => match broken_limit(job, signal) {
            Some(story) => {
                (ExitReason::PolicyViolation, "workload_limit", format!("ended by {signal}{core}: {story}"))
            }
            None => {
                let message = format!("ended by {signal}{core}, which we did not send");
                (ExitReason::Signal, "workload_failed", message)
            }
        },
    };
    Verdict {
        state: State::Killed,
        exit_code: None,
        signal: Some(signal),
        reason,
        platform_sla: true,
        platform_sla_reason: sla,
        message,
    }
}

#[cfg(test)]
mod limit_tests {
    use super::*;

    #[test]
    fn a_signal_for_a_limit_of_the_jobs_own_is_told_as_that() {
        let job = |rlimits: &str| -> Job {
            let job = r#"{
                "id": "a", "lifecycle": "oneshot", "intent": "test", "sla_eligible": true,
                "workload": {"exec": {"command": ["/bin/true"], "rlimits": RLIMITS}},
                "restart": {"policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1,
                            "success_exit_codes": [0]},
                "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "stop"}
            }"#;
            serde_json::from_str(&job.replace("RLIMITS", rlimits)).expect("a job")
        };
        let cpu = job(r#"{"cpu": {"soft": 600, "hard": 605}}"#);
        let unlimited = job(r#"{"cpu": {"soft": null, "hard": null}}"#);
        let fsize = job(r#"{"fsize": {"soft": 1048576, "hard": null}}"#);
        let none = job("{}");
        let (xcpu, xfsz) = (libc::SIGXCPU, libc::SIGXFSZ);
        use ExitReason::{PolicyViolation, Signal as BySignal, Timeout};
        for (job, status, stop, reason, sla_reason, told) in [
            (&cpu, xcpu, None, PolicyViolation, "workload_limit", "exec.rlimits.cpu (10m:10m5s)"),
            (&cpu, xcpu | 0x80, None, PolicyViolation, "workload_limit", "with a core dump: it used more"),
            (&cpu, xfsz, None, BySignal, "workload_failed", "which we did not send"),
            (&cpu, libc::SIGKILL, None, BySignal, "workload_failed", "which we did not send"),
            (&fsize, xfsz, None, PolicyViolation, "workload_limit", "exec.rlimits.fsize (1MiB:unlimited)"),
            // Somebody else's limit, or nobody's.
            (&none, xcpu, None, BySignal, "workload_failed", "which we did not send"),
            (&unlimited, xcpu, None, BySignal, "workload_failed", "which we did not send"),
            (&cpu, xcpu, Some(StopReason::Timeout), Timeout, "workload_timeout", "timeouts.run"),
        ] {
            let verdict = judge(job, &Ended::Waited { status }, stop);
            assert_eq!((verdict.reason, verdict.platform_sla), (reason, true), "{verdict:?}");
            assert_eq!(
                (verdict.state, verdict.platform_sla_reason),
                (State::Killed, sla_reason),
                "{verdict:?}"
            );
            assert!(verdict.message.contains(told), "{verdict:?}");
        }
    }
}
