//! Verdicts and exit statuses, by tables.

use super::*;
use crate::model::evidence::{LimitAbove, MemoryEvents};
use crate::model::job::Workload;
use crate::model::rlimit::Rlimit;

const CODE_1: i32 = 1 << 8;
const CODE_0: i32 = 0;

/// Every step that can fail.
const STAGES: [Stage; 13] = [
    Stage::Record,
    Stage::Attach,
    Stage::Environment,
    Stage::Wrapper,
    Stage::Output,
    Stage::User,
    Stage::Fork,
    Stage::Session,
    Stage::Constraint,
    Stage::Stdio,
    Stage::Credentials,
    Stage::WorkingDir,
    Stage::Exec,
];

/// Every way to lose an exit.
const CAUSES: [LostCause; 4] =
    [LostCause::WrapperLost, LostCause::HostRebooted, LostCause::RecordDamaged, LostCause::NotTold];

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
        (9, None, Some(&own), ExitReason::Oom, true, "workload_oom", "memory_limit 64MiB, with up to 64MiB"),
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
        assert_eq!((verdict.state, verdict.platform_sla_reason), (State::Killed, sla_reason), "{verdict:?}");
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

#[test]
fn the_status_for_the_caller_is_that_of_a_shell() {
    use StopReason::Timeout;
    for code in 0..=255_u8 {
        let ended = Ended::Waited { status: i32::from(code) << 8 };
        assert_eq!(exit_status(&ended, None), code);
        assert_eq!(exit_status(&ended, Some(StopReason::Removed)), code);
        assert_eq!(exit_status(&ended, Some(Timeout)), 124, "{code}");
    }
    for number in 1..=64 {
        for core in [0, 0x80] {
            let ended = Ended::Waited { status: number | core };
            assert_eq!(i32::from(exit_status(&ended, None)), 128 + number);
            assert_eq!(exit_status(&ended, Some(Timeout)), 124, "{number}");
        }
    }
    // Stopped by SIGSTOP, continued: no ends.
    for status in [0x137f, 0xffff] {
        assert_eq!(exit_status(&Ended::Waited { status }, None), 125);
    }
    let failed = |stage, errno| {
        let error = StartError { stage, errno, detail: String::new() };
        exit_status(&Ended::NotStarted(error), None)
    };
    for (errno, status) in [
        (Some(libc::ENOENT), 127),
        (Some(libc::ENOTDIR), 127),
        (Some(libc::EACCES), 126),
        (Some(libc::ENOEXEC), 126),
        (Some(libc::EISDIR), 126),
        (None, 126),
    ] {
        assert_eq!(failed(Stage::Exec, errno), status, "{errno:?}");
        // What is not there is then not the program.
        for stage in STAGES.into_iter().filter(|stage| *stage != Stage::Exec) {
            assert_eq!(failed(stage, errno), 125, "{stage:?}, {errno:?}");
        }
    }
    for cause in CAUSES {
        assert_eq!(exit_status(&Ended::Lost(cause), None), 125, "{cause:?}");
        assert_eq!(exit_status(&Ended::Lost(cause), Some(Timeout)), 125, "{cause:?}");
    }
}

/// Every reason to end a run.
const STOPS: [StopReason; 4] =
    [StopReason::Removed, StopReason::Disabled, StopReason::Changed, StopReason::Timeout];

/// State, reason, platform_sla and its reason.
fn told(verdict: &Verdict) -> (State, ExitReason, bool, &'static str) {
    (verdict.state, verdict.reason, verdict.platform_sla, verdict.platform_sla_reason)
}

