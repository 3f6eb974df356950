//! The directories of cgroups: named, made, and removed once nobody is in them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

use super::request::Unavailable;
use crate::model::cgroup::Cgroup;

/// The directories of a cgroup, each once.
pub(in crate::linux) fn dirs_of(cgroup: &Cgroup) -> BTreeSet<&Path> {
    match cgroup {
        Cgroup::V2 { dir, .. } => [dir.as_ref()].into(),
        Cgroup::V1 { dirs } => dirs.values().map(AsRef::as_ref).collect(),
    }
}

/// Whether its directories are the kernel's: what a stranger's record names may be anything.
#[must_use]
pub fn is_kernels(cgroup: &Cgroup) -> bool {
    let of_kernel = |dir: &Path| {
        let kind = statfs(dir).map(|found| found.filesystem_type());
        kind.is_ok_and(|kind| [CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC].contains(&kind))
    };
    dirs_of(cgroup).into_iter().all(of_kernel)
}

/// Makes a cgroup; false if it was there.
pub(super) fn make(dir: &Path) -> Result<bool, Unavailable> {
    match fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Unavailable::new("making", dir, &error)),
    }
}

/// Removes a cgroup; false if there still is a process in it.
///
/// # Errors
/// Any other reason that the kernel has.
pub fn remove(cgroup: &Cgroup) -> io::Result<bool> {
    let mut all = true;
    for dir in dirs_of(cgroup) {
        all &= remove_dir(dir)?;
    }
    Ok(all)
}

/// Removes a directory of a cgroup and those that the workload made below it.
pub(super) fn remove_dir(dir: &Path) -> io::Result<bool> {
    let first = fs::remove_dir(dir);
    match first.as_ref().map_err(io::Error::raw_os_error) {
        Ok(()) | Err(Some(libc::ENOENT)) => return Ok(true),
        Err(Some(libc::EBUSY | libc::ENOTEMPTY)) => {}
        Err(_) => return first.map(|()| true),
    }
    let mut below = false;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            below = true;
            if !remove_dir(&entry.path())? {
                return Ok(false);
            }
        }
    }
    match fs::remove_dir(dir) {
        _ if !below => Ok(false),
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what is right below these directories and has no process in it, but for those in use.
pub(super) fn sweep<'a>(bases: impl IntoIterator<Item = &'a Path>, in_use: &[&Cgroup]) {
    let used: BTreeSet<&Path> = in_use.iter().flat_map(|cgroup| dirs_of(cgroup)).collect();
    for base in bases {
        let Ok(entries) = fs::read_dir(base) else { continue };
        for entry in entries.flatten() {
            let path = entry.path();
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) && !used.contains(path.as_path()) {
                // One with a process in it refuses.
                let _ = remove_dir(&path);
            }
        }
    }
}

/// A job's name as a directory. Names such as `cpu.max` are the kernel's there; as with systemd, an
/// underscore makes them ours, which no job's name begins with.
pub(super) fn escape(job: &str) -> String {
    /// Files of version 1 without a prefix.
    const FILES: [&str; 3] = ["notify_on_release", "release_agent", "tasks"];
    const KERNEL: [&str; 14] = [
        "blkio",
        "cgroup",
        "cpu",
        "cpuacct",
        "cpuset",
        "dmem",
        "hugetlb",
        "io",
        "irq",
        "memory",
        "misc",
        "perf_event",
        "pids",
        "rdma",
    ];
    let prefix = job.split_once('.').map(|(prefix, _)| prefix);
    let taken = prefix.is_some_and(|prefix| KERNEL.contains(&prefix)) || FILES.contains(&job);
    if taken { format!("_{job}") } else { job.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_may_be_called_like_a_file_of_the_kernel() {
        assert_eq!(escape("channel-7"), "channel-7");
        assert_eq!(escape("channel.hd"), "channel.hd");
        assert_eq!(escape("cpu"), "cpu");
        assert_eq!(escape("cpu.max"), "_cpu.max");
        assert_eq!(escape("memory.max@a"), "_memory.max@a");
        assert_eq!((escape("tasks"), escape("tasks-2")), ("_tasks".into(), "tasks-2".into()));
    }
}
