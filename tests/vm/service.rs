//! `ffrtmp-sup.service`: started, restarted, killed, reloaded, stopped.

use ffrtmp::model::signal::Signal;

use crate::machine::{
    AS_WORKER, JOBS_UNIT, Machine, UNIT, await_true, property, run, send, systemctl, systemd_version,
};

/// A workload that one SIGTERM would end.
const CHANNEL: &str = "lifecycle = \"continuous\"\n[exec]\ncommand = [\"/bin/sleep\", \"100000\"]\n";

#[test]
fn the_units_are_well_formed() {
    let Some(_machine) = Machine::started("the_units_are_well_formed") else { return };
    let mut units = vec![UNIT];
    if systemd_version() < 254 {
        units.push(JOBS_UNIT);
    }
    let verify = ["systemd-analyze", "verify", "--man=no"];
    assert_eq!(run(&[verify.as_slice(), units.as_slice()].concat()), "");
    let verify = ["systemd-analyze", "verify", "--man=no", "--user"];
    assert_eq!(run(&[AS_WORKER, verify.as_slice(), units.as_slice()].concat()), "");
}

#[test]
fn workloads_survive_whatever_is_done_to_the_supervisor() {
    let Some(machine) = Machine::started("workloads_survive_whatever_is_done_to_the_supervisor") else {
        return;
    };
    machine.put("channel-7", CHANNEL);
    let live = machine.running("channel-7");
    await_true("the status tells of it", || property("StatusText") == "1 job running");
    let untouched = |what: &str| {
        assert!(live.lives(), "{what} ended the workload");
        assert_eq!(machine.running("channel-7"), live, "{what}");
        assert_eq!(property("StatusText"), "1 job running", "{what}");
    };

    let first = machine.supervisor();
    systemctl(&["restart", UNIT]);
    machine.await_successor(&first);
    untouched("restart");

    let second = machine.supervisor();
    send(&second, Signal::KILL);
    machine.await_successor(&second);
    untouched("SIGKILL");

    let third = machine.supervisor();
    systemctl(&["reload", UNIT]);
    systemctl(&["daemon-reload"]);
    systemctl(&["daemon-reexec"]);
    assert_eq!(machine.supervisor(), third, "neither of these starts another");
    untouched("reload, daemon-reload, daemon-reexec");

    systemctl(&["stop", UNIT]);
    assert!(live.lives(), "stop ended the workload");
    systemctl(&["start", UNIT]);
    untouched("stop and start");
}
