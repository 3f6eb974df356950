//! What limits of both versions go by where they are about disks: lines of `io.max`, and schedulers.

use std::fs;

/// The line with all four limits: what is not named would keep what it was.
pub(super) fn whole(line: &str) -> String {
    let has = |key: &str| {
        line.split_whitespace().any(|word| word.strip_prefix(key).is_some_and(|v| v.starts_with('=')))
    };
    let missing = ["rbps", "wbps", "riops", "wiops"].into_iter().filter(|key| !has(key));
    missing.fold(line.to_owned(), |line, key| format!("{line} {key}=max"))
}

/// The same device without a limit.
pub(super) fn unlimited(line: &str) -> String {
    let device = line.split_whitespace().next().unwrap_or_default();
    format!("{device} rbps=max wbps=max riops=max wiops=max")
}

/// Whether `io.max` holds what a line asks for. A device without any limit is not listed.
pub(super) fn has_device(actual: &str, line: &str) -> bool {
    let mut words = line.split_whitespace();
    let device = words.next().unwrap_or_default();
    let found = actual.lines().find_map(|line| line.strip_prefix(device)?.strip_prefix(' '));
    words.all(|limit| match found {
        Some(limits) => limits.split_whitespace().any(|word| word == limit),
        None => limit.ends_with("=max"),
    })
}

/// Whether a disk of this host uses a scheduler: in `/sys/block/DISK/queue/scheduler` it stands in
/// brackets then.
pub(super) fn a_disk_uses(scheduler: &str) -> bool {
    let disks = fs::read_dir("/sys/block").into_iter().flatten().flatten();
    disks
        .filter_map(|disk| fs::read_to_string(disk.path().join("queue/scheduler")).ok())
        .any(|all| all.contains(&format!("[{scheduler}]")))
}
