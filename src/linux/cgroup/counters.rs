//! What the kernel counts in a run's cgroup and around it, in both versions
//! (Documentation/admin-guide/cgroup-v2.rst, cgroup-v1/memory.rst). A file that is not there, because its
//! controller is not, leaves a count out; none is taken for 0.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::files;
use crate::model::cgroup::{Cgroup, Controller};
use crate::model::evidence::{Counters, LimitAbove, MemoryEvents};
use crate::model::report::Usage;

/// Where the kernel counts for the whole host (proc_vmstat(5)).
const VMSTAT: &str = "/proc/vmstat";

/// Where block devices are by their numbers (sysfs(5)).
const DEVICES: &str = "/sys/dev/block";

/// A cgroup at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Sample {
    /// What it has used since it was made.
    pub usage: Usage,
    /// Memory in use now, in bytes, with the files that the kernel caches for it.
    pub memory_bytes: Option<u64>,
}

/// What a cgroup has used, and has in use.
#[must_use]
pub fn sample(cgroup: &Cgroup) -> Sample {
    measure(cgroup, kills(cgroup))
}

/// Everything that the end of a run is judged by. Without a cgroup, what the host counts.
#[must_use]
pub fn read(cgroup: Option<&Cgroup>) -> Counters {
    let host_kills = host_kills(Path::new(VMSTAT));
    let Some(cgroup) = cgroup else { return Counters { host_kills, ..Counters::default() } };
    let (above, up_to_the_host) = match cgroup {
        Cgroup::V2 { dir, .. } => above_v2(dir),
        Cgroup::V1 { dirs } => dirs.get(&Controller::Memory).map(|dir| above_v1(dir)).unwrap_or_default(),
    };
    let (memory, pids) = (memory_events(cgroup), cgroup.dir(Controller::Pids));
    Counters {
        memory,
        above,
        up_to_the_host,
        host_kills,
        tasks_refused: pids.and_then(|dir| number(dir, "pids.events", "max")),
        usage: measure(cgroup, memory.map(|events| events.kills)).usage,
    }
}

fn measure(cgroup: &Cgroup, kills: Option<u64>) -> Sample {
    let mut sample = match cgroup {
        Cgroup::V2 { dir, .. } => sample_v2(dir),
        Cgroup::V1 { .. } => sample_v1(cgroup),
    };
    sample.usage.oom_kills = kills;
    sample
}

/// The number behind a key; without a key, the only number in the file.
fn number(dir: &Path, file: &str, key: &str) -> Option<u64> {
    let text = files::read(dir, file).ok()?;
    if key.is_empty() { text.parse().ok() } else { files::keyed(&text, key) }
}

/// Kills for memory, alone.
fn kills(cgroup: &Cgroup) -> Option<u64> {
    match cgroup {
        Cgroup::V2 { dir, .. } => number(dir, "memory.events", "oom_kill"),
        Cgroup::V1 { dirs } => number(dirs.get(&Controller::Memory)?, "memory.oom_control", "oom_kill"),
    }
}

fn memory_events(cgroup: &Cgroup) -> Option<MemoryEvents> {
    match cgroup {
        // With the cgroups that the workload itself may have made below: their limits are its own, too.
        Cgroup::V2 { dir, .. } => {
            let text = files::read(dir, "memory.events").ok()?;
            let of = |key| files::keyed(&text, key);
            Some(MemoryEvents { limit_reached: of("oom")?, kills: of("oom_kill")? })
        }
        Cgroup::V1 { dirs } => {
            let dir = dirs.get(&Controller::Memory)?;
            Some(MemoryEvents {
                limit_reached: failures_v1(dir)?,
                kills: number(dir, "memory.oom_control", "oom_kill")?,
            })
        }
    }
}

/// The limits above a cgroup, and whether that goes up to the host's root, which has none.
fn above_v2(dir: &Path) -> (Vec<LimitAbove>, bool) {
    let mut list = Vec::new();
    for dir in dir.ancestors().skip(1) {
        let Some(reached) = number(dir, "memory.events.local", "oom") else {
            // Only the host's root is a cgroup without a type.
            return (list, dir.join("cgroup.procs").exists() && !dir.join("cgroup.type").exists());
        };
        list.push(LimitAbove { file: dir.join("memory.max"), reached });
    }
    (list, false)
}

/// The same in version 1, where the host's root has a file of its own.
fn above_v1(dir: &Path) -> (Vec<LimitAbove>, bool) {
    let mut list = Vec::new();
    for dir in dir.ancestors().skip(1) {
        if dir.join("cgroup.sane_behavior").exists() {
            return (list, true);
        }
        let Some(reached) = failures_v1(dir) else { break };
        list.push(LimitAbove { file: dir.join("memory.limit_in_bytes"), reached });
    }
    (list, false)
}

