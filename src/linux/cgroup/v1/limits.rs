//! The limits of one cgroup of version 1: what is written to which file, and what has to be read back.
//!
//! Values are written with the controllers of the crate cgroups-rs, each made for its directory: neither
//! its guess of where hierarchies are mounted, nor its `apply`, which swallows errors, nor its handling of
//! paths as text, which panics, has a part in this. [`through`] covers what is left. Everything is read
//! back here. Not written with it: `blkio.bfq.weight`, which it does not know for version 1.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::io;
use std::path::{Path, PathBuf};

use cgroups_rs::fs::blkio::BlkIoController;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{MaxValue, error};

use crate::linux::cgroup::common::{ALL, Before, LARGEST_PAGE, beside};
use crate::linux::cgroup::disks::{a_disk_uses, has_device};
use crate::linux::cgroup::files;
use crate::linux::cgroup::request::READ_ON;
use crate::model::cgroup::Controller;
use crate::model::constraints::{Backend, ConstraintName as Name, ConstraintStatus, Constraints, CpuLimit};
use crate::model::cpus::CpuSet;
use crate::model::units::ByteSize;

type Dirs = BTreeMap<Controller, PathBuf>;

const QUOTA: &str = "cpu.cfs_quota_us";
const PERIOD: &str = "cpu.cfs_period_us";
const SHARES: &str = "cpu.shares";
const MEMORY: &str = "memory.limit_in_bytes";
const MEMORY_AND_SWAP: &str = "memory.memsw.limit_in_bytes";
const BFQ_WEIGHT: &str = "blkio.bfq.weight";
const CFQ_WEIGHT: &str = "blkio.weight";
const TASKS: &str = "pids.max";
const CPUS: &str = "cpuset.cpus";
const EFFECTIVE_CPUS: &str = "cpuset.effective_cpus";

/// `io.max` of version 2 in four files, in the order in which it is shown.
const THROTTLES: [(&str, &str); 4] = [
    ("rbps", "blkio.throttle.read_bps_device"),
    ("wbps", "blkio.throttle.write_bps_device"),
    ("riops", "blkio.throttle.read_iops_device"),
    ("wiops", "blkio.throttle.write_iops_device"),
];

const NO_DISK_WEIGHS: &str = "it is written, but no disk has a scheduler that weighs: choose bfq for the job's \
                              disk (/sys/block/DISK/queue/scheduler), or use io_max";

