//! What a limit is in the files of version 2: what is asked for, the default, and whether that is what was read.

use crate::linux::cgroup::common::LARGEST_PAGE;
use crate::linux::cgroup::disks::{has_device, unlimited, whole};
use crate::model::constraints::{ConstraintName as Name, Constraints, CpuLimit};
use crate::model::cpus::CpuSet;
use crate::model::units::ByteSize;

pub(super) const BFQ_WEIGHT: &str = "io.bfq.weight";

/// What a limit is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// This very text.
    Text(String),
    /// So many bytes, or fewer by less than a page.
    Bytes(u64),
    /// `io.weight`: percent of the maximum, or the default, for every device that has no weight of its own.
    IoWeight(Option<u8>),
    /// `io.max`: a line per device; no line: no device has a limit.
    Devices(Vec<String>),
    /// `cpuset.cpus`.
    Cpus(CpuSet),
}

pub(super) fn file_of(name: Name) -> &'static str {
    match name {
        Name::CpuQuota | Name::CpuMax => "cpu.max",
        Name::CpuWeight => "cpu.weight",
        Name::MemoryLimit => "memory.max",
        Name::MemoryHigh => "memory.high",
        Name::MemorySwap => "memory.swap.max",
        Name::IoWeight => "io.weight",
        Name::IoMax => "io.max",
        Name::TasksMax => "pids.max",
        Name::Cpus => "cpuset.cpus",
        Name::Nice | Name::OomScoreAdj | Name::IoClass | Name::Rlimit(_) => "",
    }
}

/// What is asked for; `None` for what is not, and for what no controller keeps.
pub(super) fn value_of(name: Name, wanted: &Constraints) -> Option<Value> {
    let bytes = |size: Option<ByteSize>| size.map(|size| Value::Bytes(size.0));
    match (name, wanted.cpu) {
        (Name::CpuQuota, Some(CpuLimit::Quota(0))) => Some(Value::Text("max 100000".into())),
        (Name::CpuQuota, Some(CpuLimit::Quota(percent))) => {
            Some(Value::Text(format!("{} 100000", u64::from(percent) * 1000)))
        }
        (Name::CpuMax, Some(CpuLimit::Max { quota_us, period_us })) => {
            let quota = quota_us.map_or_else(|| "max".into(), |quota| quota.to_string());
            Some(Value::Text(format!("{quota} {period_us}")))
        }
        (Name::CpuWeight, _) => wanted.cpu_weight.map(|weight| Value::Text(weight.to_string())),
        (Name::MemoryLimit, _) => bytes(wanted.memory_limit),
        (Name::MemoryHigh, _) => bytes(wanted.memory_high),
        (Name::MemorySwap, _) => bytes(wanted.memory_swap),
        (Name::IoWeight, _) => wanted.io_weight.map(|percent| Value::IoWeight(Some(percent))),
        (Name::IoMax, _) => {
            wanted.io_max.as_ref().map(|lines| Value::Devices(lines.iter().map(|l| whole(l)).collect()))
        }
        (Name::TasksMax, _) => wanted.tasks_max.map(|tasks| Value::Text(tasks.to_string())),
        (Name::Cpus, _) => wanted.cpus.clone().map(Value::Cpus),
        (Name::CpuQuota | Name::CpuMax, _) => None,
        (Name::Nice | Name::OomScoreAdj | Name::IoClass | Name::Rlimit(_), _) => None,
    }
}

/// The kernel's default; for devices, of those that had a limit.
pub(super) fn default_of(name: Name, before: Option<&Value>) -> Value {
    match (name, before) {
        (Name::CpuQuota | Name::CpuMax, _) => Value::Text("max 100000".into()),
        (Name::CpuWeight, _) => Value::Text("100".into()),
        (Name::IoWeight, _) => Value::IoWeight(None),
        (Name::Cpus, _) => Value::Cpus(CpuSet::default()),
        (Name::IoMax, Some(Value::Devices(lines))) => {
            Value::Devices(lines.iter().map(|l| unlimited(l)).collect())
        }
        (Name::IoMax, _) => Value::Devices(Vec::new()),
        (Name::MemoryLimit | Name::MemoryHigh | Name::MemorySwap | Name::TasksMax, _) => {
            Value::Text("max".into())
        }
        // No controller keeps these, so no file gets it.
        (Name::Nice | Name::OomScoreAdj | Name::IoClass | Name::Rlimit(_), _) => Value::Text("max".into()),
    }
}

