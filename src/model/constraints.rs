//! Constraints: what a job may ask of the kernel, and what became of it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::cpus::CpuSet;
use super::rlimit::Resource;
use super::units::ByteSize;

/// The limit on CPU time. `cpu_quota` and `cpu_max` are two spellings of one thing, so there is one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CpuLimit {
    /// `cpu_quota`: percent of one core; 0 is unlimited.
    Quota(u32),
    /// `cpu_max`: microseconds of CPU time in each period; no quota is unlimited.
    Max {
        /// Microseconds of CPU time; `None` is `max`.
        quota_us: Option<u64>,
        /// Length of the period in microseconds.
        period_us: u64,
    },
}

/// The I/O scheduling class and priority (ioprio_set(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IoClass {
    /// Served when nobody else wants the disk.
    Idle,
    /// The default class; 0 is the highest of its levels, 7 the lowest.
    BestEffort(u8),
    /// Served first; needs CAP_SYS_ADMIN or CAP_SYS_NICE.
    Realtime(u8),
}

impl fmt::Display for IoClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => f.write_str("idle"),
            Self::BestEffort(level) => write!(f, "best-effort:{level}"),
            Self::Realtime(level) => write!(f, "realtime:{level}"),
        }
    }
}

/// What a job asks for. `None` asks for nothing: the kernel's default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Constraints {
    /// Limit on CPU time (`cpu.max`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<CpuLimit>,
    /// Share of CPU time under contention, 1 to 10000 (`cpu.weight`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_weight: Option<u16>,
    /// Hard limit on memory (`memory.max`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_limit: Option<ByteSize>,
    /// Memory above which the workload is slowed (`memory.high`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_high: Option<ByteSize>,
    /// Limit on swap (`memory.swap.max`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_swap: Option<ByteSize>,
    /// Share of disk time in percent of the kernel's maximum, 1 to 100 (`io.weight`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_weight: Option<u8>,
    /// Limits per device, a line each, as the kernel takes them (`io.max`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_max: Option<Vec<String>>,
    /// CPU scheduling priority of every thread, -20 to 19 (setpriority(2)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nice: Option<i8>,
    /// Preference of the kernel's OOM killer, -1000 to 1000 (`/proc/PID/oom_score_adj`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i16>,
    /// Most processes and threads (`pids.max`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks_max: Option<u64>,
    /// CPUs the workload may run on (`cpuset.cpus`, or sched_setaffinity(2) on every thread).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpus: Option<CpuSet>,
    /// I/O scheduling class of every thread (ioprio_set(2)).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub io_class: Option<IoClass>,
    /// Do not start where a requested constraint cannot be put in force.
    pub strict: bool,
}

/// A constraint by the name it has in a job file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
#[allow(missing_docs, reason = "named and described in Constraints")]
pub enum ConstraintName {
    CpuQuota,
    CpuMax,
    CpuWeight,
    MemoryLimit,
    MemoryHigh,
    MemorySwap,
    IoWeight,
    IoMax,
    Nice,
    OomScoreAdj,
    TasksMax,
    Cpus,
    IoClass,
    /// Of `[exec.rlimits]`: of the process that is started, and never changed in place.
    Rlimit(Resource),
}

impl ConstraintName {
    /// Those of `[constraints]`.
    const OF_CONSTRAINTS: [Self; 13] = [
        Self::CpuQuota,
        Self::CpuMax,
        Self::CpuWeight,
        Self::MemoryLimit,
        Self::MemoryHigh,
        Self::MemorySwap,
        Self::IoWeight,
        Self::IoMax,
        Self::Nice,
        Self::OomScoreAdj,
        Self::TasksMax,
        Self::Cpus,
        Self::IoClass,
    ];

