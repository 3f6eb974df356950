//! Job files, the supervisor, and what the kernel then does.

use std::fs;
use std::process::Command;
use std::time::Duration;

use ffrtmp::linux::cgroup;
use ffrtmp::model::signal::Signal;
use serde_json::Value;

use super::cpu::{Counted, assert_ratio};
use super::ground::{Supervised, a_disk_weighs, disk, is_here};
use crate::harness::{Live, await_true, events, identify, lives, sleeper};

/// A transcoder that takes all the CPU it can get.
fn transcoder(constraints: &str) -> String {
    let source = "testsrc2=size=640x360:rate=30";
    format!(
        "[exec]\ncommand = [\"ffmpeg\", \"-nostdin\", \"-loglevel\", \"error\", \"-f\", \"lavfi\", \"-i\", \
         \"{source}\", \"-c:v\", \"mpeg4\", \"-threads\", \"2\", \"-f\", \"null\", \"-\"]\n\
         [constraints]\n{constraints}\n"
    )
}

fn perl(keys: &str, script: &str, constraints: &str) -> String {
    format!(
        "{keys}\n[exec]\ncommand = [\"/usr/bin/perl\", \"-e\", '''$| = 1; {script}''']\n[constraints]\n{constraints}\n"
    )
}

fn status_of<'a>(report: &'a Value, name: &str) -> &'a Value {
    let list = report["constraints"].as_array().expect("a list");
    list.iter().find(|status| status["name"] == name).unwrap_or(&Value::Null)
}

/// Waits until a constraint is in force with this value.
fn await_actual(site: &Supervised, job: &str, name: &str, actual: &str) -> Value {
    let fits = |report: &Value| {
        let status = status_of(report, name);
        status["applied"] == true && status["actual"] == actual && status["backend"] == "cgroup-v1"
    };
    site.await_report(job, &format!("{name} is {actual}"), fits)
}

#[test]
fn a_transcoder_is_held_to_half_a_core_and_let_go_again() {
    let test = "a_transcoder_is_held_to_half_a_core_and_let_go_again";
    if !is_here(test) {
        return;
    }
    if !Command::new("ffmpeg").arg("-version").output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED cgroup1: {test}: no ffmpeg here");
        return;
    }
    let site = Supervised::new();
    site.put("held", &transcoder("cpu_quota = 50"));
    let live = site.running("held");
    await_actual(&site, "held", "cpu_quota", "50000 100000");
    let job = site.cgroup("held", &live);
    job.put_first();
    job.assert_held_to(55.0, Duration::from_secs(4));
    site.put("held", &transcoder("cpu_quota = 20"));
    await_actual(&site, "held", "cpu_quota", "20000 100000");
    job.assert_held_to(25.0, Duration::from_secs(2));
    site.put("held", &transcoder(""));
    await_true("the quota is gone", || job.read("cpu.cfs_quota_us") == "-1");
    job.assert_not_held();
    site.assert_untouched("held", &live);
}

#[test]
fn cpu_time_is_shared_as_the_weights_say() {
    if !is_here("cpu_time_is_shared_as_the_weights_say") {
        return;
    }
    let site = Supervised::new();
    let weights = [("four", 200), ("two", 100), ("one", 50)];
    for (name, weight) in weights {
        site.put(name, &perl("", "1 while 1", &format!("cpu_weight = {weight}\ncpus = \"0\"")));
    }
    let jobs = weights.map(|(name, _)| site.cgroup(name, &site.running(name)));
    jobs.iter().for_each(|job| job.await_use(Duration::from_millis(100)));
    assert_ratio(&jobs.each_ref(), &[4.0, 2.0, 1.0], 0.25);
}

#[test]
fn a_memory_hog_is_ended_by_its_own_limit() {
    if !is_here("a_memory_hog_is_ended_by_its_own_limit") {
        return;
    }
    let site = Supervised::new();
    let script = "print qq(begun\\n); push @x, 'x' x (1 << 20) while 1";
    let keys = "lifecycle = \"oneshot\"";
    site.put("hog", &perl(keys, script, "memory_limit = \"64MiB\"\nmemory_swap = 0"));
    let report = site.await_report("hog", "its end", |report| !report["ended_at"].is_null());
    assert_eq!((&report["signal"], &report["exit_reason"]), (&"SIGKILL".into(), &"oom".into()), "{report:#}");
    assert_eq!(report["platform_sla"], true, "{report:#}");
    assert_eq!(site.output("hog"), "begun\n");
    assert_eq!(status_of(&report, "memory_limit")["actual"], (64 << 20).to_string());
    assert_eq!(status_of(&report, "memory_swap")["actual"], format!("{} with memory", 64 << 20));
}

