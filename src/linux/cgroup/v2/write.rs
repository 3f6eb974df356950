//! Writing a limit, and never one that the kernel would kill for.

use std::io;
use std::path::Path;

use super::value::{BFQ_WEIGHT, Value, bfq_weight, file_of, io_weight};
use crate::linux::cgroup::common::beside;
use crate::linux::cgroup::disks::unlimited;
use crate::linux::cgroup::files;
use crate::model::constraints::ConstraintName as Name;
use crate::model::units::ByteSize;

/// How much is taken back from a job at once: so much more than needed is taken at most.
const RECLAIM_STEP: u64 = 4 << 20;

/// Why a value was not written.
#[derive(Debug)]
pub(super) enum Refused {
    /// By the kernel.
    Kernel(io::Error),
    /// By us, because the kernel would kill for it: there is no room, and why.
    Room(String),
}

impl Refused {
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Kernel(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Kernel(error)
    }
}

pub(super) fn put(dir: &Path, name: Name, value: &Value) -> Result<(), Refused> {
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
