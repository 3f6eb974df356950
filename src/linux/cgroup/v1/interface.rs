//! The files that a cgroup of version 1 has, by name, and how to read those that are no plain text.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::linux::cgroup::files;
use crate::model::cgroup::Controller;
use crate::model::cpus::CpuSet;

/// The directories of a cgroup, by controller.
pub(super) type Dirs = BTreeMap<Controller, PathBuf>;

pub(super) const QUOTA: &str = "cpu.cfs_quota_us";
pub(super) const PERIOD: &str = "cpu.cfs_period_us";
pub(super) const SHARES: &str = "cpu.shares";
pub(super) const MEMORY: &str = "memory.limit_in_bytes";
pub(super) const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";
pub(super) const BFQ_WEIGHT: &str = "blkio.bfq.weight";
pub(super) const CFQ_WEIGHT: &str = "blkio.weight";
pub(super) const TASKS: &str = "pids.max";
pub(super) const CPUS: &str = "cpuset.cpus";
pub(super) const EFFECTIVE_CPUS: &str = "cpuset.effective_cpus";

/// `io.max` of version 2 in four files, in the order in which it is shown.
pub(super) const THROTTLES: [(&str, &str); 4] = [
    ("rbps", "blkio.throttle.read_bps_device"),
    ("wbps", "blkio.throttle.write_bps_device"),
    ("riops", "blkio.throttle.read_iops_device"),
    ("wiops", "blkio.throttle.write_iops_device"),
];

/// The directory of the controller that keeps a value.
pub(super) fn dir_of(dirs: &Dirs, controller: Controller) -> io::Result<&Path> {
    dirs.get(&controller).map(AsRef::as_ref).ok_or_else(|| io::ErrorKind::NotFound.into())
}

/// A number that a file holds; -1 is none.
pub(super) fn number(dir: &Path, file: &str) -> io::Result<i64> {
    let text = files::read(dir, file)?;
    text.parse().map_err(|_| io::Error::other(format!("{} is {text:?}", dir.join(file).display())))
}

/// The CPUs of the cgroup above, which are all that there are.
pub(super) fn cpus_above(dir: &Path) -> Option<CpuSet> {
    CpuSet::parse(&files::read(dir.parent()?, CPUS).ok()?).ok()
}

/// The four files of throttles as the one of version 2 would be: a line for each device with a limit.
pub(super) fn throttles(dir: &Path) -> io::Result<String> {
    let mut devices: BTreeMap<String, BTreeMap<&str, String>> = BTreeMap::new();
    for (key, file) in THROTTLES {
        for line in files::read(dir, file)?.lines() {
            if let Some((device, rate)) = line.split_once(' ') {
                devices.entry(device.into()).or_default().insert(key, rate.into());
            }
        }
    }
    let mut text = String::new();
    for (device, rates) in devices {
        let rate = |(key, _)| format!("{key}={}", rates.get(key).map_or("max", String::as_str));
        let line = format!("{device} {}", THROTTLES.map(rate).join(" "));
        text = if text.is_empty() { line } else { format!("{text}\n{line}") };
    }
    Ok(text)
}
