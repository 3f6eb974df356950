//! What processes had before they were governed: recorded thread by thread, and restored.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;

use crate::linux::priority::{io_class_of, threads_of, write_oom_score_adj};
use crate::linux::process::{is_gone, read_thread_nice, stat_of};
use crate::linux::sys;
use crate::model::attached::{Attached, Before, Home, ThreadBefore};
use crate::model::constraints::{ConstraintName, Constraints};
use crate::model::cpus::CpuSet;
use crate::model::process::{Pid, ProcessIdentity};

/// Passes after which we settle for those that were restored.
const MAX_PASSES: usize = 16;

/// What a process has now, in these cgroups; `None` if it is gone. What cannot be read is left out, and not restored.
///
/// # Errors
/// `/proc` cannot be read.
pub(super) fn capture(process: &ProcessIdentity, homes: Vec<Home>) -> io::Result<Option<Before>> {
    let mut threads = Vec::new();
    for thread in threads_of(process)? {
        threads.push(ThreadBefore {
            thread,
            nice: read_thread_nice(process.pid, thread)?,
            cpus: sys::affinity(thread).ok().map(|cpus| cpus.to_string()),
            io_priority: sys::io_priority(thread).ok(),
        });
    }
    let text = fs::read_to_string(format!("/proc/{}/oom_score_adj", process.pid));
    let oom_score_adj = text.ok().and_then(|text| text.trim().parse().ok());
    // If the process is still the one we mean, then the values were its own.
    let lives = stat_of(process)?.is_some();
    Ok(lives.then(|| Before { process: process.clone(), homes, oom_score_adj, threads }))
}

/// Gives these processes, and each of their threads, back what they had of the attributes that `was` asks
/// for, until a pass finds nobody new. One that was born meanwhile gets what the process that was taken
/// over had, a thread what the main thread of its process had.
///
/// What could not be restored, and why.
pub(super) fn restore(
    attached: &Attached,
    members: &dyn Fn() -> io::Result<Vec<ProcessIdentity>>,
    was: &Constraints,
) -> Vec<(ConstraintName, String)> {
    let mut left: BTreeMap<ConstraintName, String> = BTreeMap::new();
    let governs =
        [was.nice.is_some(), was.oom_score_adj.is_some(), was.cpus.is_some(), was.io_class.is_some()];
    if !governs.contains(&true) {
        return Vec::new();
    }
    let mut done: HashSet<Pid> = HashSet::new();
    for _ in 0..MAX_PASSES {
        let mut fresh = false;
        let list = match members() {
            Ok(list) => list,
            Err(error) => {
                left.insert(ConstraintName::Nice, format!("/proc cannot be read: {error}"));
                break;
            }
        };
        for process in list {
            let recorded = attached.before.iter().find(|before| before.process == process);
            let Some(before) = recorded.or(attached.before.first()) else { continue };
            if was.oom_score_adj.is_some()
                && let Some(value) = before.oom_score_adj
                && !done.contains(&process.pid)
            {
                note(
                    &mut left,
                    ConstraintName::OomScoreAdj,
                    &process,
                    value,
                    write_oom_score_adj(&process, value),
                );
            }
            for thread in threads_of(&process).unwrap_or_default() {
                if done.insert(thread) {
                    fresh = true;
                    let of_thread = before.threads.iter().find(|before| before.thread == thread);
                    if let Some(old) = of_thread.or(before.threads.first()) {
                        restore_thread(&mut left, &process, thread, old, was);
                    }
                }
            }
        }
        if !fresh {
            break;
        }
    }
    left.into_iter().collect()
}

fn restore_thread(
    left: &mut BTreeMap<ConstraintName, String>,
    process: &ProcessIdentity,
    thread: Pid,
    old: &ThreadBefore,
    was: &Constraints,
) {
    if was.nice.is_some()
        && let Some(nice) = old.nice
        && !matches!(read_thread_nice(process.pid, thread), Ok(now) if now.is_none_or(|now| now == nice))
    {
        note(left, ConstraintName::Nice, process, nice, sys::set_nice(thread, nice));
    }
    if was.cpus.is_some()
        && let Some(text) = &old.cpus
        && let Ok(cpus) = CpuSet::parse(text)
    {
        note(left, ConstraintName::Cpus, process, text, sys::set_affinity(thread, &cpus));
    }
    if was.io_class.is_some()
        && let Some(value) = old.io_priority
    {
        // Without a class there is no level, whatever older kernels say.
        let value = if io_class_of(value).is_none() { 0 } else { value };
        note(left, ConstraintName::IoClass, process, value, sys::set_io_priority(thread, value));
    }
}

fn note(
    left: &mut BTreeMap<ConstraintName, String>,
    name: ConstraintName,
    process: &ProcessIdentity,
    value: impl std::fmt::Display,
    tried: io::Result<()>,
) {
    if let Err(error) = tried
        && !is_gone(&error)
    {
        let advice = match (name, error.raw_os_error()) {
            (ConstraintName::Nice, Some(libc::EACCES | libc::EPERM)) => {
                "; a lower nice needs CAP_SYS_NICE or RLIMIT_NICE"
            }
            (ConstraintName::OomScoreAdj, Some(libc::EACCES | libc::EPERM)) => {
                "; a lower one needs CAP_SYS_RESOURCE"
            }
            _ => "",
        };
        left.entry(name)
            .or_insert_with(|| format!("Cannot give process {} back {value}: {error}{advice}", process.pid));
    }
}

/// Does something that may change affinities, as entering a cpuset does, and undoes that.
pub(super) fn keeping_affinities<T>(process: &ProcessIdentity, work: impl FnOnce() -> T) -> T {
    let of = |thread: Pid| Some((thread, sys::affinity(thread).ok()?));
    let before: Vec<(Pid, CpuSet)> =
        threads_of(process).unwrap_or_default().into_iter().filter_map(of).collect();
    let result = work();
    let threads: HashSet<Pid> = threads_of(process).unwrap_or_default().into_iter().collect();
    for (thread, cpus) in before {
        if threads.contains(&thread) && sys::affinity(thread).is_ok_and(|now| now != cpus) {
            // Where none of them may be used, what the kernel chose stays.
            let _ = sys::set_affinity(thread, &cpus);
        }
    }
    result
}