    /// The key in `[constraints]`, or the path below `[exec]`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::CpuQuota => "cpu_quota",
            Self::CpuMax => "cpu_max",
            Self::CpuWeight => "cpu_weight",
            Self::MemoryLimit => "memory_limit",
            Self::MemoryHigh => "memory_high",
            Self::MemorySwap => "memory_swap",
            Self::IoWeight => "io_weight",
            Self::IoMax => "io_max",
            Self::Nice => "nice",
            Self::OomScoreAdj => "oom_score_adj",
            Self::TasksMax => "tasks_max",
            Self::Cpus => "cpus",
            Self::IoClass => "io_class",
            Self::Rlimit(resource) => resource.as_str(),
        }
    }
}

impl From<ConstraintName> for &'static str {
    fn from(name: ConstraintName) -> Self {
        name.as_str()
    }
}

/// No constraint has this name.
#[derive(Debug, thiserror::Error)]
#[error("no constraint is named {0:?}")]
pub struct UnknownConstraint(String);

impl TryFrom<String> for ConstraintName {
    type Error = UnknownConstraint;

    fn try_from(text: String) -> Result<Self, UnknownConstraint> {
        let limits = Resource::ALL.into_iter().map(Self::Rlimit);
        let mut all = Self::OF_CONSTRAINTS.into_iter().chain(limits);
        all.find(|name| name.as_str() == text).ok_or(UnknownConstraint(text))
    }
}

impl fmt::Display for ConstraintName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Constraints {
    /// Every constraint that is asked for, with its value as people write it.
    #[must_use]
    pub fn requested(&self) -> Vec<(ConstraintName, String)> {
        use ConstraintName as N;
        // By name, so that none is forgotten.
        let Self {
            cpu,
            cpu_weight,
            memory_limit,
            memory_high,
            memory_swap,
            io_weight,
            io_max,
            nice,
            oom_score_adj,
            tasks_max,
            cpus,
            io_class,
            strict: _,
        } = self;
        let mut list = Vec::new();
        match *cpu {
            Some(CpuLimit::Quota(0)) => list.push((N::CpuQuota, "unlimited".into())),
            Some(CpuLimit::Quota(percent)) => list.push((N::CpuQuota, format!("{percent}%"))),
            Some(CpuLimit::Max { quota_us, period_us }) => {
                let quota = quota_us.map_or_else(|| "max".into(), |q| q.to_string());
                list.push((N::CpuMax, format!("{quota} {period_us}")));
            }
            None => {}
        }
        let mut add = |name, value: Option<String>| {
            if let Some(value) = value {
                list.push((name, value));
            }
        };
        add(N::CpuWeight, cpu_weight.map(|v| v.to_string()));
        add(N::MemoryLimit, memory_limit.map(|v| v.to_string()));
        add(N::MemoryHigh, memory_high.map(|v| v.to_string()));
        add(N::MemorySwap, memory_swap.map(|v| v.to_string()));
        add(N::IoWeight, io_weight.map(|v| format!("{v}%")));
        add(N::IoMax, io_max.as_ref().map(|v| v.join("; ")));
        add(N::Nice, nice.map(|v| v.to_string()));
        add(N::OomScoreAdj, oom_score_adj.map(|v| v.to_string()));
        add(N::TasksMax, tasks_max.map(|v| v.to_string()));
        add(N::Cpus, cpus.as_ref().map(|v| v.to_string()));
        add(N::IoClass, io_class.map(|v| v.to_string()));
        list
    }
}

/// The constraints that are in force.
#[must_use]
pub fn in_force(statuses: &[ConstraintStatus]) -> Vec<ConstraintName> {
    statuses.iter().filter(|status| status.applied).map(|status| status.name).collect()
}

