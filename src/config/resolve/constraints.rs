//! PURE: `[constraints]`: what a job asks of the kernel.

use super::reader::Reader;
use crate::config::problem::{At, KeyPath};
use crate::config::schema::ConstraintsTable;
use crate::model::constraints::{Constraints, CpuLimit, IoClass};
use crate::model::cpus::CpuSet;

/// Reads the table, but `strict`: that is for the whole layer.
pub(super) fn read(read: &mut Reader, table: &ConstraintsTable) -> Constraints {
    if table.cpu_quota.is_some() && table.cpu_max.is_some() {
        read.error(
            "cpu-quota-and-max",
            At::Key(KeyPath::of("constraints.cpu_max")),
            "`cpu_quota` and `cpu_max` are two spellings of the same limit",
            "keep one of the two",
        );
    }
    let quota = read.integer("constraints.cpu_quota", table.cpu_quota, 0, 1_000_000);
    let quota = quota.and_then(|percent| u32::try_from(percent).ok()).map(CpuLimit::Quota);
    let max = table.cpu_max.as_ref().and_then(|text| self::cpu_max(read, text));
    let strings = |texts: &Vec<String>| texts.iter().map(|text| text.trim().to_owned()).collect();
    for (n, line) in table.io_max.iter().flatten().enumerate() {
        io_max(read, n, line);
    }
    Constraints {
        cpu: quota.or(max),
        cpu_weight: read.integer("constraints.cpu_weight", table.cpu_weight, 1, 10_000).map(|v| v as u16),
        memory_limit: read.size("constraints.memory_limit", table.memory_limit.as_ref(), 1),
        memory_high: read.size("constraints.memory_high", table.memory_high.as_ref(), 1),
        memory_swap: read.size("constraints.memory_swap", table.memory_swap.as_ref(), 0),
        io_weight: read.integer("constraints.io_weight", table.io_weight, 1, 100).map(|v| v as u8),
        io_max: table.io_max.as_ref().map(strings),
        nice: read.integer("constraints.nice", table.nice, -20, 19).map(|v| v as i8),
        oom_score_adj: read
            .integer("constraints.oom_score_adj", table.oom_score_adj, -1000, 1000)
            .map(|v| v as i16),
        tasks_max: read
            .integer("constraints.tasks_max", table.tasks_max, 1, 4_194_304)
            .map(i64::unsigned_abs),
        cpus: table.cpus.as_ref().and_then(|text| self::cpus(read, text)),
        io_class: table.io_class.as_ref().and_then(|text| self::io_class(read, text)),
        strict: false,
    }
}

/// Constraints with others laid over them. `strict` is not among them: a layer has its own.
pub(super) fn overlay(base: Constraints, over: Constraints) -> Constraints {
    Constraints {
        cpu: over.cpu.or(base.cpu),
        cpu_weight: over.cpu_weight.or(base.cpu_weight),
        memory_limit: over.memory_limit.or(base.memory_limit),
        memory_high: over.memory_high.or(base.memory_high),
        memory_swap: over.memory_swap.or(base.memory_swap),
        io_weight: over.io_weight.or(base.io_weight),
        io_max: over.io_max.or(base.io_max),
        nice: over.nice.or(base.nice),
        oom_score_adj: over.oom_score_adj.or(base.oom_score_adj),
        tasks_max: over.tasks_max.or(base.tasks_max),
        cpus: over.cpus.or(base.cpus),
        io_class: over.io_class.or(base.io_class),
        strict: false,
    }
}

