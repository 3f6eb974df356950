//! Cgroups: which mechanism this host offers, the cgroup of each run, and the limits in it.
//!
//! [`open`] chooses once, at the supervisor's start. Everything else works on a [`Cgroup`] as it was
//! recorded, so a run keeps its limits whatever a later supervisor's choice is. A limit counts as in
//! force only after it was read back.

pub mod counters;
pub mod files;
pub mod mounts;
pub mod systemd;
pub mod v1;
pub mod v2;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::statfs::{CGROUP_SUPER_MAGIC, CGROUP2_SUPER_MAGIC, statfs};

use self::mounts::Mounts;
use super::process::{self, PidFd};
use crate::model::cgroup::{Cgroup, Choice, Controller};
use crate::model::constraints::{Backend, ConstraintName, ConstraintStatus, Constraints};
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::signal::Signal;

/// Where an operator reads on. Part of every reason that a host, not a value, is to blame for.
pub const READ_ON: &str = "see docs/constraints.md";

/// The file that exists where systemd is the init of this host (sd_booted(3)).
const SYSTEMD_BOOTED: &str = "/run/systemd/system";

/// Passes of SIGKILL over a cgroup without `cgroup.kill`.
const MAX_PASSES: usize = 64;

/// What a supervisor asks for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `[cgroup] backend`.
    pub choice: Choice,
    /// A cgroup that was delegated to us, by its path in the hierarchy: `--cgroup-parent`.
    pub parent: Option<&'a Path>,
    /// Told apart from other supervisors that share a cgroup with this one; a name for a directory.
    pub instance: &'a str,
}

/// The cgroups of one supervisor's jobs.
#[derive(Debug)]
pub enum Tree {
    /// A subtree of the unified hierarchy.
    V2(v2::Tree),
    /// A subtree of each hierarchy of version 1.
    V1(v1::Tree),
    /// There is none, and why.
    None(String),
}

/// Why a mechanism is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It is there, for others.
    #[error("permission denied: {0}")]
    Permission(String),
    /// This host lacks it.
    #[error("{0}")]
    Missing(String),
}

impl Unavailable {
    /// From an error on a path.
    fn new(what: &str, path: &Path, error: &io::Error) -> Self {
        let text = format!("{what} {}: {error}", path.display());
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => Self::Permission(text),
            _ => Self::Missing(text),
        }
    }
}

/// A mechanism that was tried.
#[derive(Debug)]
pub struct Tried {
    /// Which.
    pub backend: Backend,
    /// The controllers it offers, or why it is not there.
    pub outcome: Result<Vec<Controller>, Unavailable>,
}

/// What this host offers: what was chosen, and all that was tried before it.
#[derive(Debug)]
pub struct Survey {
    /// What is used.
    pub tree: Tree,
    /// In the order of trying.
    pub tried: Vec<Tried>,
}

/// Whether systemd is the init of this host (sd_booted(3)).
#[must_use]
pub fn systemd_booted() -> bool {
    Path::new(SYSTEMD_BOOTED).exists()
}

/// Chooses, and makes the cgroups that a supervisor needs.
///
/// # Errors
/// A mechanism was asked for by name and is not there.
pub fn open(request: &Request<'_>) -> Result<Survey, String> {
    if request.choice == Choice::None {
        return Ok(Survey { tree: Tree::None(why_none(request.choice, &[])), tried: Vec::new() });
    }
    let mounts = Mounts::read().map_err(|error| format!("cannot read /proc: {error}"))?;
    let booted = systemd_booted();
    let mut tried = Vec::new();
    let backends: &[Backend] = match request.choice {
        Choice::Auto => &[Backend::CgroupV2, Backend::Systemd, Backend::CgroupV1],
        Choice::CgroupV2 => &[Backend::CgroupV2],
        Choice::Systemd => &[Backend::Systemd],
        Choice::CgroupV1 => &[Backend::CgroupV1],
        Choice::None => &[],
    };
    for &backend in backends {
        let found = match backend {
            Backend::Systemd => systemd::open(&mounts, request, booted).map(Tree::V2),
            Backend::CgroupV1 => v1::Tree::open(&mounts, request).map(Tree::V1),
            _ => v2::Tree::open(&mounts, request, booted).map(Tree::V2),
        };
        match found {
            Ok(tree) => {
                tried.push(Tried { backend, outcome: Ok(tree.controllers()) });
                return Ok(Survey { tree, tried });
            }
            Err(why) => tried.push(Tried { backend, outcome: Err(why) }),
        }
    }
    let why = why_none(request.choice, &tried);
    if matches!(request.choice, Choice::Auto | Choice::None) {
        return Ok(Survey { tree: Tree::None(why), tried });
    }
    Err(format!(
        "[cgroup] backend = \"{}\" is not to be had here: {why}; \"auto\" takes what there is",
        request.choice
    ))
}

