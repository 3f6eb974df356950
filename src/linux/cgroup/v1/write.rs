//! Writing a limit, with the controllers of the crate cgroups-rs, each made for its directory.
//!
//! Neither its guess of where hierarchies are mounted, nor its `apply`, which swallows errors, nor its handling of
//! paths as text, which panics, has a part in this. [`through`] covers what is left. Not written with it:
//! `blkio.bfq.weight`, which it does not know for version 1.

use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::blkio::BlkIoController;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{MaxValue, error};

use super::interface::{
    BFQ_WEIGHT, CFQ_WEIGHT, CPUS, Dirs, MEMORY, MEMORY_AND_SWAP, PERIOD, QUOTA, SHARES, TASKS, THROTTLES,
    cpus_above, dir_of, number,
};
use super::value::Value;
use crate::linux::cgroup::common::beside;
use crate::linux::cgroup::files;
use crate::model::cgroup::Controller;
use crate::model::cpus::CpuSet;

pub(super) fn put(dirs: &Dirs, value: &Value) -> io::Result<()> {
    let dir = |controller| dir_of(dirs, controller).map(|dir| (dir, dir.to_owned(), PathBuf::new()));
    match value {
        Value::Cpu { quota_us, period_us } => put_cpu(dir_of(dirs, Controller::Cpu)?, *quota_us, *period_us),
        Value::Shares(shares) => {
            let (dir, path, root) = dir(Controller::Cpu)?;
            through(dir, SHARES, || CpuController::new(path, root, false).set_shares(*shares))
        }
        Value::Memory(limit) => {
            put_memory(dir_of(dirs, Controller::Memory)?, MEMORY, *limit, MemController::set_limit)
        }
        Value::MemoryAndSwap(limit) => {
            let set = MemController::set_memswap_limit;
            put_memory(dir_of(dirs, Controller::Memory)?, MEMORY_AND_SWAP, *limit, set)
        }
        Value::IoWeight(percent) => put_io_weight(dir_of(dirs, Controller::Io)?, *percent),
        Value::Devices(lines) => {
            let dir = dir_of(dirs, Controller::Io)?;
            // All of them: a disk that is gone must not take the others with it.
            let tried: Vec<_> = lines.iter().map(|line| put_device(dir, line)).collect();
            tried.into_iter().collect()
        }
        Value::Tasks(tasks) => {
            let (dir, path, root) = dir(Controller::Pids)?;
            let max = tasks.map_or(MaxValue::Max, |tasks| MaxValue::Value(signed(Some(tasks))));
            through(dir, TASKS, || PidController::new(path, root, false).set_pid_max(max))
        }
        Value::Cpus(cpus) => put_cpus(dir_of(dirs, Controller::Cpuset)?, cpus),
        Value::Nothing(_) => Ok(()),
    }
}

/// Writes a limit on memory. Where more is in use, the kernel takes memory back before it answers, and
/// refuses if that is not enough; the supervisor, which has other jobs, waits only a moment for that.
fn put_memory(
    dir: &Path,
    file: &'static str,
    limit: Option<u64>,
    set: fn(&MemController, i64) -> error::Result<()>,
) -> io::Result<()> {
    let used = number(dir, &file.replace("limit", "usage")).unwrap_or(0);
    let of = dir.to_owned();
    let write = move || {
        let memory = MemController::new(of.clone(), PathBuf::new(), false);
        through(&of, file, || set(&memory, signed(limit)))
    };
    match limit {
        Some(limit) if used.unsigned_abs() > limit => {
            beside(write)?.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
        }
        _ => write(),
    }
}

