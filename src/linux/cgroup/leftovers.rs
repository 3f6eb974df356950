//! Empty cgroups that supervisors left which are gone. Known by their names alone: `ffrtmp` or `ffrtmp-<8 hex digits>`, with
//! nothing in it but what a supervisor makes. They are removed by rmdir(2), which the kernel refuses where one is in use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::folders::remove_dir;
use super::members::procs_in;
use super::mounts::Mounts;
use super::v2::{JOBS, SUPERVISOR, WRAPPERS};
use crate::model::ids::JobId;

/// How far down, and how many directories of a hierarchy are looked at.
const MAX_DEPTH: usize = 16;
const MAX_DIRS: usize = 100_000;

/// The cgroups of one supervisor that is gone. Nothing is in any of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Leftover {
    /// The name that stands for its state folder.
    pub instance: String,
    /// Where its cgroups are, in each hierarchy.
    pub dirs: Vec<PathBuf>,
    /// How many there are, those of jobs counted.
    pub cgroups: usize,
}

/// The mount points of all hierarchies.
#[must_use]
pub fn hierarchies(mounts: &Mounts) -> Vec<PathBuf> {
    let all = mounts.v1.values().chain(&mounts.unified).map(|hierarchy| hierarchy.mount.clone());
    let unique: BTreeSet<PathBuf> = all.collect();
    unique.into_iter().collect()
}

/// Whatever lies below these directories of supervisors that are not among those `alive`, and has no process in any of its cgroups.
#[must_use]
pub fn find(below: &[PathBuf], alive: impl FnOnce() -> BTreeSet<String>) -> Vec<Leftover> {
    let mut found: BTreeMap<String, Vec<PathBuf>> = BTreeMap::new();
    for top in below {
        let mut left = MAX_DIRS;
        search(top, MAX_DEPTH, &mut left, &mut found);
    }
    // Only now: one that began before its cgroups were found is among them.
    let alive = alive();
    let ours = found
        .into_iter()
        .filter(|(instance, dirs)| !alive.contains(instance) && dirs.iter().all(|dir| is_dead(dir)));
    let leftover = |(instance, dirs): (String, Vec<PathBuf>)| {
        let cgroups = dirs.iter().map(|dir| count(dir)).sum();
        Leftover { instance, dirs, cgroups }
    };
    ours.map(leftover).collect()
}

/// Removes them, and gives how many of its cgroups are still there.
///
/// # Errors
/// The kernel refuses for another reason than that one is in use.
pub fn remove(leftover: &Leftover) -> io::Result<usize> {
    let mut left = 0;
    for dir in &leftover.dirs {
        // Somebody may have begun meanwhile: then all of it stays, as far as that is known here.
        if !procs_in(dir)?.is_empty() || !remove_dir(dir)? {
            left += count(dir);
        }
    }
    Ok(left)
}

fn search(dir: &Path, depth: usize, left: &mut usize, found: &mut BTreeMap<String, Vec<PathBuf>>) {
    for (name, path) in below(dir) {
        if depth == 0 || *left == 0 {
            return;
        }
        *left -= 1;
        if is_instance(&name) {
            found.entry(name).or_default().push(path);
        } else {
            search(&path, depth - 1, left, found);
        }
    }
}

/// The cgroups right below one.
fn below(dir: &Path) -> Vec<(String, PathBuf)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    dirs.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path())).collect()
}

/// A name that a supervisor gives to the cgroup that holds all of its own.
fn is_instance(name: &str) -> bool {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    match name.strip_prefix("ffrtmp") {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|hash| hash.len() == 8 && hash.chars().all(is_hex)),
        None => false,
    }
}

/// Whether it holds nothing but what a supervisor makes there, and no process. What cannot be read is taken to live.
fn is_dead(dir: &Path) -> bool {
    let fits = |(name, _): (String, PathBuf)| {
        let job = name.strip_prefix('_').unwrap_or(&name);
        [SUPERVISOR, WRAPPERS, JOBS].contains(&&*name) || JobId::try_from(job.to_owned()).is_ok()
    };
    below(dir).into_iter().all(fits) && procs_in(dir).is_ok_and(|procs| procs.is_empty())
}

/// How many cgroups there are, with this one.
fn count(dir: &Path) -> usize {
    let own = usize::from(dir.exists());
    own + below(dir).iter().map(|(_, path)| count(path)).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_supervisor_gives_are_ours() {
        for ours in ["ffrtmp", "ffrtmp-0123abcd"] {
            assert!(is_instance(ours), "{ours}");
        }
        for other in [
            "ffrtmp-0123ABCD",
            "ffrtmp-0123abc",
            "ffrtmp-doctor-12345678",
            "ffrtmp.slice",
            "xffrtmp",
            "ffrtmp-",
        ] {
            assert!(!is_instance(other), "{other}");
        }
    }
}
