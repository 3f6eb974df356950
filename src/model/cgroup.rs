//! Cgroups: where the processes of a run are kept together, and which mechanism keeps them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::constraints::{Backend, ConstraintName};

/// The cgroup of a run, recorded in `spec.json`: whoever comes later finds it there, whatever its own
/// backend is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cgroup {
    /// A leaf of the unified hierarchy (cgroups(7), version 2).
    V2 {
        /// Its directory.
        dir: PathBuf,
        /// The directory of the cgroup that wrappers live in: what a wrapper uses is not charged to the job.
        wrappers: PathBuf,
        /// Who handed the subtree to us.
        backend: Backend,
    },
    /// A directory in each hierarchy of version 1, by controller. Controllers that are mounted together
    /// have the same one.
    V1 {
        /// By controller.
        dirs: BTreeMap<Controller, PathBuf>,
    },
}

impl Cgroup {
    /// By which mechanism its limits are kept.
    #[must_use]
    pub fn backend(&self) -> Backend {
        match self {
            Self::V2 { backend, .. } => *backend,
            Self::V1 { .. } => Backend::CgroupV1,
        }
    }

    /// The directory in which a controller keeps its files.
    #[must_use]
    pub fn dir(&self, controller: Controller) -> Option<&Path> {
        match self {
            Self::V2 { dir, .. } => Some(dir),
            Self::V1 { dirs } => dirs.get(&controller).map(AsRef::as_ref),
        }
    }
}

/// A controller of the kernel (cgroups(7)), by its name in version 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// Memory and swap.
    Memory,
    /// Disks; `blkio` in version 1.
    Io,
    /// Numbers of tasks.
    Pids,
    /// Which CPUs.
    Cpuset,
    /// Accounting of CPU time; version 1 only, `cpu` does it in version 2.
    Cpuacct,
}

impl Controller {
    /// Those of version 2.
    pub const V2: [Self; 5] = [Self::Cpu, Self::Memory, Self::Io, Self::Pids, Self::Cpuset];

    /// Its name in `cgroup.controllers`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Io => "io",
            Self::Pids => "pids",
            Self::Cpuset => "cpuset",
            Self::Cpuacct => "cpuacct",
        }
    }

    /// Its name in `/proc/self/cgroup` and among the mount options of version 1.
    #[must_use]
    pub fn as_str_v1(self) -> &'static str {
        if self == Self::Io { "blkio" } else { self.as_str() }
    }

    /// The controller that keeps a constraint; `None` for an attribute of processes.
    #[must_use]
    pub fn of(name: ConstraintName) -> Option<Self> {
        use ConstraintName as N;
        match name {
            N::CpuQuota | N::CpuMax | N::CpuWeight => Some(Self::Cpu),
            N::MemoryLimit | N::MemoryHigh | N::MemorySwap => Some(Self::Memory),
            N::IoWeight | N::IoMax => Some(Self::Io),
            N::TasksMax => Some(Self::Pids),
            N::Cpus => Some(Self::Cpuset),
            N::Nice | N::OomScoreAdj | N::IoClass | N::Rlimit(_) => None,
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which mechanism is to be used: `[cgroup] backend` of `supervisor.toml`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// The best that this host offers.
    #[default]
    Auto,
    /// A delegated subtree of the unified hierarchy, or none.
    CgroupV2,
    /// The hierarchies of version 1.
    CgroupV1,
    /// A subtree that systemd delegates when asked over D-Bus.
    Systemd,
    /// No cgroup: attributes of processes only.
    None,
}

impl Choice {
    /// As `supervisor.toml` writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::CgroupV2 => "cgroup-v2",
            Self::CgroupV1 => "cgroup-v1",
            Self::Systemd => "systemd",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