/// Writes quota and period in the order in which no more is allowed in between than before or after:
/// more than a cgroup above has would be refused. Where the second is refused, the first goes back.
fn put_cpu(dir: &Path, quota_us: Option<u64>, period_us: u64) -> io::Result<()> {
    let cpu = CpuController::new(dir.to_owned(), PathBuf::new(), false);
    let quota = |us| through(dir, QUOTA, || cpu.set_cfs_quota(us));
    let period = |us| through(dir, PERIOD, || cpu.set_cfs_period(us));
    let (old_quota, old_period) = (number(dir, QUOTA)?, number(dir, PERIOD)?.unsigned_abs());
    if quota_us.is_none() || period_us < old_period {
        quota(signed(quota_us))?;
        period(period_us).inspect_err(|_| drop(quota(old_quota)))
    } else {
        period(period_us)?;
        quota(signed(quota_us)).inspect_err(|_| drop(period(old_period)))
    }
}

/// The two files have the same maximum, but not the same default.
fn put_io_weight(dir: &Path, percent: Option<u8>) -> io::Result<()> {
    let weight = percent.map(|percent| u64::from(percent) * 10);
    let bfq = files::write(dir, BFQ_WEIGHT, &weight.unwrap_or(100).to_string());
    let blkio = BlkIoController::new(dir.to_owned(), PathBuf::new(), false);
    let cfq = through(dir, CFQ_WEIGHT, || blkio.set_weight(weight.unwrap_or(500)));
    match (bfq, cfq) {
        (Err(error), cfq) if error.kind() == io::ErrorKind::NotFound => cfq,
        (Ok(()), Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        (bfq, cfq) => bfq.and(cfq),
    }
}

/// Lines of a file and a weight each.
pub(super) fn put_weights(dirs: &Dirs, text: &str) -> io::Result<()> {
    let dir = dir_of(dirs, Controller::Io)?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.into_iter().try_for_each(|(file, weight)| files::write(dir, file, weight))
}

/// Of CPUs that are not there, the kernel wants to hear nothing; with version 2, or as an affinity, it takes
/// those that are. So does this.
fn put_cpus(dir: &Path, cpus: &CpuSet) -> io::Result<()> {
    let cpuset = CpuSetController::new(dir.to_owned(), PathBuf::new(), false);
    let set = |cpus: &CpuSet| through(dir, CPUS, || cpuset.set_cpus(&cpus.to_string()));
    set(cpus).or_else(|error| {
        let missing = cpus.without(&cpus_above(dir).unwrap_or_default());
        let there = cpus.without(&missing);
        if missing.is_empty() || there.is_empty() { Err(error) } else { set(&there) }
    })
}

/// A line of `io.max`.
fn put_device(dir: &Path, line: &str) -> io::Result<()> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let mut words = line.split_whitespace();
    let (major, minor) = words
        .next()
        .and_then(|device| device.split_once(':'))
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(invalid)?;
    let blkio = BlkIoController::new(dir.to_owned(), PathBuf::new(), false);
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(invalid)?;
        let (_, file) = THROTTLES.into_iter().find(|(known, _)| *known == key).ok_or_else(invalid)?;
        let rate = match value {
            // What removes the limit here.
            "max" => 0,
            // Nothing at all is as little possible as with version 2.
            "0" => return Err(io::Error::from_raw_os_error(libc::ERANGE)),
            value => value.parse().map_err(|_| invalid())?,
        };
        through(dir, file, || match key {
            "rbps" => blkio.throttle_read_bps_for_device(major, minor, rate),
            "wbps" => blkio.throttle_write_bps_for_device(major, minor, rate),
            // The kernel would cut off the higher bits. Its largest number is no limit.
            "riops" => blkio.throttle_read_iops_for_device(major, minor, rate.min(u32::MAX.into())),
            _ => blkio.throttle_write_iops_for_device(major, minor, rate.min(u32::MAX.into())),
        })?;
    }
    Ok(())
}

/// A number as version 1 takes it: -1 is no limit.
fn signed(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// Writes with a controller of cgroups-rs, and gives the kernel's own error. The crate would make a file
/// that is not there, or be refused by the kernel for trying, so that is looked at first.
fn through(dir: &Path, file: &str, write: impl FnOnce() -> error::Result<()>) -> io::Result<()> {
    if !dir.join(file).exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    write().map_err(|error| {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        match cause.and_then(io::Error::raw_os_error) {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::other(error),
        }
    })
}
