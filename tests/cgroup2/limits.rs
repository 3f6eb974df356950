//! Job files, the supervisor where systemd would have put it, and what the kernel then does.

use std::fs;
use std::time::Duration;

use super::cpu::{Counted, assert_ratio};
use super::ground::{
    ALL, ENCODER, Ground, assert_in_force, assert_not_in_force, cgroup_of, constraint, in_lane,
};
use crate::harness::{await_true, shell, sleeper};

/// Takes all the CPU it can get.
const BUSY: &str = "while :; do :; done";

#[test]
fn everybody_is_where_they_belong_and_nothing_above_is_touched() {
    if !in_lane("everybody_is_where_they_belong_and_nothing_above_is_touched") {
        return;
    }
    let ground = Ground::new("places", &["cpu", "pids"]);
    let stale = ground.unit.make("jobs").make("stale");
    let supervisor = ground.supervise();
    ground.put("idle", &sleeper("[constraints]\ncpu_quota = 50\ntasks_max = 10"));
    let (live, cgroup) = ground.in_cgroup("idle");
    let wrapper = ground.wrapper("idle", &live).pid.as_raw().unsigned_abs();

    assert_eq!(cgroup_of(supervisor), "/places.slice/ffrtmp.service/supervisor");
    assert_eq!(cgroup_of(live.pid()), "/places.slice/ffrtmp.service/jobs/idle");
    let wrappers = ground.unit.child("wrappers");
    await_true("the wrapper is with its like", || wrappers.procs() == [wrapper]);
    assert_eq!(cgroup.procs(), [live.pid()], "the job is alone");
    assert!(!stale.exists(), "what an earlier supervisor left is gone");

    // As it was made: nothing that was not delegated, and nothing enabled by us.
    assert_eq!(ground.slice.read("cgroup.subtree_control"), "cpu pids");
    assert_eq!(ground.unit.read("cgroup.subtree_control"), "cpu pids");
    assert_eq!(ground.unit.child("jobs").read("cgroup.subtree_control"), "cpu pids");
    assert_eq!(ground.unit.read("cpu.max"), "max 100000");
}

#[test]
fn a_job_may_be_called_like_a_file_of_the_kernel() {
    if !in_lane("a_job_may_be_called_like_a_file_of_the_kernel") {
        return;
    }
    let ground = Ground::new("names", ALL);
    ground.supervise();
    let limit = "[constraints]\ntasks_max = 10";
    ground.put("cpu.max", &sleeper(limit));
    ground.put("memory.max", &sleeper(&format!("instances = [\"a\"]\n{limit}")));
    ground.put("cpu", &sleeper(limit));
    for (job, cgroup) in [("cpu.max", "_cpu.max"), ("memory.max@a", "_memory.max@a"), ("cpu", "cpu")] {
        let live = ground.running(job);
        assert!(cgroup_of(live.pid()).ends_with(&format!("/jobs/{cgroup}")), "{}", cgroup_of(live.pid()));
        assert_in_force(&ground.report(job).expect("a report"), "tasks_max", "10");
        assert_eq!(ground.job(cgroup).read("pids.max"), "10");
    }
}

#[test]
fn limits_are_in_force_before_the_first_instruction() {
    if !in_lane("limits_are_in_force_before_the_first_instruction") {
        return;
    }
    let ground = Ground::new("first", ALL);
    ground.supervise();
    let keys = "[constraints]\ncpu_max = \"30000 50000\"\ncpu_weight = 200\nmemory_limit = \"64MiB\"\n\
                memory_high = 48\ntasks_max = 20\nnice = 3\nio_weight = 75";
    // Built into the shell, so that nothing else runs before it.
    let script = "read -r line </proc/self/cgroup; cd /sys/fs/cgroup${line#0::}
        for f in cpu.max cpu.weight memory.max memory.high pids.max
            do read -r value <$f; echo $f $value; done
        echo done; sleep 1000";
    ground.put("job", &shell(keys, script));
    ground.in_cgroup("job");
    ground.await_output("job", "done");
    let expected = "cpu.max 30000 50000\ncpu.weight 200\nmemory.max 67108864\nmemory.high 50331648\n\
                    pids.max 20\ndone\n";
    assert_eq!(ground.output("job"), expected);
    let report = ground.report("job").expect("a report");
    assert_in_force(&report, "cpu_max", "30000 50000");
    assert_in_force(&report, "cpu_weight", "200");
    assert_in_force(&report, "memory_limit", "67108864");
    assert_in_force(&report, "memory_high", "50331648");
    assert_in_force(&report, "tasks_max", "20");
    assert_in_force(&report, "nice", "3");
    assert_eq!(constraint(&report, "cpu_max")["backend"], "cgroup-v2");
    // This kernel has the controller, and not the file.
    assert_not_in_force(&report, "io_weight", "this kernel weighs no I/O");
}

