//! The limits of one cgroup of version 1: put in force in an order that the kernel takes, read back, and given
//! back what they were.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::interface::{BFQ_WEIGHT, CFQ_WEIGHT, CPUS, Dirs, MEMORY, number, throttles};
use super::status::{explain, read, status};
use super::value::{Value, default_of, value_before, value_of};
use super::write::{put, put_weights};
use crate::linux::cgroup::common::{ALL, Before};
use crate::linux::cgroup::files;
use crate::model::cgroup::Controller;
use crate::model::constraints::{ConstraintName as Name, ConstraintStatus, Constraints};

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

/// Memory alone may never be allowed more than memory and swap together, not even between two writes.
fn swap_goes_first(dirs: &Dirs, changes: &[Change]) -> bool {
    let swap = changes.iter().find_map(|change| match change.value {
        Value::MemoryAndSwap(bytes) => Some(bytes.unwrap_or(u64::MAX)),
        _ => None,
    });
    let now = dirs.get(&Controller::Memory).and_then(|dir| number(dir, MEMORY).ok());
    swap.zip(now).is_some_and(|(swap, now)| swap >= now.unsigned_abs())
}

/// Reads limits back, see [`read_back`](crate::linux::cgroup::read_back).
#[must_use]
pub fn read_back(dirs: &Dirs, wanted: &Constraints) -> Vec<ConstraintStatus> {
    let asked = wanted.requested().into_iter();
    asked
        .filter_map(|(name, requested)| Some(status(dirs, name, requested, &value_of(name, wanted)?, None)))
        .collect()
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::path::Path;

    use super::*;
    use crate::linux::cgroup::v1::interface::THROTTLES;

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