#[test]
fn a_memory_limit_below_what_is_in_use_keeps_the_old_one() {
    if !is_here("a_memory_limit_below_what_is_in_use_keeps_the_old_one") {
        return;
    }
    let site = Supervised::new();
    let holder = |limit: &str| {
        let script = "$x = 'x' x (60 << 20); print qq(held\\n); sleep 1000";
        perl("", script, &format!("memory_limit = \"{limit}\""))
    };
    site.put("holder", &holder("256MiB"));
    let live = site.running("holder");
    site.await_output("holder", "held");
    site.put("holder", &holder("16MiB"));
    // On a busy machine it may first be told that the kernel is still at it.
    let refused = |report: &Value| {
        let reason = &status_of(report, "memory_limit")["reason"];
        reason.as_str().is_some_and(|reason| reason.contains("below what the job uses"))
    };
    let report = site.await_report("holder", "a refusal", refused);
    assert_eq!(status_of(&report, "memory_limit")["applied"], false);
    assert_eq!(status_of(&report, "memory_limit")["actual"], (256 << 20).to_string());
    site.put("holder", &holder("512MiB"));
    await_actual(&site, "holder", "memory_limit", &(512 << 20).to_string());
    site.assert_untouched("holder", &live);
}

#[test]
fn tasks_max_is_where_forks_end_and_moves_with_an_edit() {
    if !is_here("tasks_max_is_where_forks_end_and_moves_with_an_edit") {
        return;
    }
    let site = Supervised::new();
    let forks = |max: u32| {
        let script = "sub f { while (defined($p = fork)) { if (!$p) { sleep 1000; exit } $n++ } print qq($n forks\\n) } \
                      $SIG{USR1} = \\&f; f(); sleep 1000 while 1";
        perl("", script, &format!("tasks_max = {max}"))
    };
    site.put("forks", &forks(8));
    let live = site.running("forks");
    site.await_output("forks", "7 forks\n");
    site.put("forks", &forks(12));
    await_actual(&site, "forks", "tasks_max", "12");
    live.signal(Signal::from_number(libc::SIGUSR1).expect("a signal"));
    site.await_output("forks", "11 forks\n");
    // Fewer than there are: nobody is ended, and nobody is added.
    site.put("forks", &forks(4));
    await_actual(&site, "forks", "tasks_max", "4");
    let job = site.cgroup("forks", &live);
    assert_eq!(job.number("pids.current"), 12);
    site.assert_untouched("forks", &live);
}

#[test]
fn every_limit_changes_in_the_running_workload_and_goes_with_its_key() {
    if !is_here("every_limit_changes_in_the_running_workload_and_goes_with_its_key") {
        return;
    }
    let site = Supervised::new();
    let disk = disk().expect("a disk");
    let first = format!(
        "cpu_quota = 150\ncpu_weight = 20\nmemory_limit = \"100MiB\"\nmemory_swap = \"50MiB\"\nio_weight = 10\n\
         io_max = [\"{disk} rbps=1048576\"]\ntasks_max = 50\ncpus = \"0\"\n"
    );
    let second = format!(
        "cpu_max = \"20000 50000\"\ncpu_weight = 400\nmemory_limit = \"300MiB\"\nmemory_swap = 0\nio_weight = 90\n\
         io_max = [\"{disk} wbps=2097152\"]\ntasks_max = 60\n"
    );
    let job_file = |constraints: &str| format!("{}[constraints]\n{constraints}", sleeper(""));
    let all_applied = |count: usize| {
        move |report: &Value| {
            let list = report["constraints"].as_array().expect("a list");
            let applied =
                |status: &Value| status["applied"] == (status["name"] != "io_weight" || a_disk_weighs());
            list.len() == count && list.iter().all(applied)
        }
    };
    site.put("plain", &sleeper(""));
    site.put("tuned", &job_file(&first));
    let live = site.running("tuned");
    site.await_report("tuned", "8 constraints in force", all_applied(8));
    let job = site.cgroup("tuned", &live);
    // Before its first instruction: what the wrapper recorded then.
    let started = site.record("tuned", &live, "started.json");
    assert!(all_applied(8)(&started), "{started:#}");
    assert_eq!((job.number("cpu.cfs_quota_us"), job.number("cpu.shares")), (150_000, 204));
    site.put("tuned", &job_file(&second));
    site.await_report("tuned", "7 constraints in force", |report| {
        all_applied(7)(report) && status_of(report, "cpu_max")["actual"] == "20000 50000"
    });
    assert_eq!(job.number("memory.memsw.limit_in_bytes"), 300 << 20);
    assert_eq!(job.read("blkio.throttle.read_bps_device"), "");
    assert_eq!(job.read("blkio.throttle.write_bps_device"), format!("{disk} 2097152"));
    site.put("tuned", &job_file(&first));
    site.await_report("tuned", "8 constraints in force", all_applied(8));
    site.put("tuned", &sleeper(""));
    site.await_report("tuned", "none", all_applied(0));
    let plain = site.cgroup("plain", &site.running("plain"));
    assert_eq!(job.limits(), plain.limits());
    site.assert_untouched("tuned", &live);
}

