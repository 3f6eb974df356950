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
        Ended::Lost(LostCause::HostRebooted) => {
            lost("host_rebooted", "the host was started anew while the job ran")
        }
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
mod tests {
    use super::*;
    use crate::model::evidence::{LimitAbove, MemoryEvents};
    use crate::model::job::Workload;
    use crate::model::rlimit::Rlimit;

    const CODE_1: i32 = 1 << 8;
    const CODE_0: i32 = 0;

    fn job(lifecycle: &str, constraints: &serde_json::Value) -> Job {
        serde_json::from_value(serde_json::json!({
            "id": "a", "lifecycle": lifecycle, "intent": "production", "sla_eligible": true,
            "workload": {"exec": {"command": ["/bin/true"]}}, "constraints": constraints,
            "restart": {
                "policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1, "success_exit_codes": [0],
            },
            "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "stop"},
        }))
        .expect("a job")
    }

    /// So many kills in the run's cgroup, for this cause.
    fn oom(kills: u64, cause: &str) -> Evidence {
        let limit_reached = u64::from(cause == "own");
        let above = LimitAbove { file: "/unit/memory.max".into(), reached: 1 };
        Evidence {
            memory: Some(MemoryEvents { limit_reached, kills }),
            above: if cause == "above" { vec![above] } else { Vec::new() },
            up_to_the_host: true,
            host_kills: Some(kills),
            memory_peak_bytes: Some(64 << 20),
            ..Evidence::default()
        }
    }

    fn refused(times: u64) -> Evidence {
        Evidence { tasks_refused: Some(times), ..oom(0, "") }
    }

