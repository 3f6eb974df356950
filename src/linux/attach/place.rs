//! Where a process is: whether it may be governed, who shares its cgroups, and where its limits are kept.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::linux::cgroup::mounts::{Hierarchy, Mounts};
use crate::linux::cgroup::systemd::units;
use crate::linux::cgroup::{self, Tree, files, v2};
use crate::linux::process::{current, family, is_gone, is_zombie, stat_of};
use crate::model::attached::{Home, Place, Unit};
use crate::model::cgroup::{Cgroup, Controller};
use crate::model::constraints::Backend;
use crate::model::process::{Pid, ProcessIdentity};

/// What to do about a cgroup that is shared.
pub(super) const MOVE: &str = "set attach.move = true to have it moved into one of its own";

/// What became of a process that cannot be taken over because it is not there.
pub(super) fn gone(process: &ProcessIdentity) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("process {} does not exist", process.pid))
}

/// The process and its descendants, if it may be governed at all.
pub(super) fn may_be_governed(process: &ProcessIdentity, tree: &Tree) -> io::Result<Vec<ProcessIdentity>> {
    let refuse = |what: &str| {
        let text = format!("process {} is {what}: it is never taken over", process.pid);
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    };
    let Some(stat) = stat_of(process)?.filter(|stat| !stat.is_zombie()) else {
        return Err(gone(process));
    };
    if process.pid.as_raw() == 1 {
        return refuse("the init of this host");
    }
    if stat.is_kernel() {
        return refuse("a thread of the kernel");
    }
    if let Some(main) = main_thread(process.pid).filter(|main| *main != process.pid) {
        return refuse(&format!("a thread of process {main}"));
    }
    let ourselves = current()?;
    if *process == ourselves {
        return refuse("this program");
    }
    let mut members = vec![process.clone()];
    for member in family(process)? {
        if member == ourselves {
            return refuse("one that this program descends from");
        }
        if !is_zombie(&member)? {
            members.push(member);
        }
    }
    let own = tree.dirs();
    if homes(process).iter().any(|home| own.iter().any(|dir| home.dir.starts_with(dir))) {
        return refuse("in a cgroup of ours, and belongs to another job or to this program");
    }
    Ok(members)
}

/// The process that a thread belongs to (`Tgid` in `/proc/PID/status`): the kernel has a number, and a folder
/// in `/proc`, for each thread.
fn main_thread(thread: Pid) -> Option<Pid> {
    let text = fs::read_to_string(format!("/proc/{thread}/status")).ok()?;
    Pid::new(text.lines().find_map(|line| line.strip_prefix("Tgid:"))?.trim().parse().ok()?)
}

/// The arguments of a process; none for one that hides them.
pub(super) fn command_line(process: &ProcessIdentity) -> io::Result<Vec<String>> {
    let bytes = match fs::read(format!("/proc/{}/cmdline", process.pid)) {
        Err(error) if is_gone(&error) => return Err(gone(process)),
        other => other?,
    };
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_suffix('\0').unwrap_or(&text);
    Ok(if text.is_empty() { Vec::new() } else { text.split('\0').map(ToOwned::to_owned).collect() })
}

/// The cgroups of a process in the hierarchies that keep limits, as far as they can be seen from here.
pub(super) fn homes(process: &ProcessIdentity) -> Vec<Home> {
    let Ok(mounts) = Mounts::of(process.pid) else { return Vec::new() };
    let unified = v2::unified(&mounts).ok().into_iter();
    let all = unified.chain(mounts.v1.values());
    let mut homes: Vec<Home> =
        all.map(|place| Home { mount: place.mount.clone(), dir: place.own.clone() }).collect();
    // Controllers that are mounted together have one.
    homes.sort();
    homes.dedup();
    homes
}

/// Where the limits of the first of these, which descend from it, are to be kept.
pub(super) fn choose(
    members: &[ProcessIdentity],
    relocate: bool,
    tree: &Tree,
    job: &str,
) -> io::Result<(Place, Option<Cgroup>)> {
    let Some(process) = members.first() else {
        return Ok((Place::None("there is no process".into()), None));
    };
    let mounts = Mounts::of(process.pid)?;
    let own: HashSet<Pid> = members.iter().map(|member| member.pid).collect();
    let (stays, why) = match tree {
        Tree::None(why) => return Ok((Place::None(why.clone()), None)),
        Tree::V2(tree) => alone_v2(&mounts, &own, tree),
        Tree::V1(tree) => alone_v1(&mounts, &own, &tree.controllers(), relocate),
    };
    match stays {
        Some(cgroup) => {
            let before = cgroup::originals(&cgroup);
            Ok((Place::Stays { before, unit: unit_of(&mounts, &cgroup) }, Some(cgroup)))
        }
        None if relocate => Ok(match tree.create(job) {
            Ok(cgroup) => {
                // A kill for memory takes one process, as it would without us.
                if let Cgroup::V2 { dir, .. } = &cgroup {
                    let _ = files::write(dir, "memory.oom.group", "0");
                }
                (Place::Moved, Some(cgroup))
            }
            Err(why) => (Place::None(why), None),
        }),
        None => Ok((Place::None(format!("{why}; {MOVE}")), None)),
    }
}

