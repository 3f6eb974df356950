//! What a start costs in system calls: a figure that does not depend on how busy the machine is.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::harness::{Site, names};
use super::wait::await_true;

/// System calls of supervisor, nursery and wrapper for each job that is started, at most.
const MAX_CALLS: usize = 150;

/// Calls that only an unoptimised build makes: std asks whether a descriptor is open before it closes it.
const OF_DEBUG_BUILDS: &str = "F_GETFD";

fn strace(trace: &Path) -> Command {
    let mut command = Command::new("strace");
    // The tracer stands beside, so that the command keeps its pid.
    command.args(["-D", "-f", "-o"]).arg(trace);
    command
}

fn calls(trace: &Path) -> usize {
    let text = fs::read(trace).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let is_call = |line: &&str| {
        let call = line.split_once(' ').map_or("", |(_, call)| call.trim_start());
        call.starts_with(|first: char| first.is_ascii_lowercase()) && !line.contains(OF_DEBUG_BUILDS)
    };
    text.lines().filter(is_call).count()
}

/// How many calls there are until so many jobs run.
fn until_they_run(jobs: usize) -> usize {
    let site = Site::new();
    for job in 0..jobs {
        // What it has from this test's environment would have the loader search elsewhere first.
        let text = "[exec]\ncommand = [\"/bin/sleep\", \"1000\"]\noutput = \"null\"\n\
                    env = { LC_ALL = \"C\", LD_LIBRARY_PATH = \"\" }\n";
        site.put(&format!("job-{job}"), text);
    }
    let folder = tempfile::tempdir().expect("a folder");
    // Not where it is watched.
    let file = folder.path().join("trace");
    let mut command = strace(&file);
    command.arg(env!("CARGO_BIN_EXE_ffrtmp-sup"));
    site.replace(&site.path("supervisor.toml"), "[cgroup]\nbackend = \"none\"\n");
    site.start_command(command, &site.root, &[]);
    (0..jobs).for_each(|job| drop(site.running(&format!("job-{job}"))));
    let calls = calls(&file);
    // The workloads write nothing, by which they could be found in the end.
    (0..jobs).for_each(|job| site.remove(&format!("job-{job}")));
    await_true("all of them ended", || names(&site.path("state/runs")).is_empty());
    site.term();
    calls
}

#[test]
fn a_start_takes_few_system_calls() {
    let folder = tempfile::tempdir().expect("a folder");
    let alone = folder.path().join("alone");
    let mut command = strace(&alone);
    let traced = command
        .args(["/bin/sleep", "0"])
        .env_clear()
        .env("LC_ALL", "C")
        .env("PATH", "/usr/bin:/bin")
        .status();
    if !traced.is_ok_and(|status| status.success()) {
        return println!("SKIPPED a_start_takes_few_system_calls: no strace here, or it may not trace");
    }
    let of_workload = calls(&alone);
    let (few, many) = (until_they_run(10), until_they_run(60));
    let each = (many - few) / 50;
    let ours = each.saturating_sub(of_workload);
    println!("{each} system calls per job, {of_workload} of them its own");
    assert!(ours <= MAX_CALLS, "{ours} of ours for each start");
    assert!(ours > 50, "{ours}: nothing was traced");
}
