//! Exits: the evidence a wrapper leaves, and the verdict that follows from it.

use serde::{Deserialize, Serialize};

use super::evidence::{Evidence, OomCause, OomKills};
use super::job::{Job, Lifecycle};
use super::rlimit::Resource;
use super::shortage::Shortage;
use super::signal::Signal;
use super::units::ByteSize;

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

/// Who told how a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObservedBy {
    /// Its parent, which is the wrapper, or the supervisor once that is lost: wait(2).
    Parent,
    /// The kernel, of a process that somebody else reaped: `PIDFD_GET_INFO` (Linux 6.15).
    Pidfd,
    /// The kernel, of a process that nobody had reaped yet: field 52 of `/proc/PID/stat`.
    Zombie,
    /// The kernel, when it ended: the process events connector.
    Connector,
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

impl StartError {
    /// What the host lacked, if that is why: the start is owed as soon as it has it. Not what the job's own
    /// user or limits lack, and not what a program that was executed lacks.
    #[must_use]
    pub fn shortage(&self) -> Option<Shortage> {
        match self.stage {
            Stage::Exec | Stage::Credentials | Stage::Constraint | Stage::Attach => None,
            _ => self.errno.and_then(Shortage::of),
        }
    }

    /// Whether the process that was to be taken over has ended before that: then there was no run.
    #[must_use]
    pub fn came_too_late(&self) -> bool {
        self.stage == Stage::Attach && self.errno == Some(libc::ESRCH)
    }

    /// Whether the start is owed all the same: nothing of the workload ran, and that is not for anything that
    /// the job says. The host lacked something, or the wrapper was lost.
    #[must_use]
    pub fn is_owed(&self) -> bool {
        self.shortage().is_some() || (self.stage == Stage::Wrapper && self.errno.is_none())
    }
}

/// The steps between a decision to start and the workload's first instruction, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Making the run directory and its records.
    Record,
    /// Taking over a running process.
    Attach,
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
    /// It was no child of ours, and this kernel did not tell us (see `linux::exits`).
    NotTold,
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

/// The wrapper itself failed, not the workload: as with env(1), nohup(1) and timeout(1).
const WRAPPER_FAILED: u8 = 125;

/// The exit status of `ffrtmp run` for whoever called it: the workload's code, or 128 and the number of its
/// signal as a shell has it (bash(1), EXIT STATUS); 124 for a run that its timeout ended, as timeout(1) has it.
/// Of a workload that never ran: 127 where there is no such program, 126 where it cannot be executed, 125 for
/// all else. 125 also where nobody saw the exit.
#[must_use]
pub fn exit_status(ended: &Ended, stop: Option<StopReason>) -> u8 {
    match ended {
        Ended::Waited { status } => match WaitStatus::from_raw(*status) {
            None => WRAPPER_FAILED,
            Some(_) if stop == Some(StopReason::Timeout) => 124,
            Some(WaitStatus::Exited(code)) => code,
            Some(WaitStatus::Signaled(signal)) => {
                u8::try_from(128 + signal.number()).unwrap_or(WRAPPER_FAILED)
            }
        },
        Ended::NotStarted(StartError { stage: Stage::Exec, errno, .. }) => match errno {
            Some(libc::ENOENT | libc::ENOTDIR) => 127,
            _ => 126,
        },
        Ended::NotStarted(_) | Ended::Lost(_) => WRAPPER_FAILED,
    }
}

/// ffmpeg's exit code after a signal it obeyed. Without our signal it may as well be a failure.
const FFMPEG_STOPPED: u8 = 255;

/// The verdict on a run: from what was seen of its end, from whether we asked for it, and from what the
/// kernel counted meanwhile. What was counted explains an end; it never changes the state.
#[must_use]
pub fn judge(job: &Job, ended: &Ended, stop: Option<StopReason>, evidence: Option<&Evidence>) -> Verdict {
    let mut verdict = judge_end(job, ended, stop);
    if !matches!(ended, Ended::NotStarted(_)) {
        weigh(job, stop, evidence, &mut verdict);
    }
    verdict
}

