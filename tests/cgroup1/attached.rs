//! Processes that somebody else started, on hierarchies of version 1: they stay in a cgroup that is theirs
//! alone, are moved out of one that they share, and everything is as it was when they are let go.

use std::fs;

use ffrtmp::linux::cgroup::{self, Request, Tree};
use ffrtmp::linux::process::family;
use ffrtmp::model::attached::Place;
use ffrtmp::model::cgroup::{Cgroup, Choice, Controller};
use ffrtmp::model::constraints::{ConstraintName as Name, Constraints};
use ffrtmp::model::process::ProcessIdentity;
use serde_json::json;

use super::ground::{Ground, Job, assert_in_force, disk, is_here, of, reason, wanted};
use crate::harness::{await_true, identify};
use crate::observing::Observation;

const MIB: u64 = 1 << 20;

/// Cgroups for jobs; gone with what was made for them when this is dropped.
fn tree(test: &str) -> Tree {
    let instance = format!("ffrtmp-tree-{}-{test}", std::process::id());
    let request = Request { choice: Choice::CgroupV1, parent: None, instance: &instance };
    cgroup::open(&request).expect("is_here() said so").tree
}

fn process(number: u32) -> ProcessIdentity {
    identify(number).expect("it lives")
}

fn is_in(cgroup: &Cgroup, number: u32) -> bool {
    cgroup::holds(cgroup, &process(number)).expect("read")
}

/// A cgroup with limits, as an administrator makes one.
fn limited(ground: &Ground, name: &str) -> Job {
    let job = ground.job(name);
    let disk = disk().expect("a disk");
    let limits = json!({
        "cpu": {"max": {"quota_us": 80_000, "period_us": 100_000}}, "cpu_weight": 50, "memory_limit": 256 * MIB,
        "memory_swap": 8 * MIB, "io_max": [format!("{disk} rbps=1048576")], "tasks_max": 50,
    });
    assert_in_force(&cgroup::apply(&job.cgroup, &wanted(limits), cgroup::Before::Fresh));
    job
}

#[test]
fn alone_in_its_cgroup_it_stays_there_and_gets_its_limits_back() {
    if !is_here("alone_in_its_cgroup_it_stays_there_and_gets_its_limits_back") {
        return;
    }
    let ground = Ground::new("stays");
    let tree = tree("stays");
    let home = limited(&ground, "own");
    let limits = home.limits();
    let mut stranger = home.spawn(&["sh", "-c", "sleep 1000 & echo r; wait"]);
    assert_eq!(stranger.await_output(), b'r');
    let cpu = home.read("cpuset.cpus").split([',', '-']).next().expect("a CPU").to_owned();
    let disk = disk().expect("a disk");
    let all = wanted(json!({
        "cpu": {"quota": 30}, "cpu_weight": 200, "memory_limit": 512 * MIB, "memory_swap": 0, "io_weight": 75,
        "io_max": [format!("{disk} wbps=4096")], "tasks_max": 20, "cpus": cpu, "nice": 5,
    }));
    // It may be moved, and need not be.
    let mut run = Observation::begin(&process(stranger.pid()), true, &tree, all.clone());
    assert!(matches!(run.place(), Place::Stays { .. }), "{:?}", run.place());
    assert_in_force(&run.statuses());
    assert!(is_in(&home.cgroup, stranger.pid()));
    assert_eq!(home.read("cpu.cfs_quota_us"), "30000");
    assert_eq!(home.read("memory.limit_in_bytes"), (512 * MIB).to_string());

    // An edit: what is not asked for any more is as before, and not at the kernel's default.
    let some = Constraints { cpu: None, memory_limit: None, memory_swap: None, io_max: None, ..all.clone() };
    assert_in_force(&run.enforce(&some, &all));
    assert_eq!(home.read("cpu.cfs_quota_us"), "80000");
    assert_eq!(home.read("memory.limit_in_bytes"), (256 * MIB).to_string());
    assert_eq!(home.read("memory.memsw.limit_in_bytes"), (264 * MIB).to_string());
    assert_eq!(home.read("blkio.throttle.write_bps_device"), "");
    assert_eq!(home.read("blkio.throttle.read_bps_device"), format!("{disk} 1048576"));
    assert_eq!((home.read("pids.max"), home.read("cpu.shares")), ("20".into(), "2048".into()));
    assert_in_force(&run.enforce(&all, &some));

    run.kill_wrapper();
    for _ in 0..2 {
        assert_eq!(run.release(&all), [""; 0]);
        assert_eq!(home.limits(), limits);
    }
    assert!(is_in(&home.cgroup, stranger.pid()) && stranger.lives());
    stranger.end();
}

