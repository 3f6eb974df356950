//! Cgroups: which mechanism this host offers, the cgroup of each run, and the limits in it.
//!
//! [`open`] chooses once, at the supervisor's start. Everything else works on a
//! [`Cgroup`](crate::model::cgroup::Cgroup) as it was recorded, so a run keeps its limits whatever a later
//! supervisor's choice is. A limit counts as in force only after it was read back.

mod common;
pub mod counters;
mod disks;
pub mod files;
mod folders;
pub mod leftovers;
mod limits;
mod members;
pub mod mounts;
mod request;
pub mod systemd;
mod tree;
pub mod v1;
pub mod v2;

pub use self::common::Before;
pub(super) use self::folders::dirs_of;
pub use self::folders::{is_kernels, remove};
pub use self::limits::{apply, not_in_force, originals, outside, read_back, restore};
pub(super) use self::members::procs_in;
pub use self::members::{holds, kill, procs, signal};
pub use self::request::{READ_ON, Request, Unavailable};
pub use self::tree::{Survey, Tree, Tried, open, systemd_booted};
