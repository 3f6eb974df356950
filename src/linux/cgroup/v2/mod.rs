//! A delegated subtree of the unified hierarchy: `<unit>/{supervisor,wrappers,jobs/<job>}`.
//!
//! Two levels deep, with the controllers enabled in both: systemd clears the unit's own
//! `cgroup.subtree_control` when it stops the unit, and limits right below it would vanish with that.
//! Nothing above the unit is touched. Rests on cgroups(7) and Documentation/admin-guide/cgroup-v2.rst.

mod limits;
mod status;
mod value;
mod write;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

pub use self::limits::{apply, originals, read_back, restore};
use super::common::Before;
use super::files;
use super::folders::{escape, make, remove_dir, sweep};
use super::mounts::{Hierarchy, Mounts};
use super::request::{Request, Unavailable};
use crate::linux::sys;
use crate::model::cgroup::{Cgroup, Controller};
use crate::model::constraints::{Backend, Constraints};

/// The cgroup that the supervisor itself is in: also the name for `DelegateSubgroup=`.
pub const SUPERVISOR: &str = "supervisor";
/// The cgroup of the process that keeps a unit alive which has no other.
const HOLDER: &str = "holder";
pub(super) const WRAPPERS: &str = "wrappers";
pub(super) const JOBS: &str = "jobs";

/// Extended attributes that systemd sets on what it has delegated (systemd.resource-control(5),
/// `Delegate=`), as the system's manager; the second one can only be read by root.
const DELEGATED: [&std::ffi::CStr; 2] = [c"user.delegate", c"trusted.delegate"];

/// A subtree that is ours.
#[derive(Debug)]
pub struct Tree {
    unit: PathBuf,
    backend: Backend,
    controllers: Vec<Controller>,
}

impl Tree {
    /// Finds the subtree that was delegated to this process, and makes what it needs in it.
    ///
    /// # Errors
    /// There is no unified hierarchy with controllers, or none of it is ours.
    pub fn open(mounts: &Mounts, request: &Request<'_>, booted: bool) -> Result<Self, Unavailable> {
        let hierarchy = unified(mounts)?;
        if let Some(parent) = request.parent {
            let unit = hierarchy.mount.join(parent.strip_prefix("/").unwrap_or(parent));
            return Self::within(unit, &hierarchy.own, Backend::CgroupV2);
        }
        let own = &hierarchy.own;
        let (unit, apart) = match own.parent() {
            Some(unit) if own.file_name().is_some_and(|name| name == SUPERVISOR) => (unit, true),
            _ => (own.as_path(), false),
        };
        // Only `DelegateSubgroup=` puts a process there: the managers of users leave no other trace.
        if booted && !apart && !is_delegated(unit) {
            return Err(Unavailable::Missing(format!(
                "systemd has not delegated {} to us (Delegate=yes and DelegateSubgroup=supervisor in the unit do)",
                unit.display()
            )));
        }
        // The root of the hierarchy may hold processes beside cgroups, and so may hold several of us.
        if is_root(unit) {
            let below = unit.join(request.instance);
            enable(unit);
            return Self::within(below, own, Backend::CgroupV2);
        }
        Self::within(unit.to_owned(), own, Backend::CgroupV2)
    }

    /// Makes the layout in a cgroup that is ours to use. `own` is the cgroup this process is in.
    ///
    /// # Errors
    /// The kernel refuses, or offers no controller.
    pub fn within(unit: PathBuf, own: &Path, backend: Backend) -> Result<Self, Unavailable> {
        make(&unit)?;
        if own == unit {
            // The kernel lets no cgroup have processes and controllers for its children.
            let leaf = unit.join(SUPERVISOR);
            make(&leaf)?;
            files::write(&leaf, "cgroup.procs", "0")
                .map_err(|error| Unavailable::new("entering", &leaf, &error))?;
        }
        let refused = lay_out(&unit)?;
        let jobs = unit.join(JOBS);
        let enabled = listed(&jobs, "cgroup.subtree_control");
        if enabled.is_empty() {
            let why = refused.into_iter().next().map_or_else(
                || {
                    let path = unit.join("cgroup.controllers");
                    Unavailable::Missing(format!("no controller is delegated: {} is empty", path.display()))
                },
                |error| Unavailable::new("enabling controllers in", &unit, &error),
            );
            return Err(why);
        }
        Ok(Self { unit, backend, controllers: enabled })
    }

    /// The cgroup that holds all others.
    #[must_use]
    pub fn unit(&self) -> &Path {
        &self.unit
    }

    /// The cgroup that wrappers live in.
    #[must_use]
    pub fn wrappers(&self) -> PathBuf {
        self.unit.join(WRAPPERS)
    }

    /// The controllers that a job's cgroup has.
    #[must_use]
    pub fn controllers(&self) -> Vec<Controller> {
        self.controllers.clone()
    }