#[test]
fn when_it_ends_its_cgroup_is_as_it_was() {
    if !is_here("when_it_ends_its_cgroup_is_as_it_was") {
        return;
    }
    let ground = Ground::new("ends");
    let tree = tree("ends");
    let home = limited(&ground, "own");
    let limits = home.limits();
    let mut stranger = home.spawn(&["sh", "-c", "sleep 1000 & echo r; wait"]);
    assert_eq!(stranger.await_output(), b'r');
    let child = family(&process(stranger.pid())).expect("proc").remove(0);
    let all = wanted(json!({"tasks_max": 20, "cpu": {"quota": 30}}));
    let mut run = Observation::begin(&process(stranger.pid()), false, &tree, all);
    assert_in_force(&run.statuses());
    assert_eq!(home.read("pids.max"), "20");
    let main =
        ffrtmp::linux::process::PidFd::open(&process(stranger.pid())).expect("proc").expect("it lives");
    assert!(main.send(ffrtmp::model::signal::Signal::TERM).expect("ours"));
    let exited = run.wait();
    assert_eq!(exited.ended, ffrtmp::model::exit::Ended::Waited { status: libc::SIGTERM });
    assert!(exited.usage.cpu_sec.is_some() && exited.evidence.is_some_and(|found| found.memory.is_some()));
    assert_eq!(home.limits(), limits);
    assert_eq!(identify(child.pid.as_raw().cast_unsigned()), Some(child), "what it left lives on");
    stranger.end();
}

