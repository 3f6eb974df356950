//! A process that is killed for memory, and whose fault that is: one test for each case, and what is told
//! where the main process was not the one that was killed, or the wrapper was lost.

use std::fs::{self, File};
use std::io::Write;
use std::time::Duration;

use ffrtmp::model::signal::Signal;
use serde_json::Value;

use super::cpu::Counted;
use super::ground::{ALL, Ground, in_lane};
use crate::harness::{await_true, events, send, shell, sleeper};

/// Takes all the memory it can get; whoever else there is, it is the one to go.
const HOG: &str = "[constraints]\noom_score_adj = 1000\n";

fn hog(constraints: &str) -> String {
    format!("lifecycle = \"oneshot\"\n{constraints}\n[exec]\ncommand = [\"tail\", \"/dev/zero\"]\n")
}

/// The last report of a run that ended, its reason, and what was told of it.
fn verdict(ground: &Ground, job: &str) -> (Value, String) {
    let report = ground.await_report(job, "an end", |report| !report["exit_reason"].is_null());
    let told = events(&report).last().expect("an event").to_owned().to_owned();
    (report, told)
}

/// Leaves the machine so many MiB of memory while the files are held. In user-mode Linux a process that
/// maps much more than 200 MiB fails for another reason, so one process cannot use all there is.
fn fill_memory(leave: u64) -> Vec<File> {
    let available = || -> u64 {
        let text = fs::read_to_string("/proc/meminfo").expect("proc");
        let line = text.lines().find(|line| line.starts_with("MemAvailable:")).expect("a line");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") >> 10
    };
    // Each of these holds half of the memory at most.
    let mut files: Vec<File> = ["/dev/shm", "/var/tmp", "/run"]
        .iter()
        .map(|folder| tempfile::tempfile_in(folder).expect("a file in memory"))
        .collect();
    let block = vec![1; 1 << 20];
    for file in &mut files {
        while available() > leave && file.write_all(&block).is_ok() {}
    }
    assert!(available() <= leave, "{} MiB are free", available());
    files
}

fn assert_verdict(report: &Value, reason: &str, platform_sla: bool, why: &str) {
    let found = (&report["exit_reason"], &report["platform_sla"], &report["platform_sla_reason"]);
    assert_eq!(found, (&reason.into(), &platform_sla.into(), &why.into()), "{report:#}");
}

#[test]
fn its_own_limit() {
    if !in_lane("its_own_limit") {
        return;
    }
    let ground = Ground::new("own", ALL);
    ground.supervise();
    ground.put("hog", &hog("[constraints]\nmemory_limit = \"48MiB\"\n"));
    let (report, told) = verdict(&ground, "hog");
    assert_verdict(&report, "oom", true, "workload_oom");
    assert_eq!((&report["state"], &report["signal"]), (&"killed".into(), &"SIGKILL".into()));
    assert!(told.contains("memory_limit 48MiB") && told.contains("raise constraints.memory_limit"), "{told}");
    let usage = &report["usage"];
    assert!(usage["oom_kills"].as_u64().expect("counted") > 0);
    assert_eq!(usage["memory_peak_bytes"], 48 << 20, "it took all it was given");
    assert!(usage["cpu_sec"].as_f64().expect("measured") > 0.0);
}

#[test]
fn a_limit_above() {
    if !in_lane("a_limit_above") {
        return;
    }
    let ground = Ground::new("above", ALL);
    ground.supervise();
    ground.unit.write("memory.max", "96M");
    ground.put("hog", &hog(HOG));
    let (report, told) = verdict(&ground, "hog");
    assert_verdict(&report, "oom", false, "ancestor_oom");
    let file = ground.unit.file("memory.max").display().to_string();
    assert!(told.contains(&file) && told.contains("MemoryMax="), "{told}");
    ground.unit.write("memory.max", "max");
}

#[test]
fn the_host() {
    if !in_lane("the_host") {
        return;
    }
    let ground = Ground::new("host", ALL);
    ground.supervise();
    let rest = fill_memory(96);
    ground.put("hog", &hog(HOG));
    let (report, told) = verdict(&ground, "hog");
    drop(rest);
    assert_verdict(&report, "oom", false, "host_oom");
    assert!(told.contains("the host ran out of memory;"), "{told}");
}

#[test]
fn somebody_s_sigkill() {
    if !in_lane("somebody_s_sigkill") {
        return;
    }
    let ground = Ground::new("somebody", ALL);
    ground.supervise();
    ground.put("job", &sleeper("lifecycle = \"oneshot\"\n[constraints]\nmemory_limit = \"48MiB\"\n"));
    ground.running("job").signal(Signal::KILL);
    let (report, told) = verdict(&ground, "job");
    assert_verdict(&report, "signal", true, "workload_failed");
    assert!(told.contains("the kernel counted no kill for memory"), "{told}");
    assert_eq!(report["usage"]["oom_kills"], 0);

    // The code that a shell makes of such a signal is a code.
    ground.put("code", &shell("lifecycle = \"oneshot\"", "exit 137"));
    let (report, told) = verdict(&ground, "code");
    assert_verdict(&report, "error", true, "workload_failed");
    assert!(told.contains("exit code 137"), "{told}");
}