fn cpu_max(read: &mut Reader, text: &str) -> Option<CpuLimit> {
    const RANGE: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
    let mut words = text.split_whitespace();
    let quota = match words.next() {
        Some("max") => Some(None),
        Some(word) => word.parse().ok().filter(|quota| *quota >= 1_000).map(Some),
        None => None,
    };
    let period = words.next().map_or(Some(100_000), |word| word.parse().ok());
    let period = period.filter(|period| RANGE.contains(period));
    if let (Some(quota_us), Some(period_us), None) = (quota, period, words.next()) {
        return Some(CpuLimit::Max { quota_us, period_us });
    }
    read.error(
        "bad-cpu-max",
        At::Value(KeyPath::of("constraints.cpu_max")),
        format!("{text:?} is not what cpu.max takes"),
        "write \"QUOTA PERIOD\" in microseconds, as \"50000 100000\" for half a core, or \"max\"; \
         the quota is at least 1000, the period 1000 to 1000000",
    );
    None
}

fn io_max(read: &mut Reader, n: usize, line: &str) {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let mut words = line.split_whitespace();
    let device =
        words.next().and_then(|dev| dev.split_once(':')).is_some_and(|(a, b)| number(a) && number(b));
    let mut limits = 0;
    let good = words.all(|word| {
        limits += 1;
        word.split_once('=').is_some_and(|(key, value)| {
            matches!(key, "rbps" | "wbps" | "riops" | "wiops") && (value == "max" || number(value))
        })
    });
    if !(device && good && limits > 0) {
        read.error(
            "bad-io-max",
            At::Value(KeyPath::of("constraints.io_max").index(n)),
            format!("{line:?} is not what io.max takes"),
            "write \"MAJOR:MINOR\" and one or more of rbps=, wbps=, riops=, wiops=, as \"8:0 wbps=10485760\"; \
             `lsblk -o NAME,MAJ:MIN` shows the devices",
        );
    }
}

fn cpus(read: &mut Reader, text: &str) -> Option<CpuSet> {
    let set = CpuSet::parse(text).ok();
    if set.is_none() {
        read.error(
            "bad-cpus",
            At::Value(KeyPath::of("constraints.cpus")),
            format!("{text:?} is no list of CPUs"),
            "write numbers and ranges, as \"0-3,8\"",
        );
    }
    set
}

fn io_class(read: &mut Reader, text: &str) -> Option<IoClass> {
    let (class, level) = text.split_once(':').map_or((text, None), |(class, level)| (class, Some(level)));
    let level = match level {
        None => Some(4),
        Some(level) => level.parse::<u8>().ok().filter(|level| *level <= 7),
    };
    match (class, level) {
        ("idle", _) if text == "idle" => return Some(IoClass::Idle),
        ("best-effort", Some(level)) => return Some(IoClass::BestEffort(level)),
        ("realtime", Some(level)) => return Some(IoClass::Realtime(level)),
        _ => {}
    }
    read.error(
        "bad-io-class",
        At::Value(KeyPath::of("constraints.io_class")),
        format!("{text:?} is no I/O class"),
        "write \"idle\", \"best-effort:0\" to \"best-effort:7\", or \"realtime:0\" to \"realtime:7\"",
    );
    None
}

#[cfg(test)]
mod tests {
    use crate::config::resolve::testing::codes_with;

    #[test]
    fn every_wrong_value_has_its_code() {
        assert_eq!(codes_with("[constraints]\nnice = 20\n"), ["out-of-range"]);
        assert_eq!(codes_with("[constraints]\nmemory_limit = \"512\"\n"), ["missing-unit"]);
        assert_eq!(codes_with("[constraints]\nmemory_limit = 0\n"), ["out-of-range"]);
        assert_eq!(codes_with("[constraints]\nmemory_limit = -1\n"), ["out-of-range"]);
        assert_eq!(codes_with("[constraints]\nmemory_swap = 0\n"), [] as [&str; 0]);
        assert_eq!(codes_with("[constraints]\ncpu_max = \"50%\"\n"), ["bad-cpu-max"]);
        assert_eq!(codes_with("[constraints]\ncpus = \"3-1\"\n"), ["bad-cpus"]);
        assert_eq!(codes_with("[constraints]\nio_max = [\"sda\"]\n"), ["bad-io-max"]);
        assert_eq!(codes_with("[constraints]\nio_class = \"idle:3\"\n"), ["bad-io-class"]);
    }
}
