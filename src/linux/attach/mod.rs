//! Processes that somebody else started: constrained where they are, or moved, and left as they were.
//!
//! [`survey`] looks and changes nothing; what it finds is recorded before [`enforce`] changes anything, so
//! that [`release`] can restore it, whoever calls it and however often. None of them sends a signal.

mod attributes;
mod moving;
mod place;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use self::place::MOVE;
use super::cgroup::systemd::units;
use super::cgroup::{self, Before, Tree};
use super::clock;
use super::priority::{self, Attempt, Members};
use super::process::{self, family};
use crate::model::attached::{Attached, Place, Unit};
use crate::model::cgroup::{Cgroup, Controller};
use crate::model::constraints::{Backend, ConstraintName, ConstraintStatus, Constraints, in_force, merge};
use crate::model::process::{Pid, ProcessIdentity};

/// Looks at a process, and changes nothing about it: where its limits are to be kept, and what it and its
/// descendants have now. With `relocate`, a process that shares its cgroup is to be moved into one that is
/// made here, empty, in `tree`, under the name of the job.
///
/// The cgroup goes into the spec of the run. That of [`Place::Stays`] is not ours: never to be killed,
/// never to be removed.
///
/// # Errors
/// `NotFound`: there is no such process (any more). `InvalidInput`: it is none that may be governed: the
/// init, a thread of the kernel, this process or one that it descends from, one of a job of ours.
/// Anything else: `/proc` cannot be read.
pub fn survey(
    process: &ProcessIdentity,
    relocate: bool,
    tree: &Tree,
    job: &str,
) -> io::Result<(Attached, Option<Cgroup>)> {
    let members = place::may_be_governed(process, tree)?;
    let mut before = Vec::new();
    for member in &members {
        // One that has ended meanwhile has nothing to restore.
        before.extend(attributes::capture(member, place::homes(member))?);
    }
    if before.first().is_none_or(|first| first.process != *process) {
        return Err(place::gone(process));
    }
    let command = place::command_line(process)?;
    // Last, as it makes a cgroup that would be left over.
    let (place, cgroup) = place::choose(&members, relocate, tree, job)
        .map_err(|error| if process::is_gone(&error) { place::gone(process) } else { error })?;
    Ok((Attached { process: process.clone(), command, place, before }, cgroup))
}

/// The CPU time in seconds that a process has used so far, user and system, with the children it waited for
/// (fields 14 to 17 of `/proc/PID/stat`); `None` if it is gone.
#[must_use]
pub fn cpu_sec(process: &ProcessIdentity) -> Option<f64> {
    let text = fs::read(format!("/proc/{}/stat", process.pid)).ok()?;
    // In this order: if the number names the process now, it did when that was read.
    process::stat_of(process).ok()??;
    let (_, _, fields) = process::split_stat(&text)?;
    // What is left begins with the third.
    let ticks: u64 = fields.skip(14 - 3).take(4).map(|field| field.parse::<u64>().ok()).sum::<Option<_>>()?;
    Some(clock::ticks(ticks).as_secs_f64())
}

/// Puts constraints in force for a process that was taken over, on all threads of it and of its descendants,
/// and reads them back. One status for each constraint that is asked for.
///
/// `before` is what it was governed by so far; `None` at the start, which is when it is moved, if it is to
/// be. What `before` asked for and `wanted` does not goes back to what the process had before it was taken
/// over; one more status for each that could not.
#[must_use]
pub fn enforce(
    attached: &Attached,
    cgroup: Option<&Cgroup>,
    wanted: &Constraints,
    before: Option<&Constraints>,
) -> Vec<ConstraintStatus> {
    let dropped = before.map(|before| dropped(before, wanted)).unwrap_or_default();
    let mut left = Vec::new();
    let limits = match (&attached.place, cgroup) {
        (Place::Stays { before: originals, unit }, Some(cgroup)) => {
            left.extend(restore_limits(cgroup, originals, unit.as_ref(), &dropped));
            inside(attached, cgroup, limit(cgroup, unit.as_ref(), wanted), &BTreeMap::new())
        }
        (Place::Moved, Some(cgroup)) => {
            let limits = cgroup::apply(cgroup, wanted, before.map_or(Before::Fresh, Before::Was));
            let refused = match before {
                None => moving::gather(&attached.process, cgroup),
                Some(_) => BTreeMap::new(),
            };
            inside(attached, cgroup, limits, &refused)
        }
        (Place::None(why), _) => cgroup::not_in_force(wanted, why),
        (_, None) => cgroup::not_in_force(wanted, "no cgroup is recorded for it"),
    };
    left.extend(attributes::restore(attached, &|| members(attached, cgroup), &dropped));
    let list = || members_listed(attached, cgroup);
    let own = priority::apply(Members::Listed(&attached.process, &list), wanted, None, &in_force(&limits));
    let mut statuses = merge(wanted, limits, own);
    let backend = cgroup.map_or(Backend::Process, Cgroup::backend);
    statuses.extend(left.into_iter().map(|(name, why)| not_restored(name, why, backend)));
    statuses
}

