//! What a limit is in version 1: what is asked for, the default, what it was before, and whether that is what was
//! read.

use super::interface::{Dirs, cpus_above};
use crate::linux::cgroup::common::LARGEST_PAGE;
use crate::linux::cgroup::disks::{has_device, unlimited};
use crate::model::cgroup::Controller;
use crate::model::constraints::{ConstraintName as Name, Constraints, CpuLimit};
use crate::model::cpus::CpuSet;

/// What a limit is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// `cpu.cfs_quota_us`, `None` without limit, in each `cpu.cfs_period_us`.
    Cpu { quota_us: Option<u64>, period_us: u64 },
    /// `cpu.shares`.
    Shares(u64),
    /// `memory.limit_in_bytes`: so many bytes, or fewer by less than a page; `None` without limit.
    Memory(Option<u64>),
    /// `memory.memsw.limit_in_bytes`, as above.
    MemoryAndSwap(Option<u64>),
    /// `blkio.bfq.weight` and `blkio.weight`: percent of the maximum, or the default.
    IoWeight(Option<u8>),
    /// `blkio.throttle.*`: a line per device, as in `io.max`.
    Devices(Vec<String>),
    /// `pids.max`; `None` without limit.
    Tasks(Option<u64>),
    /// `cpuset.cpus`.
    Cpus(CpuSet),
    /// Version 1 has nothing for it, and why.
    Nothing(&'static str),
}

/// What is asked for; `None` for what is not, and for what no controller keeps.
pub(super) fn value_of(name: Name, wanted: &Constraints) -> Option<Value> {
    match (name, wanted.cpu) {
        (Name::CpuQuota, Some(CpuLimit::Quota(percent))) => Some(Value::Cpu {
            quota_us: (percent != 0).then(|| u64::from(percent) * 1000),
            period_us: 100_000,
        }),
        (Name::CpuMax, Some(CpuLimit::Max { quota_us, period_us })) => {
            Some(Value::Cpu { quota_us, period_us })
        }
        (Name::CpuWeight, _) => wanted.cpu_weight.map(|weight| Value::Shares(shares(weight))),
        (Name::MemoryLimit, _) => wanted.memory_limit.map(|limit| Value::Memory(Some(limit.0))),
        (Name::MemoryHigh, _) => wanted.memory_high.map(|_| {
            Value::Nothing(
                "version 1 slows nothing down over memory: its memory.soft_limit_in_bytes only says whose \
                 memory is reclaimed first; use memory_limit, or a host with version 2",
            )
        }),
        (Name::MemorySwap, _) => {
            let limit = wanted.memory_limit;
            wanted.memory_swap.map(|swap| match limit {
                Some(limit) => Value::MemoryAndSwap(Some(limit.0.saturating_add(swap.0))),
                None => Value::Nothing(
                    "version 1 limits memory and swap together (memory.memsw.limit_in_bytes): memory_swap \
                     needs a memory_limit beside it",
                ),
            })
        }
        (Name::IoWeight, _) => wanted.io_weight.map(|percent| Value::IoWeight(Some(percent))),
        (Name::IoMax, _) => wanted.io_max.clone().map(Value::Devices),
        (Name::TasksMax, _) => wanted.tasks_max.map(|tasks| Value::Tasks(Some(tasks))),
        (Name::Cpus, _) => wanted.cpus.clone().map(Value::Cpus),
        (Name::CpuQuota | Name::CpuMax, _) => None,
        (Name::Nice | Name::OomScoreAdj | Name::IoClass | Name::Rlimit(_), _) => None,
    }
}

/// A weight in the scale of version 1, whose default is 1024 where that of version 2 is 100.
fn shares(weight: u16) -> u64 {
    (u64::from(weight) * 1024 / 100).clamp(2, 262_144)
}

/// The kernel's default; of CPUs and devices, it depends.
pub(super) fn default_of(name: Name, dirs: &Dirs) -> Option<Value> {
    Some(match name {
        Name::CpuQuota | Name::CpuMax => Value::Cpu { quota_us: None, period_us: 100_000 },
        Name::CpuWeight => Value::Shares(1024),
        Name::MemoryLimit => Value::Memory(None),
        Name::MemorySwap => Value::MemoryAndSwap(None),
        Name::IoWeight => Value::IoWeight(None),
        Name::IoMax => Value::Devices(Vec::new()),
        Name::TasksMax => Value::Tasks(None),
        Name::Cpus => Value::Cpus(cpus_above(dirs.get(&Controller::Cpuset)?)?),
        Name::MemoryHigh => return None,
        Name::Nice | Name::OomScoreAdj | Name::IoClass | Name::Rlimit(_) => return None,
    })
}

