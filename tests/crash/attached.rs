//! The same for a process that somebody else started: it is taken over, let go, taken over again, and
//! ends by itself. Whatever dies meanwhile, it is what it was before, and its exit is told.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use ffrtmp::abort::Point;

use super::harness::{identify, lives, names, nice_of_threads};
use super::stage::Stage;

/// The story, told until a process has ended at the point, and then to its end.
pub fn tell(point: Point) {
    let mut stage = Stage::new();
    let program = stage.root.join("stranger");
    fs::copy("/bin/sh", &program).expect("copied");
    let mut command = Command::new(&program);
    command.args(["-c", "read code; exit $code"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut stranger = command.spawn().expect("it starts");
    let (pid, process) = (stranger.id(), identify(stranger.id()).expect("our child"));
    let rule = format!(
        "[constraints]\nnice = 5\ntasks_max = 50\n[attach]\nmatch = {{ exe = {:?} }}\nmove = true\n",
        program.display().to_string()
    );
    let file = stage.job_file("rule");
    let cgroups = || fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("proc");
    let home = cgroups();
    let name = format!("{}:1", point.name());
    stage.arm(std::slice::from_ref(&name));
    stage.spawn();
    let governed = |stage: &Stage| {
        let report = stage.report("rule");
        // The report of one that was let go says so, and that it runs.
        let ours = report["state"] == "running" && report["platform_sla_reason"].is_null();
        ours && report["pid"] == pid && nice_of_threads(pid) == [5]
    };
    for _ in 0..2 {
        stage.put_text(&file, &rule);
        stage.until("it is governed", governed);
        stage.remove("rule");
        stage.until("it is as it was", |stage| {
            let gone = names(&stage.root.join("state/runs")).is_empty();
            gone && nice_of_threads(pid) == [0] && cgroups() == home
        });
        assert!(lives(&process), "it was ended");
        let told = stage.report("rule");
        assert_eq!(told["platform_sla_reason"], "detached_workload_continues", "{told:#}");
    }
    assert!(stage.aborted(&name).is_some(), "nothing ever came to {name}");
    stage.put_text(&file, &rule);
    // One that ends while it is being taken over is no run.
    stage.until("it is governed again", governed);
    writeln!(stranger.stdin.take().expect("a pipe"), "7").expect("written");
    stage.until("its exit is told", |stage| {
        stage.history("rule").iter().any(|report| report["exit_code"] == 7)
    });
    stranger.wait().expect("our child");
    stage.remove("rule");
    stage.until("nothing is left of it", |stage| names(&stage.root.join("state/runs")).is_empty());
    while !stage.term() {
        stage.spawn();
    }
    let left = stage.left();
    assert!(left.is_empty(), "left: {left:#?}\n{}", stage.log());
}