    /// Makes the cgroup of a run. One that an earlier run left is made anew; where something of that
    /// still lives, it is shared with it, and its limits are reset.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn create(&self, job: &str) -> Result<Cgroup, Unavailable> {
        let dir = self.unit.join(JOBS).join(escape(job));
        let _ = remove_dir(&dir);
        if !dir.parent().is_some_and(Path::exists) {
            // Somebody tidied up: without a job in it, it is an empty cgroup like others.
            lay_out(&self.unit)?;
        }
        if !make(&dir)? {
            let _ = apply(&dir, self.backend, &Constraints::default(), Before::Unknown);
        }
        // If one process of a job has to go, the job has: else what is left runs on without its main
        // process, or its main process without what it waits for. Without the controller there is no such
        // file, and no kill either.
        let _ = files::write(&dir, "memory.oom.group", "1");
        Ok(Cgroup::V2 { dir, wrappers: self.wrappers(), backend: self.backend })
    }

    /// Removes the cgroups of jobs that have no process in them, but for those that are in use.
    pub fn sweep(&self, in_use: &[&Cgroup]) {
        sweep([self.unit.join(JOBS).as_path()], in_use);
    }
}

impl Drop for Tree {
    /// Nothing is left of a supervisor that leaves no job behind. What is in use refuses.
    fn drop(&mut self) {
        for dir in [self.unit.join(JOBS), self.unit.join(WRAPPERS), self.unit.clone()] {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Moves this process into a part of the cgroup that it is in, so that there can be others beside it: the
/// kernel lets no cgroup have processes and controllers for its children.
///
/// # Errors
/// There is no unified hierarchy with controllers, or the cgroup is not ours to divide.
pub fn enter_holder() -> Result<(), Unavailable> {
    let mounts =
        Mounts::read().map_err(|error| Unavailable::Missing(format!("cannot read /proc: {error}")))?;
    let leaf = unified(&mounts)?.own.join(HOLDER);
    make(&leaf)?;
    files::write(&leaf, "cgroup.procs", "0").map_err(|error| Unavailable::new("entering", &leaf, &error))
}

/// The unified hierarchy, if it has controllers.
///
/// # Errors
/// It is not mounted, or all controllers are with version 1.
pub fn unified(mounts: &Mounts) -> Result<&Hierarchy, Unavailable> {
    let Some(hierarchy) = &mounts.unified else {
        return Err(Unavailable::Missing("no cgroup2 file system is mounted".into()));
    };
    if listed(&hierarchy.mount, "cgroup.controllers").is_empty() {
        return Err(Unavailable::Missing(format!(
            "{} has no controllers: they are with version 1, or disabled",
            hierarchy.mount.display()
        )));
    }
    Ok(hierarchy)
}

/// Whether systemd has handed this cgroup to whoever runs in it.
fn is_delegated(dir: &Path) -> bool {
    DELEGATED.iter().any(|name| sys::getxattr(dir, name).is_ok_and(|value| value == b"1"))
}

/// The hierarchy's own root has no type (Documentation/admin-guide/cgroup-v2.rst, "Core Interface Files").
fn is_root(dir: &Path) -> bool {
    !dir.join("cgroup.type").exists()
}

/// Makes the cgroups that all jobs share. Gives what was refused of their controllers.
fn lay_out(unit: &Path) -> Result<Vec<io::Error>, Unavailable> {
    make(unit)?;
    make(&unit.join(WRAPPERS))?;
    make(&unit.join(JOBS))?;
    let mut refused = enable(unit);
    refused.extend(enable(&unit.join(JOBS)));
    Ok(refused)
}

/// The controllers of version 2 that a file lists; none if it cannot be read.
fn listed(dir: &Path, file: &str) -> Vec<Controller> {
    let text = files::read(dir, file).unwrap_or_default();
    Controller::V2.into_iter().filter(|c| text.split_whitespace().any(|word| word == c.as_str())).collect()
}

/// Enables every controller there is for the children of a cgroup, each by itself: one that cannot be
/// must not take the others with it. Gives what was refused.
fn enable(dir: &Path) -> Vec<io::Error> {
    let enabled = listed(dir, "cgroup.subtree_control");
    let missing = listed(dir, "cgroup.controllers").into_iter().filter(|c| !enabled.contains(c));
    missing.filter_map(|c| files::write(dir, "cgroup.subtree_control", &format!("+{c}")).err()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_controllers_there_is_no_unified_hierarchy_to_use() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut mounts = Mounts::default();
        assert!(unified(&mounts).is_err_and(|why| why.to_string().contains("no cgroup2 file system")));
        mounts.unified = Some(Hierarchy { mount: dir.path().into(), own: dir.path().into() });
        assert!(unified(&mounts).is_err_and(|why| why.to_string().contains("has no controllers")));
        fs::write(dir.path().join("cgroup.controllers"), "cpu hugetlb\n").expect("written");
        assert_eq!(listed(dir.path(), "cgroup.controllers"), [Controller::Cpu]);
        assert!(unified(&mounts).is_ok());
    }
}
