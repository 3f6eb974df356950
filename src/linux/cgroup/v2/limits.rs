//! The limits of one cgroup of version 2: what is written to which file, and what has to be read back.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use crate::linux::cgroup::common::{ALL, Before, LARGEST_PAGE, beside};
use crate::linux::cgroup::disks::{a_disk_uses, has_device};
use crate::linux::cgroup::files;
use crate::linux::cgroup::request::READ_ON;
use crate::model::cgroup::Controller;
use crate::model::constraints::{Backend, ConstraintName as Name, ConstraintStatus, Constraints, CpuLimit};
use crate::model::cpus::CpuSet;
use crate::model::units::ByteSize;

/// How much is taken back from a job at once: so much more than needed is taken at most.
const RECLAIM_STEP: u64 = 4 << 20;

const BFQ_WEIGHT: &str = "io.bfq.weight";
const NOTHING_WEIGHS: &str = "it is written, but nothing weighs: choose the bfq scheduler for the job's disk \
                              (/sys/block/DISK/queue/scheduler), enable the cost model (io.cost.qos), or use io_max";

/// What a limit is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
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

fn file_of(name: Name) -> &'static str {
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
fn value_of(name: Name, wanted: &Constraints) -> Option<Value> {
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
fn default_of(name: Name, before: Option<&Value>) -> Value {
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

/// The line with all four limits: what is not named would keep what it was.
fn whole(line: &str) -> String {
    let has = |key: &str| {
        line.split_whitespace().any(|word| word.strip_prefix(key).is_some_and(|v| v.starts_with('=')))
    };
    let missing = ["rbps", "wbps", "riops", "wiops"].into_iter().filter(|key| !has(key));
    missing.fold(line.to_owned(), |line, key| format!("{line} {key}=max"))
}

/// The same device without a limit.
fn unlimited(line: &str) -> String {
    let device = line.split_whitespace().next().unwrap_or_default();
    format!("{device} rbps=max wbps=max riops=max wiops=max")
}

/// Puts limits in force, see [`apply`](crate::linux::cgroup::apply).
#[must_use]
pub fn apply(
    dir: &Path,
    backend: Backend,
    wanted: &Constraints,
    before: Before<'_>,
) -> Vec<ConstraintStatus> {
    let mut list = Vec::new();
    for (name, requested) in wanted.requested() {
        let Some(value) = value_of(name, wanted) else { continue };
        // What the kernel would drop if it is not named again.
        if let (Name::IoMax, Before::Was(was)) = (name, before) {
            let gone = removed_devices(was, wanted);
            let _ = gone.iter().try_for_each(|line| files::write(dir, "io.max", &unlimited(line)));
        }
        let tried = put(dir, name, &value);
        list.push(status(dir, backend, name, requested, &value, tried.err()));
    }
    for (name, default) in to_reset(wanted, before) {
        let tried = put(dir, name, &default);
        // Not there: then there is nothing to reset either.
        let missing = tried.as_ref().is_err_and(|failed| failed.is_missing());
        if !missing {
            let status = status(dir, backend, name, "default".into(), &default, tried.err());
            list.extend(Some(status).filter(|status| !status.applied));
        }
    }
    list
}

/// Reads limits back, see [`read_back`](crate::linux::cgroup::read_back).
#[must_use]
pub fn read_back(dir: &Path, backend: Backend, wanted: &Constraints) -> Vec<ConstraintStatus> {
    let asked = wanted.requested().into_iter();
    asked
        .filter_map(|(name, requested)| {
            Some(status(dir, backend, name, requested, &value_of(name, wanted)?, None))
        })
        .collect()
}

/// What the kernel has, see [`originals`](crate::linux::cgroup::originals).
#[must_use]
pub fn originals(dir: &Path) -> Vec<(Name, String)> {
    let distinct = ALL.into_iter().filter(|name| *name != Name::CpuQuota);
    distinct.filter_map(|name| Some((name, original(dir, name)?))).collect()
}

fn original(dir: &Path, name: Name) -> Option<String> {
    if name != Name::IoWeight {
        return files::read(dir, file_of(name)).ok();
    }
    // Lines of devices may follow the first: those are not touched.
    let first = |file: &str| Some(files::read(dir, file).ok()?.lines().next()?.to_owned());
    let weights = [first("io.weight"), first(BFQ_WEIGHT).map(|line| format!("bfq {}", weight_in(&line)))];
    let lines: Vec<String> = weights.into_iter().flatten().collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

/// The number in `default 100`, which some kernels write without the word.
fn weight_in(line: &str) -> &str {
    line.trim_start_matches("default ")
}

/// Restores limits, see [`restore`](crate::linux::cgroup::restore).
#[must_use]
pub fn restore(dir: &Path, originals: &[(Name, String)], was: &Constraints) -> Vec<(Name, String)> {
    let mut left = Vec::new();
    for (name, text) in originals {
        if original(dir, *name).is_none_or(|now| now == *text) {
            continue;
        }
        let why = match put_back(dir, *name, text, was) {
            Err(Refused::Room(_)) => Some(format!(
                "{text} bytes are less than is in use by now, and the kernel would kill for it; it stays {}",
                original(dir, *name).unwrap_or_default()
            )),
            Err(refused) if refused.is_missing() => None,
            Err(Refused::Kernel(error)) => {
                Some(format!("Cannot write {text} to {}: {error}", dir.join(file_of(*name)).display()))
            }
            Ok(()) => None,
        };
        left.extend(why.map(|why| (*name, why)));
    }
    left
}

fn put_back(dir: &Path, name: Name, text: &str, was: &Constraints) -> Result<(), Refused> {
    match name {
        Name::IoWeight => {
            for line in text.lines() {
                match line.strip_prefix("bfq ") {
                    Some(weight) => files::write(dir, BFQ_WEIGHT, weight)?,
                    None => files::write(dir, "io.weight", line)?,
                }
            }
            Ok(())
        }
        Name::IoMax => {
            // Only the devices that were governed.
            for line in was.io_max.iter().flatten() {
                let device = line.split_whitespace().next().unwrap_or_default();
                let old = text.lines().find(|line| line.split_whitespace().next() == Some(device));
                files::write(dir, "io.max", old.unwrap_or(&unlimited(line)))?;
            }
            Ok(())
        }
        _ => put(dir, name, &text.parse().map_or_else(|_| Value::Text(text.into()), Value::Bytes)),
    }
}

/// What goes back to its default.
fn to_reset(wanted: &Constraints, before: Before<'_>) -> Vec<(Name, Value)> {
    let kept: BTreeSet<&str> =
        ALL.iter().filter(|name| value_of(**name, wanted).is_some()).map(|name| file_of(*name)).collect();
    let mut list: Vec<(Name, Value)> = Vec::new();
    for name in ALL {
        let was = match before {
            Before::Fresh => None,
            Before::Was(was) => value_of(name, was),
            Before::Unknown => Some(default_of(name, None)),
        };
        let known = list.iter().any(|(other, _)| file_of(*other) == file_of(name));
        if let Some(was) = was
            && !kept.contains(file_of(name))
            && !known
        {
            list.push((name, default_of(name, Some(&was))));
        }
    }
    list
}

/// The lines of devices that had a limit and are to have none.
fn removed_devices(was: &Constraints, wanted: &Constraints) -> Vec<String> {
    let device = |line: &str| line.split_whitespace().next().unwrap_or_default().to_owned();
    let now: BTreeSet<String> = wanted.io_max.iter().flatten().map(|line| device(line)).collect();
    was.io_max.iter().flatten().filter(|line| !now.contains(&device(line))).cloned().collect()
}

/// Why a value was not written.
#[derive(Debug)]
enum Refused {
    /// By the kernel.
    Kernel(io::Error),
    /// By us, because the kernel would kill for it: there is no room, and why.
    Room(String),
}

impl Refused {
    fn is_missing(&self) -> bool {
        matches!(self, Self::Kernel(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Kernel(error)
    }
}

fn put(dir: &Path, name: Name, value: &Value) -> Result<(), Refused> {
    match value {
        Value::Text(text) => files::write(dir, file_of(name), text)?,
        Value::Bytes(bytes) => {
            let (file, text) = (file_of(name), bytes.to_string());
            if name == Name::MemoryLimit {
                make_room(dir, *bytes)?;
            }
            if name == Name::MemoryHigh && in_use(dir).is_ok_and(|used| used > *bytes) {
                // It is in force at once. Then the kernel takes back what is above it.
                let of = dir.to_owned();
                beside(move || files::write(&of, file, &text))?.transpose()?;
            } else {
                files::write(dir, file, &text)?;
            }
        }
        Value::IoWeight(percent) => {
            // Which of the two counts is decided disk by disk, and can change.
            let iocost = files::write(dir, "io.weight", &format!("default {}", io_weight(*percent)));
            let bfq = files::write(dir, BFQ_WEIGHT, &bfq_weight(*percent).to_string());
            if bfq.is_err() {
                iocost?;
            }
        }
        Value::Devices(lines) if lines.is_empty() => {
            for line in files::read(dir, "io.max")?.lines() {
                files::write(dir, "io.max", &unlimited(line))?;
            }
        }
        Value::Devices(lines) => {
            for line in lines {
                files::write(dir, "io.max", line)?;
            }
        }
        Value::Cpus(cpus) => files::write(dir, "cpuset.cpus", &cpus.to_string())?,
    }
    Ok(())
}

/// `io.weight` goes to 10000, and is 100 by default.
fn io_weight(percent: Option<u8>) -> u32 {
    percent.map_or(100, |percent| u32::from(percent) * 100)
}

/// `io.bfq.weight` goes to 1000, with the same default.
fn bfq_weight(percent: Option<u8>) -> u32 {
    percent.map_or(100, |percent| u32::from(percent) * 10)
}

/// What a cgroup uses of memory, in bytes.
fn in_use(dir: &Path) -> io::Result<u64> {
    let text = files::read(dir, "memory.current")?;
    text.parse().map_err(|_| io::Error::other(format!("memory.current is {text:?}")))
}

/// Makes sure that a lower limit on memory kills nobody: the kernel would end processes until the rest
/// fits. What can be reclaimed is reclaimed first.
fn make_room(dir: &Path, limit: u64) -> Result<(), Refused> {
    let used = in_use(dir)?;
    if used <= limit {
        return Ok(());
    }
    let of = dir.to_owned();
    let kept = beside(move || reclaim(&of, limit))?.transpose()?;
    if kept.is_some_and(|kept| kept <= limit) {
        return Ok(());
    }
    let old = files::read(dir, "memory.max").unwrap_or_else(|_| "the old one".into());
    let limit = ByteSize(limit);
    Err(Refused::Room(match kept {
        Some(kept) => format!(
            "memory_limit {limit} is below what the job uses and cannot give back ({kept} bytes): the kernel \
             would kill it, so {old} stays; raise the limit, or restart the job"
        ),
        None => format!(
            "the kernel is still taking memory back from the job, which used {used} bytes: {old} stays until \
             memory_limit {limit} is enough; tried again until then"
        ),
    }))
}

/// Takes memory back until no more than the limit is in use. Gives what cannot be had, in bytes.
fn reclaim(dir: &Path, limit: u64) -> io::Result<u64> {
    let mut used = in_use(dir)?;
    // A job that reads files fills its cache again meanwhile.
    let mut most = used.saturating_sub(limit).saturating_mul(2);
    while used > limit && most > 0 {
        let step = (used - limit).min(RECLAIM_STEP);
        match files::write(dir, "memory.reclaim", &step.to_string()) {
            Ok(()) => most = most.saturating_sub(step),
            // Before Linux 5.19.
            Err(error) if error.kind() == io::ErrorKind::NotFound => break,
            // There is no more.
            Err(_) => return in_use(dir),
        }
        used = in_use(dir)?;
    }
    if used <= limit {
        return Ok(used);
    }
    let stat = files::read(dir, "memory.stat")?;
    let parts = ["anon", "shmem", "kernel_stack", "pagetables", "sock", "slab_unreclaimable"];
    Ok(parts.iter().filter_map(|part| files::keyed(&stat, part)).sum())
}

/// Reads a limit back and judges it.
fn status(
    dir: &Path,
    backend: Backend,
    name: Name,
    requested: String,
    value: &Value,
    refused: Option<Refused>,
) -> ConstraintStatus {
    let read = read(dir, name, value);
    let actual = read.as_ref().ok().map(|text| text.replace('\n', "; "));
    let reason = match (read, refused) {
        (Ok(text), _) if is(value, &text) => {
            let idle = matches!(value, Value::IoWeight(Some(_))) && !something_weighs(dir);
            idle.then(|| NOTHING_WEIGHS.into())
        }
        (_, Some(Refused::Room(why))) => Some(why),
        (Ok(text), Some(Refused::Kernel(error))) => Some(explain(dir, name, &error, Some(&text))),
        (Ok(text), None) if name == Name::Cpus => Some(format!(
            "of the CPUs {requested}, the job may run on {text} only: the others are not online, or not \
             handed down to {}",
            dir.display()
        )),
        (Ok(text), None) => Some(format!("{} is {text}", dir.join(file_of(name)).display())),
        (Err(_), Some(Refused::Kernel(error))) | (Err(error), None) => Some(explain(dir, name, &error, None)),
    };
    ConstraintStatus { name, requested, applied: reason.is_none(), actual, backend, reason }
}

/// Whether weights of I/O mean anything: a disk uses bfq, or the cost model is enabled for one
/// (`io.cost.qos` in the root of the hierarchy).
fn something_weighs(dir: &Path) -> bool {
    let qos = dir.ancestors().find_map(|dir| files::read(dir, "io.cost.qos").ok()).unwrap_or_default();
    qos.contains("enable=1") || a_disk_uses("bfq")
}

/// What the kernel has now.
fn read(dir: &Path, name: Name, value: &Value) -> io::Result<String> {
    match value {
        Value::IoWeight(_) => {
            // Lines of devices may follow the first.
            let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
            let bfq = files::read(dir, BFQ_WEIGHT).map(first);
            match files::read(dir, "io.weight").map(first) {
                Ok(text) if bfq.is_err() || !a_disk_uses("bfq") => Ok(text),
                Err(error) if bfq.is_err() => Err(error),
                _ => bfq.map(|text| format!("bfq {}", text.trim_start_matches("default "))),
            }
        }
        // What is written there is a wish.
        Value::Cpus(cpus) if !cpus.is_empty() => files::read(dir, "cpuset.cpus.effective"),
        _ => files::read(dir, file_of(name)),
    }
}

/// Whether what was read is what was asked for.
fn is(value: &Value, actual: &str) -> bool {
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

/// Why a limit is not in force, and what would help.
fn explain(dir: &Path, name: Name, error: &io::Error, actual: Option<&str>) -> String {
    let file = dir.join(file_of(name));
    let using = actual
        .filter(|text| !text.is_empty())
        .map(|text| format!("; it is {}", text.replace('\n', "; ")))
        .unwrap_or_default();
    if error.kind() != io::ErrorKind::NotFound {
        let advice = match error.raw_os_error() {
            Some(libc::ENODEV) if name == Name::IoMax => "; `lsblk -o NAME,MAJ:MIN` shows the devices",
            _ => "",
        };
        return format!("Cannot write {}: {error}{using}{advice}", file.display());
    }
    let Some(controller) = Controller::of(name) else { return error.to_string() };
    let there = files::read(dir, "cgroup.controllers");
    match there {
        Err(_) => format!("the cgroup {} is gone", dir.display()),
        Ok(there) if there.split_whitespace().any(|one| one == controller.as_str()) => match name {
            Name::IoWeight => {
                "this kernel weighs no I/O: it has neither io.weight (CONFIG_BLK_CGROUP_IOCOST, \
                 CONFIG_BLK_CGROUP_IOLATENCY) nor io.bfq.weight (the bfq scheduler)"
                    .into()
            }
            Name::MemorySwap => {
                "this kernel counts no swap: no memory.swap.max (CONFIG_SWAP, or swapaccount=0)".into()
            }
            _ => format!("this kernel has no {}", file.display()),
        },
        Ok(there) => {
            let there = if there.is_empty() { "none".into() } else { there };
            format!(
                "the {controller} controller is not available in {} (there: {there}); have it delegated \
                 (Delegate=yes) or enabled; {READ_ON}",
                dir.display()
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

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

    #[test]
    fn what_is_no_longer_asked_for_goes_back_to_its_default() {
        let was =
            wanted(serde_json::json!({"cpu": {"quota": 50}, "cpu_weight": 5, "io_max": ["8:0 rbps=1"]}));
        let now = wanted(serde_json::json!({"cpu": {"max": {"quota_us": 5000, "period_us": 10000}}}));
        let names = |before| to_reset(&now, before).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(Before::Was(&was)), [Name::CpuWeight, Name::IoMax]);
        assert_eq!(names(Before::Fresh), []);
        assert_eq!(names(Before::Unknown).len(), 8);
        let gone = to_reset(&now, Before::Was(&was)).into_iter().find(|(name, _)| *name == Name::IoMax);
        let all = "8:0 rbps=max wbps=max riops=max wiops=max".to_owned();
        assert_eq!(gone, Some((Name::IoMax, Value::Devices(vec![all]))));
    }

    #[test]
    fn where_nothing_is_known_every_device_goes_back_to_no_limit() {
        let dir = tempfile::tempdir().expect("a directory");
        let apply = || apply(dir.path(), Backend::CgroupV2, &Constraints::default(), Before::Unknown);
        assert_eq!(apply(), [], "a controller that is not there has nothing to reset");
        fs::write(dir.path().join("io.max"), "8:0 rbps=1048576 wbps=max riops=max wiops=max\n")
            .expect("written");
        let _ = apply();
        let text = fs::read_to_string(dir.path().join("io.max")).expect("read");
        assert!(text.starts_with("8:0 rbps=max wbps=max riops=max wiops=max\n"), "{text}");
    }

    #[test]
    fn a_missing_controller_is_named_and_the_others_are_in_force() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        file("cgroup.controllers", "cpu pids\n");
        file("cpu.weight", "100\n");
        let wanted = wanted(serde_json::json!({"cpu_weight": 200, "memory_limit": 4096}));
        let list = apply(dir.path(), Backend::CgroupV2, &wanted, Before::Fresh);
        assert!(list[0].applied && list[0].actual.as_deref() == Some("200"), "{list:?}");
        let reason = list[1].reason.clone().unwrap_or_default();
        assert!(!list[1].applied && reason.contains("the memory controller is not available"), "{reason}");
        // Somebody else's value shows.
        file("cpu.weight", "300\n");
        let list = read_back(dir.path(), Backend::CgroupV2, &wanted);
        assert!(!list[0].applied && list[0].actual.as_deref() == Some("300"));
    }

    #[test]
    fn a_limit_below_what_is_in_use_is_not_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        file("memory.current", "8000000\n");
        file("memory.max", "16777216\n");
        file("memory.stat", "anon 7000000\nfile 900000\n");
        let limit = |bytes: u64| wanted(serde_json::json!({"memory_limit": bytes}));
        let list = apply(dir.path(), Backend::CgroupV2, &limit(4_194_304), Before::Fresh);
        assert!(!list[0].applied && list[0].actual.as_deref() == Some("16777216"), "{list:?}");
        assert!(list[0].reason.clone().unwrap_or_default().contains("16777216 stays"), "{list:?}");
        let list = apply(dir.path(), Backend::CgroupV2, &limit(7_340_032), Before::Fresh);
        assert!(list[0].applied, "{list:?}");
    }

    #[test]
    fn a_kernel_that_takes_its_time_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        file("memory.current", "8000000\n");
        file("memory.max", "16777216\n");
        let reclaim = dir.path().join("memory.reclaim");
        // Whoever writes waits until somebody reads.
        nix::unistd::mkfifo(&reclaim, nix::sys::stat::Mode::S_IRWXU).expect("made");
        let limit = wanted(serde_json::json!({"memory_limit": 4_194_304}));
        let list = apply(dir.path(), Backend::CgroupV2, &limit, Before::Fresh);
        assert!(!list[0].applied && list[0].actual.as_deref() == Some("16777216"), "{list:?}");
        let reason = list[0].reason.clone().unwrap_or_default();
        assert!(reason.contains("still taking memory back") && reason.contains("16777216 stays"), "{reason}");
        file("memory.current", "1000\n");
        assert_eq!(fs::read_to_string(reclaim).expect("the rest of what was begun"), "3805696\n");
    }
}