/// One status for each constraint that is asked for: the one that is in force, if one of two mechanisms
/// has it in force; else what the first said of it that could read a value at all. Statuses of what is
/// not asked for, such as a default that could not be restored, follow.
#[must_use]
pub fn merge(
    wanted: &Constraints,
    first: Vec<ConstraintStatus>,
    second: Vec<ConstraintStatus>,
) -> Vec<ConstraintStatus> {
    let mut rest: Vec<ConstraintStatus> = first.into_iter().chain(second).collect();
    let mut merged = Vec::new();
    for (name, requested) in wanted.requested() {
        let (mut found, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(|status| status.name == name);
        rest = others;
        // Stable: the first stays in front of its equals.
        found.sort_by_key(|status| (!status.applied, status.actual.is_none()));
        merged.push(found.into_iter().next().unwrap_or_else(|| ConstraintStatus {
            name,
            requested,
            applied: false,
            actual: None,
            backend: Backend::None,
            reason: Some("nothing here keeps it: there is no cgroup".into()),
        }));
    }
    merged.extend(rest);
    merged
}

/// What became of one constraint. `applied` only after the value was read back from the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstraintStatus {
    /// The key of the job file.
    pub name: ConstraintName,
    /// What the job asks for.
    pub requested: String,
    /// It was read back and is in force.
    pub applied: bool,
    /// What was read back; `None` where nothing could be read.
    pub actual: Option<String>,
    /// By which mechanism, or tried with which.
    pub backend: Backend,
    /// Why it is not in force, and what would help.
    pub reason: Option<String>,
}

/// The mechanism behind a constraint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// An attribute of the processes themselves: nice, oom_score_adj, io_class, CPU affinity, rlimits.
    Process,
    /// A delegated subtree of the unified hierarchy.
    CgroupV2,
    /// Hierarchies of version 1.
    CgroupV1,
    /// A subtree of the unified hierarchy that systemd delegated when asked over D-Bus.
    Systemd,
    /// None that this host has.
    None,
}

impl Backend {
    /// As reports write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Process => "process",
            Self::CgroupV2 => "cgroup-v2",
            Self::CgroupV1 => "cgroup-v1",
            Self::Systemd => "systemd",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_mechanisms_the_one_that_has_it_in_force_is_told() {
        let status = |name, applied, backend| ConstraintStatus {
            name,
            requested: String::new(),
            applied,
            actual: None,
            backend,
            reason: None,
        };
        use ConstraintName::{Cpus, MemoryLimit, Nice, TasksMax};
        let wanted = Constraints {
            nice: Some(5),
            cpus: CpuSet::parse("0").ok(),
            memory_limit: Some(ByteSize(1)),
            ..Default::default()
        };
        let cgroup = vec![
            status(MemoryLimit, false, Backend::CgroupV2),
            status(Cpus, false, Backend::CgroupV2),
            status(TasksMax, false, Backend::CgroupV2),
        ];
        let own = vec![status(Nice, true, Backend::Process), status(Cpus, true, Backend::Process)];
        let merged = merge(&wanted, cgroup, own);
        let names: Vec<_> = merged.iter().map(|status| (status.name, status.backend)).collect();
        assert_eq!(
            names,
            [
                (MemoryLimit, Backend::CgroupV2),
                (Nice, Backend::Process),
                (Cpus, Backend::Process),
                (TasksMax, Backend::CgroupV2)
            ]
        );
    }

    #[test]
    fn each_constraint_is_requested_and_found_by_its_name() {
        let mut all = Constraints {
            cpu: Some(CpuLimit::Quota(50)),
            cpu_weight: Some(1),
            memory_limit: Some(ByteSize(1)),
            memory_high: Some(ByteSize(1)),
            memory_swap: Some(ByteSize(1)),
            io_weight: Some(1),
            io_max: Some(vec!["8:0 rbps=1".into()]),
            nice: Some(1),
            oom_score_adj: Some(1),
            tasks_max: Some(1),
            cpus: CpuSet::parse("0").ok(),
            io_class: Some(IoClass::Idle),
            strict: true,
        };
        let mut names: Vec<ConstraintName> = all.requested().into_iter().map(|(name, _)| name).collect();
        all.cpu = Some(CpuLimit::Max { quota_us: None, period_us: 1 });
        names.extend(all.requested().first().map(|(name, _)| *name));
        names.sort_unstable();
        assert_eq!(names, ConstraintName::OF_CONSTRAINTS);
        for name in names {
            assert_eq!(ConstraintName::try_from(name.as_str().to_owned()).ok(), Some(name));
        }
    }
}