/// The unit whose cgroup of version 2 this is, where systemd runs.
fn unit_of(mounts: &Mounts, cgroup: &Cgroup) -> Option<Unit> {
    let Cgroup::V2 { dir, .. } = cgroup else { return None };
    let path = dir.strip_prefix(&v2::unified(mounts).ok()?.mount).ok()?.to_str()?;
    cgroup::systemd_booted().then(|| units::of_cgroup(&format!("/{path}")))?
}

/// Its cgroup of version 2, if nobody else is in it; else why not.
fn alone_v2(mounts: &Mounts, own: &HashSet<Pid>, tree: &v2::Tree) -> (Option<Cgroup>, String) {
    let Ok(place) = v2::unified(mounts) else {
        return (None, "its cgroup cannot be seen from here".into());
    };
    match shared(place, own) {
        None => {
            let (dir, wrappers) = (place.own.clone(), tree.wrappers());
            (Some(Cgroup::V2 { dir, wrappers, backend: Backend::CgroupV2 }), String::new())
        }
        Some(why) => (None, why),
    }
}

/// Its cgroups of version 1 in the hierarchies in which nobody else is in them; with `all`, only if that is
/// so in every one of them. Else why not.
fn alone_v1(
    mounts: &Mounts,
    own: &HashSet<Pid>,
    controllers: &[Controller],
    all: bool,
) -> (Option<Cgroup>, String) {
    let mut dirs: BTreeMap<Controller, PathBuf> = BTreeMap::new();
    let mut why = None;
    for &controller in controllers {
        match mounts.v1.get(&controller).map(|place| (place, shared(place, own))) {
            Some((place, None)) => drop(dirs.insert(controller, place.own.clone())),
            Some((_, reason)) => why = why.or(reason),
            None => why = why.or_else(|| Some("its cgroup cannot be seen from here".into())),
        }
    }
    match why {
        Some(why) if all || dirs.is_empty() => (None, why),
        _ => (Some(Cgroup::V1 { dirs }), String::new()),
    }
}

/// Why the cgroup of a process is not its alone; `None` if it is.
fn shared(place: &Hierarchy, own: &HashSet<Pid>) -> Option<String> {
    let dir = &place.own;
    if *dir == place.mount {
        return Some(format!("it is in the root of the hierarchy {}, as many are", place.mount.display()));
    }
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    if name.ends_with(".slice") || *name == *"init.scope" {
        return Some(format!("its cgroup {} is not one process's", dir.display()));
    }
    if name.starts_with("session-") && name.ends_with(".scope") {
        return Some(format!("its cgroup {} is that of a login session", dir.display()));
    }
    match others_in(dir, own) {
        Ok(0) => None,
        Ok(others) => {
            let others = if others == 1 { "another process".into() } else { format!("{others} others") };
            Some(format!("it shares its cgroup {} with {others}", dir.display()))
        }
        Err(error) => Some(format!("who else is in its cgroup {} is not known: {error}", dir.display())),
    }
}

/// How many processes are in a cgroup or below it that are none of these. One that is outside of our pid
/// namespace is listed as 0 (pid_namespaces(7)).
fn others_in(dir: &Path, own: &HashSet<Pid>) -> io::Result<usize> {
    let text = files::read(dir, "cgroup.procs")?;
    let known =
        |line: &str| line.trim().parse().ok().and_then(Pid::new).is_some_and(|pid| own.contains(&pid));
    let mut others = text.lines().filter(|line| !known(line)).count();
    for below in fs::read_dir(dir)?.flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            others += match others_in(&below.path(), own) {
                // Gone, or threaded: then they are listed above it (cgroups(7), "Thread mode").
                Err(error)
                    if matches!(
                        error.raw_os_error(),
                        Some(libc::ENOENT | libc::ENODEV | libc::EOPNOTSUPP)
                    ) =>
                {
                    0
                }
                other => other?,
            };
        }
    }
    Ok(others)
}