/// How often a limit of version 1 was reached: that on memory, or that on memory and swap, which the
/// kernel looks at first where there is one. Some kernels do not count that (seen: 6.18); then that it was
/// reached shows in the peak.
fn failures_v1(dir: &Path) -> Option<u64> {
    let both = |file: &str| number(dir, &format!("memory.memsw.{file}"), "");
    let reached =
        both("max_usage_in_bytes").zip(both("limit_in_bytes")).is_some_and(|(peak, limit)| peak >= limit);
    Some(number(dir, "memory.failcnt", "")? + both("failcnt").unwrap_or(0).max(reached.into()))
}

fn sample_v2(dir: &Path) -> Sample {
    let cpu = files::read(dir, "cpu.stat").unwrap_or_default();
    let usec = |key| files::keyed(&cpu, key).map(|usec| seconds(usec, 1e6));
    // "8:0 rbytes=1459200 wbytes=314773504 rios=192 ...", a line per device that was used.
    let io = files::read(dir, "io.stat").ok();
    let bytes = |key: &str| {
        let of_line =
            |line: &str| line.split(' ').find_map(|word| word.strip_prefix(key)?.parse::<u64>().ok());
        Some(io.as_ref()?.lines().filter(|line| !is_stacked(line)).filter_map(of_line).sum())
    };
    let usage = Usage {
        cpu_sec: usec("usage_usec"),
        cpu_throttled_sec: usec("throttled_usec"),
        cpu_throttled_periods: files::keyed(&cpu, "nr_throttled"),
        memory_peak_bytes: number(dir, "memory.peak", ""),
        oom_kills: None,
        io_read_bytes: bytes("rbytes="),
        io_write_bytes: bytes("wbytes="),
        cpu_pressure_sec: pressure(dir, "cpu.pressure", "some "),
        memory_pressure_sec: pressure(dir, "memory.pressure", "some "),
        memory_pressure_full_sec: pressure(dir, "memory.pressure", "full "),
        io_pressure_sec: pressure(dir, "io.pressure", "some "),
        io_pressure_full_sec: pressure(dir, "io.pressure", "full "),
    };
    Sample { usage, memory_bytes: number(dir, "memory.current", "") }
}

/// For how long tasks waited: the line of that kind, "some avg10=0.00 avg60=0.00 avg300=0.00 total=1234". No
/// kernel has to count this: `CONFIG_PSI`, `psi=1`, and `cgroup.pressure` of the cgroup.
fn pressure(dir: &Path, file: &str, kind: &str) -> Option<f64> {
    let text = files::read(dir, file).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
    let total = line.split(' ').find_map(|word| word.strip_prefix("total="))?;
    total.parse().ok().map(|usec| seconds(usec, 1e6))
}

fn sample_v1(cgroup: &Cgroup) -> Sample {
    let text = |controller, file| files::read(cgroup.dir(controller)?, file).ok();
    let alone = |controller, file| text(controller, file)?.parse::<u64>().ok();
    let cpu = text(Controller::Cpu, "cpu.stat").unwrap_or_default();
    // "8:0 Read 1459200", and more lines of other kinds.
    let io = text(Controller::Io, "blkio.throttle.io_service_bytes_recursive");
    let bytes = |kind: &str| {
        let of_line = |line: &str| line.split_once(' ')?.1.strip_prefix(kind)?.parse::<u64>().ok();
        Some(io.as_ref()?.lines().filter(|line| !is_stacked(line)).filter_map(of_line).sum())
    };
    let usage = Usage {
        cpu_sec: alone(Controller::Cpuacct, "cpuacct.usage").map(|nsec| seconds(nsec, 1e9)),
        cpu_throttled_sec: files::keyed(&cpu, "throttled_time").map(|nsec| seconds(nsec, 1e9)),
        cpu_throttled_periods: files::keyed(&cpu, "nr_throttled"),
        memory_peak_bytes: alone(Controller::Memory, "memory.max_usage_in_bytes"),
        oom_kills: None,
        io_read_bytes: bytes("Read "),
        io_write_bytes: bytes("Write "),
        ..Usage::default()
    };
    Sample { usage, memory_bytes: alone(Controller::Memory, "memory.usage_in_bytes") }
}