/// What a text of [`originals`](super::originals) means; `None` for weights of I/O, whose two files differ.
pub(super) fn value_before(name: Name, text: &str, was: &Constraints) -> Option<Value> {
    let number = || text.parse::<u64>().ok();
    Some(match name {
        Name::CpuMax => {
            let (quota, period) = text.split_once(' ')?;
            Value::Cpu { quota_us: quota.parse().ok(), period_us: period.parse().ok()? }
        }
        Name::CpuWeight => Value::Shares(number()?),
        Name::MemoryLimit => Value::Memory(number()),
        Name::MemorySwap => Value::MemoryAndSwap(number()),
        Name::IoMax => {
            // Only the devices that were governed.
            let governed = was.io_max.iter().flatten().filter_map(|line| line.split_whitespace().next());
            let line = |device: &str| {
                let old = text.lines().find(|line| line.split_whitespace().next() == Some(device));
                let none = || unlimited(device);
                old.map_or_else(none, ToOwned::to_owned)
            };
            Value::Devices(governed.map(line).collect())
        }
        Name::TasksMax => Value::Tasks(number()),
        Name::Cpus => Value::Cpus(CpuSet::parse(text).ok()?),
        // The limit on CPU time goes by the name of cpu_max.
        Name::CpuQuota | Name::MemoryHigh | Name::IoWeight => return None,
        Name::Nice | Name::OomScoreAdj | Name::IoClass | Name::Rlimit(_) => return None,
    })
}

/// Whether what was read is what was asked for.
pub(super) fn is(value: &Value, actual: &str) -> bool {
    match value {
        Value::Cpu { quota_us, period_us } => {
            let quota = quota_us.map_or_else(|| "max".into(), |quota| quota.to_string());
            actual == format!("{quota} {period_us}")
        }
        Value::Shares(shares) => actual == shares.to_string(),
        Value::Memory(limit) | Value::MemoryAndSwap(limit) => {
            // Without limit, the file holds the largest number of whole pages.
            let bytes = limit.unwrap_or(u64::MAX).min(i64::MAX.unsigned_abs());
            actual.parse::<u64>().is_ok_and(|actual| actual <= bytes && bytes - actual < LARGEST_PAGE)
        }
        Value::IoWeight(Some(percent)) => {
            actual.lines().all(|weight| weight == (u32::from(*percent) * 10).to_string())
        }
        Value::IoWeight(None) => actual.lines().all(|weight| matches!(weight, "100" | "500")),
        Value::Devices(lines) => lines.iter().all(|line| has_device(actual, line)),
        Value::Tasks(tasks) => actual == tasks.map_or_else(|| "max".into(), |tasks| tasks.to_string()),
        Value::Cpus(cpus) => CpuSet::parse(actual).as_ref() == Ok(cpus),
        Value::Nothing(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_has_its_scale() {
        assert_eq!([1, 100, 50, 200, 10_000].map(shares), [10, 1024, 512, 2048, 102_400]);
        let all: Constraints = serde_json::from_value(serde_json::json!({
            "cpu": {"quota": 200}, "memory_limit": 1_048_576, "memory_swap": 4096, "memory_high": 5
        }))
        .expect("constraints");
        let quota = Value::Cpu { quota_us: Some(200_000), period_us: 100_000 };
        assert_eq!(value_of(Name::CpuQuota, &all), Some(quota.clone()));
        assert_eq!(value_of(Name::CpuMax, &all), None);
        assert_eq!(value_of(Name::MemorySwap, &all), Some(Value::MemoryAndSwap(Some(1_052_672))));
        assert!(is(&quota, "200000 100000") && !is(&quota, "max 100000"));
        assert!(is(&Value::Memory(Some(1_048_577)), "1048576"));
        assert!(!is(&Value::Memory(Some(1_048_576)), "1114112"));
        assert!(is(&Value::Memory(None), "9223372036854771712"));
        assert!(!is(&Value::Memory(None), "1048576"));
        assert!(is(&Value::IoWeight(Some(75)), "750\n750") && !is(&Value::IoWeight(Some(75)), "750\n100"));
        assert!(is(&Value::IoWeight(None), "100\n500"));
    }
}