#[test]
fn an_encoder_is_held_to_the_quota_of_its_job() {
    if !in_lane("an_encoder_is_held_to_the_quota_of_its_job") {
        return;
    }
    let ground = Ground::new("encoder", ALL);
    ground.supervise();
    ground.put("channel", &format!("[constraints]\ncpu_quota = 50\n[exec]\ncommand = {ENCODER:?}\n"));
    let (live, cgroup) = ground.in_cgroup("channel");
    cgroup.assert_held_to(55.0, Duration::from_secs(4));
    assert_in_force(&ground.report("channel").expect("a report"), "cpu_quota", "50000 100000");
    ground.assert_untouched("channel", &live);
}

/// Example 10 of the reference: a production channel, a normal one, and a batch job.
#[test]
fn weights_share_one_cpu_in_their_ratio() {
    if !in_lane("weights_share_one_cpu_in_their_ratio") {
        return;
    }
    let ground = Ground::new("weights", ALL);
    ground.supervise();
    let weights = [("production", 200), ("normal", 100), ("batch", 50)];
    for (job, weight) in weights {
        ground.put(job, &shell(&format!("[constraints]\ncpu_weight = {weight}"), BUSY));
    }
    let cgroups = weights.map(|(job, _)| ground.in_cgroup(job).1);
    cgroups[2].await_use(Duration::from_millis(200));
    assert_ratio(&cgroups.each_ref(), &[4.0, 2.0, 1.0], 0.1);
}

#[test]
fn memory_high_slows_and_does_not_kill() {
    if !in_lane("memory_high_slows_and_does_not_kill") {
        return;
    }
    let ground = Ground::new("high", ALL);
    ground.supervise();
    let keys = "[constraints]\nmemory_high = \"32MiB\"\nmemory_limit = \"256MiB\"";
    ground.put("hog", &format!("{keys}\n[exec]\ncommand = [\"tail\", \"/dev/zero\"]\n"));
    let (live, cgroup) = ground.in_cgroup("hog");
    await_true("it is throttled", || cgroup.count("memory.events", "high") > 10);
    let current = || cgroup.read("memory.current").parse::<u64>().expect("bytes");
    assert!((32 << 20..128 << 20).contains(&current()), "{}", current());
    assert_eq!(cgroup.count("memory.events", "oom"), 0);
    ground.assert_untouched("hog", &live);
}

#[test]
fn tasks_max_refuses_the_fork_that_is_too_many() {
    if !in_lane("tasks_max_refuses_the_fork_that_is_too_many") {
        return;
    }
    let ground = Ground::new("pids", ALL);
    ground.supervise();
    let script = "$| = 1; for ($n = 1; $n < 50; $n++) { my $pid = fork; \
                  if (!defined $pid) { print \"refused with $n: $!\\n\"; sleep 1000 } \
                  if (!$pid) { sleep 1000; exit } } print \"not refused\\n\"";
    ground.put(
        "job",
        &format!("[constraints]\ntasks_max = 5\n[exec]\ncommand = [\"perl\", \"-e\", '{script}']\n"),
    );
    let (live, cgroup) = ground.in_cgroup("job");
    ground.await_output("job", "refused");
    assert_eq!(ground.output("job"), "refused with 5: Resource temporarily unavailable\n");
    assert_eq!((cgroup.read("pids.current"), cgroup.count("pids.events", "max")), ("5".into(), 1));
    assert_in_force(&ground.report("job").expect("a report"), "tasks_max", "5");
    ground.assert_untouched("job", &live);
    // The list is the kernel's own.
    assert_eq!(fs::read_dir(format!("/proc/{}/task", live.pid())).expect("proc").count(), 1);
}
