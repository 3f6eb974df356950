//! Hosts that offer less: what is not in force is told, with the reason, and never takes the rest along.

use std::fs::{self, File};

use super::ground::{ALL, Ground, assert_in_force, assert_not_in_force, cgroup_of, constraint, in_lane};
use crate::harness::{await_some, oom_score_adj, sleeper};

/// The user `nobody`.
const NOBODY: u32 = 65534;

#[test]
fn each_limit_depends_on_its_own_controller_only() {
    if !in_lane("each_limit_depends_on_its_own_controller_only") {
        return;
    }
    let ground = Ground::new("half", &["cpu", "pids"]);
    ground.supervise();
    assert_eq!(ground.said("limits are kept by cgroup-v2: cpu pids"), 1, "{}", ground.log());
    let limits =
        "[constraints]\ncpu_quota = 50\nmemory_limit = 64\ntasks_max = 9\nio_weight = 75\ncpus = \"0\"";
    ground.put("job", &sleeper(limits));
    let (live, cgroup) = ground.in_cgroup("job");
    let report = ground.report("job").expect("a report");
    assert_in_force(&report, "cpu_quota", "50000 100000");
    assert_in_force(&report, "tasks_max", "9");
    assert_eq!((cgroup.read("cpu.max"), cgroup.read("pids.max")), ("50000 100000".into(), "9".into()));
    assert_not_in_force(&report, "memory_limit", "the memory controller is not available");
    assert_not_in_force(&report, "memory_limit", "(there: cpu pids)");
    assert_not_in_force(&report, "io_weight", "the io controller is not available");
    assert_eq!(ground.said("memory_limit 64MiB is not in force"), 1, "{}", ground.log());

    ground.put("job", &sleeper(&limits.replace("= 50", "= 20").replace("= 64", "= 32")));
    cgroup.await_value("cpu.max", "20000 100000");
    let report = ground.await_event("job", "constraints.memory_limit 64MiB -> 32MiB");
    assert_in_force(&report, "cpu_quota", "20000 100000");
    assert_not_in_force(&report, "memory_limit", "the memory controller is not available");
    ground.assert_untouched("job", &live);
}

#[test]
fn a_strict_job_starts_with_all_its_limits_or_not_at_all() {
    if !in_lane("a_strict_job_starts_with_all_its_limits_or_not_at_all") {
        return;
    }
    let ground = Ground::new("strict", &["cpu", "pids"]);
    ground.supervise();
    let strict = |limits: &str| {
        format!(
            "[constraints]\nstrict = true\n{limits}\n[exec]\ncommand = [\"sh\", \"-c\", 'echo ran; sleep 1000']\n"
        )
    };
    ground.put("can", &strict("cpu_quota = 50\ntasks_max = 9"));
    ground.put("cannot", &strict("cpu_quota = 50\nmemory_limit = 64"));
    let report = ground.ended("cannot");
    assert_eq!((&report["state"], &report["platform_sla"]), (&"failed".into(), &false.into()), "{report:#}");
    let message = report["events"].to_string();
    for text in ["strict", "memory_limit", "the memory controller is not available"] {
        assert!(message.contains(text), "{text}: {message}");
    }
    assert_eq!(ground.output("cannot"), "", "not one instruction of it ran");
    assert!(!ground.job("cannot").exists());

    ground.in_cgroup("can");
    ground.await_output("can", "ran");
    assert_in_force(&ground.report("can").expect("a report"), "cpu_quota", "50000 100000");
}

#[test]
fn without_any_permission_jobs_run_and_the_report_tells_what_does_not_hold() {
    if !in_lane("without_any_permission_jobs_run_and_the_report_tells_what_does_not_hold") {
        return;
    }
    let ground = Ground::new("nobody", ALL);
    ground.supervise_as(NOBODY);
    let limits = "[constraints]\ncpu_quota = 50\nmemory_limit = 64\nnice = 5\noom_score_adj = 300";
    ground.put("one", &sleeper(limits));
    ground.put("two", &sleeper("[constraints]\ncpu_weight = 50"));
    let (one, two) = (ground.running("one"), ground.running("two"));
    assert_eq!(cgroup_of(one.pid()), "/nobody.slice/ffrtmp.service/supervisor");
    let denied = "Cannot create cgroup (permission denied)";
    let report = ground.report("one").expect("a report");
    assert_not_in_force(&report, "cpu_quota", denied);
    assert_not_in_force(&report, "memory_limit", denied);
    assert_eq!(constraint(&report, "cpu_quota")["backend"], "none");
    assert_not_in_force(&ground.report("two").expect("a report"), "cpu_weight", denied);
    assert_in_force(&report, "nice", "5");
    assert_eq!(oom_score_adj(one.pid()), 300);
    ground.settle();
    assert_eq!(ground.said(denied), 1, "once, not for each job: {}", ground.log());

    ground.put("one", &sleeper(&limits.replace("= 50", "= 20")));
    let report = ground.await_event("one", "constraints.cpu_quota 50% -> 20%");
    assert_not_in_force(&report, "cpu_quota", denied);
    assert_eq!(ground.said(denied), 1, "{}", ground.log());
    ground.assert_untouched("one", &one);
    ground.assert_untouched("two", &two);
    assert_eq!(
        fs::read_dir(ground.unit.file(""))
            .expect("there")
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .count(),
        1,
        "supervisor/ and nothing else"
    );
}

#[test]
fn a_mechanism_asked_for_by_name_is_used_or_the_supervisor_does_not_begin() {
    if !in_lane("a_mechanism_asked_for_by_name_is_used_or_the_supervisor_does_not_begin") {
        return;
    }
    let ground = Ground::new("forced", ALL);
    let settings = |backend: &str| {
        fs::write(ground.path("supervisor.toml"), format!("[cgroup]\nbackend = \"{backend}\"\n"))
            .expect("written");
    };
    settings("cgroup-v1");
    let log = ground.path("refused.log");
    let mut refused = ground.command(&["supervise"]);
    let mut refused = refused.stderr(File::create(&log).expect("made")).spawn().expect("it starts");
    let code = await_some("it ends", || refused.try_wait().expect("our child")).code();
    let text = fs::read_to_string(log).expect("text");
    assert_eq!(code, Some(2), "{text}");
    for part in ["backend = \"cgroup-v1\"", "\"auto\" takes what there is"] {
        assert!(text.contains(part), "{part}: {text}");
    }

    settings("none");
    ground.supervise();
    ground.put("job", &sleeper("[constraints]\ncpu_quota = 50\nnice = 3"));
    let live = ground.running("job");
    assert_eq!(cgroup_of(live.pid()), "/forced.slice/ffrtmp.service/supervisor");
    let report = ground.report("job").expect("a report");
    assert_not_in_force(&report, "cpu_quota", "[cgroup] backend = \"none\"");
    assert_in_force(&report, "nice", "3");
    ground.term();

    // A run keeps what it was started with; what starts from now on has a cgroup.
    settings("cgroup-v2");
    ground.supervise();
    ground.put("next", &sleeper("[constraints]\ncpu_quota = 50"));
    ground.in_cgroup("next");
    assert_in_force(&ground.report("next").expect("a report"), "cpu_quota", "50000 100000");
    assert_eq!(ground.running("job"), live);
    assert_not_in_force(&ground.report("job").expect("a report"), "cpu_quota", "");
}
