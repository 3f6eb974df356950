//! The machine is restarted: between these two tests, by `scripts/lane-vm`.

use std::fs;

use crate::machine::{Machine, UNIT, systemctl};

/// Survives the restart: which run there was.
const NOTE: &str = "/var/lib/ffrtmp-test-reboot";

/// Ends in an orderly way on SIGTERM, with this exit code.
const CHANNEL: &str = r#"
lifecycle = "continuous"
[exec]
command = ["/bin/sh", "-c", "trap 'exit 42' TERM; while :; do sleep 1000 & wait; done"]
[constraints]
memory_limit = "32MiB"
"#;

#[test]
fn before_it_a_job_runs() {
    let Some(machine) = Machine::started("before_it_a_job_runs") else { return };
    systemctl(&["enable", UNIT]);
    machine.put("channel-7", CHANNEL);
    let live = machine.running("channel-7");
    fs::write(NOTE, &live.run).expect("written");
    std::mem::forget(machine);
}

#[test]
fn after_it_its_end_is_known_and_it_runs_again() {
    let Some(machine) = Machine::stopped("after_it_its_end_is_known_and_it_runs_again") else { return };
    let before = fs::read_to_string(NOTE).expect("noted");
    let report = machine.await_ended("channel-7", &before);
    assert_eq!((&report["exit_code"], &report["state"]), (&42.into(), &"failed".into()), "{report:#}");
    assert_eq!(report["platform_sla"], true, "{report:#}");
    let live = machine.running("channel-7");
    assert_ne!(live.run, before);
    machine.await_limit("channel-7", ("memory_limit", "memory.max"), "33554432");
    assert_eq!(machine.property("ActiveState"), "active");
    systemctl(&["disable", UNIT]);
}