/// `io.weight` goes to 10000, and is 100 by default.
pub(super) fn io_weight(percent: Option<u8>) -> u32 {
    percent.map_or(100, |percent| u32::from(percent) * 100)
}

/// `io.bfq.weight` goes to 1000, with the same default.
pub(super) fn bfq_weight(percent: Option<u8>) -> u32 {
    percent.map_or(100, |percent| u32::from(percent) * 10)
}

/// Whether what was read is what was asked for.
pub(super) fn is(value: &Value, actual: &str) -> bool {
    match value {
        Value::Text(text) => actual == text,
        Value::Bytes(bytes) => {
            actual.parse::<u64>().is_ok_and(|actual| actual <= *bytes && bytes - actual < LARGEST_PAGE)
                // Larger than any memory.
                || (actual == "max" && *bytes >= i64::MAX.unsigned_abs() - LARGEST_PAGE)
        }
        Value::IoWeight(percent) => {
            actual == format!("default {}", io_weight(*percent))
                || actual == format!("bfq {}", bfq_weight(*percent))
        }
        Value::Devices(lines) if lines.is_empty() => actual.is_empty(),
        Value::Devices(lines) => lines.iter().all(|line| has_device(actual, line)),
        Value::Cpus(cpus) if cpus.is_empty() => actual.is_empty(),
        Value::Cpus(cpus) => CpuSet::parse(actual).as_ref() == Ok(cpus),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(json: serde_json::Value) -> Constraints {
        serde_json::from_value(json).expect("constraints")
    }

    #[test]
    fn each_limit_has_its_scale() {
        let all = wanted(serde_json::json!({
            "cpu": {"quota": 200}, "cpu_weight": 50, "memory_limit": 1_048_576, "io_weight": 75,
            "io_max": ["8:0 rbps=1"], "tasks_max": 9, "cpus": "0-1"
        }));
        assert_eq!(value_of(Name::CpuQuota, &all), Some(Value::Text("200000 100000".into())));
        assert_eq!(value_of(Name::CpuMax, &all), None);
        assert_eq!(io_weight(Some(75)), 7500);
        assert!(is(&Value::IoWeight(Some(75)), "default 7500"));
        assert!(is(&Value::IoWeight(Some(75)), "bfq 750"));
        assert!(!is(&Value::IoWeight(Some(75)), "default 750"));
        assert!(!is(&Value::IoWeight(Some(75)), "default 100"));
        assert!(is(&Value::Bytes(1_048_577), "1048576"));
        assert!(!is(&Value::Bytes(1_048_576), "max"));
        assert!(!is(&Value::Bytes(1_048_576), "983039"));
        let cpus = |list| Value::Cpus(CpuSet::parse(list).expect("a list"));
        assert!(is(&cpus("0,1,2"), "0-2"));
        assert!(!is(&cpus("0-2"), "0-1"));
    }

    #[test]
    fn a_limit_that_is_not_named_any_more_is_lifted() {
        assert_eq!(whole("8:0 wbps=5"), "8:0 wbps=5 rbps=max riops=max wiops=max");
        let value = value_of(Name::IoMax, &wanted(serde_json::json!({"io_max": ["8:0 rbps=1"]})));
        let value = value.expect("asked for");
        assert!(is(&value, "8:0 rbps=1 wbps=max riops=max wiops=max"));
        assert!(!is(&value, "8:0 rbps=1 wbps=5 riops=max wiops=max"));
    }

    #[test]
    fn devices_are_compared_limit_by_limit() {
        let actual =
            "8:0 rbps=1048576 wbps=max riops=max wiops=max\n8:16 rbps=max wbps=5 riops=max wiops=max";
        let is = |lines: &[&str]| {
            is(&Value::Devices(lines.iter().map(|line| (*line).to_owned()).collect()), actual)
        };
        assert!(is(&["8:0 rbps=1048576"]) && is(&["8:0 rbps=1048576 wbps=max", "8:16 wbps=5"]));
        assert!(!is(&["8:0 rbps=2"]) && !is(&["8:1 rbps=1048576"]));
        assert!(is(&["8:1 rbps=max"]), "a device without limits is not listed");
    }
}
