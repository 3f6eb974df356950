//! `ffrtmp-sup.service`: well-formed, ready when the plan was executed, reloaded.

use std::fs;
use std::os::unix::fs::symlink;

use crate::machine::{AS_WORKER, JOBS_UNIT, Machine, UNIT, content, run, systemctl};

const CHANNEL: &str = "lifecycle = \"continuous\"\n[exec]\ncommand = [\"/bin/sleep\", \"100000\"]\n";

#[test]
fn the_units_are_well_formed() {
    let Some(machine) = Machine::stopped("the_units_are_well_formed") else { return };
    let units = if machine.has_jobs_unit() { [UNIT, JOBS_UNIT].as_slice() } else { &[UNIT] };
    assert_eq!(run(&[&["systemd-analyze", "verify", "--man=no"], units].concat()), "");
    assert_eq!(
        run(&[AS_WORKER, &["systemd-analyze", "verify", "--man=no", "--user", UNIT, JOBS_UNIT]].concat()),
        ""
    );
}

#[test]
fn the_service_is_ready_when_the_plan_was_executed() {
    let Some(machine) = Machine::stopped("the_service_is_ready_when_the_plan_was_executed") else { return };
    let jobs: Vec<String> = (0..20).map(|number| format!("channel-{number}")).collect();
    for job in &jobs {
        machine.put(job, CHANNEL);
    }
    systemctl(&["start", UNIT]);
    // At once, and nothing is waited for.
    for job in &jobs {
        let runs = machine.layout().runs().join(job);
        assert_eq!(fs::read_dir(runs).map(Iterator::count).ok(), Some(1), "{job} was not started");
    }
}

/// An edit that no event tells of: behind a symbolic link, in a folder that is not watched.
#[test]
fn a_reload_takes_up_what_no_event_told() {
    let Some(machine) = Machine::started("a_reload_takes_up_what_no_event_told") else { return };
    let target = "/etc/ffrtmp/channel-7.elsewhere";
    let limited = |mib: u64| format!("{CHANNEL}[constraints]\nmemory_limit = \"{mib}MiB\"\n");
    fs::write(target, limited(32)).expect("written");
    symlink(target, machine.file("channel-7")).expect("linked");
    let live = machine.running("channel-7");
    let limit = machine.cgroup_of_job("channel-7").join("memory.max");
    assert_eq!(content(&limit), "33554432");
    fs::write(target, limited(64)).expect("written");
    systemctl(&["reload", UNIT]);
    if !machine.has_jobs_unit() {
        // Type=notify-reload: the command has waited for it.
        assert_eq!(content(&limit), "67108864");
    }
    machine.await_limit("channel-7", ("memory_limit", "memory.max"), "67108864");
    assert_eq!(machine.running("channel-7"), live);
    fs::remove_file(target).expect("removed");
}
