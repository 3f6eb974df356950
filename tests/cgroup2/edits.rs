//! Limits of a job that runs: changed by an edit, by somebody else, or not at all.

use serde_json::Value;

use super::ground::{ALL, Ground, assert_in_force, assert_not_in_force, constraint, in_lane};
use crate::harness::{await_true, events, shell, sleeper};

/// Holds 64 MiB that cannot be given back.
const HOLDER: &str = "my $held; vec($held, (64 << 20) - 1, 8) = 1; $| = 1; print \"held\\n\"; sleep 1000";

fn holder(limit: &str) -> String {
    format!("[constraints]\nmemory_limit = \"{limit}\"\n[exec]\ncommand = [\"perl\", \"-e\", '{HOLDER}']\n")
}

#[test]
fn an_edit_changes_the_limits_of_what_runs() {
    if !in_lane("an_edit_changes_the_limits_of_what_runs") {
        return;
    }
    let ground = Ground::new("edits", ALL);
    ground.supervise();
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 50\nmemory_limit = 256"));
    let (live, cgroup) = ground.in_cgroup("job");

    // Up, with another limit added.
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 75\nmemory_limit = 512\ntasks_max = 7"));
    cgroup.await_value("cpu.max", "75000 100000");
    cgroup.await_value("memory.max", &(512 << 20).to_string());
    cgroup.await_value("pids.max", "7");
    let report = ground.await_event("job", "changed in place: constraints.cpu_quota 50% -> 75%");
    assert_in_force(&report, "cpu_quota", "75000 100000");
    assert_in_force(&report, "memory_limit", "536870912");

    // Down, the same limit in its other spelling.
    ground
        .put("job", &sleeper("[constraints]\ncpu_max = \"5000 20000\"\nmemory_limit = 64\ncpu_weight = 50"));
    cgroup.await_value("cpu.max", "5000 20000");
    cgroup.await_value("memory.max", &(64 << 20).to_string());
    cgroup.await_value("cpu.weight", "50");
    cgroup.await_value("pids.max", "max");

    // Each key gone: the kernel's defaults.
    ground.put("job", &sleeper(""));
    cgroup.await_value("cpu.max", "max 100000");
    cgroup.await_value("memory.max", "max");
    cgroup.await_value("cpu.weight", "100");
    let report = ground.await_event("job", "constraints.memory_limit 64MiB -> unset");
    assert_eq!(report["constraints"].as_array().map(Vec::len), Some(0), "{report:#}");
    ground.assert_untouched("job", &live);
    assert_eq!(cgroup.procs(), [live.pid()]);
}

#[test]
fn an_edit_of_a_profile_reaches_all_its_jobs() {
    if !in_lane("an_edit_of_a_profile_reaches_all_its_jobs") {
        return;
    }
    let ground = Ground::new("profile", ALL);
    ground.put_profile("shared", "[constraints]\ncpu_quota = 50\ncpu_weight = 80\n");
    ground.supervise();
    ground.put("one", &sleeper("profiles = [\"shared\"]"));
    ground.put("two", &sleeper("profiles = [\"shared\"]\n[constraints]\ncpu_weight = 20"));
    let jobs = [ground.in_cgroup("one"), ground.in_cgroup("two")];
    assert_eq!((jobs[0].1.read("cpu.weight"), jobs[1].1.read("cpu.weight")), ("80".into(), "20".into()));

    ground.put_profile("shared", "[constraints]\ncpu_quota = 20\ncpu_weight = 90\n");
    for (_, cgroup) in &jobs {
        cgroup.await_value("cpu.max", "20000 100000");
    }
    jobs[0].1.await_value("cpu.weight", "90");
    assert_eq!(jobs[1].1.read("cpu.weight"), "20", "its own value is above the profile's");

    ground.put_profile("shared", "");
    for (_, cgroup) in &jobs {
        cgroup.await_value("cpu.max", "max 100000");
    }
    jobs[0].1.await_value("cpu.weight", "100");
    ground.settle();
    ground.assert_untouched("one", &jobs[0].0);
    ground.assert_untouched("two", &jobs[1].0);
}