#[test]
fn one_that_shares_its_cgroup_is_moved_only_if_that_is_asked_for_and_moved_back() {
    if !is_here("one_that_shares_its_cgroup_is_moved_only_if_that_is_asked_for_and_moved_back") {
        return;
    }
    let ground = Ground::new("shares");
    let tree = tree("shares");
    let home = limited(&ground, "shared");
    let limits = home.limits();
    let mut neighbour = home.spawn(&["sh", "-c", "echo r; exec sleep 1000"]);
    assert_eq!(neighbour.await_output(), b'r');
    let mut stranger = home.spawn(&["sh", "-c", "sleep 1000 & echo r; wait"]);
    assert_eq!(stranger.await_output(), b'r');
    let child = family(&process(stranger.pid())).expect("proc").remove(0);
    let child = child.pid.as_raw().cast_unsigned();
    let cpu = home.read("cpuset.cpus").split([',', '-']).next().expect("a CPU").to_owned();
    let all = wanted(json!({"cpu": {"quota": 30}, "tasks_max": 20, "nice": 5, "cpus": cpu}));

    let run = Observation::begin(&process(stranger.pid()), false, &tree, all.clone());
    let Place::None(why) = run.place() else { panic!("{:?}", run.place()) };
    assert!(why.contains("shares its cgroup") && why.contains("with another process"), "{why}");
    assert!(why.contains("/shared") && why.contains("set attach.move = true"), "{why}");
    assert_eq!(reason(&run.statuses(), Name::TasksMax), why);
    for name in [Name::Nice, Name::Cpus] {
        assert!(of(&run.statuses(), name).applied, "{:#?}", run.statuses());
    }
    assert_eq!(run.release(&all), [""; 0]);
    drop(run);
    assert_eq!(home.limits(), limits);

    let mut run = Observation::begin(&process(stranger.pid()), true, &tree, all.clone());
    assert_eq!(*run.place(), Place::Moved);
    assert_in_force(&run.statuses());
    let ours = run.cgroup.clone().expect("a cgroup");
    assert!(is_in(&ours, stranger.pid()) && is_in(&ours, child) && is_in(&home.cgroup, neighbour.pid()));
    let file = ours.dir(Controller::Pids).expect("pids").join("pids.max");
    assert_eq!(fs::read_to_string(file).expect("read").trim(), "20");
    run.kill_wrapper();
    for _ in 0..2 {
        assert_eq!(run.release(&all), [""; 0]);
        assert!(is_in(&home.cgroup, stranger.pid()) && is_in(&home.cgroup, child));
        assert!(!ours.dir(Controller::Pids).expect("pids").exists(), "our cgroup is removed");
    }
    assert_eq!((home.limits(), neighbour.lives(), stranger.lives()), (limits, true, true));

    // Where it was is gone: the nearest that is there.
    let run = Observation::begin(&process(stranger.pid()), true, &tree, all.clone());
    neighbour.end();
    assert!(cgroup::remove(&home.cgroup).expect("nobody is in it"));
    let told = run.release(&all);
    let above = home.dir(Controller::Pids).parent().expect("a base").to_owned();
    assert!(told.iter().any(|text| text.contains(&format!("it is in {} now", above.display()))), "{told:?}");
    assert!(
        fs::read_to_string(above.join("cgroup.procs")).expect("read").contains(&stranger.pid().to_string())
    );
    drop(run);
    // The stranger's end is by its cgroup, which is gone.
    let family = family(&process(stranger.pid())).expect("proc");
    for process in family.iter().chain([&process(stranger.pid())]) {
        let pidfd = ffrtmp::linux::process::PidFd::open(process).expect("proc").expect("it lives");
        assert!(pidfd.send(ffrtmp::model::signal::Signal::KILL).expect("ours"));
    }
    await_true("it has ended", || !stranger.lives());
}

#[test]
fn what_forks_without_end_is_moved_as_a_whole_and_back() {
    if !is_here("what_forks_without_end_is_moved_as_a_whole_and_back") {
        return;
    }
    let ground = Ground::new("storm");
    let tree = tree("storm");
    let home = ground.job("shared");
    let mut neighbour = home.spawn(&["sh", "-c", "echo r; exec sleep 1000"]);
    assert_eq!(neighbour.await_output(), b'r');
    // Each of three makes short-lived children as fast as it can.
    let script =
        "for i in 1 2 3; do (while :; do sleep 0.01 & :; sleep 0.02; wait; done) & done; echo r; wait";
    let mut storm = home.spawn(&["sh", "-c", script]);
    assert_eq!(storm.await_output(), b'r');
    let all = wanted(json!({"tasks_max": 200, "nice": 3}));
    let run = Observation::begin(&process(storm.pid()), true, &tree, all.clone());
    let list = run.statuses();
    assert!(of(&list, Name::TasksMax).applied, "{list:#?}");
    let only = |pid: u32| {
        let home = cgroup::procs(&home.cgroup).expect("read");
        home.len() == 1 && home[0].as_raw().cast_unsigned() == pid
    };
    assert!(only(neighbour.pid()), "nobody was left behind");
    for process in family(&process(storm.pid())).expect("proc") {
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).unwrap_or_default();
        let nice = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(16));
        assert!(stat.is_empty() || stat.contains(") Z ") || nice == Some("3"), "{stat}");
    }
    assert_eq!(run.release(&all), [""; 0]);
    assert!(is_in(&home.cgroup, storm.pid()));
    assert!(!run.cgroup.as_ref().and_then(|ours| ours.dir(Controller::Pids)).expect("pids").exists());
    drop(run);
    storm.end();
    drop(storm);
}
