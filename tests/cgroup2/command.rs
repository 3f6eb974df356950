//! `ffrtmp run` and `ffrtmp attach` where the only cgroups are those of version 2.

use std::process::{Command, Output};

use serde_json::Value;

use super::ground::{ALL, Ground, assert_in_force, assert_not_in_force, cgroup_of, in_lane};
use crate::harness::{await_true, identify};

const NOBODY: &str = "65534";

/// A shell that shows its cgroup and the limits there.
const SHOWS: &str = "own=/sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup); echo $own; \
                     cd $own && cat cpu.max cpu.weight memory.max pids.max";

/// The wrapper, with its files below the ground's folder.
fn ffrtmp(ground: &Ground) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ffrtmp"));
    command.env("FFRTMP_ROOT", ground.path("wrapper"));
    command
}

fn report_of(output: &Output) -> Value {
    let error = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|e| panic!("one document, {e}: {output:?}, {error}"))
}

/// That nothing is left of what was run but the frame, for the next run.
fn await_no_cgroup() {
    await_true("no cgroup of a run is left", || {
        let jobs = std::fs::read_dir("/sys/fs/cgroup/ffrtmp-cli/jobs").into_iter().flatten().flatten();
        jobs.filter(|entry| entry.path().is_dir()).count() == 0
    });
}

#[test]
fn a_command_runs_in_a_cgroup_of_its_own_with_the_limits_it_was_given() {
    if !in_lane("a_command_runs_in_a_cgroup_of_its_own_with_the_limits_it_was_given") {
        return;
    }
    let ground = Ground::new("command", ALL);
    let limits = ["--cpu-quota", "50", "--cpu-weight", "200", "--memory-limit", "64", "--tasks-max", "20"];
    let shell = ["--job-id", "Shown_1", "--", "sh", "-c", SHOWS];
    let output = ffrtmp(&ground).arg("run").args(limits).args(shell).output().expect("it runs");
    let shown = String::from_utf8(output.stdout).expect("text");
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines[0].starts_with("/sys/fs/cgroup/ffrtmp-cli/jobs/Shown_1."), "{shown}");
    assert_eq!(lines[1..], ["50000 100000", "200", "67108864", "20"], "{shown}");
    let report = ground.path("wrapper/state/cli/reports/Shown_1.json");
    let report: Value = serde_json::from_slice(&std::fs::read(report).expect("a report")).expect("JSON");
    assert_in_force(&report, "cpu_quota", "50000 100000");
    assert_in_force(&report, "memory_limit", "67108864");
    assert!(report["usage"]["memory_peak_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{report:#}");
    await_no_cgroup();
}

#[test]
fn a_wrapper_in_a_wrapper_works_and_warns() {
    if !in_lane("a_wrapper_in_a_wrapper_works_and_warns") {
        return;
    }
    let ground = Ground::new("nested", ALL);
    let inner = [env!("CARGO_BIN_EXE_ffrtmp"), "run", "--job-id", "inner", "--", "cat", "/proc/self/cgroup"];
    let outer = ["run", "--job-id", "outer", "--memory-limit", "128", "--"];
    let output = ffrtmp(&ground).args(outer).args(inner).output().expect("it runs");
    let (shown, said) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && shown.contains("/jobs/outer."), "within the outer one: {shown}{said}");
    assert!(said.contains("this wrapper runs in another one, of job outer"), "{said}");
    assert_eq!(said.matches("Process exited: code=0").count(), 2, "{said}");
    await_no_cgroup();
}

#[test]
fn without_permission_it_runs_all_the_same_and_says_what_is_not_in_force() {
    if !in_lane("without_permission_it_runs_all_the_same_and_says_what_is_not_in_force") {
        return;
    }
    let _ground = Ground::new("nobody", ALL);
    let user = ["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups", env!("CARGO_BIN_EXE_ffrtmp"), "run"];
    let limits = ["--json", "--cpu-quota", "50", "--nice", "-5", "--", "true"];
    let mut command = Command::new("setpriv");
    // Where it could keep records it may not write either.
    command.args(user).args(limits).env("FFRTMP_ROOT", "/nowhere").current_dir("/");
    let output = command.output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("WARNING: no record of this run is kept: "), "{said}");
    assert!(said.contains("WARNING: Cannot create cgroup (permission denied)"), "{said}");
    assert!(said.contains("WARNING: Cannot set negative nice (requires root), using 0"), "{said}");
    let report = report_of(&output);
    assert_eq!((&report["exit_code"], &report["platform_sla"]), (&0.into(), &true.into()), "{report:#}");
    assert_not_in_force(&report, "cpu_quota", "permission denied");
    let strict = ["--json", "--strict", "--cpu-quota", "50", "--", "echo", "ran"];
    let mut command = Command::new("setpriv");
    command.args(user).args(strict).env("FFRTMP_ROOT", "/nowhere").current_dir("/");
    let output = command.output().expect("it runs");
    assert_eq!(output.status.code(), Some(125), "{output:?}");
    let report = report_of(&output);
    assert_eq!((&report["platform_sla"], &report["pid"]), (&false.into(), &Value::Null), "{report:#}");
}

#[test]
fn an_attached_process_has_its_limits_until_it_is_let_go() {
    if !in_lane("an_attached_process_has_its_limits_until_it_is_let_go") {
        return;
    }
    let ground = Ground::new("attached", ALL);
    let shared = ground.slice.make("session");
    let (mut neighbour, mut process) = (shared.spawn(&["sleep", "1000"]), shared.spawn(&["sleep", "1000"]));
    await_true("both are there", || shared.procs().len() == 2);
    let (home, pid) = (cgroup_of(neighbour.id()), process.id());
    for (restore, stays) in [(true, false), (false, true)] {
        let mut command = ffrtmp(&ground);
        command.args(["attach", "--job-id", "a", "--cpu-quota", "30", "--pid", &pid.to_string(), "--json"]);
        command.args(restore.then_some("--restore")).stdout(std::process::Stdio::piped());
        let wrapper = command.spawn().expect("it starts");
        let report = ground.path("wrapper/state/cli/reports/a.json");
        let governs = || {
            let report = std::fs::read(&report).unwrap_or_default();
            let report: Value = serde_json::from_slice(&report).unwrap_or_default();
            report["pid"] == pid && report["platform_sla_reason"].is_null()
        };
        await_true("it is taken over", governs);
        assert!(cgroup_of(pid).starts_with("/ffrtmp-cli/jobs/a."), "{}", cgroup_of(pid));
        let process = identify(wrapper.id()).expect("it lives");
        crate::harness::send(&process, ffrtmp::model::signal::Signal::TERM);
        let output = wrapper.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{output:?}");
        let report = report_of(&output);
        assert_eq!(report["platform_sla_reason"], "detached_workload_continues", "{report:#}");
        assert_in_force(&report, "cpu_quota", "30000 100000");
        assert_eq!(cgroup_of(pid) != home, stays, "{}", cgroup_of(pid));
    }
    for child in [&mut neighbour, &mut process] {
        child.kill().and_then(|()| child.wait().map(drop)).expect("ended");
    }
    // It was left there; once it has ended, whoever comes next removes what is empty.
    assert!(ffrtmp(&ground).args(["run", "-q", "--", "true"]).status().expect("it runs").success());
    await_no_cgroup();
}