#[test]
fn a_limit_below_what_is_in_use_keeps_the_old_one_and_the_process() {
    if !in_lane("a_limit_below_what_is_in_use_keeps_the_old_one_and_the_process") {
        return;
    }
    let ground = Ground::new("below", ALL);
    ground.supervise();
    ground.put("job", &holder("128MiB"));
    let (live, cgroup) = ground.in_cgroup("job");
    ground.await_output("job", "held");

    ground.put("job", &holder("32MiB"));
    // On a slow machine the kernel tries for longer than the supervisor waits.
    let tried = |report: &Value| constraint(report, "memory_limit").to_string().contains("cannot give back");
    let report = ground.await_report("job", "the kernel's answer", tried);
    assert_not_in_force(&report, "memory_limit", "is below what the job uses and cannot give back");
    assert_not_in_force(&report, "memory_limit", "134217728 stays");
    assert_eq!(constraint(&report, "memory_limit")["actual"], "134217728");
    assert_eq!(cgroup.read("memory.max"), "134217728");
    assert_eq!(ground.said("memory_limit 32MiB is not in force"), 1, "{}", ground.log());
    assert_eq!(cgroup.count("memory.events", "oom"), 0);
    ground.assert_untouched("job", &live);

    ground.put("job", &holder("96MiB"));
    cgroup.await_value("memory.max", "100663296");
    let report = ground.await_event("job", "changed in place: constraints.memory_limit 32MiB -> 96MiB");
    assert_in_force(&report, "memory_limit", "100663296");
    ground.assert_untouched("job", &live);
}

#[test]
fn what_can_be_given_back_makes_room_for_a_lower_limit() {
    if !in_lane("what_can_be_given_back_makes_room_for_a_lower_limit") {
        return;
    }
    let ground = Ground::new("reclaim", ALL);
    ground.supervise();
    // What it uses is the cache of a file that it has read.
    let file = ground.large_file(384 << 20);
    let reader = |limit: &str| {
        let script = format!("exec <{}; cat >/dev/null; echo read; sleep 1000", file.path().display());
        shell(&format!("[constraints]\nmemory_limit = \"{limit}\""), &script)
    };
    ground.put("job", &reader("512MiB"));
    ground.put("other", &sleeper("[constraints]\ncpu_quota = 50"));
    let (live, cgroup) = ground.in_cgroup("job");
    let other = ground.in_cgroup("other").1;
    ground.await_output("job", "read");
    let current = || cgroup.read("memory.current").parse::<u64>().expect("bytes");
    assert!(current() > 384 << 20, "{}", current());

    // The same where it is asked for without a limit: it is slowed, and gives back.
    ground.put("job", &reader("512MiB\"\nmemory_high = \"128MiB"));
    cgroup.await_value("memory.high", &(128 << 20).to_string());
    await_true("it has given back", || current() <= 128 << 20);

    ground.put("job", &reader("16MiB"));
    ground.put("other", &sleeper("[constraints]\ncpu_quota = 20"));
    let other = other.await_value("cpu.max", "20000 100000");
    let rest = cgroup.await_value("memory.max", "16777216");
    println!("the other job was changed after {other:?}, and there was room {rest:?} later");
    assert!(current() <= 16 << 20, "{}", current());
    assert_eq!(cgroup.count("memory.events", "oom"), 0);
    ground.assert_untouched("job", &live);
}

