//! Reading a limit back: whether it is in force, and if not, why and what would help.

use std::io;
use std::path::PathBuf;

use super::interface::{
    BFQ_WEIGHT, CFQ_WEIGHT, CPUS, Dirs, EFFECTIVE_CPUS, MEMORY, MEMORY_AND_SWAP, PERIOD, QUOTA, SHARES,
    TASKS, dir_of, number, throttles,
};
use super::value::{Value, is};
use crate::linux::cgroup::disks::a_disk_uses;
use crate::linux::cgroup::files;
use crate::linux::cgroup::request::READ_ON;
use crate::model::cgroup::Controller;
use crate::model::constraints::{Backend, ConstraintName as Name, ConstraintStatus};
use crate::model::cpus::CpuSet;
use crate::model::units::ByteSize;

const NO_DISK_WEIGHS: &str = "it is written, but no disk has a scheduler that weighs: choose bfq for the job's \
                              disk (/sys/block/DISK/queue/scheduler), or use io_max";

/// Reads a limit back and judges it.
pub(super) fn status(
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
pub(super) fn read(dirs: &Dirs, value: &Value) -> io::Result<String> {
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
pub(super) fn explain(
    dirs: &Dirs,
    name: Name,
    value: &Value,
    error: &io::Error,
    actual: Option<&str>,
) -> String {
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