/// One reason of all, in the words that operators search for.
fn why_none(choice: Choice, tried: &[Tried]) -> String {
    if choice == Choice::None {
        return "no cgroup is used: supervisor.toml says [cgroup] backend = \"none\", or the command line \
                --cgroup none"
            .into();
    }
    let refused = tried.iter().any(|tried| matches!(tried.outcome, Err(Unavailable::Permission(_))));
    let list: Vec<String> = tried
        .iter()
        .filter_map(|tried| Some(format!("{}: {}", tried.backend, tried.outcome.as_ref().err()?)))
        .collect();
    let head = if refused { "Cannot create cgroup (permission denied)" } else { "Cannot create cgroup" };
    format!("{head}; tried {}; {READ_ON}", list.join("; "))
}

impl Tree {
    /// The controllers that a job's cgroup has.
    #[must_use]
    pub fn controllers(&self) -> Vec<Controller> {
        match self {
            Self::V2(tree) => tree.controllers(),
            Self::V1(tree) => tree.controllers(),
            Self::None(_) => Vec::new(),
        }
    }

    /// Makes the cgroup of a run, empty and without limits.
    ///
    /// # Errors
    /// Why there is none, in words for the report.
    pub fn create(&self, job: &str) -> Result<Cgroup, String> {
        let made = match self {
            Self::V2(tree) => tree.create(job),
            Self::V1(tree) => tree.create(job),
            Self::None(why) => return Err(why.clone()),
        };
        made.map_err(|why| match why {
            Unavailable::Permission(text) => format!("Cannot create cgroup (permission denied): {text}"),
            Unavailable::Missing(text) => format!("Cannot create cgroup: {text}"),
        })
    }

    /// Removes the cgroups of jobs that have no process in them. Those in use stay: a run that is about
    /// to start has none yet.
    pub fn sweep(&self, in_use: &[&Cgroup]) {
        match self {
            Self::V2(tree) => tree.sweep(in_use),
            Self::V1(tree) => tree.sweep(in_use),
            Self::None(_) => {}
        }
    }

    /// The directories below which the jobs' cgroups are made.
    #[must_use]
    pub fn dirs(&self) -> Vec<&Path> {
        match self {
            Self::V2(tree) => vec![tree.unit()],
            Self::V1(tree) => tree.bases(),
            Self::None(_) => Vec::new(),
        }
    }

    /// Why there are no cgroups here.
    #[must_use]
    pub fn why_none(&self) -> Option<&str> {
        match self {
            Self::None(why) => Some(why),
            Self::V1(_) | Self::V2(_) => None,
        }
    }
}

/// What a cgroup's limits were before, so that what is no longer asked for goes back to the default.
#[derive(Debug, Clone, Copy)]
pub enum Before<'a> {
    /// It was just made: everything is at its default.
    Fresh,
    /// It was governed by these.
    Was(&'a Constraints),
    /// It is not known, so everything that is not asked for is reset.
    Unknown,
}

/// Puts limits in force, and reads each back. One status for each constraint that a controller keeps,
/// in the order of [`Constraints::requested`], and one for each default that could not be restored.
#[must_use]
pub fn apply(cgroup: &Cgroup, wanted: &Constraints, before: Before<'_>) -> Vec<ConstraintStatus> {
    match cgroup {
        Cgroup::V2 { dir, backend, .. } => v2::apply(dir, *backend, wanted, before),
        Cgroup::V1 { dirs } => v1::apply(dirs, wanted, before),
    }
}

/// Reads back every constraint that a controller keeps, and changes nothing.
#[must_use]
pub fn read_back(cgroup: &Cgroup, wanted: &Constraints) -> Vec<ConstraintStatus> {
    match cgroup {
        Cgroup::V2 { dir, backend, .. } => v2::read_back(dir, *backend, wanted),
        Cgroup::V1 { dirs } => v1::read_back(dirs, wanted),
    }
}

