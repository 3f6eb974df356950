//! Reading a limit back: whether it is in force, and if not, why and what would help.

use std::io;
use std::path::Path;

use super::value::{BFQ_WEIGHT, Value, file_of, is};
use super::write::Refused;
use crate::linux::cgroup::disks::a_disk_uses;
use crate::linux::cgroup::files;
use crate::linux::cgroup::request::READ_ON;
use crate::model::cgroup::Controller;
use crate::model::constraints::{Backend, ConstraintName as Name, ConstraintStatus};

const NOTHING_WEIGHS: &str = "it is written, but nothing weighs: choose the bfq scheduler for the job's disk \
                              (/sys/block/DISK/queue/scheduler), enable the cost model (io.cost.qos), or use io_max";

/// Reads a limit back and judges it.
pub(super) fn status(
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
