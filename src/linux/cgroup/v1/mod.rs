//! Cgroups of version 1: `<own cgroup>/<instance>/<job>` in each hierarchy that lets us.
//!
//! A job has a directory in every one of them, so that any limit can be set later without moving a
//! process. Each controller stands for itself: one that is not ours to use is left out. Nothing above
//! `<instance>` is touched. Rests on cgroups(7) and Documentation/admin-guide/cgroup-v1/.
//!
//! Directories are made and removed here, and not by the crate cgroups-rs, which the limits go through:
//! it makes missing parents, fills the cpusets of cgroups that are not ours, and sleeps while it removes.

mod interface;
mod limits;
mod status;
mod value;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

pub use self::limits::{apply, originals, read_back, restore};
use super::common::Before;
use super::files;
use super::folders::{escape, make, remove_dir, sweep};
use super::mounts::{Hierarchy, Mounts};
use super::request::{Request, Unavailable};
use crate::model::cgroup::{Cgroup, Controller};
use crate::model::constraints::Constraints;

/// The directories below which the jobs' cgroups are, by controller.
#[derive(Debug)]
pub struct Tree {
    bases: BTreeMap<Controller, PathBuf>,
}

impl Tree {
    /// Makes the directories in every hierarchy that lets us.
    ///
    /// # Errors
    /// There is no hierarchy of version 1, or none lets us.
    pub fn open(mounts: &Mounts, request: &Request<'_>) -> Result<Self, Unavailable> {
        let mut bases = BTreeMap::new();
        let mut refused = Vec::new();
        for (&controller, hierarchy) in &mounts.v1 {
            let base = base(hierarchy, request);
            match make_base(controller, &base).and_then(|()| usable(&base)) {
                Ok(()) => drop(bases.insert(controller, base)),
                Err(why) => refused.push(why),
            }
        }
        if bases.is_empty() {
            // One of them is worth a word to the operator: that which a right could be given for.
            let at = refused.iter().position(|why| matches!(why, Unavailable::Permission(_)));
            return Err(match refused.is_empty() {
                true => Unavailable::Missing("no hierarchy of version 1 with a controller is mounted".into()),
                false => refused.swap_remove(at.unwrap_or(0)),
            });
        }
        Ok(Self { bases })
    }

    /// The controllers there are.
    #[must_use]
    pub fn controllers(&self) -> Vec<Controller> {
        self.bases.keys().copied().collect()
    }

    /// The directories below which the jobs' cgroups are made.
    #[must_use]
    pub fn bases(&self) -> Vec<&Path> {
        let unique: BTreeSet<&Path> = self.bases.values().map(AsRef::as_ref).collect();
        unique.into_iter().collect()
    }

    /// Makes the cgroup of a run. One that an earlier run left is made anew; where something of that
    /// still lives, it is shared with it, and its limits are reset.
    ///
    /// # Errors
    /// The kernel refuses, in every hierarchy.
    pub fn create(&self, job: &str) -> Result<Cgroup, Unavailable> {
        let mut dirs = BTreeMap::new();
        let mut shared = false;
        let mut refused = None;
        for (&controller, base) in &self.bases {
            let dir = base.join(escape(job));
            // Controllers that are mounted together have one.
            let known = dirs.values().any(|other| *other == dir);
            match make_job(controller, &dir, known) {
                Ok(made) => {
                    shared |= !made;
                    dirs.insert(controller, dir);
                }
                // The limits of this controller will say that it is missing.
                Err(why) => refused = refused.or(Some(why)),
            }
        }
        if let Some(why) = refused
            && dirs.is_empty()
        {
            return Err(why);
        }
        if shared {
            let _ = apply(&dirs, &Constraints::default(), Before::Unknown);
        }
        Ok(Cgroup::V1 { dirs })
    }

    /// Removes the cgroups that have no process in them, but for those that are in use.
    pub fn sweep(&self, in_use: &[&Cgroup]) {
        sweep(self.bases(), in_use);
    }
}

impl Drop for Tree {
    /// Nothing is left of a supervisor that leaves no job behind. What is in use refuses.
    fn drop(&mut self) {
        for base in self.bases() {
            let _ = fs::remove_dir(base);
        }
    }
}

/// Where the jobs' cgroups are in a hierarchy. A supervisor that was started from within them, as by a
/// job, does not make others further down.
fn base(hierarchy: &Hierarchy, request: &Request<'_>) -> PathBuf {
    let above = match request.parent {
        Some(parent) => hierarchy.mount.join(parent.strip_prefix("/").unwrap_or(parent)),
        None => hierarchy.own.clone(),
    };
    let within = above.ancestors().take_while(|dir| *dir != hierarchy.mount);
    let found = within.into_iter().find(|dir| dir.file_name().is_some_and(|name| name == request.instance));
    found.map_or_else(|| above.join(request.instance), ToOwned::to_owned)
}