/// What a limit is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
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
fn value_of(name: Name, wanted: &Constraints) -> Option<Value> {
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
fn default_of(name: Name, dirs: &Dirs) -> Option<Value> {
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

/// One limit that is to be put in force, or back to its default.
#[derive(Debug)]
struct Change {
    name: Name,
    /// `None`: the default.
    requested: Option<String>,
    value: Value,
}

/// Puts limits in force, see [`apply`](crate::linux::cgroup::apply).
#[must_use]
pub fn apply(dirs: &Dirs, wanted: &Constraints, before: Before<'_>) -> Vec<ConstraintStatus> {
    let changes = changes(dirs, wanted, before);
    let mut refused = put_all(dirs, &changes);
    let statuses = changes.into_iter().enumerate().filter_map(|(n, Change { name, requested, value })| {
        let refused = refused.remove(&n);
        match requested {
            Some(requested) => Some(status(dirs, name, requested, &value, refused)),
            // Not there: then there is nothing to reset either.
            None if refused.as_ref().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => None,
            None => Some(status(dirs, name, "default".into(), &value, refused)).filter(|s| !s.applied),
        }
    });
    statuses.collect()
}

/// Writes them in an order that the kernel takes. Gives what was refused, by its place in the list.
fn put_all(dirs: &Dirs, changes: &[Change]) -> BTreeMap<usize, io::Error> {
    let mut order: Vec<usize> = (0..changes.len()).collect();
    if swap_goes_first(dirs, changes) {
        // Stable: the others keep their order.
        order.sort_by_key(|n| !matches!(changes[*n].value, Value::MemoryAndSwap(_)));
    }
    let put = |n: usize| put(dirs, &changes[n].value).err().map(|error| (n, error));
    order.into_iter().filter_map(put).collect()
}

/// What the kernel has, see [`originals`](crate::linux::cgroup::originals).
#[must_use]
pub fn originals(dirs: &Dirs) -> Vec<(Name, String)> {
    let distinct = ALL.into_iter().filter(|name| *name != Name::CpuQuota);
    distinct.filter_map(|name| Some((name, original(dirs, name)?))).collect()
}

fn original(dirs: &Dirs, name: Name) -> Option<String> {
    let dir = dirs.get(&Controller::of(name)?)?;
    match name {
        // What is written there, and not what came of it.
        Name::Cpus => files::read(dir, CPUS).ok(),
        Name::IoWeight => {
            let weight = |file: &str| Some(format!("{file} {}", files::read(dir, file).ok()?));
            let lines: Vec<String> = [weight(BFQ_WEIGHT), weight(CFQ_WEIGHT)].into_iter().flatten().collect();
            (!lines.is_empty()).then(|| lines.join("\n"))
        }
        _ => read(dirs, &default_of(name, dirs)?).ok(),
    }
}

/// Restores limits, see [`restore`](crate::linux::cgroup::restore).
#[must_use]
pub fn restore(dirs: &Dirs, originals: &[(Name, String)], was: &Constraints) -> Vec<(Name, String)> {
    let differs = |(name, text): &&(Name, String)| original(dirs, *name).is_some_and(|now| now != *text);
    let mut left = Vec::new();
    let mut changes = Vec::new();
    for (name, text) in originals.iter().filter(differs) {
        match value_before(*name, text, was) {
            Some(value) => changes.push(Change { name: *name, requested: None, value }),
            None => left.extend(put_weights(dirs, text).err().map(|error| (*name, error.to_string()))),
        }
    }
    let refused = put_all(dirs, &changes);
    left.extend(refused.into_iter().filter(|(_, error)| error.kind() != io::ErrorKind::NotFound).map(
        |(n, error)| {
            let Change { name, value, .. } = &changes[n];
            (*name, explain(dirs, *name, value, &error, original(dirs, *name).as_deref()))
        },
    ));
    left
}

/// What a text of [`originals`] means; `None` for weights of I/O, whose two files differ.
fn value_before(name: Name, text: &str, was: &Constraints) -> Option<Value> {
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
                let none = || format!("{device} rbps=max wbps=max riops=max wiops=max");
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

/// Lines of a file and a weight each.
fn put_weights(dirs: &Dirs, text: &str) -> io::Result<()> {
    let dir = dir_of(dirs, Controller::Io)?;
    let pairs = text.lines().filter_map(|line| line.split_once(' '));
    pairs.into_iter().try_for_each(|(file, weight)| files::write(dir, file, weight))
}

/// Reads limits back, see [`read_back`](crate::linux::cgroup::read_back).
#[must_use]
pub fn read_back(dirs: &Dirs, wanted: &Constraints) -> Vec<ConstraintStatus> {
    let asked = wanted.requested().into_iter();
    asked
        .filter_map(|(name, requested)| Some(status(dirs, name, requested, &value_of(name, wanted)?, None)))
        .collect()
}

/// What is asked for, then what goes back to its default.
fn changes(dirs: &Dirs, wanted: &Constraints, before: Before<'_>) -> Vec<Change> {
    let asked = |(name, requested)| {
        let value = match value_of(name, wanted)? {
            Value::Devices(mut lines) => {
                lines.splice(0..0, dropped(dirs, wanted, before));
                Value::Devices(lines)
            }
            value => value,
        };
        Some(Change { name, requested: Some(requested), value })
    };
    let mut list: Vec<Change> = wanted.requested().into_iter().filter_map(asked).collect();
    for name in ALL {
        let governed = match before {
            Before::Fresh => false,
            Before::Was(was) => value_of(name, was).is_some(),
            Before::Unknown => true,
        };
        // Two spellings of one limit.
        let one = |name| if name == Name::CpuMax { Name::CpuQuota } else { name };
        let asked =
            |change: &Change| one(change.name) == one(name) && !matches!(change.value, Value::Nothing(_));
        if governed && !list.iter().any(asked) {
            let value = match default_of(name, dirs) {
                Some(Value::Devices(_)) => Some(Value::Devices(dropped(dirs, wanted, before))),
                other => other,
            };
            let value = value.filter(|value| *value != Value::Devices(Vec::new()));
            list.extend(value.map(|value| Change { name, requested: None, value }));
        }
    }
    list
}

/// The limits of devices that were in force and are no longer asked for, as lines that end them. The
/// kernel keeps what it is not told.
fn dropped(dirs: &Dirs, wanted: &Constraints, before: Before<'_>) -> Vec<String> {
    let was = match before {
        Before::Fresh => return Vec::new(),
        Before::Was(was) => was.io_max.clone().unwrap_or_default(),
        Before::Unknown => {
            let dir = dirs.get(&Controller::Io);
            let text = dir.and_then(|dir| throttles(dir).ok()).unwrap_or_default();
            text.lines().map(ToOwned::to_owned).collect()
        }
    };
    let keys = |lines: &[String]| -> BTreeSet<(String, String)> {
        let all = lines.iter().flat_map(|line| {
            let mut words = line.split_whitespace();
            let device = words.next().unwrap_or_default();
            words
                .filter(|word| !word.ends_with("=max"))
                .filter_map(move |word| Some((device.to_owned(), word.split_once('=')?.0.to_owned())))
        });
        all.collect()
    };
    let kept = keys(wanted.io_max.as_deref().unwrap_or_default());
    keys(&was).difference(&kept).map(|(device, key)| format!("{device} {key}=max")).collect()
}

/// Memory alone may never be allowed more than memory and swap together, not even between two writes.
fn swap_goes_first(dirs: &Dirs, changes: &[Change]) -> bool {
    let swap = changes.iter().find_map(|change| match change.value {
        Value::MemoryAndSwap(bytes) => Some(bytes.unwrap_or(u64::MAX)),
        _ => None,
    });
    let now = dirs.get(&Controller::Memory).and_then(|dir| number(dir, MEMORY).ok());
    swap.zip(now).is_some_and(|(swap, now)| swap >= now.unsigned_abs())
}

/// A number that a file holds; -1 is none.
fn number(dir: &Path, file: &str) -> io::Result<i64> {
    let text = files::read(dir, file)?;
    text.parse().map_err(|_| io::Error::other(format!("{} is {text:?}", dir.join(file).display())))
}

/// A number as version 1 takes it: -1 is no limit.
fn signed(limit: Option<u64>) -> i64 {
    limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(i64::MAX))
}

/// Writes with a controller of cgroups-rs, and gives the kernel's own error. The crate would make a file
/// that is not there, or be refused by the kernel for trying, so that is looked at first.
fn through(dir: &Path, file: &str, write: impl FnOnce() -> error::Result<()>) -> io::Result<()> {
    if !dir.join(file).exists() {
        return Err(io::ErrorKind::NotFound.into());
    }
    write().map_err(|error| {
        let cause = error.source().and_then(|cause| cause.downcast_ref::<io::Error>());
        match cause.and_then(io::Error::raw_os_error) {
            Some(errno) => io::Error::from_raw_os_error(errno),
            None => io::Error::other(error),
        }
    })
}

/// The directory of the controller that keeps a value.
fn dir_of(dirs: &Dirs, controller: Controller) -> io::Result<&Path> {
    dirs.get(&controller).map(AsRef::as_ref).ok_or_else(|| io::ErrorKind::NotFound.into())
}

fn put(dirs: &Dirs, value: &Value) -> io::Result<()> {
    let dir = |controller| dir_of(dirs, controller).map(|dir| (dir, dir.to_owned(), PathBuf::new()));
    match value {
        Value::Cpu { quota_us, period_us } => put_cpu(dir_of(dirs, Controller::Cpu)?, *quota_us, *period_us),
        Value::Shares(shares) => {
            let (dir, path, root) = dir(Controller::Cpu)?;
            through(dir, SHARES, || CpuController::new(path, root, false).set_shares(*shares))
        }
        Value::Memory(limit) => {
            put_memory(dir_of(dirs, Controller::Memory)?, MEMORY, *limit, MemController::set_limit)
        }
        Value::MemoryAndSwap(limit) => {
            let set = MemController::set_memswap_limit;
            put_memory(dir_of(dirs, Controller::Memory)?, MEMORY_AND_SWAP, *limit, set)
        }
        Value::IoWeight(percent) => put_io_weight(dir_of(dirs, Controller::Io)?, *percent),
        Value::Devices(lines) => {
            let dir = dir_of(dirs, Controller::Io)?;
            // All of them: a disk that is gone must not take the others with it.
            let tried: Vec<_> = lines.iter().map(|line| put_device(dir, line)).collect();
            tried.into_iter().collect()
        }
        Value::Tasks(tasks) => {
            let (dir, path, root) = dir(Controller::Pids)?;
            let max = tasks.map_or(MaxValue::Max, |tasks| MaxValue::Value(signed(Some(tasks))));
            through(dir, TASKS, || PidController::new(path, root, false).set_pid_max(max))
        }
        Value::Cpus(cpus) => put_cpus(dir_of(dirs, Controller::Cpuset)?, cpus),
        Value::Nothing(_) => Ok(()),
    }
}

/// Writes a limit on memory. Where more is in use, the kernel takes memory back before it answers, and
/// refuses if that is not enough; the supervisor, which has other jobs, waits only a moment for that.
fn put_memory(
    dir: &Path,
    file: &'static str,
    limit: Option<u64>,
    set: fn(&MemController, i64) -> error::Result<()>,
) -> io::Result<()> {
    let used = number(dir, &file.replace("limit", "usage")).unwrap_or(0);
    let of = dir.to_owned();
    let write = move || {
        let memory = MemController::new(of.clone(), PathBuf::new(), false);
        through(&of, file, || set(&memory, signed(limit)))
    };
    match limit {
        Some(limit) if used.unsigned_abs() > limit => {
            beside(write)?.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
        }
        _ => write(),
    }
}

/// Writes quota and period in the order in which no more is allowed in between than before or after:
/// more than a cgroup above has would be refused. Where the second is refused, the first goes back.
fn put_cpu(dir: &Path, quota_us: Option<u64>, period_us: u64) -> io::Result<()> {
    let cpu = CpuController::new(dir.to_owned(), PathBuf::new(), false);
    let quota = |us| through(dir, QUOTA, || cpu.set_cfs_quota(us));
    let period = |us| through(dir, PERIOD, || cpu.set_cfs_period(us));
    let (old_quota, old_period) = (number(dir, QUOTA)?, number(dir, PERIOD)?.unsigned_abs());
    if quota_us.is_none() || period_us < old_period {
        quota(signed(quota_us))?;
        period(period_us).inspect_err(|_| drop(quota(old_quota)))
    } else {
        period(period_us)?;
        quota(signed(quota_us)).inspect_err(|_| drop(period(old_period)))
    }
}

/// The two files have the same maximum, but not the same default.
fn put_io_weight(dir: &Path, percent: Option<u8>) -> io::Result<()> {
    let weight = percent.map(|percent| u64::from(percent) * 10);
    let bfq = files::write(dir, BFQ_WEIGHT, &weight.unwrap_or(100).to_string());
    let blkio = BlkIoController::new(dir.to_owned(), PathBuf::new(), false);
    let cfq = through(dir, CFQ_WEIGHT, || blkio.set_weight(weight.unwrap_or(500)));
    match (bfq, cfq) {
        (Err(error), cfq) if error.kind() == io::ErrorKind::NotFound => cfq,
        (Ok(()), Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        (bfq, cfq) => bfq.and(cfq),
    }
}

/// Of CPUs that are not there, the kernel wants to hear nothing; with version 2, or as an affinity, it takes
/// those that are. So does this.
fn put_cpus(dir: &Path, cpus: &CpuSet) -> io::Result<()> {
    let cpuset = CpuSetController::new(dir.to_owned(), PathBuf::new(), false);
    let set = |cpus: &CpuSet| through(dir, CPUS, || cpuset.set_cpus(&cpus.to_string()));
    set(cpus).or_else(|error| {
        let missing = cpus.without(&cpus_above(dir).unwrap_or_default());
        let there = cpus.without(&missing);
        if missing.is_empty() || there.is_empty() { Err(error) } else { set(&there) }
    })
}

/// The CPUs of the cgroup above, which are all that there are.
fn cpus_above(dir: &Path) -> Option<CpuSet> {
    CpuSet::parse(&files::read(dir.parent()?, CPUS).ok()?).ok()
}

/// A line of `io.max`.
fn put_device(dir: &Path, line: &str) -> io::Result<()> {
    let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
    let mut words = line.split_whitespace();
    let (major, minor) = words
        .next()
        .and_then(|device| device.split_once(':'))
        .and_then(|(major, minor)| Some((major.parse().ok()?, minor.parse().ok()?)))
        .ok_or_else(invalid)?;
    let blkio = BlkIoController::new(dir.to_owned(), PathBuf::new(), false);
    for word in words {
        let (key, value) = word.split_once('=').ok_or_else(invalid)?;
        let (_, file) = THROTTLES.into_iter().find(|(known, _)| *known == key).ok_or_else(invalid)?;
        let rate = match value {
            // What removes the limit here.
            "max" => 0,
            // Nothing at all is as little possible as with version 2.
            "0" => return Err(io::Error::from_raw_os_error(libc::ERANGE)),
            value => value.parse().map_err(|_| invalid())?,
        };
        through(dir, file, || match key {
            "rbps" => blkio.throttle_read_bps_for_device(major, minor, rate),
            "wbps" => blkio.throttle_write_bps_for_device(major, minor, rate),
            // The kernel would cut off the higher bits. Its largest number is no limit.
            "riops" => blkio.throttle_read_iops_for_device(major, minor, rate.min(u32::MAX.into())),
            _ => blkio.throttle_write_iops_for_device(major, minor, rate.min(u32::MAX.into())),
        })?;
    }
    Ok(())
}

/// Reads a limit back and judges it.
fn status(
    dirs: &Dirs,
    name: Name,
    requested: String,
    value: &Value,
    refused: Option<io::Error>,
) -> ConstraintStatus {
    let (actual, reason) = match (read(dirs, value), refused) {
        _ if let Value::Nothing(why) = value => (None, Some((*why).to_owned())),
        (Ok(text), _) if is(value, &text) => {
            let idle =
                matches!(value, Value::IoWeight(Some(_))) && !a_disk_uses("bfq") && !a_disk_uses("cfq");
            (Some(text), idle.then(|| NO_DISK_WEIGHS.to_owned()))
        }
        (Ok(text), Some(error)) => {
            let reason = explain(dirs, name, value, &error, Some(&text));
            (Some(text), Some(reason))
        }
        (Ok(text), None) if let Value::Cpus(cpus) = value => {
            let missing = cpus.without(&CpuSet::parse(&text).unwrap_or_default());
            let reason = format!(
                "Cannot use CPU {missing}, using {text}: not online, or not in the cpuset.cpus of the cgroup above"
            );
            (Some(text), Some(reason))
        }
        (Ok(text), None) => {
            let is = if text.is_empty() { "without limits".into() } else { text.replace('\n', "; ") };
            (Some(text), Some(format!("{} is {is}", path_of(dirs, value).display())))
        }
        (Err(_), Some(error)) | (Err(error), None) => (None, Some(explain(dirs, name, value, &error, None))),
    };
    let actual = actual.map(|text| match value {
        Value::MemoryAndSwap(_) => format!("{text} with memory"),
        _ => text.replace('\n', "; "),
    });
    ConstraintStatus {
        name,
        requested,
        applied: reason.is_none(),
        actual,
        backend: Backend::CgroupV1,
        reason,
    }
}

/// What the kernel has now; quota and throttles as version 2 would show them.
fn read(dirs: &Dirs, value: &Value) -> io::Result<String> {
    let dir = |controller| dir_of(dirs, controller);
    let missing = |error: &io::Error| error.kind() == io::ErrorKind::NotFound;
    match value {
        Value::Cpu { .. } => {
            let dir = dir(Controller::Cpu)?;
            let (quota, period) = (number(dir, QUOTA)?, files::read(dir, PERIOD)?);
            Ok(if quota < 0 { format!("max {period}") } else { format!("{quota} {period}") })
        }
        Value::Shares(_) => files::read(dir(Controller::Cpu)?, SHARES),
        Value::Memory(_) => files::read(dir(Controller::Memory)?, MEMORY),
        Value::MemoryAndSwap(_) => files::read(dir(Controller::Memory)?, MEMORY_AND_SWAP),
        Value::IoWeight(_) => {
            let dir = dir(Controller::Io)?;
            match (files::read(dir, BFQ_WEIGHT), files::read(dir, CFQ_WEIGHT)) {
                (Ok(bfq), Ok(cfq)) => Ok(format!("{bfq}\n{cfq}")),
                (Err(error), other) | (other, Err(error)) if missing(&error) => other,
                (bfq, cfq) => bfq.and(cfq),
            }
        }
        Value::Devices(_) => throttles(dir(Controller::Io)?),
        Value::Tasks(_) => files::read(dir(Controller::Pids)?, TASKS),
        Value::Cpus(_) => {
            let dir = dir(Controller::Cpuset)?;
            match files::read(dir, EFFECTIVE_CPUS) {
                // Before Linux 3.17.
                Err(error) if missing(&error) => files::read(dir, CPUS),
                other => other,
            }
        }
        Value::Nothing(_) => Ok(String::new()),
    }
}

/// The four files of throttles as the one of version 2 would be: a line for each device with a limit.
fn throttles(dir: &Path) -> io::Result<String> {
    let mut devices: BTreeMap<String, BTreeMap<&str, String>> = BTreeMap::new();
    for (key, file) in THROTTLES {
        for line in files::read(dir, file)?.lines() {
            if let Some((device, rate)) = line.split_once(' ') {
                devices.entry(device.into()).or_default().insert(key, rate.into());
            }
        }
    }
    let mut text = String::new();
    for (device, rates) in devices {
        let rate = |(key, _)| format!("{key}={}", rates.get(key).map_or("max", String::as_str));
        let line = format!("{device} {}", THROTTLES.map(rate).join(" "));
        text = if text.is_empty() { line } else { format!("{text}\n{line}") };
    }
    Ok(text)
}

/// Whether what was read is what was asked for.
fn is(value: &Value, actual: &str) -> bool {
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

/// The file that keeps a value, for people to look at.
fn path_of(dirs: &Dirs, value: &Value) -> PathBuf {
    let (controller, file) = match value {
        Value::Cpu { .. } => (Controller::Cpu, QUOTA),
        Value::Shares(_) => (Controller::Cpu, SHARES),
        Value::Memory(_) => (Controller::Memory, MEMORY),
        Value::MemoryAndSwap(_) | Value::Nothing(_) => (Controller::Memory, MEMORY_AND_SWAP),
        Value::IoWeight(_) => (Controller::Io, BFQ_WEIGHT),
        Value::Devices(_) => (Controller::Io, "blkio.throttle.*"),
        Value::Tasks(_) => (Controller::Pids, TASKS),
        Value::Cpus(_) => (Controller::Cpuset, CPUS),
    };
    dirs.get(&controller).map_or_else(|| file.into(), |dir| dir.join(file))
}

/// Why a limit is not in force, and what would help.
fn explain(dirs: &Dirs, name: Name, value: &Value, error: &io::Error, actual: Option<&str>) -> String {
    let Some(controller) = Controller::of(name) else { return error.to_string() };
    let Some(dir) = dirs.get(&controller) else {
        return format!(
            "the {} controller is not available: no hierarchy of version 1 has it that lets us make cgroups; \
             {READ_ON}",
            controller.as_str_v1()
        );
    };
    let file = path_of(dirs, value);
    if error.kind() == io::ErrorKind::NotFound {
        return match name {
            _ if !dir.exists() => format!("the cgroup {} is gone", dir.display()),
            Name::IoWeight => {
                "this kernel weighs no I/O: it has neither blkio.bfq.weight (the bfq scheduler) nor \
                               blkio.weight (the cfq scheduler, before Linux 5.0)"
                    .into()
            }
            Name::MemorySwap => format!(
                "this kernel counts no swap: no {MEMORY_AND_SWAP} (CONFIG_SWAP; swapaccount=1 at boot)"
            ),
            _ => format!("this kernel has no {}", file.display()),
        };
    }
    let using = actual
        .filter(|text| !text.is_empty())
        .map(|text| format!("; it is {}", text.replace('\n', "; ")))
        .unwrap_or_default();
    if error.kind() == io::ErrorKind::TimedOut {
        let old = actual.unwrap_or("the old one");
        return format!(
            "the kernel is still taking memory back from the job: {old} stays until {name} is enough; tried again \
             until then"
        );
    }
    let advice = match (name, error.raw_os_error()) {
        (Name::MemoryLimit, Some(libc::EBUSY)) => {
            let Value::Memory(limit) = value else { return error.to_string() };
            let used = files::read(dir, "memory.usage_in_bytes").unwrap_or_else(|_| "unknown".into());
            return format!(
                "memory_limit {} is below what the job uses and cannot give back ({used} bytes): the kernel \
                 refuses it, so {} stays; raise the limit, or restart the job",
                ByteSize(limit.unwrap_or(u64::MAX)),
                actual.unwrap_or("the old one")
            );
        }
        (Name::MemorySwap, Some(libc::EBUSY)) => ": the job uses more than that of both; restart the job",
        (Name::MemorySwap, Some(libc::EINVAL)) => {
            ": memory and swap together cannot be less than memory.limit_in_bytes allows of memory alone"
        }
        (Name::CpuQuota | Name::CpuMax, Some(libc::EINVAL)) => {
            "; a cgroup above it may have less (its cpu.cfs_quota_us by its cpu.cfs_period_us)"
        }
        (Name::IoMax, Some(libc::ENODEV)) => "; `lsblk -o NAME,MAJ:MIN` shows the devices",
        (Name::Cpus, Some(libc::EACCES | libc::EINVAL | libc::ERANGE)) => {
            "; not all of these CPUs are online and in the cpuset.cpus of the cgroup above"
        }
        (_, Some(libc::EACCES | libc::EPERM | libc::EROFS)) => "; see docs/constraints.md",
        _ => "",
    };
    format!("Cannot write {}: {error}{using}{advice}", file.display())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn wanted(json: serde_json::Value) -> Constraints {
        serde_json::from_value(json).expect("constraints")
    }

    /// A directory that stands for all hierarchies, with these files.
    fn cgroup(root: &Path, content: &[(&str, &str)]) -> Dirs {
        let dir = root.join("base/job");
        fs::create_dir_all(&dir).expect("made");
        for (file, text) in content {
            fs::write(dir.join(file), text).expect("written");
        }
        Controller::V2.into_iter().map(|controller| (controller, dir.clone())).collect()
    }

    fn text(dirs: &Dirs, file: &str) -> String {
        fs::read_to_string(dirs[&Controller::Cpu].join(file)).unwrap_or_default()
    }

    #[test]
    fn each_limit_has_its_scale() {
        assert_eq!([1, 100, 50, 200, 10_000].map(shares), [10, 1024, 512, 2048, 102_400]);
        let all = wanted(serde_json::json!({
            "cpu": {"quota": 200}, "memory_limit": 1_048_576, "memory_swap": 4096, "memory_high": 5
        }));
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

    #[test]
    fn what_version_1_has_nothing_for_is_told_so() {
        let root = tempfile::tempdir().expect("a directory");
        let dirs = cgroup(root.path(), &[]);
        let list =
            apply(&dirs, &wanted(serde_json::json!({"memory_high": 1, "memory_swap": 1})), Before::Fresh);
        let reasons: Vec<_> =
            list.iter().map(|status| status.reason.as_deref().unwrap_or_default()).collect();
        assert!(list.iter().all(|status| !status.applied && status.actual.is_none()), "{list:?}");
        assert!(reasons[0].contains("slows nothing down") && reasons[1].contains("needs a memory_limit"));
    }

    #[test]
    fn a_file_or_a_controller_that_is_missing_is_named_and_never_made() {
        let root = tempfile::tempdir().expect("a directory");
        let mut dirs = cgroup(root.path(), &[("cpu.shares", "1024\n"), ("memory.limit_in_bytes", "4096\n")]);
        dirs.remove(&Controller::Pids);
        let all = wanted(serde_json::json!({
            "cpu_weight": 200, "memory_limit": 4096, "memory_swap": 0, "io_weight": 5, "tasks_max": 5
        }));
        let list = apply(&dirs, &all, Before::Unknown);
        let of = |name| list.iter().find(|status| status.name == name).expect("a status");
        let reason = |name| of(name).reason.clone().unwrap_or_default();
        assert!(of(Name::CpuWeight).applied && of(Name::CpuWeight).actual.as_deref() == Some("2048"));
        assert!(of(Name::MemoryLimit).applied, "{list:?}");
        assert!(reason(Name::MemorySwap).contains("counts no swap"), "{list:?}");
        assert!(reason(Name::IoWeight).contains("weighs no I/O"), "{list:?}");
        assert!(reason(Name::TasksMax).contains("the pids controller is not available"), "{list:?}");
        assert_eq!(list.len(), 5, "what is not there needs no reset: {list:?}");
        let files = fs::read_dir(&dirs[&Controller::Cpu]).expect("listed").count();
        assert_eq!(files, 2, "the crate would have made the files");
        fs::remove_dir_all(&dirs[&Controller::Cpu]).expect("removed");
        let list = read_back(&dirs, &all);
        assert!(list[0].reason.clone().unwrap_or_default().ends_with("base/job is gone"), "{list:?}");
    }

    #[test]
    fn throttles_are_shown_as_version_2_does_and_end_key_by_key() {
        let root = tempfile::tempdir().expect("a directory");
        let file =
            |key: &str| THROTTLES.into_iter().find(|(known, _)| *known == key).map_or("", |found| found.1);
        let content: Vec<(&str, &str)> = THROTTLES.into_iter().map(|(_, file)| (file, "")).collect();
        let dirs = cgroup(root.path(), &content);
        fs::write(dirs[&Controller::Io].join(file("wbps")), "8:0 7\n8:16 9\n").expect("written");
        let shown = throttles(&dirs[&Controller::Io]).expect("read");
        assert_eq!(
            shown,
            "8:0 rbps=max wbps=7 riops=max wiops=max\n8:16 rbps=max wbps=9 riops=max wiops=max"
        );

        let was = wanted(serde_json::json!({"io_max": ["8:0 rbps=1 wbps=7", "8:16 wbps=9 riops=max"]}));
        let now = wanted(serde_json::json!({"io_max": ["8:0 rbps=2"]}));
        assert_eq!(dropped(&dirs, &now, Before::Was(&was)), ["8:0 wbps=max", "8:16 wbps=max"]);
        assert_eq!(dropped(&dirs, &now, Before::Unknown), ["8:0 wbps=max", "8:16 wbps=max"]);
        assert_eq!(dropped(&dirs, &Constraints::default(), Before::Fresh), [""; 0]);
        let _ = apply(&dirs, &now, Before::Was(&was));
        assert_eq!((text(&dirs, file("rbps")), text(&dirs, file("wbps"))), ("8:0 2".into(), "8:16 0".into()));
        // No access at all is no limit that can be asked for: 0 would remove it.
        let list = apply(&dirs, &wanted(serde_json::json!({"io_max": ["8:0 rbps=0"]})), Before::Fresh);
        assert!(!list[0].applied && text(&dirs, file("rbps")) == "8:0 2", "{list:?}");
    }

    #[test]
    fn what_is_no_longer_asked_for_goes_back_to_its_default() {
        let root = tempfile::tempdir().expect("a directory");
        let dirs = cgroup(root.path(), &[("cpuset.cpus", "0\n")]);
        fs::write(root.path().join("base/cpuset.cpus"), "0-3\n").expect("written");
        let was = wanted(serde_json::json!({"cpu": {"quota": 50}, "cpu_weight": 5, "cpus": "0"}));
        let now = wanted(serde_json::json!({"cpu": {"max": {"quota_us": 5000, "period_us": 10000}}}));
        let reset = |before| {
            let list = changes(&dirs, &now, before);
            list.into_iter().filter(|c| c.requested.is_none()).map(|c| c.name).collect::<Vec<_>>()
        };
        assert_eq!(reset(Before::Was(&was)), [Name::CpuWeight, Name::Cpus]);
        assert_eq!(reset(Before::Fresh), []);
        assert_eq!(reset(Before::Unknown).len(), 6);
        assert_eq!(apply(&dirs, &Constraints::default(), Before::Was(&was)), []);
        assert_eq!(text(&dirs, "cpuset.cpus"), "0-3");
        // With the memory_limit gone, memory_swap cannot be kept, and must not stay either.
        let was = wanted(serde_json::json!({"memory_limit": 8192, "memory_swap": 0}));
        let now = wanted(serde_json::json!({"memory_swap": 0}));
        let list = changes(&dirs, &now, Before::Was(&was));
        assert!(list.iter().any(|change| change.value == Value::MemoryAndSwap(None)), "{list:?}");
    }

    #[test]
    fn a_path_need_not_be_text() {
        let root = tempfile::tempdir().expect("a directory");
        let odd = root.path().join(OsStr::from_bytes(b"caf\xe9"));
        let dirs = cgroup(&odd, &[("cpu.shares", "1024\n"), ("pids.max", "max\n")]);
        let wanted =
            wanted(serde_json::json!({"cpu_weight": 200, "tasks_max": 5, "memory_limit": 1, "cpus": "0"}));
        let list = apply(&dirs, &wanted, Before::Unknown);
        assert_eq!(list.iter().filter(|status| status.applied).count(), 2, "{list:?}");
    }
}
