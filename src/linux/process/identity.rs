//! Who a process is, whether it has ended, and what else `/proc` tells of it.

use std::fs::{self, File};
use std::io::{self, Read};

use nix::unistd::{SysconfVar, sysconf};

use super::stat::{read_own_stat, read_stat, stat_of};
use crate::linux::clock;
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::time::{BootTime, Moment, WallTime};

/// The process that has this number now; `None` if there is none. A zombie still is one.
///
/// # Errors
/// `/proc` cannot be read.
pub fn identify(pid: Pid) -> io::Result<Option<ProcessIdentity>> {
    read_stat(pid)?.map(|stat| stat.identity()).transpose()
}

/// This process.
///
/// # Errors
/// `/proc` cannot be read.
pub fn current() -> io::Result<ProcessIdentity> {
    read_own_stat()?
        .map(|stat| stat.identity())
        .transpose()?
        .ok_or_else(|| io::Error::other("/proc does not show this very process"))
}

/// Whether the process is stopped (SIGSTOP); false too if it is gone.
///
/// # Errors
/// `/proc` cannot be read.
pub fn is_stopped(process: &ProcessIdentity) -> io::Result<bool> {
    Ok(stat_of(process)?.is_some_and(|stat| stat.state == b'T'))
}

/// Whether the process has ended and only waits to be reaped; false too if it is gone.
///
/// # Errors
/// `/proc` cannot be read.
pub fn is_zombie(process: &ProcessIdentity) -> io::Result<bool> {
    Ok(stat_of(process)?.is_some_and(|stat| stat.is_zombie()))
}

/// Whether the process is gone, or only waits to be reaped.
///
/// # Errors
/// `/proc` cannot be read.
pub fn has_ended(process: &ProcessIdentity) -> io::Result<bool> {
    Ok(stat_of(process)?.is_none_or(|stat| stat.is_zombie()))
}

/// The name of a process's main thread (field 2 of `/proc/PID/stat`), which is what ps(1) shows; `None` if it is
/// gone.
#[must_use]
pub fn name(process: &ProcessIdentity) -> Option<String> {
    let stat = stat_of(process).ok()??;
    Some(String::from_utf8_lossy(&stat.name).into_owned())
}

/// When a process began. To a hundredth of a second, which is what the kernel tells.
#[must_use]
pub fn began(process: &ProcessIdentity) -> Moment {
    let boot = BootTime(0) + clock::ticks(process.start_time);
    let now = clock::now();
    let ago = i64::try_from(now.boot.since(boot).as_millis()).unwrap_or(0);
    Moment { wall: WallTime::from_unix_ms(now.wall.unix_ms() - ago), boot }
}

/// The memory that a process has in use now, in bytes, with what it shares with others (field 2 of
/// `/proc/PID/statm`); `None` if it is gone.
#[must_use]
pub fn resident_bytes(process: &ProcessIdentity) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/statm", process.pid)).ok()?;
    // In this order: if the number names the process now, it did when that was read.
    stat_of(process).ok()??;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    pages.checked_mul(page)
}

/// A field of this process's own `/proc/self/status` (proc_pid_status(5)), such as `Umask`.
#[must_use]
pub fn own_status(field: &str) -> Option<String> {
    // Longer than it ever is; the kernel gives all of it to one read.
    let mut buffer = [0; 8192];
    let length = File::open("/proc/self/status").and_then(|mut file| file.read(&mut buffer)).ok()?;
    let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
}
