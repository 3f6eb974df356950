//! `ffrtmp attach`: a process of somebody else's is constrained, watched and let go, and never touched.

use std::fs;

use nix::sys::wait::{WaitPidFlag, waitpid};
use serde_json::{Value, json};

use crate::ground::{Stranger, attributes, identify, oom_score_adj, threads};
use crate::harness::{
    COUNTS_SIGNALS, Done, Running, Site, all_here, assert_says, await_true, constraint, homes, is_root,
    limits_are_here, lives, read_json, unique,
};

/// A shell that says when it is there, and what it is told.
fn counts_signals(site: &Site) -> Stranger {
    let mut command = std::process::Command::new("sh");
    let mut stranger = Stranger::spawn(command.args(["-c", COUNTS_SIGNALS]).current_dir(&site.work));
    assert_eq!(stranger.line(), "ready");
    stranger
}

/// Lets a shell of [`counts_signals`] end, and gives what it was told, and its code.
fn end(site: &Site, mut stranger: Stranger) -> (Vec<String>, Option<i32>) {
    site.write("go", "");
    let code = stranger.reap().code();
    (stranger.rest().lines().map(ToOwned::to_owned).collect(), code)
}

fn nice_of(pid: u32) -> Vec<i32> {
    attributes(pid).into_iter().map(|(nice, _, _)| nice).collect()
}

/// The cgroup of each thread, of every hierarchy.
fn cgroups_of_threads(pid: u32) -> Vec<String> {
    let read = |thread| fs::read_to_string(format!("/proc/{pid}/task/{thread}/cgroup")).ok();
    threads(pid).into_iter().filter_map(read).collect()
}

#[test]
fn constraints_are_in_force_on_every_thread() {
    let test = "constraints_are_in_force_on_every_thread";
    if !all_here(test, &["ffmpeg"]) || !limits_are_here(test) {
        return;
    }
    let site = Site::new();
    let encoder = Stranger::encoder();
    let (pid, job) = (encoder.pid(), unique("threads"));
    let limits = ["--cpu-quota", "90", "--cpu-weight", "150", "--memory-limit", "512"];
    let own = ["--nice", "7", "--oom-score", "300", "--cpus", "0"];
    let tell = ["--job-id", &job, "--sla-eligible", "--report", "report"];
    let running = site.start_attach(pid, &[tell.as_slice(), &limits, &own].concat());
    running.workload();
    assert!(threads(pid).len() > 3);
    for (nice, cpus, _) in attributes(pid) {
        assert_eq!((nice, cpus.as_str()), (7, "0"));
    }
    assert_eq!(oom_score_adj(pid), 300);
    let name = format!("/{job}.");
    let of_threads = cgroups_of_threads(pid);
    assert!(!of_threads.is_empty() && of_threads.iter().all(|text| text.contains(&name)), "{of_threads:?}");
    // What the report says is what the kernel has.
    let report = read_json(&site.path("report")).expect("a report");
    assert_says(&report, &[("mode", json!("attach")), ("state", json!("running")), ("pid", json!(pid))]);
    for (name, value) in [
        ("cpu_quota", "90000 100000"),
        ("cpu_weight", "150"),
        ("memory_limit", "536870912"),
        ("nice", "7"),
        ("oom_score_adj", "300"),
        ("cpus", "0"),
    ] {
        let status = constraint(&report, name);
        assert_eq!(status["applied"], true, "{status}");
        let actual = status["actual"].as_str().unwrap_or_default();
        // Of a weight the kernel may keep its own scale.
        assert!(name == "cpu_weight" || actual == value, "{status}");
    }
    assert_eq!(quota_in_force(pid), Some(90_000));
    drop(encoder);
    let report = site.await_end(&job);
    assert_says(&report, &[("state", json!("killed")), ("signal", json!("SIGKILL"))]);
    assert_eq!(running.wait().code(), Some(128 + libc::SIGKILL));
}

/// The CPU quota of the cgroup that a process is in, in microseconds a period, as the kernel has it.
fn quota_in_force(pid: u32) -> Option<i64> {
    homes(crate::ground::pid(pid)).iter().find_map(|cgroup| {
        let text = fs::read_to_string(cgroup.join("cpu.cfs_quota_us"))
            .or_else(|_| fs::read_to_string(cgroup.join("cpu.max")));
        text.ok()?.split_whitespace().next()?.parse().ok()
    })
}

