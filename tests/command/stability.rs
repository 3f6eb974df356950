//! The reference's ten stability checks, as tests that can fail.

use std::thread;
use std::time::Duration;

use nix::sys::wait::{Id, WaitPidFlag, waitid};
use serde_json::{Value, json};

use crate::ground::Stranger;
use crate::harness::{Site, assert_says, await_true, lives, read_json, unique};

/// 1. The wrapper is killed with SIGKILL: the workload runs on, and is reported.
#[test]
fn a_wrapper_that_is_killed_is_survived() {
    let site = Site::new();
    let (gate, job) = (site.gate("gate"), unique("survives"));
    let running = site.start_run(&["--job-id", &job, "--sla-eligible", "sh", "-c", "cat gate"]);
    let workload = running.workload();
    running.signal(libc::SIGKILL);
    drop(running);
    assert!(lives(&workload));
    gate.open();
    assert_says(&site.await_end(&job), &[("exit_code", json!(0)), ("platform_sla", json!(true))]);
}

/// 2. Attached to and let go, twenty times: it is as it was, and nothing is left of any of them.
#[test]
fn rapid_attach_and_detach_leave_no_trace() {
    let site = Site::new();
    let mut stranger = Stranger::shell("trap 'echo SIGNAL' HUP INT TERM; echo ready; read x; exit 4");
    stranger.line();
    let pid = stranger.pid();
    let place = || std::fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("it lives");
    let before = place();
    let job = unique("rapid");
    for round in 0..20 {
        let limits = ["--restore", "--cpu-weight", "50", "--job-id", &job, "--json"];
        let running = site.start_attach(pid, &limits);
        running.workload();
        running.signal(if round % 2 == 0 { libc::SIGTERM } else { libc::SIGINT });
        let done = running.wait();
        assert_eq!(done.code(), Some(0), "round {round}: {done:?}");
        assert_eq!(done.json()["platform_sla_reason"], "detached_workload_continues");
        assert_eq!(place(), before, "round {round}");
    }
    assert!(site.cgroups(&job).is_empty() && site.runs().is_empty());
    stranger.go_on();
    assert_eq!((stranger.rest().as_str(), stranger.reap().code()), ("", Some(4)));
}

/// 3. Twenty at once, each with its own end and its own report.
#[test]
fn twenty_at_once_are_told_apart() {
    let site = Site::new();
    let gate = site.path("go");
    let jobs: Vec<String> = (0..20).map(|number| unique(&format!("many-{number}"))).collect();
    let start = |(code, job): (usize, &String)| {
        let script = format!("until [ -e {} ]; do sleep 0.05; done; echo {job}; exit {code}", gate.display());
        site.start_run(&["--job-id", job, "--cpu-weight", "50", "--", "sh", "-c", &script])
    };
    let running: Vec<_> = jobs.iter().enumerate().map(start).collect();
    // All of them run.
    running.iter().for_each(|one| assert!(lives(&one.workload())));
    site.write("go", "");
    for ((code, job), one) in jobs.iter().enumerate().zip(running) {
        let done = one.wait();
        assert_eq!(done.code(), i32::try_from(code).ok(), "{job}: {done:?}");
        assert_eq!(done.out, format!("{job}\n"));
        let report = site.report(job).expect("a report");
        assert_says(&report, &[("exit_code", json!(code)), ("job_id", json!(job))]);
        await_true("its cgroup is removed", || site.cgroups(job).is_empty());
    }
}

/// 4. A process that has ended is not attached to, and nothing is changed by the attempt.
#[test]
fn a_dead_pid_is_named() {
    let site = Site::new();
    let mut stranger = Stranger::new(&["true"]);
    let pid = stranger.pid();
    stranger.reap();
    let done = site.start_attach(pid, &["--job-id", &unique("dead"), "--cpu-quota", "50", "--json"]).wait();
    assert_eq!((done.code(), done.out.as_str()), (Some(1), ""));
    assert_eq!(done.err, format!("Error: process {pid} does not exist\n"));
    assert!(site.runs().is_empty());
}

/// 5. Every exit code comes through, those that look like signals as well.
#[test]
fn exit_codes_come_through() {
    let site = Site::new();
    for code in [0, 1, 5, 126, 127, 130, 137, 143, 255] {
        let done = site.run(&["--json", "sh", "-c", &format!("exit {code}")]);
        assert_eq!(done.code(), Some(code));
        let reason = if code == 0 { "success" } else { "error" };
        // 137 and 143 are what shells make of signals: here there was none.
        let told = [("exit_code", json!(code)), ("signal", Value::Null), ("exit_reason", json!(reason))];
        assert_says(&done.json(), &told);
    }
}

