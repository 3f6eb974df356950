//! What it may use: `CPUQuota=`, `MemoryMax=`, `Nice=`, `LimitNOFILE=` and their kin
//! (systemd.resource-control(5), systemd.exec(5)).

use super::conversion::Conversion;
use super::values::{Amount, size, time};
use crate::convert::toml::Item;
use crate::model::rlimit::{Resource, Unit as Counts};
use crate::model::units::{ByteSize, format_duration};

/// What a setting looks like that is taken over as it is: a value, and the key that it becomes.
type Plain = (&'static str, &'static str);

const NUMBERS: [Plain; 2] = [("Nice", "constraints.nice"), ("OOMScoreAdjust", "constraints.oom_score_adj")];
const SIZES: [Plain; 4] = [
    ("MemoryLimit", "constraints.memory_limit"),
    ("MemoryMax", "constraints.memory_limit"),
    ("MemoryHigh", "constraints.memory_high"),
    ("MemorySwapMax", "constraints.memory_swap"),
];

/// Takes over `[constraints]` and `[exec.rlimits]`.
pub(super) fn take_over(work: &mut Conversion) {
    constraints(work);
    limits(work);
}

fn constraints(work: &mut Conversion) {
    for (key, path) in NUMBERS {
        if let Some(number) = work.number(key) {
            work.draft.set(path, number, format!("{key}="));
        }
    }
    for (key, path) in SIZES {
        let Some(text) = work.unit.one(key) else { continue };
        match size(&text, 1024) {
            Some(Amount::Number(bytes)) => {
                work.draft.set(path, ByteSize(bytes).to_string(), format!("{key}={text}"));
            }
            Some(Amount::Infinite) => {}
            None => work.odd(key, &text, "no number of bytes; write a size with a unit"),
        }
    }
    let period = work.time("CPUQuotaPeriodSec").flatten();
    if let Some(text) = work.unit.one("CPUQuota") {
        let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
        match percent.filter(|percent| (0.0..=1e6).contains(percent) && *percent > 0.0) {
            Some(percent) if percent.fract() == 0.0 && period.is_none() => {
                work.draft.set("constraints.cpu_quota", percent as i64, format!("CPUQuota={text}"));
            }
            Some(percent) => {
                let period = period.map_or(100_000.0, |period| (period.as_secs_f64() * 1e6).round());
                let quota = (percent / 100.0 * period).round();
                let max = format!("{quota} {period}");
                work.draft.set("constraints.cpu_max", max, format!("CPUQuota={text}"));
            }
            None => work.odd("CPUQuota", &text, "no percentage above 0"),
        }
    }
    if let Some(shares) = work.number("CPUShares") {
        // 1024 shares are what a weight of 100 is.
        let weight = (shares.clamp(2, 262_144) * 100 / 1024).clamp(1, 10_000);
        work.draft.set("constraints.cpu_weight", weight, "CPUShares=");
    }
    match work.unit.one("CPUWeight").as_deref() {
        Some("idle") => {
            work.draft.set("constraints.cpu_weight", 1, "CPUWeight=idle");
            work.odd("CPUWeight", "idle", "became 1, the least weight: it still gets a share");
        }
        Some(text) => work.set_number("CPUWeight", text, "constraints.cpu_weight"),
        None => {}
    }
    match work.unit.one("TasksMax").as_deref() {
        Some("infinity") | None => {}
        Some(text) => work.set_number("TasksMax", text, "constraints.tasks_max"),
    }
    if let Some(weight) = work.number("IOWeight") {
        let percent = (weight.clamp(1, 10_000) + 50) / 100;
        let percent = percent.max(1);
        work.draft.set("constraints.io_weight", percent, "IOWeight=");
        work.odd(
            "IOWeight",
            &weight.to_string(),
            &format!("became {percent}: here it is percent of the kernel's maximum, 10000"),
        );
    }
    bandwidth(work);
    let affinity = work.unit.all("CPUAffinity").join(" ");
    let allowed = work.unit.all("AllowedCPUs").join(" ");
    for (key, text) in [("CPUAffinity", affinity), ("AllowedCPUs", allowed)] {
        let list: Vec<&str> =
            text.split(|c: char| c.is_whitespace() || c == ',').filter(|part| !part.is_empty()).collect();
        if !list.is_empty() {
            work.draft.set("constraints.cpus", list.join(","), format!("{key}={text}"));
        }
    }
    let level = work.number("IOSchedulingPriority");
    if let Some(class) = work.unit.one("IOSchedulingClass") {
        let level = level.unwrap_or(4);
        let io_class = match class.as_str() {
            "idle" | "3" => Some("idle".to_owned()),
            "best-effort" | "2" => Some(format!("best-effort:{level}")),
            "realtime" | "1" => Some(format!("realtime:{level}")),
            _ => None,
        };
        if let Some(io_class) = io_class {
            work.draft.set("constraints.io_class", io_class, "IOSchedulingClass=");
        }
    } else if let Some(level) = level {
        let class = format!("best-effort:{level}");
        work.draft.set("constraints.io_class", class, "IOSchedulingPriority=");
    }
}