/// Reads back what is asked for, and changes nothing: the limits, and the main thread's attributes.
#[must_use]
pub fn read_back(
    attached: &Attached,
    cgroup: Option<&Cgroup>,
    wanted: &Constraints,
) -> Vec<ConstraintStatus> {
    let limits = match (&attached.place, cgroup) {
        (Place::None(why), _) => cgroup::not_in_force(wanted, why),
        (_, Some(cgroup)) => inside(attached, cgroup, cgroup::read_back(cgroup, wanted), &BTreeMap::new()),
        (_, None) => cgroup::not_in_force(wanted, "no cgroup is recorded for it"),
    };
    let kept = in_force(&limits);
    let members = Members::Main(&attached.process);
    let own = priority::read_back(members, wanted, &Attempt::default(), &kept);
    merge(wanted, limits, own)
}

/// Lets a process go that was governed by `was`: it, its descendants and what it left behind go back to
/// where they were and get back what they had; what was born meanwhile gets what the process had. May be
/// called again, also for a process that has ended. Our own cgroup is removed once nobody is in it.
///
/// In words what could not be restored, and why.
#[must_use]
pub fn release(attached: &Attached, cgroup: Option<&Cgroup>, was: &Constraints) -> Vec<String> {
    let mut left = Vec::new();
    // Before anybody leaves the cgroup: those that were in it.
    let mut known = members(attached, cgroup).unwrap_or_default();
    let mut told = Vec::new();
    match (&attached.place, cgroup) {
        (Place::Stays { before, unit }, Some(cgroup)) => {
            left.extend(restore_limits(cgroup, before, unit.as_ref(), was));
        }
        (Place::Moved, Some(cgroup)) => {
            // First: whoever cannot be moved back, or a crash leaves here, is at least free of limits.
            let _ = cgroup::apply(cgroup, &Constraints::default(), Before::Was(was));
            told.extend(moving::go_home(attached, cgroup, &mut known));
        }
        _ => {}
    }
    // After the moves: a cpuset that is entered changes affinities.
    let all = || {
        let mut all = members(attached, None)?;
        let seen: HashSet<Pid> = all.iter().map(|process| process.pid).collect();
        all.extend(known.iter().filter(|process| !seen.contains(&process.pid)).cloned());
        Ok(all)
    };
    left.extend(attributes::restore(attached, &all, was));
    told.extend(left.into_iter().map(|(name, why)| format!("{name} is not as it was: {why}")));
    if let (Place::Moved, Some(cgroup)) = (&attached.place, cgroup) {
        match cgroup::remove(cgroup) {
            Ok(true) => {}
            Ok(false) => told.push("something is left in the job's cgroup, without limits".into()),
            Err(error) => told.push(format!("the job's cgroup cannot be removed: {error}")),
        }
    }
    told
}

/// Puts limits in force in a cgroup that is not ours, and tells the systemd whose unit that is.
fn limit(cgroup: &Cgroup, unit: Option<&Unit>, wanted: &Constraints) -> Vec<ConstraintStatus> {
    let limits = cgroup::apply(cgroup, wanted, Before::Fresh);
    let Some(unit) = unit else { return limits };
    // Not what was refused: of memory, systemd would take more than there is room for, and the kernel kill.
    // What has no file waits for systemd to enable its controller.
    let told = limits.iter().filter(|status| status.applied || status.actual.is_none());
    let told: Vec<ConstraintName> = told.map(|status| status.name).collect();
    match units::set(unit, wanted, &told) {
        // Once more: systemd writes what it has computed from its own scales.
        Ok(()) => cgroup::apply(cgroup, wanted, Before::Fresh),
        Err(why) => limits
            .into_iter()
            .map(|status| match status.reason {
                Some(reason) if status.actual.is_none() => {
                    ConstraintStatus { reason: Some(format!("{reason}; {why}")), ..status }
                }
                _ => status,
            })
            .collect(),
    }
}

/// Gives a cgroup that is not ours back what `was` has changed, and tells the systemd whose unit that is.
fn restore_limits(
    cgroup: &Cgroup,
    before: &[(ConstraintName, String)],
    unit: Option<&Unit>,
    was: &Constraints,
) -> Vec<(ConstraintName, String)> {
    let left = cgroup::restore(cgroup, before, was);
    let Some(unit) = unit else { return left };
    let stays = |name| {
        let name = if name == ConstraintName::CpuQuota { ConstraintName::CpuMax } else { name };
        left.iter().any(|(other, _)| *other == name)
    };
    let names = was.requested().into_iter().map(|(name, _)| name);
    let restored: Vec<ConstraintName> = names.filter(|name| !stays(*name)).collect();
    match (units::restore(unit, was, &restored), restored.first()) {
        // Somebody may have written other values than systemd's, which has just written its own.
        (Ok(()), _) => cgroup::restore(cgroup, before, was),
        (Err(why), Some(name)) => left.into_iter().chain([(*name, why)]).collect(),
        (Err(_), None) => left,
    }
}

