//! Limits under the installed units: where they are, and that nothing that is done to the supervisor touches
//! them.

use std::fs;
use std::path::Path;

use ffrtmp::model::signal::Signal;

use crate::machine::{
    JOBS_UNIT, Live, Machine, UNIT, await_true, cgroup_of, content, disk, lives, output, parent_of, send,
    status_of, systemctl,
};

/// A job that asks for one of each, and its limits as the kernel has them.
fn limited(memory_mib: u64) -> String {
    let disk = disk();
    format!(
        r#"
lifecycle = "continuous"
[exec]
command = ["/bin/sleep", "100000"]
[constraints]
cpu_quota = 50
cpu_weight = 200
memory_limit = "{memory_mib}MiB"
memory_high = "16MiB"
memory_swap = 0
io_max = ["{disk} wbps=1048576"]
tasks_max = 20
cpus = "0"
nice = 3
oom_score_adj = -100
io_class = "best-effort:6"
"#
    )
}

fn in_the_kernel() -> Vec<(&'static str, &'static str, String)> {
    vec![
        ("cpu_quota", "cpu.max", "50000 100000".into()),
        ("cpu_weight", "cpu.weight", "200".into()),
        ("memory_limit", "memory.max", "33554432".into()),
        ("memory_high", "memory.high", "16777216".into()),
        ("memory_swap", "memory.swap.max", "0".into()),
        ("io_max", "io.max", format!("{} rbps=max wbps=1048576 riops=max wiops=max", disk())),
        ("tasks_max", "pids.max", "20".into()),
        ("cpus", "cpuset.cpus", "0".into()),
    ]
}

const MEMORY: (&str, &str) = ("memory_limit", "memory.max");

fn bytes(mib: u64) -> String {
    (mib << 20).to_string()
}

#[test]
fn every_limit_is_in_the_kernel_and_each_process_in_its_place() {
    let Some(machine) = Machine::started("every_limit_is_in_the_kernel_and_each_process_in_its_place") else {
        return;
    };
    machine.put("channel-7", &limited(32));
    let live = machine.running("channel-7");
    let report = machine.report("channel-7").expect("it runs");
    let job = machine.cgroup_of_job("channel-7");
    let limits = in_the_kernel();
    for (name, file, value) in &limits {
        let status = status_of(&report, name).unwrap_or_else(|| panic!("{name} is not in {report:#}"));
        assert_eq!(
            (&status["applied"], &status["actual"], &status["backend"]),
            (&true.into(), &value.as_str().into(), &"cgroup-v2".into()),
            "{status:#}"
        );
        assert_eq!(&content(&job.join(file)), value, "{file}");
    }
    for name in ["nice", "oom_score_adj", "io_class"] {
        let status = status_of(&report, name).expect("asked for");
        assert_eq!((&status["applied"], &status["backend"]), (&true.into(), &"process".into()), "{status:#}");
    }
    assert_eq!(report["constraints"].as_array().map(Vec::len), Some(limits.len() + 3));

    let delegated = machine.delegated();
    assert_eq!(content(&job.join("cgroup.procs")), live.process.pid.to_string(), "it is alone there");
    assert_eq!(cgroup_of(live.process.pid), job);
    await_true("the wrapper has moved", || {
        cgroup_of(parent_of(live.process.pid)) == delegated.join("wrappers")
    });
    let supervisor = cgroup_of(machine.supervisor().pid);
    if machine.has_jobs_unit() {
        assert_eq!(supervisor, machine.cgroup_of_unit(UNIT), "all of its unit is its own");
        assert_ne!(content(&delegated.join("holder/cgroup.procs")), "");
    } else {
        assert_eq!(supervisor, delegated.join("supervisor"));
    }
    assert_eq!(content(&delegated.join("cgroup.procs")), "", "the kernel allows none beside controllers");

    // From a shell that nothing was delegated to, it still tells who keeps the limits.
    let doctor = output(&["ffrtmp-sup", "doctor", "--json"]);
    let doctor: serde_json::Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    assert_eq!(doctor["supervisor"]["cgroups"]["backend"], "cgroup-v2", "{doctor:#}");
    assert_eq!(doctor["supervisor"]["cgroups"]["dirs"][0], delegated.to_str().expect("text"));
    assert_eq!(doctor["supervisor"]["pid"], machine.supervisor().pid.as_raw());
    // Where something was, it tries all for real, and leaves nothing. These disks' schedulers weigh nothing.
    let service = ["systemd-run", "--quiet", "--wait", "--pipe", "--collect", "--property=Delegate=yes"];
    let doctor = output(&[service.as_slice(), &["/usr/local/bin/ffrtmp-sup", "doctor", "--json"]].concat());
    assert_eq!(doctor.status.code(), Some(1));
    let doctor: serde_json::Value = serde_json::from_slice(&doctor.stdout).expect("JSON");
    assert_eq!(doctor["tried"][0]["controllers"].as_array().map(Vec::len), Some(5), "{doctor:#}");
    let refused = doctor["constraints"].as_array().expect("a list").iter();
    let refused: Vec<_> = refused.filter(|status| status["applied"] != true).collect();
    assert_eq!(refused.len(), 1, "{doctor:#}");
    assert_eq!(refused[0]["name"], "io_weight");
}

/// The job and its limit, through everything.
struct Watched<'a> {
    machine: &'a Machine,
    live: Live,
    mib: u64,
}

