//! Processes that somebody else started, on cgroup v2: they stay in a cgroup that is theirs alone, are moved
//! out of one that they share, and everything is as it was when they are let go.

use std::fs;
use std::path::Path;

use ffrtmp::linux::attach;
use ffrtmp::linux::cgroup::{Tree, v2};
use ffrtmp::linux::process::{PidFd, family};
use ffrtmp::model::attached::Place;
use ffrtmp::model::constraints::{Backend, ConstraintName as Name, Constraints};
use ffrtmp::model::exit::Ended;
use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;
use serde_json::json;

use super::ground::{ALL, Cgroup, Ground, cgroup_of, in_lane};
use crate::harness::{await_true, identify};
use crate::observing::{Observation, Stranger, of, wanted};

const MIB: u64 = 1 << 20;

/// The subtree for jobs, as a supervisor lays it out.
fn tree(ground: &Ground) -> Tree {
    let unit = ground.unit.file("");
    Tree::V2(v2::Tree::within(unit, Path::new("/sys/fs/cgroup"), Backend::CgroupV2).expect("it is ours"))
}

fn process(number: u32) -> ProcessIdentity {
    identify(number).expect("it lives")
}

fn number(process: &ProcessIdentity) -> u32 {
    process.pid.as_raw().cast_unsigned()
}

/// Starts a program in a cgroup; it ends with the test.
fn start(cgroup: &Cgroup, script: &str) -> Stranger {
    let mut stranger = Stranger::spawn(
        std::process::Command::new("/bin/sh")
            .args(["-c", &format!("echo 0 > \"$0\"; {script}")])
            .arg(cgroup.file("cgroup.procs")),
    );
    assert_eq!(stranger.line(), "r");
    stranger
}

/// What a cgroup's files say, of limits that an administrator has set.
fn limits(cgroup: &Cgroup) -> Vec<String> {
    ["cpu.max", "cpu.weight", "memory.max", "memory.high", "memory.swap.max", "pids.max", "io.max"]
        .into_iter()
        .map(|file| fs::read_to_string(cgroup.file(file)).unwrap_or_default())
        .collect()
}

/// A cgroup with limits beside what was delegated.
fn limited(ground: &Ground, name: &str) -> Cgroup {
    let home = ground.slice.make(name);
    home.write("cpu.max", "80000 100000");
    home.write("memory.max", &(256 * MIB).to_string());
    home.write("pids.max", "50");
    home
}

/// `cgroup.procs` has no order.
fn sorted(mut list: Vec<u32>) -> Vec<u32> {
    list.sort_unstable();
    list
}

fn kill(process: &ProcessIdentity) {
    if let Some(pidfd) = PidFd::open(process).expect("proc") {
        pidfd.send(Signal::KILL).expect("ours");
    }
}

#[test]
fn an_attached_process_alone_in_its_cgroup_stays_there_and_gets_its_limits_back() {
    if !in_lane("an_attached_process_alone_in_its_cgroup_stays_there_and_gets_its_limits_back") {
        return;
    }
    let ground = Ground::new("stays", ALL);
    let tree = tree(&ground);
    let home = limited(&ground, "own.service");
    let before = limits(&home);
    let mut stranger = start(&home, "sleep 1000 & echo r; read x; exit 7");
    let child = family(&process(stranger.pid())).expect("proc").remove(0);
    let all = wanted(json!({
        "cpu": {"quota": 30}, "cpu_weight": 200, "memory_limit": 512 * MIB, "memory_high": 400 * MIB,
        "tasks_max": 20, "nice": 5,
    }));
    let mut run = Observation::begin(&process(stranger.pid()), true, &tree, all.clone());
    assert!(matches!(run.place(), Place::Stays { .. }), "{:?}", run.place());
    assert!(run.statuses().iter().all(|status| status.applied), "{:#?}", run.statuses());
    assert_eq!(cgroup_of(stranger.pid()), "/stays.slice/own.service");
    assert_eq!((home.read("cpu.max"), home.read("pids.max")), ("30000 100000".into(), "20".into()));
    assert_eq!(home.read("memory.max"), (512 * MIB).to_string());

    let some = Constraints { cpu: None, memory_limit: None, ..all.clone() };
    let list = run.enforce(&some, &all);
    assert!(list.iter().all(|status| status.applied), "{list:#?}");
    assert_eq!(home.read("cpu.max"), "80000 100000", "what it was, and not the kernel's default");
    assert_eq!((home.read("memory.max"), home.read("pids.max")), ((256 * MIB).to_string(), "20".into()));
    let _ = run.enforce(&all, &some);

    // It ends: its exit is told, its cgroup is as it was, and what it left lives on there.
    stranger.go_on();
    let exited = run.wait();
    stranger.reap();
    assert_eq!(exited.ended, Ended::Waited { status: 7 << 8 });
    assert!(exited.usage.cpu_sec.is_some() && exited.evidence.is_some_and(|found| found.memory.is_some()));
    assert_eq!(limits(&home), before);
    assert_eq!((home.procs(), process(number(&child))), (vec![number(&child)], child.clone()));
    kill(&child);
}

