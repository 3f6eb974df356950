//! Cgroups of version 1, one hierarchy per controller.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::mounts::Mounts;
use super::{Before, Request, Unavailable};
use crate::model::cgroup::{Cgroup, Controller};
use crate::model::constraints::{ConstraintStatus, Constraints};

/// The directories below which the jobs' cgroups are, by controller.
#[derive(Debug)]
pub struct Tree {
    bases: BTreeMap<Controller, PathBuf>,
}

impl Tree {
    /// Makes the directories in every hierarchy that lets us.
    ///
    /// # Errors
    /// None does.
    pub fn open(_mounts: &Mounts, _request: &Request<'_>) -> Result<Self, Unavailable> {
        Err(Unavailable::Missing("not part of this version yet".into()))
    }

    /// The controllers there are.
    #[must_use]
    pub fn controllers(&self) -> Vec<Controller> {
        self.bases.keys().copied().collect()
    }

    /// The directories below which the jobs' cgroups are made.
    #[must_use]
    pub fn bases(&self) -> Vec<&std::path::Path> {
        let unique: std::collections::BTreeSet<_> = self.bases.values().map(AsRef::as_ref).collect();
        unique.into_iter().collect()
    }

    /// Makes the cgroup of a run.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn create(&self, _job: &str) -> Result<Cgroup, Unavailable> {
        Err(Unavailable::Missing("not part of this version yet".into()))
    }

    /// Removes the cgroups that have no process in them, but for those that are in use.
    pub fn sweep(&self, _in_use: &[&Cgroup]) {}
}

/// Puts limits in force, see [`super::apply`].
#[must_use]
pub fn apply(
    _dirs: &BTreeMap<Controller, PathBuf>,
    wanted: &Constraints,
    _before: Before<'_>,
) -> Vec<ConstraintStatus> {
    super::not_in_force(wanted, "not part of this version yet")
}

/// Reads limits back, see [`super::read_back`].
#[must_use]
pub fn read_back(_dirs: &BTreeMap<Controller, PathBuf>, wanted: &Constraints) -> Vec<ConstraintStatus> {
    super::not_in_force(wanted, "not part of this version yet")
}
