//! The limits in the cgroup of a run, whichever version that is of: put in force, read back, restored.

use super::common::Before;
use super::{v1, v2};
use crate::model::cgroup::{Cgroup, Controller};
use crate::model::constraints::{Backend, ConstraintName, ConstraintStatus, Constraints};

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