/// From the end alone.
fn judge_end(job: &Job, ended: &Ended, stop: Option<StopReason>) -> Verdict {
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
        Ended::Lost(LostCause::HostRebooted) => lost("host_rebooted", "the host rebooted while the job ran"),
        Ended::Lost(LostCause::RecordDamaged) => lost("exit_lost", "the record of the run cannot be read"),
        Ended::Lost(LostCause::NotTold) => lost(
            "exit_lost",
            "it ended, and the kernel did not tell how: it was another process's child (Linux 6.15 tells)",
        ),
        // That there is no such process is not the platform's doing.
        Ended::NotStarted(error) if error.stage == Stage::Attach => Verdict {
            state: State::Failed,
            exit_code: None,
            signal: None,
            reason: ExitReason::Error,
            platform_sla: true,
            platform_sla_reason: "nothing_to_attach",
            message: format!("not taken over: {}", error.detail),
        },
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

/// Signals that a program brings upon itself. Others were sent by somebody.
const FAULTS: [i32; 6] =
    [libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGTRAP];

/// Adds to a verdict what the kernel counted: the reason, who is to blame, and what would help.
fn weigh(job: &Job, stop: Option<StopReason>, evidence: Option<&Evidence>, verdict: &mut Verdict) {
    let nothing = Evidence::default();
    let counted = evidence.unwrap_or(&nothing);
    let sigkill = verdict.signal == Some(Signal::KILL);
    // Not asked for, and not explained by another limit of its own.
    let unasked = stop.is_none()
        && matches!(verdict.state, State::Failed | State::Killed)
        && matches!(verdict.reason, ExitReason::Error | ExitReason::Signal);
    let fault = verdict.signal.is_none_or(|signal| FAULTS.contains(&signal.number()));
    // Who obeys SIGXCPU ends with a code, who ignores it by SIGKILL.
    let cpu_limit = Signal::from_number(libc::SIGXCPU)
        .filter(|_| unasked && (fault || sigkill) && counted.cpu_limit_signals > 0)
        .and_then(|signal| broken_limit(job, signal));
    match counted.oom_kills() {
        OomKills::Some(cause) => {
            let (platform_sla, reason, story) = describe_oom(job, counted, &cause);
            verdict.message = if unasked && sigkill {
                format!("killed for memory, by SIGKILL: {story}")
            } else {
                let before = &verdict.message;
                format!("{before}; processes of it were killed for memory: {story}")
            };
            // A program that loses a process to the OOM killer often ends by itself then, with any code.
            if unasked || (stop.is_some() && sigkill) {
                verdict.reason = ExitReason::Oom;
            }
            // What we ended is nobody's fault, however it went.
            if unasked {
                (verdict.platform_sla, verdict.platform_sla_reason) = (platform_sla, reason);
            }
            return;
        }
        _ if cpu_limit.is_some() => {}
        OomKills::None if unasked && sigkill => {
            verdict.message += "; the kernel counted no kill for memory: somebody sent it";
            // For this limit the kernel sends SIGKILL, and where no lower one is, nothing before (setrlimit(2)).
            let cpu = job.exec().and_then(|exec| exec.rlimits.get(&Resource::Cpu));
            if cpu.is_some_and(|limit| limit.hard.is_some() && limit.hard == limit.soft) {
                verdict.message +=
                    ", or it used more CPU time than the hard limit of exec.rlimits.cpu allows";
            }
        }
        OomKills::Unknown(host) if unasked && sigkill => {
            let host = host.map_or_else(String::new, |kills| {
                format!(" (on the whole host there were {kills} meanwhile)")
            });
            verdict.message += &format!(
                "; whether it was killed for memory is not known: no cgroup of its own counted this{host}"
            );
        }
        _ => {}
    }
    if let Some(story) = cpu_limit {
        let times = count(counted.cpu_limit_signals);
        (verdict.reason, verdict.platform_sla_reason) = (ExitReason::PolicyViolation, "workload_limit");
        verdict.message += &format!("; the kernel had sent it SIGXCPU {times} before: {story}");
        return;
    }
    if unasked
        && fault
        && let Some(refused) = counted.tasks_refused.filter(|refused| *refused > 0)
    {
        let times = count(refused);
        match job.constraints.tasks_max {
            Some(limit) => {
                verdict.reason = ExitReason::CgroupLimit;
                verdict.platform_sla_reason = "workload_limit";
                verdict.message += &format!(
                    "; it was refused a new process or thread {times}: raise constraints.tasks_max ({limit}), \
                     or let the command use fewer threads"
                );
            }
            None => {
                verdict.message += &format!(
                    "; it was refused a new process or thread {times}, by a limit above its cgroup \
                     (TasksMax= of the unit or slice)"
                );
            }
        }
    }
}

fn count(times: u64) -> String {
    if times == 1 { "once".into() } else { format!("{times} times") }
}

/// Whether the platform did its part, the reason for that, and the story in words, with advice.
fn describe_oom(job: &Job, evidence: &Evidence, cause: &OomCause) -> (bool, &'static str, String) {
    match cause {
        OomCause::OwnLimit => {
            let limit = job.constraints.memory_limit;
            let limit = limit.map_or_else(
                || "its cgroup had one, and memory_limit is not declared".to_owned(),
                |limit| format!("memory_limit {limit}"),
            );
            let peak = evidence
                .memory_peak_bytes
                .map_or_else(String::new, |peak| format!(", with up to {} in use", ByteSize(peak)));
            let story = format!(
                "its own limit was reached ({limit}{peak}); raise constraints.memory_limit, or let the command \
                 use less"
            );
            (true, "workload_oom", story)
        }
        OomCause::LimitAbove(file) => {
            let story = format!(
                "not its own limit was reached, but one above it ({}); raise that one (MemoryMax= of the unit \
                 or slice), or run less below it",
                file.display()
            );
            (false, "ancestor_oom", story)
        }
        OomCause::Host { certain } => {
            let outside = if *certain { "" } else { ", or a limit outside of this container was reached" };
            let story = format!(
                "no limit of the job or above it was reached, so the host ran out of memory{outside}; give \
                 every job a constraints.memory_limit, or the host more memory (constraints.oom_score_adj \
                 says which job goes first)"
            );
            (false, "host_oom", story)
        }
    }
}

#[cfg(test)]
mod tests;