    #[test]
    fn what_was_counted_explains_an_end() {
        use StopReason::{Removed, Timeout};
        let own = oom(2, "own");
        let (above, host, none) = (oom(1, "above"), oom(1, "host"), oom(0, "own"));
        let blind = Evidence { host_kills: Some(3), ..Evidence::default() };
        // The raw wait status, whether a stop was asked for, what was counted; the reason, the platform,
        // why, and what an operator is told.
        type Row<'a> =
            (i32, Option<StopReason>, Option<&'a Evidence>, ExitReason, bool, &'static str, &'static str);
        let rows: &[Row<'_>] = &[
            (
                9,
                None,
                Some(&own),
                ExitReason::Oom,
                true,
                "workload_oom",
                "memory_limit 64MiB, with up to 64MiB",
            ),
            (9, None, Some(&above), ExitReason::Oom, false, "ancestor_oom", "/unit/memory.max"),
            (9, None, Some(&host), ExitReason::Oom, false, "host_oom", "the host ran out of memory;"),
            (9, None, Some(&none), ExitReason::Signal, true, "workload_failed", "somebody sent it"),
            (
                9,
                None,
                Some(&blind),
                ExitReason::Signal,
                true,
                "workload_failed",
                "not known: no cgroup of its own",
            ),
            (9, None, Some(&blind), ExitReason::Signal, true, "workload_failed", "whole host there were 3"),
            (9, None, None, ExitReason::Signal, true, "workload_failed", "not known: no cgroup of its own"),
            // Codes that shells make of signals are codes.
            (
                137 << 8,
                None,
                Some(&none),
                ExitReason::Error,
                true,
                "workload_failed",
                "failed with exit code 137",
            ),
            (143 << 8, None, None, ExitReason::Error, true, "workload_failed", "failed with exit code 143"),
            // Another process of the run was killed, and the main one ended for it.
            (
                CODE_1,
                None,
                Some(&own),
                ExitReason::Oom,
                true,
                "workload_oom",
                "; processes of it were killed for memory: ",
            ),
            (
                137 << 8,
                None,
                Some(&host),
                ExitReason::Oom,
                false,
                "host_oom",
                "; processes of it were killed for memory: ",
            ),
            (6, None, Some(&above), ExitReason::Oom, false, "ancestor_oom", "ended by SIGABRT"),
            (
                CODE_0,
                None,
                Some(&own),
                ExitReason::Success,
                true,
                "success",
                "; processes of it were killed for memory: ",
            ),
            // We ended it.
            (9, Some(Removed), Some(&none), ExitReason::Signal, true, "stopped_on_request", "by SIGKILL"),
            (9, Some(Removed), Some(&host), ExitReason::Oom, true, "stopped_on_request", "ran out of memory"),
            (9, Some(Timeout), Some(&none), ExitReason::Timeout, true, "workload_timeout", "timeouts.run"),
            (
                15,
                Some(Timeout),
                Some(&own),
                ExitReason::Timeout,
                true,
                "workload_timeout",
                "processes of it were killed",
            ),
            (
                CODE_1,
                Some(Removed),
                Some(&own),
                ExitReason::Error,
                true,
                "stopped_on_request",
                "processes of it were killed",
            ),
        ];
        let job = job("oneshot", &serde_json::json!({"memory_limit": 64 << 20}));
        for (status, stop, evidence, reason, sla, sla_reason, told) in rows {
            let ended = Ended::Waited { status: *status };
            let verdict = judge(&job, &ended, *stop, *evidence);
            let what = format!("{status}, {stop:?}, {evidence:?}: {verdict:?}");
            assert_eq!((verdict.reason, verdict.platform_sla), (*reason, *sla), "{what}");
            assert_eq!(verdict.platform_sla_reason, *sla_reason, "{what}");
            assert!(verdict.message.contains(told), "{what}");
            // The plan does without the evidence.
            assert_eq!(verdict.state, judge(&job, &ended, *stop, None).state, "{what}");
        }
    }

    #[test]
    fn a_limit_on_tasks_explains_a_failure_that_nobody_sent() {
        let limited = job("oneshot", &serde_json::json!({"tasks_max": 8}));
        let free = job("oneshot", &serde_json::json!({}));
        let rows = [
            (&limited, CODE_1, refused(2), ExitReason::CgroupLimit, "constraints.tasks_max (8)"),
            (&limited, 6, refused(1), ExitReason::CgroupLimit, "once"),
            (&limited, CODE_1, refused(0), ExitReason::Error, "exit code 1"),
            (&limited, CODE_0, refused(2), ExitReason::Success, "completed"),
            (&limited, 15, refused(2), ExitReason::Signal, "SIGTERM"),
            (&limited, 9, refused(2), ExitReason::Signal, "somebody"),
            (&free, CODE_1, refused(2), ExitReason::Error, "2 times, by a limit above its cgroup"),
        ];
        for (job, status, evidence, reason, told) in rows {
            let verdict = judge(job, &Ended::Waited { status }, None, Some(&evidence));
            assert!(verdict.reason == reason && verdict.message.contains(told), "{status}: {verdict:?}");
            let why = if reason == ExitReason::CgroupLimit { "workload_limit" } else { "" };
            assert!(verdict.platform_sla_reason == why || why.is_empty(), "{verdict:?}");
            assert!(verdict.platform_sla);
        }
    }

    #[test]
    fn an_exit_that_nobody_saw_stays_unknown() {
        let job = job("continuous", &serde_json::json!({}));
        let verdict = judge(&job, &Ended::Lost(LostCause::WrapperLost), None, Some(&oom(1, "host")));
        assert_eq!((verdict.state, verdict.reason), (State::Unknown, ExitReason::Unknown));
        assert_eq!(verdict.platform_sla_reason, "exit_lost");
        assert!(verdict.message.contains("processes of it were killed for memory"), "{verdict:?}");
    }

    #[test]
    fn a_signal_for_a_limit_of_the_jobs_own_is_told_as_that() {
        let job = |rlimits: &str| {
            let mut job = job("oneshot", &serde_json::json!({}));
            if let Workload::Exec(exec) = &mut job.workload {
                exec.rlimits = serde_json::from_str(rlimits).expect("limits");
            }
            job
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
            let verdict = judge(job, &Ended::Waited { status }, stop, None);
            assert_eq!((verdict.reason, verdict.platform_sla), (reason, true), "{verdict:?}");
            assert_eq!(
                (verdict.state, verdict.platform_sla_reason),
                (State::Killed, sla_reason),
                "{verdict:?}"
            );
            assert!(verdict.message.contains(told), "{verdict:?}");
        }
    }

    #[test]
    fn one_limit_does_not_hide_another() {
        let limited = |soft| {
            let mut job = job("oneshot", &serde_json::json!({}));
            if let Workload::Exec(exec) = &mut job.workload {
                exec.rlimits.insert(Resource::Cpu, Rlimit { soft: Some(soft), hard: Some(605) });
            }
            job
        };
        let end = |soft, status, evidence: Evidence| {
            judge(&limited(soft), &Ended::Waited { status }, None, Some(&evidence))
        };
        let xcpu = end(600, libc::SIGXCPU, oom(1, "own"));
        assert_eq!((xcpu.reason, xcpu.platform_sla_reason), (ExitReason::PolicyViolation, "workload_limit"));
        assert!(xcpu.message.contains("processes of it were killed for memory"), "{xcpu:?}");
        // At the hard limit the kernel sends SIGKILL; without a lower soft one, no SIGXCPU before it.
        let told = "or it used more CPU time than the hard limit of exec.rlimits.cpu";
        assert!(!end(600, libc::SIGKILL, oom(0, "")).message.contains(told));
        assert!(end(605, libc::SIGKILL, oom(0, "")).message.contains(told));
    }

    #[test]
    fn a_program_that_obeys_or_ignores_sigxcpu_broke_its_limit_all_the_same() {
        let mut limited = job("oneshot", &serde_json::json!({}));
        let free = limited.clone();
        if let Workload::Exec(exec) = &mut limited.workload {
            exec.rlimits.insert(Resource::Cpu, Rlimit { soft: Some(60), hard: Some(65) });
        }
        let sent = |times| Evidence { cpu_limit_signals: times, ..oom(0, "") };
        use ExitReason::{Error, PolicyViolation, Signal as BySignal, Success};
        let told = "SIGXCPU 4 times before: it used more CPU time than exec.rlimits.cpu (1m:1m5s)";
        for (job, status, stop, signals, reason, told) in [
            // ffmpeg ends with 255 after the first, and with 123 after the fourth.
            (&limited, 255 << 8, None, 4, PolicyViolation, told),
            (&limited, 9, None, 4, PolicyViolation, told),
            (&limited, 9, None, 1, PolicyViolation, "SIGXCPU once before"),
            (&limited, 9, None, 0, BySignal, "somebody sent it"),
            (&limited, CODE_1, None, 0, Error, "failed with exit code 1"),
            (&limited, CODE_0, None, 4, Success, "completed"),
            (&limited, 15, None, 4, BySignal, "which we did not send"),
            (&limited, 255 << 8, Some(StopReason::Removed), 4, Success, "stopped because"),
            (&free, CODE_1, None, 4, Error, "failed with exit code 1"),
        ] {
            let verdict = judge(job, &Ended::Waited { status }, stop, Some(&sent(signals)));
            assert!(verdict.reason == reason && verdict.message.contains(told), "{verdict:?}");
            assert_eq!(verdict.platform_sla_reason == "workload_limit", reason == PolicyViolation);
        }
        // Killed for memory: that is why it ended.
        let both = Evidence { cpu_limit_signals: 4, ..oom(1, "own") };
        assert_eq!(judge(&limited, &Ended::Waited { status: 9 }, None, Some(&both)).reason, ExitReason::Oom);
    }
}