impl Watched<'_> {
    /// The same workload, with the same limit that nobody had to put right; and the next edit takes effect.
    fn untouched(&mut self, what: &str) {
        let file = self.machine.cgroup_of_job("channel-7").join("memory.max");
        assert!(self.live.lives(), "{what} ended the workload");
        assert_eq!(content(&file), bytes(self.mib), "{what} touched the limit");
        assert_eq!(self.machine.running("channel-7"), self.live, "{what}");
        let report = self.machine.report("channel-7").expect("it runs");
        let status = status_of(&report, "memory_limit").expect("asked for");
        assert_eq!(
            (&status["applied"], &status["actual"]),
            (&true.into(), &bytes(self.mib).into()),
            "{what}"
        );
        assert_eq!(report["drift_corrected"], 0, "{what} touched a limit: {report:#}");
        assert_eq!(report["restarts"], 0, "{what}");
        await_true("the service manager knows of it", || {
            self.machine.property("StatusText") == "1 job running"
        });

        self.mib += 1;
        self.machine.put("channel-7", &limited(self.mib));
        self.machine.await_limit("channel-7", MEMORY, &bytes(self.mib));
        assert_eq!(self.machine.running("channel-7"), self.live, "{what}, and an edit");
        println!("untouched by {what}");
    }
}

#[test]
fn nothing_that_is_done_to_the_supervisor_touches_workloads_or_limits() {
    let name = "nothing_that_is_done_to_the_supervisor_touches_workloads_or_limits";
    let Some(machine) = Machine::started(name) else { return };
    machine.put("channel-7", &limited(32));
    let live = machine.running("channel-7");
    let mut watched = Watched { machine: &machine, live, mib: 32 };
    watched.untouched("nothing at all");

    let before = machine.supervisor();
    systemctl(&["restart", UNIT]);
    machine.await_successor(&before);
    watched.untouched("restart");

    let before = machine.supervisor();
    send(&before, Signal::KILL);
    machine.await_successor(&before);
    watched.untouched("SIGKILL");

    let before = machine.supervisor();
    systemctl(&["reload", UNIT]);
    watched.untouched("reload");
    systemctl(&["daemon-reload"]);
    watched.untouched("daemon-reload");
    systemctl(&["daemon-reexec"]);
    watched.untouched("daemon-reexec");
    assert_eq!(machine.supervisor(), before, "none of these starts another");

    // What happens while it is stopped is in the reports afterwards.
    let go = Path::new("/run/ffrtmp-test-go");
    let ends = format!("while [ ! -e {} ]; do sleep 0.1; done; exit 7", go.display());
    machine.put(
        "ends",
        &format!("lifecycle = \"oneshot\"\n[exec]\ncommand = [\"/bin/sh\", \"-c\", \"{ends}\"]\n"),
    );
    let ends = machine.running("ends");
    systemctl(&["stop", UNIT]);
    fs::write(go, "").expect("written");
    await_true("it has ended", || !ends.lives());
    systemctl(&["start", UNIT]);
    let report = machine.await_ended("ends", &ends.run);
    assert_eq!((&report["exit_code"], &report["state"]), (&7.into(), &"failed".into()), "{report:#}");
    assert_eq!(report["platform_sla"], true, "{report:#}");
    watched.untouched("stop and start");
    fs::remove_file(machine.file("ends")).expect("removed");
    fs::remove_file(go).expect("removed");

    upgrade(&mut watched);
    hang(&mut watched);
}

/// A package manager replaces the programs while they run, and restarts the service.
fn upgrade(watched: &mut Watched<'_>) {
    let machine = watched.machine;
    for program in ["ffrtmp", "ffrtmp-sup"] {
        let path = format!("/usr/local/bin/{program}");
        fs::copy(&path, format!("{path}.dpkg-new")).expect("copied");
        fs::rename(format!("{path}.dpkg-new"), &path).expect("renamed");
    }
    let program = |pid| fs::read_link(format!("/proc/{pid}/exe")).expect("proc").display().to_string();
    // Between the two, the old supervisor starts jobs with the wrapper of its own version.
    machine.put("between", "lifecycle = \"continuous\"\n[exec]\ncommand = [\"/bin/sleep\", \"100000\"]\n");
    let between = machine.running("between");
    assert!(program(parent_of(between.process.pid)).ends_with("ffrtmp (deleted)"));
    let before = machine.supervisor();
    systemctl(&["restart", UNIT]);
    machine.await_successor(&before);
    assert_eq!(program(machine.supervisor().pid), "/usr/local/bin/ffrtmp-sup");
    assert_eq!(machine.running("between"), between);
    fs::remove_file(machine.file("between")).expect("removed");
    await_true("it is stopped", || !between.lives());
    watched.untouched("an upgrade");
}

/// Its loop hangs: the watchdog ends it.
fn hang(watched: &mut Watched<'_>) {
    let machine = watched.machine;
    assert_eq!(machine.property("WatchdogUSec"), "30s");
    let folder = Path::new("/run/systemd/system").join(format!("{UNIT}.d"));
    fs::create_dir_all(&folder).expect("made");
    fs::write(folder.join("test.conf"), "[Service]\nWatchdogSec=6s\n").expect("written");
    systemctl(&["daemon-reload"]);
    let before = machine.supervisor();
    systemctl(&["restart", UNIT]);
    machine.await_successor(&before);
    let hung = machine.supervisor();
    send(&hung, "SIGSTOP".to_owned().try_into().expect("a signal"));
    machine.await_successor(&hung);
    assert!(!lives(&hung));
    watched.untouched("a watchdog time-out");
    let fed = || machine.property("WatchdogTimestampMonotonic");
    let last = fed();
    await_true("one that does not hang feeds it", || fed() != last);
    fs::remove_dir_all(&folder).expect("removed");
    systemctl(&["daemon-reload"]);
    if machine.has_jobs_unit() {
        assert_eq!(machine.property_of(JOBS_UNIT, "NRestarts"), "0");
    }
}