#[test]
fn a_limit_that_somebody_changes_is_put_right_and_counted() {
    if !in_lane("a_limit_that_somebody_changes_is_put_right_and_counted") {
        return;
    }
    let ground = Ground::new("drift", ALL);
    ground.supervise();
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 50\nmemory_limit = 256\ntasks_max = 9"));
    let (live, cgroup) = ground.in_cgroup("job");
    ground.resync();
    ground.settle();
    assert_eq!(ground.report("job").expect("a report")["drift_corrected"], 0, "nothing has changed");

    cgroup.write("cpu.max", "max 100000");
    cgroup.write("pids.max", "500");
    ground.resync();
    cgroup.await_value("cpu.max", "50000 100000");
    cgroup.await_value("pids.max", "9");
    let report = ground.await_event("job", "changed by someone else; restored");
    let told = "cpu_quota was max 100000, not 50000 100000; tasks_max was 500, not 9";
    assert!(events(&report).iter().any(|event| event.ends_with(told)), "{report:#}");
    assert_eq!(report["drift_corrected"], 2);
    assert_in_force(&report, "cpu_quota", "50000 100000");

    cgroup.write("memory.max", "max");
    ground.resync();
    cgroup.await_value("memory.max", "268435456");
    ground.await_report("job", "three corrections", |report| report["drift_corrected"] == 3);
    ground.assert_untouched("job", &live);
}

#[test]
fn limits_of_a_cgroup_that_the_workload_was_moved_from_are_not_in_force() {
    if !in_lane("limits_of_a_cgroup_that_the_workload_was_moved_from_are_not_in_force") {
        return;
    }
    let ground = Ground::new("moved", ALL);
    ground.supervise();
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 50\nnice = 2"));
    let (live, cgroup) = ground.in_cgroup("job");
    let elsewhere = ground.slice.make("elsewhere");

    elsewhere.take_in(live.pid());
    ground.resync();
    let lost = |report: &Value| constraint(report, "cpu_quota")["applied"] == false;
    let report = ground.await_report("job", "that it is lost", lost);
    assert_not_in_force(&report, "cpu_quota", "the workload is not in its cgroup");
    assert_in_force(&report, "nice", "2");
    assert_eq!(report["drift_corrected"], 0, "nothing was put right: {report:#}");
    assert!(!events(&report).iter().any(|event| event.contains("put right")), "{report:#}");
    ground.resync();
    ground.settle();
    assert_eq!(
        ground.said("not in force any more: cpu_quota (the workload is not in its cgroup"),
        1,
        "told once: {}",
        ground.log()
    );

    cgroup.take_in(live.pid());
    ground.resync();
    let back = |report: &Value| constraint(report, "cpu_quota")["applied"] == true;
    let report = ground.await_report("job", "that it is in force again", back);
    assert!(events(&report).contains(&"in force now: cpu_quota"), "{report:#}");
    assert_in_force(&report, "cpu_quota", "50000 100000");
    ground.assert_untouched("job", &live);

    // Deeper in its own cgroup it is still held by it.
    cgroup.make("own").take_in(live.pid());
    ground.resync();
    ground.settle();
    assert_in_force(&ground.report("job").expect("a report"), "cpu_quota", "50000 100000");
}

/// A refusal may end by itself: the job uses less a while later.
#[test]
fn what_was_refused_is_tried_again() {
    if !in_lane("what_was_refused_is_tried_again") {
        return;
    }
    let ground = Ground::new("again", ALL);
    ground.supervise();
    let script = HOLDER.replace("sleep 1000", "$SIG{USR1} = sub { undef $held }; sleep 1000 while 1");
    let job = |limit: u32| {
        format!("[constraints]\nmemory_limit = {limit}\n[exec]\ncommand = [\"perl\", \"-e\", '{script}']\n")
    };
    ground.put("job", &job(128));
    let (live, cgroup) = ground.in_cgroup("job");
    ground.await_output("job", "held");
    ground.put("job", &job(32));
    ground.await_event("job", "constraints.memory_limit 128MiB -> 32MiB");
    let current = || cgroup.read("memory.current").parse::<u64>().expect("bytes");
    assert!(current() > 64 << 20);

    live.signal(ffrtmp::model::signal::Signal::from_number(libc::SIGUSR1).expect("a signal"));
    await_true("it has given the memory back", || current() < 16 << 20);
    ground.resync();
    cgroup.await_value("memory.max", "33554432");
    let in_force = |report: &Value| constraint(report, "memory_limit")["applied"] == true;
    let report = ground.await_report("job", "the limit in force", in_force);
    assert_eq!(report["drift_corrected"], 0, "nobody has changed anything");
    ground.assert_untouched("job", &live);
}