/// The processes that are governed: those that were recorded and still live, the process's descendants, and
/// what else is in a cgroup of ours.
fn members(attached: &Attached, cgroup: Option<&Cgroup>) -> io::Result<Vec<ProcessIdentity>> {
    let mut found = Vec::new();
    for recorded in &attached.before {
        if process::identify(recorded.process.pid)?.as_ref() == Some(&recorded.process) {
            found.push(recorded.process.clone());
        }
    }
    let mut seen: HashSet<Pid> = found.iter().map(|process| process.pid).collect();
    for descendant in family(&attached.process)? {
        if seen.insert(descendant.pid) {
            found.push(descendant);
        }
    }
    if let (Place::Moved, Some(cgroup)) = (&attached.place, cgroup) {
        for pid in cgroup::procs(cgroup)? {
            if seen.insert(pid) {
                found.extend(process::identify(pid)?);
            }
        }
    }
    Ok(found)
}

fn members_listed(attached: &Attached, cgroup: Option<&Cgroup>) -> io::Result<Vec<Pid>> {
    Ok(members(attached, cgroup)?.into_iter().map(|process| process.pid).collect())
}

/// A limit is in force for whom it holds: the process may never have come into its cgroup, or somebody
/// may have moved it. With version 1, each hierarchy stands for itself.
fn inside(
    attached: &Attached,
    cgroup: &Cgroup,
    limits: Vec<ConstraintStatus>,
    refused: &BTreeMap<PathBuf, String>,
) -> Vec<ConstraintStatus> {
    let mut places: BTreeMap<&Path, Option<String>> = BTreeMap::new();
    let judged = limits.into_iter().map(|status| {
        let dir = Controller::of(status.name).and_then(|controller| cgroup.dir(controller));
        let Some(dir) = dir else {
            return match (&attached.place, &status.reason) {
                // That of version 1 in which it is not alone was left out.
                (Place::Stays { .. }, Some(reason)) => {
                    let reason = format!("{reason}; if it shares its cgroup there with others, {MOVE}");
                    ConstraintStatus { reason: Some(reason), ..status }
                }
                _ => status,
            };
        };
        let why = places.entry(dir).or_insert_with(|| match cgroup::procs_in(dir) {
            Ok(list) if list.contains(&attached.process.pid) => None,
            Ok(_) => {
                let why = refused.get(dir).map_or("somebody moved it out", String::as_str);
                Some(format!("it is not in {}: {why}", dir.display()))
            }
            Err(error) => Some(format!("{}: {error}", dir.display())),
        });
        match why {
            None => status,
            Some(why) => {
                ConstraintStatus { applied: false, actual: None, reason: Some(why.clone()), ..status }
            }
        }
    });
    judged.collect()
}

fn not_restored(name: ConstraintName, why: String, backend: Backend) -> ConstraintStatus {
    ConstraintStatus {
        name,
        requested: "as before".into(),
        applied: false,
        actual: None,
        backend: if Controller::of(name).is_some() { backend } else { Backend::Process },
        reason: Some(why),
    }
}

/// What was asked for and is not any more. Of `io_max`, the lines of the devices.
fn dropped(before: &Constraints, wanted: &Constraints) -> Constraints {
    fn gone<T: Clone>(before: &Option<T>, wanted: &Option<T>) -> Option<T> {
        before.clone().filter(|_| wanted.is_none())
    }
    let device = |line: &String| line.split_whitespace().next().map(ToOwned::to_owned);
    let kept: Vec<_> = wanted.io_max.iter().flatten().map(device).collect();
    let lines = before.io_max.iter().flatten().filter(|line| !kept.contains(&device(line)));
    Constraints {
        cpu: gone(&before.cpu, &wanted.cpu),
        cpu_weight: gone(&before.cpu_weight, &wanted.cpu_weight),
        memory_limit: gone(&before.memory_limit, &wanted.memory_limit),
        memory_high: gone(&before.memory_high, &wanted.memory_high),
        memory_swap: gone(&before.memory_swap, &wanted.memory_swap),
        io_weight: gone(&before.io_weight, &wanted.io_weight),
        io_max: Some(lines.cloned().collect::<Vec<_>>()).filter(|lines| !lines.is_empty()),
        nice: gone(&before.nice, &wanted.nice),
        oom_score_adj: gone(&before.oom_score_adj, &wanted.oom_score_adj),
        tasks_max: gone(&before.tasks_max, &wanted.tasks_max),
        cpus: gone(&before.cpus, &wanted.cpus),
        io_class: gone(&before.io_class, &wanted.io_class),
        strict: false,
    }
}
