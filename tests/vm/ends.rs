//! What ends workloads, and what does not: orderly shutdowns, a workload that runs out of memory.

use std::fs;
use std::path::Path;

use ffrtmp::linux::process;
use ffrtmp::model::process::Pid;
use ffrtmp::model::signal::Signal;

use crate::machine::{
    JOBS_UNIT, Machine, UNIT, await_some, await_true, cgroups_left, content, send, status_of, systemctl,
};

/// A workload that nothing ends but a signal.
const CHANNEL: &str = "lifecycle = \"continuous\"\n[exec]\ncommand = [\"/bin/sleep\", \"100000\"]\n\
    [constraints]\nmemory_limit = \"32MiB\"\n";

/// One that ends in an orderly way on SIGTERM, with this exit code.
const ORDERLY: &str = r#"
lifecycle = "continuous"
[exec]
command = ["/bin/sh", "-c", "trap 'exit 42' TERM; while :; do sleep 1000 & wait; done"]
"#;

/// Before 254 the jobs have a unit, whose end is theirs; since then there is `systemctl kill`, after which
/// the supervisor does what job files say.
#[test]
fn an_orderly_end_is_what_the_readme_says() {
    let Some(machine) = Machine::started("an_orderly_end_is_what_the_readme_says") else { return };
    machine.put("channel-7", ORDERLY);
    let live = machine.running("channel-7");
    if machine.has_jobs_unit() {
        systemctl(&["stop", JOBS_UNIT]);
        assert!(!live.lives());
        assert_eq!(machine.property("ActiveState"), "inactive", "it would start them again");
        assert_eq!(machine.property_of(JOBS_UNIT, "Result"), "success");
        await_true("no cgroup is left", || cgroups_left().is_empty());
        systemctl(&["start", UNIT]);
    } else {
        let before = machine.supervisor();
        systemctl(&["kill", UNIT]);
        machine.await_successor(&before);
    }
    let report = machine.await_ended("channel-7", &live.run);
    assert_eq!((&report["exit_code"], &report["state"]), (&42.into(), &"failed".into()), "{report:#}");
    let next = machine.running_but("channel-7", Some(&live));
    assert_eq!(machine.report("channel-7").expect("it runs")["restarts"], 1);
    assert_eq!(content(&machine.cgroup_of_job("channel-7").join("cgroup.procs")).lines().count(), 2);
    assert!(next.lives());
}

#[test]
fn a_workload_that_runs_out_of_memory_ends_nothing_else() {
    let Some(machine) = Machine::started("a_workload_that_runs_out_of_memory_ends_nothing_else") else {
        return;
    };
    machine.put("channel-7", CHANNEL);
    let live = machine.running("channel-7");
    let before = machine.supervisor();
    machine.put(
        "hog",
        "lifecycle = \"oneshot\"\n[exec]\ncommand = [\"/bin/sh\", \"-c\", \"sleep 1000 & tail /dev/zero\"]\n\
         [constraints]\nmemory_limit = \"24MiB\"\nmemory_swap = 0\n",
    );
    let report = machine.await_report("hog", "its end", |report| !report["exit_reason"].is_null());
    assert_eq!((&report["exit_reason"], &report["signal"]), (&"oom".into(), &"SIGKILL".into()), "{report:#}");
    assert_eq!(report["platform_sla"], true, "its own limit: {report:#}");
    await_true("all of it is gone", || !machine.cgroup_of_job("hog").exists());
    assert_eq!(machine.running("channel-7"), live);
    assert_eq!(machine.supervisor(), before);
    for unit in if machine.has_jobs_unit() { [UNIT, JOBS_UNIT].as_slice() } else { &[UNIT] } {
        assert_eq!(machine.property_of(unit, "ActiveState"), "active");
        assert_eq!(machine.property_of(unit, "NRestarts"), "0");
    }
    assert_eq!(machine.property("StatusText"), "1 job running");
}

/// The process that keeps the jobs' unit alive is nobody's: with a job there, the job keeps it; without, the
/// unit is started again.
#[test]
fn the_process_that_holds_the_cgroup_may_be_lost() {
    let Some(machine) = Machine::started("the_process_that_holds_the_cgroup_may_be_lost") else { return };
    if !machine.has_jobs_unit() {
        println!("SKIPPED the_process_that_holds_the_cgroup_may_be_lost: there is none since systemd 254");
        return;
    }
    let holder = || {
        let folder = machine.property_of(JOBS_UNIT, "ControlGroup");
        let path =
            Path::new("/sys/fs/cgroup").join(folder.trim_start_matches('/')).join("holder/cgroup.procs");
        let pid = fs::read_to_string(path).ok()?.lines().next()?.parse().ok().and_then(Pid::new)?;
        process::identify(pid).expect("proc")
    };
    let limits = |what: &str| {
        machine.put("channel-7", CHANNEL);
        let live = machine.running("channel-7");
        let report = machine.report("channel-7").expect("it runs");
        let status = status_of(&report, "memory_limit").expect("asked for");
        assert_eq!(status["applied"], true, "{what}: {status:#}");
        assert_eq!(content(&machine.cgroup_of_job("channel-7").join("memory.max")), "33554432", "{what}");
        live
    };
    let live = limits("at first");
    let first = holder().expect("it holds");
    send(&first, Signal::KILL);
    await_true("it is gone", || holder().is_none());
    assert!(live.lives());
    let before = machine.supervisor();
    systemctl(&["restart", UNIT]);
    machine.await_successor(&before);
    assert_eq!(machine.running("channel-7"), live);
    assert_eq!(machine.property_of(JOBS_UNIT, "ActiveState"), "active");

    // The last job goes, and with it what kept the unit alive.
    fs::remove_file(machine.file("channel-7")).expect("removed");
    await_true("it is stopped", || !live.lives());
    let second = await_some("another one holds", &holder);
    assert_ne!(second, first);
    await_true("both units are up", || {
        [UNIT, JOBS_UNIT].iter().all(|unit| machine.property_of(unit, "ActiveState") == "active")
    });
    let live = limits("after it was started again");
    assert_eq!(
        machine.cgroup_of_unit(JOBS_UNIT).join("jobs/channel-7"),
        crate::machine::cgroup_of(live.process.pid)
    );
}