#[test]
fn its_messages_have_the_known_form() {
    let site = Site::new();
    let stranger = counts_signals(&site);
    let running = site.start_attach(stranger.pid(), &["--job-id", "form-2", "--intent", "test"]);
    running.workload();
    running.signal(libc::SIGTERM);
    let done = running.wait();
    let pid = stranger.pid();
    let mut lines = done.err.lines();
    assert!(done.err.starts_with(&format!("[wrapper] ATTACH mode: PID {pid} [sh -c ")), "{}", done.err);
    assert!(lines.any(|line| line == "[wrapper] Job: form-2, Intent: test, SLA: false"), "{}", done.err);
    assert!(lines.next().is_some_and(|line| line.starts_with(&format!("[wrapper] Attached to PID {pid},"))));
    end(&site, stranger);
}

/// Until its parent has asked for it, and after that.
#[test]
fn the_true_exit_code_is_told() {
    let site = Site::new();
    for reaped_at_once in [false, true] {
        for (script, code, signal) in
            [("exit 0", Some(0), None), ("exit 42", Some(42), None), ("kill -9 $$", None, Some("SIGKILL"))]
        {
            let mut stranger = Stranger::shell(&format!("echo ready; read x; {script}"));
            stranger.line();
            let running = site.start_attach(stranger.pid(), &["--json", "--sla-eligible"]);
            running.workload();
            stranger.go_on();
            if reaped_at_once {
                stranger.reap();
            }
            let done = running.wait();
            let report = done.json();
            let by = report["exit_observed_by"].as_str();
            if reaped_at_once && by.is_none() && !tells_of_reaped() {
                // Nothing is made up.
                assert_says(&report, &[("exit_code", Value::Null), ("exit_reason", json!("unknown"))]);
                assert_eq!(done.code(), Some(125));
                continue;
            }
            assert_says(&report, &[("exit_code", json!(code)), ("signal", json!(signal))]);
            assert!(matches!(by, Some("zombie" | "pidfd" | "connector")), "{report:#}");
            assert_eq!(done.code(), Some(code.unwrap_or(128 + libc::SIGKILL)), "{done:?}");
            assert_eq!(report["platform_sla"], true);
        }
    }
}

/// Whether the kernel tells of a process that its parent has reaped: Linux 6.15.
fn tells_of_reaped() -> bool {
    let text = fs::read_to_string("/proc/sys/kernel/osrelease").expect("proc");
    let mut numbers = text.split(['.', '-']).map_while(|part| part.trim().parse::<u32>().ok());
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= (6, 15)
}

#[test]
fn sigterm_and_sigint_let_it_go_untouched() {
    for number in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let site = Site::new();
        let stranger = counts_signals(&site);
        let (pid, job) = (stranger.pid(), unique(&format!("go-{number}")));
        let running = site.start_attach(pid, &["--job-id", &job, "--nice", "9", "--json"]);
        running.workload();
        running.signal(number);
        let done = running.wait();
        assert_eq!(done.code(), Some(0), "{done:?}");
        assert!(done.err.contains(&format!("process {pid} runs on, under its constraints")), "{}", done.err);
        let gone = [
            ("state", json!("running")),
            ("exit_code", Value::Null),
            ("exit_reason", Value::Null),
            ("ended_at", Value::Null),
            ("platform_sla", Value::Null),
            ("platform_sla_reason", json!("detached_workload_continues")),
        ];
        assert_says(&done.json(), &gone);
        assert_eq!(site.report(&job), Some(done.json()));
        assert_eq!(nice_of(pid), [9], "its constraints stay in force");
        assert_eq!(end(&site, stranger), (Vec::new(), Some(5)), "it was told nothing");
        // Nobody says of it what nobody saw.
        assert_eq!(site.run(&["true"]).code(), Some(0));
        assert_eq!(site.report(&job), Some(done.json()));
    }
}

/// Again and again: what the one before has left in force does not add up.
#[test]
fn it_may_be_attached_to_again() {
    let test = "it_may_be_attached_to_again";
    if !is_root() {
        return crate::harness::skipped(test, "nice cannot be lowered again without root");
    }
    if !limits_are_here(test) {
        return;
    }
    let site = Site::new();
    let stranger = counts_signals(&site);
    let (pid, job) = (stranger.pid(), unique("again"));
    let before = (attributes(pid), cgroups_of_threads(pid));
    for (number, quota) in [(libc::SIGTERM, 90), (libc::SIGKILL, 80), (libc::SIGINT, 70)] {
        let percent = quota.to_string();
        let limits = ["--job-id", &job, "--strict", "--cpu-quota", &percent, "--nice", "6"];
        let running = site.start_attach(pid, &limits);
        running.workload();
        assert_eq!((quota_in_force(pid), site.runs().len()), (Some(quota * 1000), 1), "{}", running.err());
        running.signal(number);
        running.wait();
        assert_eq!(nice_of(pid), [6]);
    }
    // The last one puts back what was there before the first.
    let running = site.start_attach(pid, &["--restore", "--job-id", &job, "--cpu-weight", "50"]);
    running.workload();
    assert_eq!(attributes(pid), before.0, "nice is asked for no longer");
    running.signal(libc::SIGTERM);
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!((attributes(pid), cgroups_of_threads(pid)), before);
    assert!(site.cgroups(&job).is_empty() && site.runs().is_empty());
    assert_eq!(end(&site, stranger), (Vec::new(), Some(5)));
}