/// Whether a line is of a device that lies on others (LVM, LUKS, RAID): those count the same bytes again.
fn is_stacked(line: &str) -> bool {
    let device = line.split(' ').next().unwrap_or_default();
    let below = fs::read_dir(Path::new(DEVICES).join(device).join("slaves"));
    below.is_ok_and(|mut entries| entries.next().is_some())
}

/// To the microsecond.
#[allow(clippy::cast_precision_loss, reason = "years of CPU time stay below 2^53 nanoseconds")]
fn seconds(count: u64, per_second: f64) -> f64 {
    (count as f64 / per_second * 1e6).round() / 1e6
}

/// Kills for memory on the whole host. On the stack, which the wrapper gives back while it waits.
#[inline(never)]
fn host_kills(vmstat: &Path) -> Option<u64> {
    // Several times what the file is, so that one read gives all of it.
    let mut buffer = [0; 16 << 10];
    let mut file = File::open(vmstat).ok()?;
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest).ok()? {
            0 => break,
            more => length += more,
        }
        // Lines come whole, and what follows is of no interest.
        if let Some(kills) = files::keyed(std::str::from_utf8(buffer.get(..length)?).ok()?, "oom_kill") {
            return Some(kills);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;
    use crate::model::constraints::Backend;

    fn put(dir: &Path, files: &[(&str, &str)]) -> PathBuf {
        fs::create_dir_all(dir).expect("made");
        for (file, text) in files {
            fs::write(dir.join(file), text).expect("written");
        }
        dir.into()
    }

    fn v2(dir: PathBuf) -> Cgroup {
        Cgroup::V2 { wrappers: dir.clone(), dir, backend: Backend::CgroupV2 }
    }

    #[test]
    fn version_2() {
        let root = tempfile::tempdir().expect("a directory");
        put(root.path(), &[("cgroup.procs", "")]);
        let unit = root.path().join("unit");
        put(&unit, &[("cgroup.type", "domain\n"), ("memory.events.local", "low 0\noom 4\noom_kill 0\n")]);
        put(&unit.join("jobs"), &[("memory.events.local", "oom 5\noom_kill 9\n")]);
        let leaf = put(
            &unit.join("jobs/a"),
            &[
                ("memory.events", "low 0\nhigh 2\nmax 31\noom 1\noom_kill 3\noom_group_kill 1\n"),
                ("memory.current", "4096\n"),
                ("memory.peak", "67108864\n"),
                ("pids.events", "max 7\n"),
                ("cpu.pressure", "some avg10=3.20 avg60=21.20 avg300=42.27 total=17125909639\n"),
                (
                    "memory.pressure",
                    "some avg10=0.00 avg60=0.00 avg300=0.00 total=250000\n\
                     full avg10=0.00 avg60=0.00 avg300=0.00 total=125000\n",
                ),
                ("io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=\n"),
                (
                    "cpu.stat",
                    "usage_usec 1500000\nuser_usec 1\nnr_periods 9\nnr_throttled 4\nthrottled_usec 250000\n",
                ),
                (
                    "io.stat",
                    "999:0 rbytes=10 wbytes=20 rios=1 wios=1 dbytes=0\n999:16 rbytes=100 wbytes=200 rios=1\n",
                ),
            ],
        );
        let counters = read(Some(&v2(leaf.clone())));
        let usage = Usage {
            cpu_sec: Some(1.5),
            cpu_throttled_sec: Some(0.25),
            cpu_throttled_periods: Some(4),
            memory_peak_bytes: Some(64 << 20),
            oom_kills: Some(3),
            io_read_bytes: Some(110),
            io_write_bytes: Some(220),
            cpu_pressure_sec: Some(17_125.909_639),
            memory_pressure_sec: Some(0.25),
            memory_pressure_full_sec: Some(0.125),
            io_pressure_sec: Some(0.0),
            io_pressure_full_sec: None,
        };
        assert_eq!(counters.memory, Some(MemoryEvents { limit_reached: 1, kills: 3 }));
        let above = |dir: PathBuf, reached| LimitAbove { file: dir.join("memory.max"), reached };
        assert_eq!(counters.above, [above(unit.join("jobs"), 5), above(unit.clone(), 4)]);
        assert!(counters.up_to_the_host && counters.host_kills.is_some());
        assert_eq!((counters.tasks_refused, counters.usage), (Some(7), usage));
        assert_eq!(sample(&v2(leaf.clone())), Sample { usage, memory_bytes: Some(4096) });

        // In a container the hierarchy ends below the host's root.
        put(root.path(), &[("cgroup.type", "domain\n")]);
        assert!(!read(Some(&v2(leaf))).up_to_the_host);
    }

    #[test]
    fn version_1() {
        let root = tempfile::tempdir().expect("a directory");
        let memory = root.path().join("memory");
        put(&memory, &[("cgroup.sane_behavior", "0\n"), ("memory.failcnt", "0\n")]);
        put(&memory.join("unit"), &[("memory.failcnt", "5\n")]);
        let oom_control = "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n";
        let leaf = put(
            &memory.join("unit/a"),
            &[
                ("memory.failcnt", "39\n"),
                ("memory.oom_control", oom_control),
                ("memory.max_usage_in_bytes", "20971520\n"),
                ("memory.usage_in_bytes", "4096\n"),
            ],
        );
        let cpu = put(
            &root.path().join("cpu/a"),
            &[
                ("cpu.stat", "nr_periods 9\nnr_throttled 4\nthrottled_time 250000000\n"),
                ("cpuacct.usage", "1500000000\n"),
            ],
        );
        let io = put(
            &root.path().join("blkio/a"),
            &[(
                "blkio.throttle.io_service_bytes_recursive",
                "999:0 Read 10\n999:0 Write 20\n999:0 Sync 30\n999:0 Total 30\n999:16 Read 1\n999:16 Total 1\nTotal 31\n",
            )],
        );
        let dirs: BTreeMap<Controller, PathBuf> = [
            (Controller::Memory, leaf.clone()),
            (Controller::Cpu, cpu.clone()),
            (Controller::Cpuacct, cpu),
            (Controller::Io, io),
            (Controller::Pids, put(&root.path().join("pids/a"), &[("pids.events", "max 7\n")])),
        ]
        .into();
        let counters = read(Some(&Cgroup::V1 { dirs }));
        assert_eq!(counters.memory, Some(MemoryEvents { limit_reached: 39, kills: 2 }));
        put(
            &leaf,
            &[("memory.memsw.max_usage_in_bytes", "4096\n"), ("memory.memsw.limit_in_bytes", "8192\n")],
        );
        assert_eq!(failures_v1(&leaf), Some(39));
        put(&leaf, &[("memory.memsw.max_usage_in_bytes", "8192\n")]);
        assert_eq!(failures_v1(&leaf), Some(40));
        put(&leaf, &[("memory.memsw.failcnt", "3\n")]);
        assert_eq!(failures_v1(&leaf), Some(42));
        let file = memory.join("unit/memory.limit_in_bytes");
        assert_eq!(counters.above, [LimitAbove { file, reached: 5 }]);
        assert!(counters.up_to_the_host);
        assert_eq!(counters.tasks_refused, Some(7));
        let usage = Usage {
            cpu_sec: Some(1.5),
            cpu_throttled_sec: Some(0.25),
            cpu_throttled_periods: Some(4),
            memory_peak_bytes: Some(20 << 20),
            oom_kills: Some(2),
            io_read_bytes: Some(11),
            io_write_bytes: Some(20),
            ..Usage::default()
        };
        assert_eq!(counters.usage, usage);
    }

    /// Of the root of this machine's hierarchy, which is only read.
    #[test]
    fn the_kernels_own_pressure_is_understood() {
        let mounts = fs::read_to_string("/proc/mounts").expect("proc");
        let root = mounts.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [_, dir, "cgroup2", ..] => Some(PathBuf::from(dir)),
            _ => None,
        });
        let Some(root) = root.filter(|root| files::read(root, "io.pressure").is_ok()) else {
            println!("SKIPPED the_kernels_own_pressure_is_understood: no cgroup of version 2 counts it here");
            return;
        };
        let before = sample(&v2(root.clone())).usage;
        let usage = sample(&v2(root)).usage.since(&before);
        for seconds in [
            usage.cpu_pressure_sec,
            usage.memory_pressure_sec,
            usage.memory_pressure_full_sec,
            usage.io_pressure_sec,
            usage.io_pressure_full_sec,
        ] {
            assert!(seconds.is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{usage:?}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_zero() {
        let dir = tempfile::tempdir().expect("a directory");
        let gone = v2(dir.path().join("gone"));
        let none = Cgroup::V1 { dirs: BTreeMap::new() };
        for cgroup in [gone, none] {
            assert_eq!(sample(&cgroup), Sample::default());
            let host_kills = host_kills(Path::new(VMSTAT));
            assert_eq!(read(Some(&cgroup)), Counters { host_kills, ..Counters::default() });
        }
        assert_eq!(host_kills(&dir.path().join("vmstat")), None);
        put(dir.path(), &[("vmstat", "pgfault 1\noom_kill_other 4\noom_kill 12\nlast 3\n")]);
        assert_eq!(host_kills(&dir.path().join("vmstat")), Some(12));
    }
}
