//! An ordinary user's own supervisor, under the user's service manager.

use std::fs;
use std::path::Path;

use crate::machine::{
    Machine, UNIT, await_true, cgroup_of, content, disk, parent_of, status_of, systemctl, systemd_version,
};

/// What the user's service manager may hand down.
const DROP_IN: &str = "/usr/local/lib/systemd/system/user@.service.d/ffrtmp.conf";

/// A job that ends in an orderly way on SIGTERM.
fn channel(memory_mib: u32) -> String {
    let disk = disk();
    format!(
        r#"
lifecycle = "continuous"
[exec]
command = ["/bin/sh", "-c", "trap 'exit 42' TERM; while :; do sleep 1000 & wait; done"]
[constraints]
memory_limit = "{memory_mib}MiB"
tasks_max = 20
io_max = ["{disk} wbps=1048576"]
cpus = "0"
"#
    )
}

/// Has the user's service manager run with the drop-in or without. What changes it ends all of the user's.
fn log_in(with_drop_in: bool) {
    let manager = Path::new("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service");
    if content(&manager.join("cgroup.controllers")).split(' ').any(|one| one == "io") == with_drop_in {
        return;
    }
    let aside = Path::new(DROP_IN).with_extension("aside");
    if !with_drop_in {
        fs::rename(DROP_IN, &aside).expect("installed");
    } else if aside.exists() {
        fs::rename(&aside, DROP_IN).expect("put back");
    }
    systemctl(&["daemon-reload"]);
    systemctl(&["restart", "user@1000.service"]);
}

#[test]
fn an_ordinary_user_has_limits_without_root() {
    let Some(machine) = Machine::of_worker("an_ordinary_user_has_limits_without_root") else { return };

    // What systemd hands down by itself is in force, the rest is said.
    log_in(false);
    machine.systemctl(&["enable", UNIT]);
    machine.systemctl(&["start", UNIT]);
    machine.put("channel-7", &channel(32));
    let live = machine.running("channel-7");
    let job = machine.cgroup_of_job("channel-7");
    assert!(
        job.starts_with("/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service"),
        "{}",
        job.display()
    );
    for (constraint, file, value) in
        [("memory_limit", "memory.max", "33554432"), ("tasks_max", "pids.max", "20")]
    {
        machine.await_limit("channel-7", (constraint, file), value);
    }
    let report = machine.report("channel-7").expect("it runs");
    let writes = status_of(&report, "io_max").expect("asked for");
    let reason = writes["reason"].as_str().unwrap_or_default();
    assert_eq!(writes["applied"], false, "{report:#}");
    assert!(reason.contains("the io controller is not available in"), "{reason}");
    let cpus = status_of(&report, "cpus").expect("asked for");
    let version = systemd_version();
    assert_eq!(
        (&cpus["applied"], &cpus["backend"]),
        (&true.into(), &"process".into()),
        "{version}: {report:#}"
    );

    // With the drop-in all of it is, after the next login; the unit is enabled, so that starts it.
    log_in(true);
    let report = machine.await_ended("channel-7", &live.run);
    assert_eq!(report["exit_code"], 42, "the end of the user's manager is an orderly one: {report:#}");
    let live = machine.running_but("channel-7", Some(&live));
    let writes = format!("{} rbps=max wbps=1048576 riops=max wiops=max", disk());
    for (constraint, file, value) in [
        ("memory_limit", "memory.max", "33554432"),
        ("tasks_max", "pids.max", "20"),
        ("io_max", "io.max", &writes),
        ("cpus", "cpuset.cpus", "0"),
    ] {
        machine.await_limit("channel-7", (constraint, file), value);
    }
    let job = machine.cgroup_of_job("channel-7");
    assert_eq!(cgroup_of(live.process.pid), job);
    assert_eq!(
        content(&job.join("cgroup.procs")).lines().count(),
        2,
        "the shell and its child are alone there"
    );
    await_true("the wrapper has moved", || {
        cgroup_of(parent_of(live.process.pid)) == machine.delegated().join("wrappers")
    });

    let before = machine.supervisor();
    machine.systemctl(&["restart", UNIT]);
    machine.await_successor(&before);
    assert_eq!(machine.running("channel-7"), live);
    machine.put("channel-7", &channel(33));
    machine.await_limit("channel-7", ("memory_limit", "memory.max"), "34603008");
    assert_eq!(machine.running("channel-7"), live);
    let report = machine.report("channel-7").expect("it runs");
    assert_eq!(report["drift_corrected"], 0, "{report:#}");
    machine.systemctl(&["disable", UNIT]);
}
