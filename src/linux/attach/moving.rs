//! Moving a process with its descendants into a cgroup of ours, and back to where they were.
//!
//! There is no call that takes a pidfd: a number is written right after it was verified.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use super::attributes;
use crate::linux::cgroup::{dirs_of, files, procs_in};
use crate::linux::process::{family, identify, is_zombie};
use crate::model::attached::{Attached, Home};
use crate::model::cgroup::Cgroup;
use crate::model::process::{Pid, ProcessIdentity};

/// Passes after which we settle for those that were moved.
const MAX_PASSES: usize = 64;

/// Moves a process into a cgroup, then its descendants until a pass finds nobody outside: what is forked
/// inside stays inside. By directory, why the process is not in it.
pub(super) fn gather(process: &ProcessIdentity, cgroup: &Cgroup) -> BTreeMap<PathBuf, String> {
    let mut refused = BTreeMap::new();
    let mut failed: HashSet<(PathBuf, Pid)> = HashSet::new();
    for _ in 0..MAX_PASSES {
        let mut fresh = false;
        let members = match family(process) {
            Ok(descendants) => std::iter::once(process.clone()).chain(descendants),
            Err(error) => {
                refused.extend(dirs_of(cgroup).into_iter().map(|dir| (dir.to_owned(), error.to_string())));
                break;
            }
        };
        let inside: Vec<(&Path, HashSet<Pid>)> = dirs_of(cgroup)
            .into_iter()
            .map(|dir| (dir, procs_in(dir).unwrap_or_default().into_iter().collect()))
            .collect();
        for member in members {
            let outside = |(dir, list): &&(&Path, HashSet<Pid>)| {
                !list.contains(&member.pid) && !failed.contains(&((*dir).to_owned(), member.pid))
            };
            let outside: Vec<&Path> = inside.iter().filter(outside).map(|(dir, _)| *dir).collect();
            if outside.is_empty() {
                continue;
            }
            let moved = attributes::keeping_affinities(&member, || {
                outside.iter().map(|dir| (*dir, put(&member, dir))).collect::<Vec<_>>()
            });
            for (dir, moved) in moved {
                match moved {
                    Ok(there) => fresh |= there,
                    Err(error) => {
                        failed.insert((dir.to_owned(), member.pid));
                        refused.entry(dir.to_owned()).or_insert_with(|| error.to_string());
                    }
                }
            }
        }
        if !fresh {
            break;
        }
    }
    refused
}

/// Moves what is in a cgroup of ours back to where it was, until a pass finds nobody: what was born there
/// goes where the process was. Adds to `known` who was seen there. In words what went another way.
pub(super) fn go_home(attached: &Attached, cgroup: &Cgroup, known: &mut Vec<ProcessIdentity>) -> Vec<String> {
    let mut told = Vec::new();
    let mut failed: HashSet<(PathBuf, Pid)> = HashSet::new();
    for _ in 0..MAX_PASSES {
        let mut fresh = false;
        for dir in dirs_of(cgroup) {
            let list = match procs_in(dir) {
                Ok(list) => list,
                Err(error) => {
                    told.push(format!("who is in {} is not known: {error}", dir.display()));
                    continue;
                }
            };
            for pid in list {
                if failed.contains(&(dir.to_owned(), pid)) {
                    continue;
                }
                let Ok(Some(process)) = identify(pid) else { continue };
                if !known.contains(&process) {
                    known.push(process.clone());
                }
                match attributes::keeping_affinities(&process, || put_home(attached, &process, dir)) {
                    Ok(went) => {
                        fresh = true;
                        told.extend(went.filter(|went| !told.contains(went)));
                    }
                    Err(why) => {
                        failed.insert((dir.to_owned(), pid));
                        told.push(format!("process {pid} stays in {}: {why}", dir.display()));
                    }
                }
            }
        }
        if !fresh {
            break;
        }
    }
    told
}

/// Moves one process to where it was in the hierarchy of one of our directories; where that is gone, to the
/// nearest cgroup above that takes processes, and tells so.
fn put_home(attached: &Attached, process: &ProcessIdentity, ours: &Path) -> Result<Option<String>, String> {
    let home = home_of(attached, process, ours).ok_or("where it was is not recorded")?;
    let within = home.dir.ancestors().take_while(|dir| dir.starts_with(&home.mount));
    let mut first = None;
    for dir in within {
        match put(process, dir) {
            Ok(_) if dir == home.dir => return Ok(None),
            Ok(_) => {
                let why = first.unwrap_or_default();
                return Ok(Some(format!(
                    "{} does not take process {} back ({why}); it is in {} now",
                    home.dir.display(),
                    process.pid,
                    dir.display()
                )));
            }
            Err(error) => drop(first.get_or_insert_with(|| error.to_string())),
        }
    }
    Err(first.unwrap_or_default())
}

/// Where a process was; for one that was born since, where the one that was taken over was.
fn home_of<'a>(attached: &'a Attached, process: &ProcessIdentity, ours: &Path) -> Option<&'a Home> {
    let recorded = attached.before.iter().find(|before| before.process == *process);
    recorded
        .into_iter()
        .chain(&attached.before)
        .find_map(|before| before.homes.iter().find(|home| ours.starts_with(&home.mount)))
}

/// Moves a process into one directory; false if it is gone, or about to be.
fn put(process: &ProcessIdentity, dir: &Path) -> io::Result<bool> {
    if identify(process.pid)?.as_ref() != Some(process) || is_zombie(process)? {
        return Ok(false);
    }
    match files::write(dir, "cgroup.procs", &process.pid.to_string()) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        other => other.map(|()| true),
    }
}
