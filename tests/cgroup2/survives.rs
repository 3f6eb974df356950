//! Limits outlive the programs that set them.

use ffrtmp::model::signal::Signal;

use super::ground::{ALL, Ground, assert_in_force, cgroup_of, in_lane};
use crate::harness::{await_true, send, shell, sleeper};

#[test]
fn limits_hold_while_the_supervisor_is_dead_and_are_governed_by_the_next() {
    if !in_lane("limits_hold_while_the_supervisor_is_dead_and_are_governed_by_the_next") {
        return;
    }
    let ground = Ground::new("killed", ALL);
    ground.supervise();
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 50\nmemory_limit = 256"));
    let (live, cgroup) = ground.in_cgroup("job");
    let unchanged = || {
        assert_eq!(
            (cgroup.read("cpu.max"), cgroup.read("memory.max")),
            ("50000 100000".into(), "268435456".into())
        );
        assert_eq!(cgroup.procs(), [live.pid()]);
    };
    for _ in 0..2 {
        ground.kill();
        unchanged();
        ground.supervise();
        ground.settle();
        unchanged();
        ground.assert_untouched("job", &live);
    }
    // A new version in the same process finds itself apart from the jobs, where the one before moved.
    let (begun, own) = (ground.said("supervising, pid"), cgroup_of(ground.supervisor_pid()));
    ground.signal_supervisor(Signal::from_number(libc::SIGUSR2).expect("a signal"));
    await_true("the next program supervises", || ground.said("supervising, pid") > begun);
    ground.settle();
    unchanged();
    ground.assert_untouched("job", &live);
    assert_eq!(cgroup_of(ground.supervisor_pid()), own);
    assert_eq!(ground.report("job").expect("a report")["drift_corrected"], 0);

    // Edited while nobody looked.
    ground.kill();
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 20"));
    ground.supervise();
    cgroup.await_value("cpu.max", "20000 100000");
    cgroup.await_value("memory.max", "max");
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 30\ntasks_max = 9"));
    cgroup.await_value("pids.max", "9");
    let report = ground.await_event("job", "constraints.cpu_quota 20% -> 30%");
    assert_in_force(&report, "cpu_quota", "30000 100000");
    ground.assert_untouched("job", &live);
}

#[test]
fn limits_outlive_the_wrapper_and_the_cgroup_does_not_outlive_the_run() {
    if !in_lane("limits_outlive_the_wrapper_and_the_cgroup_does_not_outlive_the_run") {
        return;
    }
    let ground = Ground::new("wrapperless", ALL);
    ground.supervise();
    // Its child would be nobody's to end: another session, and no wrapper to come to.
    let job = |quota: u32| {
        let keys = format!("[constraints]\ncpu_quota = {quota}\n[stop]\ntimeout = \"300ms\"");
        shell(&keys, "setsid sleep 1000 & echo ready; wait")
    };
    ground.put("job", &job(50));
    let (live, cgroup) = ground.in_cgroup("job");
    ground.await_output("job", "ready");
    send(&ground.wrapper("job", &live), Signal::KILL);
    ground.await_event("job", "the wrapper was lost");
    assert_eq!(cgroup.read("cpu.max"), "50000 100000");
    ground.put("job", &job(20));
    cgroup.await_value("cpu.max", "20000 100000");
    ground.assert_untouched("job", &live);

    // The next supervisor, too.
    ground.kill();
    ground.supervise();
    ground.put("job", &job(40));
    cgroup.await_value("cpu.max", "40000 100000");
    assert_eq!(cgroup.procs().len(), 2);
    live.signal(Signal::KILL);
    ground.ended("job");
    await_true("its cgroup is gone", || !cgroup.exists());
}

/// The state folder is deleted while its job runs, and supervisor and wrapper are killed: the next supervisor
/// starts nothing beside it, and its limits are governed again.
#[test]
fn a_job_without_records_is_adopted_in_its_cgroup_with_its_limits() {
    if !in_lane("a_job_without_records_is_adopted_in_its_cgroup_with_its_limits") {
        return;
    }
    let ground = Ground::new("orphan", ALL);
    ground.supervise();
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 50\nmemory_limit = 256"));
    let (live, cgroup) = ground.in_cgroup("job");
    let wrapper = ground.wrapper("job", &live);
    ground.kill();
    send(&wrapper, Signal::KILL);
    std::fs::remove_dir_all(ground.path("state")).expect("removed");
    ground.supervise();
    let report = ground.await_event("job", "adopted: it was running without records");
    assert_eq!((&report["pid"], &report["run_id"]), (&live.pid().into(), &live.run.as_str().into()));
    assert_in_force(&report, "cpu_quota", "50000 100000");
    ground.settle();
    assert_eq!(cgroup.procs(), [live.pid()], "no second one");
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 20\nmemory_limit = 256"));
    cgroup.await_value("cpu.max", "20000 100000");
    live.signal(Signal::KILL);
    // Nobody was its parent any more: this kernel may have told its signal, and if not, nothing is invented.
    let report = ground.ended("job");
    assert_eq!(
        (&report["run_id"], &report["exit_code"]),
        (&live.run.as_str().into(), &serde_json::Value::Null)
    );
    assert!(["signal", "unknown"].contains(&report["exit_reason"].as_str().expect("a reason")), "{report:#}");
}