#[test]
fn the_stop_of_a_workload_that_forks_and_hides_leaves_nothing() {
    if !is_here("the_stop_of_a_workload_that_forks_and_hides_leaves_nothing") {
        return;
    }
    let site = Supervised::new();
    // Some in sessions of their own, all deaf to SIGTERM, and new ones all the time.
    let script = "$SIG{TERM} = $SIG{HUP} = 'IGNORE'; use POSIX; for (1..5) { if (!fork) { setsid; \
                  if (!fork) { print qq(hidden $$\\n); while (1) { fork; select undef, undef, undef, 0.05 } } exit } } \
                  sleep 1000 while 1";
    let keys = "[stop]\ntimeout = \"200ms\"";
    site.put("forks", &perl(keys, script, "tasks_max = 200"));
    let live = site.running("forks");
    let job = site.cgroup("forks", &live);
    await_true("there are many", || job.number("pids.current") > 60);
    let all: Vec<_> = cgroup::procs(&job.cgroup).expect("read").into_iter().collect();
    let all: Vec<_> = all.into_iter().filter_map(|pid| identify(pid.as_raw().unsigned_abs())).collect();
    site.remove("forks");
    live.await_end();
    await_true("everybody is gone", || !all.iter().any(lives));
    await_true("its cgroups are gone", || !job.path("pids.max").exists() && !job.path("cpu.shares").exists());
    assert_eq!(site.said("something is left"), 0, "{}", site.log());
}

#[test]
fn limits_and_cgroup_outlive_the_supervisor() {
    if !is_here("limits_and_cgroup_outlive_the_supervisor") {
        return;
    }
    let site = Supervised::new();
    let file = |quota: u32, tasks: u32| {
        let sleeper = sleeper("lifecycle = \"continuous\"");
        format!("{sleeper}[constraints]\ncpu_quota = {quota}\ntasks_max = {tasks}\n")
    };
    site.put("stays", &file(50, 40));
    let live = site.running("stays");
    let job = site.cgroup("stays", &live);
    for (round, quota) in [60, 70].into_iter().enumerate() {
        if round == 0 {
            site.kill()
        } else {
            site.term()
        }
        let process = identify(live.pid()).expect("it lives");
        assert!(cgroup::holds(&job.cgroup, &process).expect("read"));
        assert_eq!(job.number("pids.max"), 40);
        // Edited, and meddled with, while nobody looks.
        site.put("stays", &file(quota, 40));
        fs::write(job.path("pids.max"), "max").expect("written");
        site.start();
        await_actual(&site, "stays", "cpu_quota", &format!("{}000 100000", quota));
        await_true("tasks_max is put right", || job.read("pids.max") == "40");
        let now = site.running("stays");
        assert_eq!((&now, &site.cgroup("stays", &now).cgroup), (&live, &job.cgroup));
    }
    // The next run finds nothing of this one.
    live.signal(Signal::KILL);
    let next: Live = site.running_anew("stays", &live);
    assert_eq!(site.cgroup("stays", &next).number("cpu.cfs_quota_us"), 70_000);
    let report = site.report("stays").expect("a report");
    assert!(!events(&report).iter().any(|event| event.contains("left")), "{report:#}");
}