#[test]
fn limits_that_an_attached_process_has_outgrown_are_not_restored_and_told() {
    if !in_lane("limits_that_an_attached_process_has_outgrown_are_not_restored_and_told") {
        return;
    }
    let ground = Ground::new("outgrown", ALL);
    let tree = tree(&ground);
    let home = ground.slice.make("own.service");
    home.write("memory.max", &(32 * MIB).to_string());
    let holds = "exec perl -e '$|=1; print \"r\\n\"; <STDIN>; $n = 40; $x = \"x\" x ($n << 20); print \"r\\n\"; sleep 1000'";
    let mut stranger = start(&home, holds);
    let all = wanted(json!({"memory_limit": 128 * MIB}));
    let run = Observation::begin(&process(stranger.pid()), false, &tree, all.clone());
    assert!(of(&run.statuses(), Name::MemoryLimit).applied);
    stranger.go_on();
    assert_eq!(stranger.line(), "r");
    let told = run.release(&all);
    assert!(
        told.len() == 1 && told[0].starts_with("memory_limit is not as it was: 33554432 bytes"),
        "{told:?}"
    );
    assert!(stranger.lives());
    assert_eq!(home.read("memory.max"), (128 * MIB).to_string());
    assert_eq!(home.count("memory.events", "oom_kill"), 0);
}