#[test]
fn every_exit_code() {
    use ExitReason::{Error, Success, Timeout};
    let mut oneshot = job("oneshot", &serde_json::json!({}));
    let mut continuous = job("continuous", &serde_json::json!({}));
    for job in [&mut oneshot, &mut continuous] {
        job.restart.success_exit_codes = [0, 3].into();
    }
    for code in 0..=255_u8 {
        let ended = Ended::Waited { status: i32::from(code) << 8 };
        let good = matches!(code, 0 | 3);
        // 137 and 143, which shells make of signals, are codes like others.
        let by_itself = match good {
            true => (State::Completed, Success, true, "success"),
            false => (State::Failed, Error, true, "workload_failed"),
        };
        assert_eq!(told(&judge(&oneshot, &ended, None, None)), by_itself, "{code}");
        let verdict = judge(&continuous, &ended, None, None);
        assert_eq!(told(&verdict), (State::Failed, Error, true, "workload_failed"), "{code}");
        for stop in STOPS {
            let expected = match stop {
                StopReason::Timeout => (State::Killed, Timeout, true, "workload_timeout"),
                // ffmpeg says 255 where it obeyed.
                _ if good || code == 255 => (State::Completed, Success, true, "stopped_on_request"),
                _ => (State::Failed, Error, true, "stopped_on_request"),
            };
            for job in [&oneshot, &continuous] {
                assert_eq!(told(&judge(job, &ended, Some(stop), None)), expected, "{code}, {stop:?}");
            }
        }
        assert_eq!((verdict.exit_code, verdict.signal), (Some(code), None));
        assert!(verdict.message.contains(&format!("exit code {code}")), "{verdict:?}");
    }
}

#[test]
fn every_signal_with_a_core_dump_and_without() {
    use ExitReason::{Signal as BySignal, Timeout};
    let job = job("oneshot", &serde_json::json!({}));
    for number in 1..=64 {
        let signal = Signal::from_number(number).expect("a signal");
        for core in [0, 0x80] {
            let ended = Ended::Waited { status: number | core };
            let verdict = judge(&job, &ended, None, None);
            // SIGKILL too: without a kill that was counted it is no kill for memory.
            assert_eq!(told(&verdict), (State::Killed, BySignal, true, "workload_failed"), "{number}");
            assert_eq!((verdict.exit_code, verdict.signal), (None, Some(signal)));
            assert!(verdict.message.starts_with(&format!("ended by {signal}")), "{verdict:?}");
            assert_eq!(verdict.message.contains("core dump"), core != 0, "{verdict:?}");
            for stop in STOPS {
                let expected = match stop {
                    StopReason::Timeout => (State::Killed, Timeout, true, "workload_timeout"),
                    _ => (State::Killed, BySignal, true, "stopped_on_request"),
                };
                let verdict = judge(&job, &ended, Some(stop), None);
                assert_eq!(told(&verdict), expected, "{number}, {stop:?}");
                assert_eq!(verdict.message.contains("core dump"), core != 0, "{verdict:?}");
            }
        }
    }
    for status in [0x137f, 0xffff] {
        let verdict = judge(&job, &Ended::Waited { status }, None, None);
        assert_eq!(told(&verdict), (State::Unknown, ExitReason::Unknown, false, "exit_lost"), "{status:#x}");
    }
}

#[test]
fn every_step_of_a_start_that_can_fail() {
    let job = job("oneshot", &serde_json::json!({}));
    for stage in STAGES {
        for (errno, detail) in [
            (Some(libc::ENOENT), "program \"nope\" does not exist"),
            (Some(libc::EACCES), "it is not executable"),
            (Some(libc::EPERM), "it may not be"),
            (Some(libc::ENOSPC), "no space"),
            (None, "constraints.strict is set, and io_weight is not in force"),
        ] {
            let ended = Ended::NotStarted(StartError { stage, errno, detail: detail.into() });
            // What the host counted meanwhile is not the workload's.
            for evidence in [None, Some(&oom(1, "host"))] {
                let verdict = judge(&job, &ended, None, evidence);
                let (sla, why) = match stage {
                    Stage::Attach => (true, "nothing_to_attach"),
                    _ => (false, "setup_failed"),
                };
                assert_eq!(told(&verdict), (State::Failed, ExitReason::Error, sla, why), "{stage:?}");
                assert_eq!((verdict.exit_code, verdict.signal), (None, None), "{stage:?}");
                assert!(verdict.message.ends_with(detail), "{verdict:?}");
            }
        }
    }
}

#[test]
fn every_way_to_lose_an_exit() {
    let job = job("oneshot", &serde_json::json!({}));
    for cause in CAUSES {
        let why = if cause == LostCause::HostRebooted { "host_rebooted" } else { "exit_lost" };
        for stop in STOPS.map(Some).into_iter().chain([None]) {
            let verdict = judge(&job, &Ended::Lost(cause), stop, None);
            assert_eq!(told(&verdict), (State::Unknown, ExitReason::Unknown, false, why), "{cause:?}");
            assert_eq!((verdict.exit_code, verdict.signal), (None, None));
        }
    }
}
