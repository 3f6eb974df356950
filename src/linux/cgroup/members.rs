//! The processes in a cgroup: listed, signalled, killed.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::files;
use super::folders::dirs_of;
use crate::linux::process::{self, PidFd};
use crate::model::cgroup::{Cgroup, Controller};
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::signal::Signal;

/// Passes of SIGKILL over a cgroup without `cgroup.kill`.
const MAX_PASSES: usize = 64;

/// Whether a process is in a cgroup, or below it; false if either is gone.
///
/// # Errors
/// It cannot be read.
pub fn holds(cgroup: &Cgroup, process: &ProcessIdentity) -> io::Result<bool> {
    for dir in dirs_of(cgroup) {
        if !procs_in(dir)?.contains(&process.pid) {
            return Ok(false);
        }
    }
    Ok(process::identify(process.pid)?.as_ref() == Some(process))
}

/// The processes in a cgroup (`cgroup.procs`), and in those that the workload made below it; none if it
/// is gone.
///
/// # Errors
/// It cannot be read.
pub fn procs(cgroup: &Cgroup) -> io::Result<Vec<Pid>> {
    let dir = match cgroup {
        Cgroup::V2 { dir, .. } => Some(dir),
        // They are in all of them. These two take every process; `cpu` does not take one with real-time
        // priority, so somebody may have moved it out there.
        Cgroup::V1 { dirs } => {
            let sure =
                [Controller::Pids, Controller::Memory].iter().find_map(|controller| dirs.get(controller));
            sure.or_else(|| dirs.values().next())
        }
    };
    dir.map_or_else(|| Ok(Vec::new()), |dir| procs_in(dir))
}

/// The processes in one directory of a cgroup and below it; none if it is gone.
///
/// # Errors
/// It cannot be read.
pub(in crate::linux) fn procs_in(dir: &Path) -> io::Result<Vec<Pid>> {
    let mut list = Vec::new();
    add_procs(dir, &mut list)?;
    Ok(list)
}

fn add_procs(dir: &Path, list: &mut Vec<Pid>) -> io::Result<()> {
    let text = match files::read(dir, "cgroup.procs") {
        // What is in a threaded cgroup is listed above it (cgroups(7), "Thread mode").
        Err(error)
            if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)) =>
        {
            return Ok(());
        }
        other => other?,
    };
    list.extend(text.lines().filter_map(|line| line.trim().parse().ok().and_then(Pid::new)));
    // One link is its name, one its own `.`, and one is the `..` of each directory in it.
    if fs::metadata(dir).is_ok_and(|metadata| metadata.nlink() == 2) {
        return Ok(());
    }
    for below in fs::read_dir(dir).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            add_procs(&below.path(), list)?;
        }
    }
    Ok(())
}

/// Sends a signal to every process in a cgroup, but for those in `spared`, and gives how many got it.
///
/// # Errors
/// It cannot be read, or a process refuses to be signalled; the others got theirs.
pub fn signal(cgroup: &Cgroup, signal: Signal, spared: &[ProcessIdentity]) -> io::Result<usize> {
    let mut sent = 0;
    let mut refused = None;
    for pid in procs(cgroup)? {
        let Some((process, pidfd)) = open_member(cgroup, pid)? else { continue };
        if spared.contains(&process) {
            continue;
        }
        match pidfd.send(signal) {
            Ok(got) => sent += usize::from(got),
            Err(error) => refused = Some(error),
        }
    }
    refused.map_or(Ok(sent), Err)
}

/// A process that a cgroup lists, unless it has left since.
fn open_member(cgroup: &Cgroup, pid: Pid) -> io::Result<Option<(ProcessIdentity, PidFd)>> {
    let Some(process) = process::identify(pid)? else { return Ok(None) };
    let Some(pidfd) = PidFd::open(&process)? else { return Ok(None) };
    // In the cgroup after the descriptor was made: it is this process, and not the next of its number.
    Ok(procs(cgroup)?.contains(&pid).then_some((process, pidfd)))
}

/// Sends SIGKILL to every process in a cgroup, also to those that fork meanwhile.
///
/// # Errors
/// It cannot be read, or a process refuses to be signalled.
pub fn kill(cgroup: &Cgroup) -> io::Result<()> {
    if let Cgroup::V2 { dir, .. } = cgroup {
        match files::write(dir, "cgroup.kill", "1") {
            // Before Linux 5.14, or the cgroup is gone; the rest tells which.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
    }
    if let Cgroup::V1 { dirs } = cgroup
        && let Some(dir) = dirs.get(&Controller::Pids)
    {
        // No forks from here on, so that one pass will do. Where this fails, more are needed.
        let _ = files::write(dir, "pids.max", "0");
    }
    for _ in 0..MAX_PASSES {
        let mut fresh = false;
        for pid in procs(cgroup)? {
            if let Some((process, pidfd)) = open_member(cgroup, pid)?
                && !process::is_zombie(&process)?
            {
                fresh |= pidfd.send(Signal::KILL)? && !pidfd.has_exited()?;
            }
        }
        if !fresh {
            break;
        }
    }
    Ok(())
}
