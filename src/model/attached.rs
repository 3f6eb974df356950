//! A process that was taken over: who it is, where its limits are kept, and what everything was like
//! before. Recorded before the first change, so that whoever lets it go can restore it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::constraints::ConstraintName;
use super::process::{Pid, ProcessIdentity};

/// A process that was taken over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attached {
    /// The process.
    pub process: ProcessIdentity,
    /// The program and its arguments, as it shows them (`/proc/PID/cmdline`).
    #[serde(default)]
    pub command: Vec<String>,
    /// Where its limits are kept.
    pub place: Place,
    /// What it (the first one) and its descendants had before.
    #[serde(default)]
    pub before: Vec<Before>,
}

/// Where the limits of a process are kept that we did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// In its own cgroup, in which nobody else is: it stays where it is. The cgroup is that of the spec,
    /// and not ours to kill or to remove.
    Stays {
        /// What the kernel said of each limit that it has a file for. `cpu_max` stands for `cpu_quota`, too.
        #[serde(default)]
        before: Vec<(ConstraintName, String)>,
        /// The systemd unit whose cgroup that is: it is told, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        unit: Option<Unit>,
    },
    /// In a cgroup of ours, that of the spec, into which it is moved with its descendants.
    Moved,
    /// Nowhere: limits of a cgroup are not in force for it, and why.
    None(String),
}

/// A unit of systemd, and what it said of the limits that we may set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unit {
    /// Its name.
    pub name: String,
    /// Its properties (org.freedesktop.systemd1(5)), by name.
    #[serde(default)]
    pub properties: Vec<(String, Property)>,
    /// Its drop-in files (`DropInPaths`).
    #[serde(default)]
    pub drop_ins: Vec<PathBuf>,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Property {
    /// A number (D-Bus type `t`); the largest is no limit.
    Number(u64),
    /// A mask of CPUs (`ay`); empty is none.
    Mask(Vec<u8>),
}

/// What a process had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The process.
    pub process: ProcessIdentity,
    /// Its cgroups, one for each hierarchy that limits are kept in.
    #[serde(default)]
    pub homes: Vec<Home>,
    /// `/proc/PID/oom_score_adj`.
    #[serde(default)]
    pub oom_score_adj: Option<i16>,
    /// Its threads, the main one first.
    #[serde(default)]
    pub threads: Vec<ThreadBefore>,
}

/// The cgroup of a process in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Home {
    /// Where the hierarchy is mounted.
    pub mount: PathBuf,
    /// The cgroup's directory, in it.
    pub dir: PathBuf,
}

/// What a thread had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadBefore {
    /// Its number.
    pub thread: Pid,
    /// Its nice value.
    #[serde(default)]
    pub nice: Option<i8>,
    /// The CPUs that it may run on, as `cpus` is written.
    #[serde(default)]
    pub cpus: Option<String>,
    /// Its I/O priority as ioprio_get(2) gives it.
    #[serde(default)]
    pub io_priority: Option<i32>,
}