/// What the kernel says of each limit that it has a file for, as [`restore`] takes it. `cpu_max` stands
/// for `cpu_quota`, too.
#[must_use]
pub fn originals(cgroup: &Cgroup) -> Vec<(ConstraintName, String)> {
    match cgroup {
        Cgroup::V2 { dir, .. } => v2::originals(dir),
        Cgroup::V1 { dirs } => v1::originals(dirs),
    }
}

/// Gives the limits that `was` asks for back what they were; the others are left alone. Nobody is killed
/// for it: a limit that is below what is in use now stays as it is. A cgroup that is gone has none.
///
/// What could not be restored, and why.
#[must_use]
pub fn restore(
    cgroup: &Cgroup,
    originals: &[(ConstraintName, String)],
    was: &Constraints,
) -> Vec<(ConstraintName, String)> {
    let governed: Vec<ConstraintName> = was.requested().into_iter().map(|(name, _)| name).collect();
    let is_governed = |name| match name {
        // Two spellings of one limit.
        ConstraintName::CpuMax => was.cpu.is_some(),
        name => governed.contains(&name),
    };
    let ours: Vec<_> = originals.iter().filter(|(name, _)| is_governed(*name)).cloned().collect();
    match cgroup {
        Cgroup::V2 { dir, .. } => v2::restore(dir, &ours, was),
        Cgroup::V1 { dirs } => v1::restore(dirs, &ours, was),
    }
}

/// The statuses where there is no cgroup.
#[must_use]
pub fn not_in_force(wanted: &Constraints, why: &str) -> Vec<ConstraintStatus> {
    let kept = wanted.requested().into_iter().filter(|(name, _)| Controller::of(*name).is_some());
    kept.map(|(name, requested)| ConstraintStatus {
        name,
        requested,
        applied: false,
        actual: None,
        backend: Backend::None,
        reason: Some(why.into()),
    })
    .collect()
}

/// What becomes of limits whose cgroup the workload is not in.
#[must_use]
pub fn outside(limits: Vec<ConstraintStatus>, why: &str) -> Vec<ConstraintStatus> {
    let refused = |status| ConstraintStatus {
        applied: false,
        actual: None,
        reason: Some(format!("the workload is not in its cgroup: {why}")),
        ..status
    };
    limits.into_iter().map(refused).collect()
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

/// The directories of a cgroup, each once.
pub(super) fn dirs_of(cgroup: &Cgroup) -> BTreeSet<&Path> {
    match cgroup {
        Cgroup::V2 { dir, .. } => [dir.as_ref()].into(),
        Cgroup::V1 { dirs } => dirs.values().map(AsRef::as_ref).collect(),
    }
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
pub(super) fn procs_in(dir: &Path) -> io::Result<Vec<Pid>> {
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
    if std::fs::metadata(dir).is_ok_and(|metadata| metadata.nlink() == 2) {
        return Ok(());
    }
    for below in std::fs::read_dir(dir).into_iter().flatten().flatten() {
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

/// Removes what is right below these directories and has no process in it, but for those in use.
fn sweep<'a>(bases: impl IntoIterator<Item = &'a Path>, in_use: &[&Cgroup]) {
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

/// Removes a directory of a cgroup and those that the workload made below it.
fn remove_dir(dir: &Path) -> io::Result<bool> {
    let first = std::fs::remove_dir(dir);
    match first.as_ref().map_err(io::Error::raw_os_error) {
        Ok(()) | Err(Some(libc::ENOENT)) => return Ok(true),
        Err(Some(libc::EBUSY | libc::ENOTEMPTY)) => {}
        Err(_) => return first.map(|()| true),
    }
    let mut below = false;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            below = true;
            if !remove_dir(&entry.path())? {
                return Ok(false);
            }
        }
    }
    match std::fs::remove_dir(dir) {
        _ if !below => Ok(false),
        Ok(()) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a cgroup; false if it was there.
fn make(dir: &Path) -> Result<bool, Unavailable> {
    match std::fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Unavailable::new("making", dir, &error)),
    }
}

/// A job's name as a directory. Names such as `cpu.max` are the kernel's there; as with systemd, an
/// underscore makes them ours, which no job's name begins with.
fn escape(job: &str) -> String {
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
