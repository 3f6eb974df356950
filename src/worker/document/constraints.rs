//! `wrapper_constraints`: the table `[constraints]` of a job file, under the names of the reference and of job files.

use serde_json::Value;

use super::reader::{Fields, Found, Number, Reader, letters};
use crate::config::schema::{ConstraintsTable, Scalar};

/// Names of `wrapper_constraints`: those of the reference, and those of `[constraints]` in a job file.
const CPU_QUOTA: &[&str] = &["cpu_quota_percent", "cpu_quota"];
const CPU_MAX: &[&str] = &["cpu_max"];
const MEMORY: &[&str] = &["memory_max_mb", "memory_limit_mb", "memory_limit"];
const NICE: &[&str] = &["nice_priority", "nice"];
const OOM: &[&str] = &["oom_score_adj", "oom_score"];

/// Reads the object.
pub(super) fn read(reader: &mut Reader, mut from: Fields<'_>) -> ConstraintsTable {
    let from = &mut from;
    let mut table = ConstraintsTable::default();
    let quota = reader.said(from, CPU_QUOTA, "constraints.cpu_quota");
    let max = reader.said(from, CPU_MAX, "constraints.cpu_max");
    match (quota, max) {
        (Some(quota), max) => match (reader.number(&quota), max) {
            // What a Go program sends of a number that is not set.
            (Some(Number::Whole(0)), Some(max)) => table.cpu_max = reader.text(&max),
            (_, Some(max)) => reader.twice(&quota.path, &max.path),
            (Some(number), None) => {
                (table.cpu_quota, table.cpu_max) = cpu(number);
                reader.places.push(("constraints.cpu_max", quota.path));
            }
            (None, None) => {}
        },
        (None, Some(max)) => table.cpu_max = reader.text(&max),
        (None, None) => {}
    }
    // 0: not set.
    let weight = reader.said(from, &["cpu_weight"], "constraints.cpu_weight");
    table.cpu_weight = weight.and_then(|found| reader.whole(&found)).filter(|weight| *weight != 0);
    let weight = reader.said(from, &["io_weight"], "constraints.io_weight");
    table.io_weight = weight.and_then(|found| reader.whole(&found)).filter(|weight| *weight != 0);
    if let Some(found) = reader.said(from, MEMORY, "constraints.memory_limit") {
        let named = letters(&found.path).ends_with("memorylimit");
        table.memory_limit = match found.value {
            Value::String(text) if named => Some(Scalar::Text(text.clone())),
            _ => reader.above_zero(&found).map(mib),
        };
    }
    table.memory_high =
        reader.said(from, &["memory_high"], "constraints.memory_high").and_then(|found| size(reader, &found));
    table.memory_swap =
        reader.said(from, &["memory_swap"], "constraints.memory_swap").and_then(|found| size(reader, &found));
    let max = reader.said(from, &["io_max"], "constraints.io_max");
    table.io_max = max.and_then(|found| lines(reader, &found));
    table.nice = reader.said(from, NICE, "constraints.nice").and_then(|found| reader.whole(&found));
    table.oom_score_adj =
        reader.said(from, OOM, "constraints.oom_score_adj").and_then(|found| reader.whole(&found));
    table.tasks_max =
        reader.said(from, &["tasks_max"], "constraints.tasks_max").and_then(|found| reader.whole(&found));
    table.cpus = reader.said(from, &["cpus"], "constraints.cpus").and_then(|found| reader.text(&found));
    table.io_class =
        reader.said(from, &["io_class"], "constraints.io_class").and_then(|found| reader.text(&found));
    table.strict = reader.take(from, &["strict"]).and_then(|found| reader.boolean(&found));
    let known = [CPU_QUOTA, CPU_MAX, MEMORY, NICE, OOM].concat();
    let known = known.into_iter().chain([
        "cpu_weight",
        "io_weight",
        "memory_high",
        "memory_swap",
        "io_max",
        "tasks_max",
        "cpus",
        "io_class",
        "strict",
    ]);
    reader.unknown(from, &known.collect::<Vec<_>>());
    table
}

/// A size of a job file: a number of MiB, or a text with a unit.
fn size(reader: &mut Reader, found: &Found<'_>) -> Option<Scalar> {
    match found.value {
        Value::String(text) => Some(Scalar::Text(text.clone())),
        _ => reader.number(found).map(mib),
    }
}

/// Lines for the kernel: a text, or a list of them.
fn lines(reader: &mut Reader, found: &Found<'_>) -> Option<Vec<String>> {
    match found.value {
        Value::String(text) => Some(text.lines().map(str::to_owned).collect()),
        Value::Array(list) => {
            let items = list.iter().enumerate();
            let items = items.map(|(n, value)| Found { path: format!("{}[{n}]", found.path), value });
            let lines: Vec<String> = items.filter_map(|item| reader.text(&item)).collect();
            (!lines.is_empty()).then_some(lines)
        }
        _ => {
            reader.wrong(found, "a text, or a list of texts");
            None
        }
    }
}

/// Percent of one core, as `cpu_quota` or, where that is no whole number, as `cpu_max`.
pub(super) fn cpu(percent: Number) -> (Option<i64>, Option<String>) {
    match percent {
        Number::Whole(percent) => (Some(percent), None),
        Number::Part(percent) => (None, Some(format!("{} 100000", (percent * 1e3).round()))),
    }
}

/// So many MiB, to the byte.
pub(super) fn mib(number: Number) -> Scalar {
    match number {
        Number::Whole(mib) => Scalar::Integer(mib),
        Number::Part(mib) => Scalar::Text(format!("{}B", (mib * 1_048_576.0).round())),
    }
}