fn make_base(controller: Controller, base: &Path) -> Result<(), Unavailable> {
    make(base)?;
    if controller == Controller::Cpuset {
        let above = base.parent().unwrap_or(base);
        // One that was delegated to us may be as the kernel made it.
        let _ = inherit(above);
        inherit(base)?;
    }
    Ok(())
}

/// Whether jobs' cgroups can be made in a base that may be there for long.
fn usable(base: &Path) -> Result<(), Unavailable> {
    access(base, AccessFlags::W_OK | AccessFlags::X_OK)
        .map_err(|errno| Unavailable::new("making cgroups in", base, &errno.into()))
}

/// Makes a job's directory in one hierarchy, or readies one that is `known` for another controller; false
/// if something of an earlier run is still in it.
fn make_job(controller: Controller, dir: &Path, known: bool) -> Result<bool, Unavailable> {
    let mut made = true;
    if !known {
        let _ = remove_dir(dir);
        let base = dir.parent().unwrap_or(dir);
        if !base.exists() {
            // Somebody tidied up: without a job in it, it is an empty cgroup like others.
            make_base(controller, base)?;
        }
        made = make(dir)?;
    }
    if controller == Controller::Cpuset {
        inherit(dir)?;
    }
    Ok(made)
}

/// Gives a cpuset what its parent has, where it has nothing: no process could enter it.
fn inherit(dir: &Path) -> Result<(), Unavailable> {
    let parent = dir.parent().unwrap_or(dir);
    let fill = |file: &str| {
        if files::read(dir, file)?.is_empty() {
            files::write(dir, file, &files::read(parent, file)?)?;
        }
        Ok(())
    };
    let failed = |error: io::Error| Unavailable::new("filling the cpuset", dir, &error);
    ["cpuset.cpus", "cpuset.mems"].into_iter().try_for_each(fill).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cgroup::Choice;

    fn hierarchy(root: &Path, controller: &str, own: &str) -> Hierarchy {
        let mount = root.join(controller);
        let own = mount.join(own);
        fs::create_dir_all(&own).expect("made");
        Hierarchy { mount, own }
    }

    fn request<'a>(parent: Option<&'a Path>) -> Request<'a> {
        Request { choice: Choice::CgroupV1, parent, instance: "ffrtmp" }
    }

    #[test]
    fn each_hierarchy_has_a_base_and_a_supervisor_in_a_job_does_not_nest() {
        let at = |own: &str, parent| {
            let hierarchy = Hierarchy { mount: "/cg/cpu".into(), own: own.into() };
            base(&hierarchy, &request(parent)).display().to_string()
        };
        assert_eq!(at("/cg/cpu", None), "/cg/cpu/ffrtmp");
        assert_eq!(at("/cg/cpu/a/b", None), "/cg/cpu/a/b/ffrtmp");
        assert_eq!(at("/cg/cpu/a/ffrtmp", None), "/cg/cpu/a/ffrtmp");
        assert_eq!(at("/cg/cpu/a/ffrtmp/job", None), "/cg/cpu/a/ffrtmp");
        assert_eq!(at("/cg/cpu/a", Some(Path::new("/media"))), "/cg/cpu/media/ffrtmp");
    }

    #[test]
    fn a_hierarchy_that_refuses_is_left_out_and_none_at_all_is_an_error() {
        let root = tempfile::tempdir().expect("a directory");
        let mut mounts = Mounts::default();
        let none = Tree::open(&mounts, &request(None)).map(drop);
        assert!(none.is_err_and(|why| why.to_string().contains("no hierarchy of version 1")));
        mounts.v1.insert(Controller::Cpu, hierarchy(root.path(), "cpu", "a"));
        let gone = Hierarchy { mount: root.path().join("none"), own: root.path().join("none/a") };
        mounts.v1.insert(Controller::Memory, gone.clone());
        let tree = Tree::open(&mounts, &request(None)).expect("a tree");
        assert_eq!(tree.controllers(), [Controller::Cpu]);
        let cgroup = tree.create("cpu.stat").expect("a cgroup");
        let dir = root.path().join("cpu/a/ffrtmp/_cpu.stat");
        assert_eq!(cgroup, Cgroup::V1 { dirs: [(Controller::Cpu, dir.clone())].into() });
        assert!(dir.is_dir());
        // One in use stays; the others go, and with them what was made for them.
        tree.sweep(&[&cgroup]);
        assert!(dir.is_dir());
        tree.sweep(&[]);
        drop(tree);
        assert!(root.path().join("cpu/a").is_dir() && !root.path().join("cpu/a/ffrtmp").exists());
        mounts.v1 = [(Controller::Memory, gone)].into();
        assert!(matches!(Tree::open(&mounts, &request(None)), Err(Unavailable::Missing(_))));
    }
}