#[test]
fn what_is_governed_already_is_refused() {
    let site = Site::new();
    let gate = site.gate("gate");
    let job = unique("governed");
    let running = site.start_run(&["--job-id", &job, "sh", "-c", "cat gate"]);
    let workload = running.workload().pid.as_raw().cast_unsigned();
    let stranger = counts_signals(&site);
    let attached = site.start_attach(stranger.pid(), &["--job-id", &job, "--nice", "5"]);
    attached.workload();
    for pid in [workload, stranger.pid()] {
        for constraint in [["--nice", "9"], ["--cpu-weight", "50"]] {
            let done = site.start_attach(pid, &constraint).wait();
            let said = format!("Error: process {pid} is governed already, as job {job}, by PID ");
            assert_eq!((done.code(), done.err.starts_with(&said)), (Some(1), true), "{done:?}");
        }
    }
    assert_eq!(nice_of(stranger.pid()), [5]);
    gate.open();
    assert_eq!(running.wait().code(), Some(0));
    assert_eq!(end(&site, stranger), (Vec::new(), Some(5)));
    attached.wait();
}

#[test]
fn restore_puts_back_what_was_changed() {
    let test = "restore_puts_back_what_was_changed";
    if !is_root() {
        return crate::harness::skipped(test, "nice cannot be lowered again without root");
    }
    if !limits_are_here(test) {
        return;
    }
    let site = Site::new();
    let stranger = counts_signals(&site);
    let (pid, job) = (stranger.pid(), unique("restore"));
    let before = (attributes(pid), oom_score_adj(pid), cgroups_of_threads(pid));
    let constraints = ["--nice", "11", "--oom-score", "200", "--cpu-weight", "50", "--cpus", "0"];
    let running =
        site.start_attach(pid, &[["--restore", "--job-id", &job].as_slice(), &constraints].concat());
    running.workload();
    assert_eq!((nice_of(pid), oom_score_adj(pid)), (vec![11], 200));
    assert_ne!(cgroups_of_threads(pid), before.2);
    running.signal(libc::SIGTERM);
    let done = running.wait();
    assert_eq!(done.code(), Some(0));
    assert!(done.err.contains(&format!("process {pid} runs on, as it was before\n")), "{}", done.err);
    assert_eq!((attributes(pid), oom_score_adj(pid), cgroups_of_threads(pid)), before);
    assert!(site.cgroups(&job).is_empty());
    assert_eq!(end(&site, stranger), (Vec::new(), Some(5)));
}

#[test]
fn what_is_not_there_is_not_attached_to() {
    let site = Site::new();
    let mut stranger = Stranger::new(&["true"]);
    let pid = stranger.pid();
    stranger.reap();
    for number in [pid.to_string(), "999999999".into(), "-5".into(), "0".into()] {
        let done = site.start(&mut site.ffrtmp(&["attach", "--pid", &number])).wait();
        let said = format!("Error: process {number} does not exist\n");
        assert_eq!((done.code(), done.err, done.out.as_str()), (Some(1), said, ""));
    }
}

#[test]
fn what_has_ended_and_was_not_reaped_is_not_attached_to() {
    let site = Site::new();
    let mut stranger = Stranger::new(&["true"]);
    // Its end is waited for, and left as it is.
    let pid = nix::unistd::Pid::from_raw(stranger.pid().cast_signed());
    let id = nix::sys::wait::Id::Pid(pid);
    nix::sys::wait::waitid(id, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).expect("our child");
    let done = site.start_attach(stranger.pid(), &["--nice", "5"]).wait();
    assert_eq!(done.code(), Some(1), "{done:?}");
    assert!(done.err.starts_with("Error: process "), "{}", done.err);
    stranger.reap();
    assert!(waitpid(pid, None).is_err());
}

