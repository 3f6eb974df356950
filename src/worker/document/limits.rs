//! `parameters.resource_limits`: what documents said before there was `wrapper_constraints`, in its place.

use super::constraints::{cpu, mib};
use super::reader::{Fields, Found, Number, Reader};
use crate::config::schema::{ConstraintsTable, ExecTable, JobFile, RlimitsTable, Scalar, TimeoutsTable};
use crate::worker::json::shown;

/// Names of `resource_limits`.
const LIMITS: [&str; 4] = ["max_cpu_percent", "max_memory_mb", "max_disk_mb", "timeout_sec"];

/// Reads what `wrapper_constraints` does not say into a file that has all of that.
pub(super) fn read(reader: &mut Reader, mut from: Fields<'_>, file: &mut JobFile) {
    let from = &mut from;
    let [cpu_percent, memory_mb, disk_mb, timeout_sec] = LIMITS;
    let mut table = file.constraints.take().unwrap_or_default();
    if let Some(found) = reader.take(from, &[cpu_percent])
        && let Some(number) = reader.above_zero(&found)
    {
        let said = ["constraints.cpu_quota", "constraints.cpu_max"];
        if table.cpu_quota.is_none() && table.cpu_max.is_none() {
            (table.cpu_quota, table.cpu_max) = cpu(number);
            let key = if table.cpu_max.is_some() { said[1] } else { said[0] };
            became(reader, &found, key, "percent of one core");
        } else {
            not_used(reader, &found, &said);
        }
    }
    if let Some(found) = reader.take(from, &[memory_mb])
        && let Some(number) = reader.above_zero(&found)
    {
        let key = "constraints.memory_limit";
        if table.memory_limit.is_none() {
            table.memory_limit = Some(mib(number));
            became(reader, &found, key, "MiB");
        } else {
            not_used(reader, &found, &[key]);
        }
    }
    file.constraints = (table != ConstraintsTable::default()).then_some(table);
    if let Some(found) = reader.take(from, &[disk_mb])
        && let Some(number) = reader.above_zero(&found)
    {
        let size = match mib(number) {
            Scalar::Integer(mib) => Scalar::Text(format!("{mib}MiB")),
            text => text,
        };
        let rlimits = Some(RlimitsTable { fsize: Some(size), ..RlimitsTable::default() });
        file.exec = Some(ExecTable { rlimits, ..ExecTable::default() });
        let what = "MiB of a single file: the kernel limits no sum of files, so several may come to more";
        became(reader, &found, "exec.rlimits.fsize", what);
    }
    if let Some(found) = reader.take(from, &[timeout_sec])
        && let Some(number) = reader.above_zero(&found)
    {
        let run = match number {
            Number::Whole(seconds) => format!("{seconds}s"),
            Number::Part(seconds) => format!("{}ms", (seconds * 1e3).round()),
        };
        file.timeouts = Some(TimeoutsTable { run: Some(run) });
        became(reader, &found, "timeouts.run", "seconds");
    }
    reader.unknown(from, &LIMITS);
}

/// Notes what a value has become.
fn became(reader: &mut Reader, found: &Found<'_>, key: &'static str, unit: &str) {
    reader.places.push((key, found.path.clone()));
    reader.notes.push(format!("{}: {} became {key} ({unit})", found.path, shown(found.value)));
}

/// Notes that a legacy limit gives way to one of `wrapper_constraints`.
fn not_used(reader: &mut Reader, found: &Found<'_>, keys: &[&str]) {
    let by = reader.places.iter().find(|(key, _)| keys.contains(key));
    let by = by.map_or("$.wrapper_constraints", |(_, path)| path.as_str());
    reader.notes.push(format!("{}: not used, because {by} says it", found.path));
}
