//! The limits of one cgroup of version 2: put in force, read back, and given back what they were.

use std::collections::BTreeSet;
use std::path::Path;

use super::status::status;
use super::value::{BFQ_WEIGHT, Value, default_of, file_of, value_of};
use super::write::{Refused, put};
use crate::linux::cgroup::common::{ALL, Before};
use crate::linux::cgroup::disks::unlimited;
use crate::linux::cgroup::files;
use crate::model::constraints::{Backend, ConstraintName as Name, ConstraintStatus, Constraints};

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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn wanted(json: serde_json::Value) -> Constraints {
        serde_json::from_value(json).expect("constraints")
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