/// `IOReadBandwidthMax=` and its kin, of devices by their numbers.
fn bandwidth(work: &mut Conversion) {
    let mut devices: Vec<(String, Vec<String>)> = Vec::new();
    for (key, limit) in [
        ("IOReadBandwidthMax", "rbps"),
        ("IOWriteBandwidthMax", "wbps"),
        ("IOReadIOPSMax", "riops"),
        ("IOWriteIOPSMax", "wiops"),
    ] {
        for line in work.unit.all(key) {
            let (path, amount) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
            let amount = match size(amount.trim(), 1000) {
                Some(Amount::Number(number)) => number.to_string(),
                Some(Amount::Infinite) => "max".into(),
                None => {
                    work.odd(key, &line, "no device and number");
                    continue;
                }
            };
            let said = format!("{limit}={amount}");
            // A link that is made of the numbers (udev).
            match path.strip_prefix("/dev/block/") {
                Some(numbers) => match devices.iter_mut().find(|(known, _)| known == numbers) {
                    Some((_, limits)) => limits.push(said),
                    None => devices.push((numbers.into(), vec![said])),
                },
                None => work.odd(
                    key,
                    &line,
                    &format!(
                        "the kernel knows devices by number: constraints.io_max = [\"MAJOR:MINOR {said}\"], \
                         with those that `lsblk -o NAME,MAJ:MIN {path}` shows"
                    ),
                ),
            }
        }
    }
    if !devices.is_empty() {
        let lines = devices.into_iter().map(|(device, limits)| format!("{device} {}", limits.join(" ")));
        work.draft.set("constraints.io_max", Item::List(lines.collect()), "IO...Max=");
    }
}

fn limits(work: &mut Conversion) {
    for resource in Resource::ALL {
        let path = resource.path();
        let key = format!("Limit{}", path.rsplit('.').next().unwrap_or(path).to_uppercase());
        let Some(text) = work.unit.one(&key) else { continue };
        let mut values = Vec::new();
        for part in text.split(':') {
            let value = match (part.trim(), resource.unit()) {
                ("infinity", _) => Some("unlimited".into()),
                (part, Counts::Count) => part.parse::<u64>().ok().map(|number| number.to_string()),
                (part, Counts::Bytes) => match size(part, 1024) {
                    Some(Amount::Number(bytes)) => Some(ByteSize(bytes).to_string()),
                    _ => None,
                },
                (part, Counts::Seconds) => match time(part) {
                    Some(Some(time)) => Some(format_duration(time)),
                    _ => None,
                },
            };
            values.extend(value);
        }
        match values.as_slice() {
            // Nothing to be limited.
            [all] if all == "unlimited" && resource.unit() != Counts::Count => {}
            [] => work.odd(&key, &text, "no limit that is understood"),
            values => work.draft.set(path, values.join(":"), format!("{key}={text}")),
        }
    }
}