#[test]
fn a_child_that_was_killed_explains_how_its_parent_failed() {
    if !in_lane("a_child_that_was_killed_explains_how_its_parent_failed") {
        return;
    }
    let ground = Ground::new("child", ALL);
    ground.supervise();
    // The main process is exempt, so the kernel leaves it where it kills the rest of the cgroup.
    let keys = "lifecycle = \"oneshot\"\n[constraints]\nmemory_limit = \"48MiB\"\noom_score_adj = -1000\n";
    let script = r#"sh -c "echo 1000 >/proc/self/oom_score_adj; exec tail /dev/zero"; exit 7"#;
    ground.put("parent", &shell(keys, script));
    let (report, told) = verdict(&ground, "parent");
    assert_verdict(&report, "oom", true, "workload_oom");
    assert_eq!((&report["exit_code"], &report["state"]), (&7.into(), &"failed".into()));
    assert!(told.contains("exit code 7; processes of it were killed for memory"), "{told}");
}

#[test]
fn without_a_wrapper_the_supervisor_reads_what_was_counted() {
    if !in_lane("without_a_wrapper_the_supervisor_reads_what_was_counted") {
        return;
    }
    let ground = Ground::new("orphan", ALL);
    ground.supervise();
    let go = ground.path("go");
    let script = format!("until [ -e {} ]; do sleep 0.1; done; exec tail /dev/zero", go.display());
    let keys = "lifecycle = \"oneshot\"\n[constraints]\nmemory_limit = \"48MiB\"\n";
    ground.put("orphan", &shell(keys, &script));
    let live = ground.running("orphan");
    send(&ground.wrapper("orphan", &live), Signal::KILL);
    ground.await_event("orphan", "the wrapper was lost");
    fs::write(go, "").expect("written");
    let (report, told) = verdict(&ground, "orphan");
    assert_verdict(&report, "oom", true, "workload_oom");
    assert!(told.contains("memory_limit 48MiB"), "{told}");
    let usage = &report["usage"];
    assert!(usage["oom_kills"].as_u64().expect("counted") > 0);
    assert_eq!(usage["memory_peak_bytes"], 48 << 20);
    assert!(usage["cpu_sec"].as_f64().expect("measured") > 0.0);
}

#[test]
fn a_limit_on_tasks_explains_how_a_program_failed() {
    if !in_lane("a_limit_on_tasks_explains_how_a_program_failed") {
        return;
    }
    let ground = Ground::new("tasks", ALL);
    ground.supervise();
    let keys = "lifecycle = \"oneshot\"\n[constraints]\ntasks_max = 3\n";
    ground.put("many", &shell(keys, "sleep 1000 & sleep 1000 & sleep 1000 & sleep 1000 & wait"));
    let (report, told) = verdict(&ground, "many");
    assert_verdict(&report, "cgroup_limit", true, "workload_limit");
    assert!(told.contains("constraints.tasks_max (3)"), "{told}");
}

#[test]
fn what_a_job_uses_is_told_while_it_runs_and_when_it_ended() {
    if !in_lane("what_a_job_uses_is_told_while_it_runs_and_when_it_ended") {
        return;
    }
    let ground = Ground::new("usage", ALL);
    ground.supervise();
    // Its child burns the CPU, and is never waited for: only the cgroup sees that.
    let keys = "[constraints]\ncpu_quota = 20\n";
    ground.put("burner", &shell(keys, "(while :; do :; done) & exec sleep 1000"));
    let cgroup = ground.unit.child("jobs").child("burner");
    ground.running("burner");
    cgroup.await_use(Duration::from_millis(200));
    await_true("its quota holds it back", || cgroup.throttled() > 0);
    let status = ground.status("burner");
    let cpu = status["usage"]["cpu_sec"].as_f64().expect("measured");
    assert!(cpu > 0.1, "{status:#}");
    assert!(status["usage"]["cpu_throttled_periods"].as_u64().expect("measured") > 0, "{status:#}");
    assert!(status["memory_bytes"].as_u64().expect("measured") > 0, "{status:#}");
    let table = String::from_utf8(ground.run(&["status"]).stdout).expect("text");
    assert!(table.lines().next().is_some_and(|line| line.contains("CPU    MEMORY")), "{table}");

    ground.replace(&ground.job_file("burner"), &format!("enabled = false\n{}", shell(keys, "exit")));
    let (report, _) = verdict(&ground, "burner");
    let usage = &report["usage"];
    assert!(usage["cpu_sec"].as_f64().expect("measured") >= cpu, "{usage}");
    assert!(usage["cpu_throttled_sec"].as_f64().expect("measured") > 0.0, "{usage}");
    assert_eq!(usage["oom_kills"], 0);
}