#[test]
fn what_may_not_be_governed_is_refused_with_the_reason() {
    let site = Site::new();
    let refused = |done: &Done, why: &str| {
        assert_eq!(done.code(), Some(1), "{done:?}");
        assert!(done.err.starts_with("Error: ") && done.err.contains(why), "{why}: {}", done.err);
    };
    refused(&site.start_attach(1, &["--cpu-quota", "50"]).wait(), "the init of this host");
    // The thread that makes all others of the kernel, unless that is hidden from here.
    let is_kernel = |pid: u32| fs::read_to_string(format!("/proc/{pid}/cmdline")).is_ok_and(|t| t.is_empty());
    if is_kernel(2) {
        refused(&site.start_attach(2, &["--cpu-quota", "50"]).wait(), "a thread of the kernel");
    }
    // `exec` keeps the number.
    refused(&site.shell("exec ffrtmp attach --pid $$"), "this program");
    refused(&site.shell("ffrtmp attach --pid $$ --nice 5"), "one that this program descends from");
}

#[test]
fn it_is_never_signalled_by_what_becomes_of_the_wrapper() {
    let site = Site::new();
    let stranger = counts_signals(&site);
    let (pid, job) = (stranger.pid(), unique("wrapper"));
    let running = site.start_attach(pid, &["--job-id", &job, "--nice", "4"]);
    running.workload();
    running.signal(libc::SIGKILL);
    drop(running);
    assert!(lives(&stranger.process()));
    assert_eq!(nice_of(pid), [4], "its constraints stay in force");
    assert_says(&site.report(&job).expect("a report"), &[("state", json!("running"))]);
    // It may be attached to again.
    let running = site.start_attach(pid, &["--job-id", &job, "--nice", "6", "--json"]);
    running.workload();
    assert_eq!(nice_of(pid), [6]);
    assert_eq!(end(&site, stranger), (Vec::new(), Some(5)));
    assert_eq!(running.wait().json()["exit_code"], 5);
    await_true("the records of both are gone", || site.runs().is_empty());
}

/// Under limits: they stay in force, and its cgroup goes when somebody next looks, and it has ended.
#[test]
fn limits_outlive_the_wrapper() {
    let test = "limits_outlive_the_wrapper";
    if !limits_are_here(test) {
        return;
    }
    let site = Site::new();
    let stranger = counts_signals(&site);
    let (pid, job) = (stranger.pid(), unique("limits"));
    let running = site.start_attach(pid, &["--job-id", &job, "--cpu-quota", "90"]);
    running.workload();
    running.signal(libc::SIGKILL);
    drop(running);
    assert_eq!(quota_in_force(pid), Some(90_000));
    assert_eq!(end(&site, stranger), (Vec::new(), Some(5)));
    assert_eq!(site.run(&["true"]).code(), Some(0));
    await_true("nothing is left of it", || site.runs().is_empty() && site.cgroups(&job).is_empty());
    assert_says(&site.await_end(&job), &[("state", json!("unknown")), ("exit_code", Value::Null)]);
}

#[test]
fn json_in_a_file_is_one_document() {
    let site = Site::new();
    let mut stranger = Stranger::shell("echo ready; echo noise; read x; exit 3");
    stranger.line();
    let line = format!("ffrtmp attach --pid {} --job-id json-1 --json > report.json", stranger.pid());
    let running: Running = site.start(&mut site.script(&line));
    running.workload();
    stranger.go_on();
    stranger.reap();
    let done = running.wait();
    let report: Value = serde_json::from_str(&site.read("report.json")).expect("one document");
    assert_says(&report, &[("job_id", json!("json-1")), ("mode", json!("attach"))]);
    assert_eq!(report["pid"], stranger.pid());
    assert!(report["duration_sec"].as_f64().is_some_and(|seconds| seconds > 0.0), "{report:#}");
    let code = report["exit_code"].as_i64().map_or(125, |code| i32::try_from(code).expect("small"));
    assert_eq!(done.code(), Some(code));
    assert!(identify_is_gone(stranger.pid()));
}

fn identify_is_gone(pid: u32) -> bool {
    ffrtmp::linux::process::identify(crate::ground::pid(pid)).expect("proc").is_none()
}

/// A strict one changes nothing if it cannot have all.
#[test]
fn strict_is_all_or_nothing() {
    let site = Site::new();
    let stranger = counts_signals(&site);
    let pid = stranger.pid();
    let before = attributes(pid);
    // There is no such CPU anywhere.
    let done = site.start_attach(pid, &["--strict", "--nice", "5", "--cpus", "8191"]).wait();
    assert_eq!(done.code(), Some(1), "{done:?}");
    assert!(done.err.contains("Error: --strict is given, and cpus is not in force"), "{}", done.err);
    if is_root() {
        assert_eq!(attributes(pid), before);
    }
    assert!(lives(&identify(pid)));
    assert_eq!(end(&site, stranger), (Vec::new(), Some(5)));
}