#[test]
fn an_attached_process_is_moved_if_that_is_asked_for_and_everything_is_moved_back() {
    if !in_lane("an_attached_process_is_moved_if_that_is_asked_for_and_everything_is_moved_back") {
        return;
    }
    let ground = Ground::new("moved", ALL);
    let tree = tree(&ground);
    let home = limited(&ground, "shared.service");
    let before = limits(&home);
    let neighbour = start(&home, "echo r; exec sleep 1000");
    let mut stranger = start(&home, "sleep 1000 & echo r; read x; sleep 1000 & echo r; read y; exit 0");
    let child = family(&process(stranger.pid())).expect("proc").remove(0);
    let all = wanted(json!({"cpu": {"quota": 30}, "memory_limit": 64 * MIB, "tasks_max": 20, "nice": 5}));

    let run = Observation::begin(&process(stranger.pid()), false, &tree, all.clone());
    let Place::None(why) = run.place() else { panic!("{:?}", run.place()) };
    assert!(why.contains("/moved.slice/shared.service with another process"), "{why}");
    assert!(why.contains("set attach.move = true"), "{why}");
    assert!(of(&run.statuses(), Name::Nice).applied && !of(&run.statuses(), Name::CpuQuota).applied);
    assert_eq!(run.release(&all), [""; 0]);
    drop(run);
    assert_eq!(limits(&home), before);

    let run = Observation::begin(&process(stranger.pid()), true, &tree, all.clone());
    assert_eq!(*run.place(), Place::Moved);
    assert!(run.statuses().iter().all(|status| status.applied), "{:#?}", run.statuses());
    let ours = ground.job("job");
    let both = sorted(vec![stranger.pid(), number(&child)]);
    assert_eq!((sorted(ours.procs()), home.procs()), (both, vec![neighbour.pid()]));
    assert_eq!((ours.read("cpu.max"), ours.read("memory.oom.group")), ("30000 100000".into(), "0".into()));
    // Somebody moves it out: what is not in force for it is told so.
    home.take_in(stranger.pid());
    let list = attach::read_back(&run.attached, run.cgroup.as_ref(), &all);
    assert!(!of(&list, Name::CpuQuota).applied && of(&list, Name::Nice).applied, "{list:#?}");
    ours.take_in(stranger.pid());
    assert!(attach::read_back(&run.attached, run.cgroup.as_ref(), &all).iter().all(|status| status.applied));
    for _ in 0..2 {
        assert_eq!(run.release(&all), [""; 0]);
        assert!(!ours.exists(), "our cgroup is removed");
        assert_eq!(sorted(home.procs()), sorted(vec![neighbour.pid(), stranger.pid(), number(&child)]));
    }
    assert_eq!(limits(&home), before);
    drop(run);

    // It ends by itself: what it leaves in our cgroup goes home, and lives on.
    let mut run = Observation::begin(&process(stranger.pid()), true, &tree, all.clone());
    assert!(run.statuses().iter().all(|status| status.applied));
    assert_eq!(ours.procs().len(), 2);
    let wrapper = run.started().wrapper;
    assert_eq!(cgroup_of(number(&wrapper)), "/moved.slice/ffrtmp.service/wrappers");
    kill(&process(stranger.pid()));
    let exited = run.wait();
    stranger.reap();
    assert_eq!(exited.ended, Ended::Waited { status: libc::SIGKILL });
    assert!(exited.evidence.is_some_and(|found| found.memory.is_some_and(|memory| memory.kills == 0)));
    assert!(!ours.exists());
    assert_eq!(sorted(home.procs()), sorted(vec![neighbour.pid(), number(&child)]));
    assert_eq!(
        fs::read_to_string(format!("/proc/{}/stat", child.pid)).expect("it lives").split(' ').nth(18),
        Some("0")
    );
    kill(&child);
    await_true("it is gone", || home.procs() == [neighbour.pid()]);
}

#[test]
fn an_attached_process_that_forks_meanwhile_is_moved_as_a_whole_and_back() {
    if !in_lane("an_attached_process_that_forks_meanwhile_is_moved_as_a_whole_and_back") {
        return;
    }
    let ground = Ground::new("storm", ALL);
    let tree = tree(&ground);
    let home = ground.slice.make("shared.service");
    let neighbour = start(&home, "echo r; exec sleep 1000");
    let script = "for i in 1 2 3; do (while :; do sleep 0.1 & sleep 0.2; wait; done) & done; echo r; wait";
    let storm = start(&home, script);
    let all = wanted(json!({"tasks_max": 200, "nice": 3}));
    let run = Observation::begin(&process(storm.pid()), true, &tree, all.clone());
    assert!(run.statuses().iter().all(|status| status.applied), "{:#?}", run.statuses());
    assert_eq!(home.procs(), [neighbour.pid()], "nobody was left behind");
    assert_eq!(run.release(&all), [""; 0]);
    assert!(home.procs().contains(&storm.pid()) && !ground.job("job").exists());
    for process in family(&process(storm.pid()))
        .expect("proc")
        .iter()
        .filter(|process| !ffrtmp::linux::process::is_zombie(process).unwrap_or(true))
    {
        assert!(home.procs().contains(&number(process)) || PidFd::open(process).expect("proc").is_none());
    }
    drop(run);
    home.write("cgroup.kill", "1");
}

#[test]
fn processes_of_ours_are_never_taken_over() {
    if !in_lane("processes_of_ours_are_never_taken_over") {
        return;
    }
    let ground = Ground::new("ours", ALL);
    let tree = tree(&ground);
    let stranger = start(&ground.unit.child("supervisor"), "echo r; exec sleep 1000");
    let error = attach::survey(&process(stranger.pid()), true, &tree, "job").expect_err("it is ours");
    assert!(error.to_string().contains("in a cgroup of ours"), "{error}");
    // A kernel thread, of which this machine has some.
    let kernel = process(2);
    assert!(attach::survey(&kernel, true, &tree, "job").expect_err("no").to_string().contains("kernel"));
    assert!(!ground.job("job").exists());
}