/// 6. Without a job's name everything works, and nothing is kept under a name that nobody gave.
#[test]
fn a_name_is_not_needed() {
    let site = Site::new();
    let done = site.run(&["--json", "--", "sh", "-c", "exit 2"]);
    assert_says(&done.json(), &[("job_id", json!("unknown")), ("exit_code", json!(2))]);
    assert!(site.report("unknown").is_none());
    let mut stranger = Stranger::shell("echo ready; read x");
    stranger.line();
    let running = site.start_attach(stranger.pid(), &["--json"]);
    running.workload();
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().json()["job_id"], "unknown");
    assert!(site.report("unknown").is_none());
}

/// 7. The end of a long one is reported as what it was, whoever killed it.
#[test]
fn a_long_run_that_is_ended_is_reported() {
    let site = Site::new();
    let job = unique("long");
    let running = site.start_run(&["--job-id", &job, "--sla-eligible", "sleep", "1000"]);
    crate::harness::send(&running.workload(), crate::harness::signal(libc::SIGTERM));
    assert_eq!(running.wait().code(), Some(128 + libc::SIGTERM));
    let told = [("state", json!("killed")), ("signal", json!("SIGTERM")), ("exit_reason", json!("signal"))];
    assert_says(&site.report(&job).expect("a report"), &told);
}

/// 8. SIGKILL is not taken for a lack of memory, nor for a fault of the platform.
#[test]
fn sigkill_of_a_workload_is_no_kill_for_memory() {
    let site = Site::new();
    let running = site.start_run(&["--json", "--sla-eligible", "--memory-limit", "64", "sleep", "1000"]);
    crate::harness::send(&running.workload(), crate::harness::signal(libc::SIGKILL));
    let done = running.wait();
    assert_eq!(done.code(), Some(128 + libc::SIGKILL));
    let told = [
        ("exit_reason", json!("signal")),
        ("signal", json!("SIGKILL")),
        ("exit_code", Value::Null),
        ("platform_sla", json!(true)),
        ("platform_sla_reason", json!("workload_failed")),
    ];
    assert_says(&done.json(), &told);
}

/// 9. A process that ends while it is attached to is either not there, or its end is told.
#[test]
fn a_process_may_end_while_it_is_attached_to() {
    let site = Site::new();
    let job = unique("ends");
    for round in 0..20 {
        let mut stranger = Stranger::shell("read x; exit 6");
        let limits = ["--json", "--job-id", &job, "--nice", "5", "--cpu-weight", "50"];
        let running = site.start_attach(stranger.pid(), &limits);
        // Sooner or later: before, within and after what is done at the beginning.
        thread::sleep(Duration::from_micros(500) * round);
        stranger.go_on();
        if round % 2 == 0 {
            stranger.reap();
        } else {
            let pid = nix::unistd::Pid::from_raw(stranger.pid().cast_signed());
            waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("our child");
        }
        let done = running.wait();
        match done.code() {
            Some(1) => {
                assert!(done.err.contains("Error: process ") && done.out.is_empty(), "{round}: {done:?}");
            }
            Some(6) => assert_says(&done.json(), &[("exit_code", json!(6)), ("state", json!("failed"))]),
            // Nobody could tell: then nothing is made up.
            Some(125) => {
                assert_says(&done.json(), &[("exit_code", Value::Null), ("state", json!("unknown"))])
            }
            other => panic!("round {round}: {other:?}, {done:?}"),
        }
        assert!(site.runs().is_empty() && site.cgroups(&job).is_empty(), "round {round}");
    }
}

/// 10. After a crash of the wrapper the report is whole, true, and completed by who is left.
#[test]
fn the_report_after_a_crash_is_whole() {
    let site = Site::new();
    let (gate, job) = (site.gate("gate"), unique("crash"));
    let line = ["--job-id", &job, "--report", "report", "--tag", "a=b", "sh", "-c", "cat gate; exit 9"];
    let running = site.start_run(&line);
    let workload = running.workload();
    running.signal(libc::SIGKILL);
    drop(running);
    let during = read_json(&site.path("report")).expect("whole");
    assert_says(
        &during,
        &[("state", json!("running")), ("pid", json!(workload.pid)), ("tags", json!({"a": "b"}))],
    );
    gate.open();
    let after = site.await_end(&job);
    assert_says(&after, &[("exit_code", json!(9)), ("run_id", during["run_id"].clone())]);
    assert!(after["duration_sec"].as_f64().is_some_and(|seconds| seconds > 0.0));
    await_true("nothing else is left", || site.runs().is_empty());
}
