//! From a worker's job document.

use super::toml::{Draft, Item};
use crate::config::schema::{ConstraintsTable, JobFile, RlimitsTable, Scalar};
use crate::worker::document;

/// Converts a job document.
pub fn convert(text: &str) -> Result<Draft, Vec<String>> {
    let document = document::read(text)?;
    let mut draft = Draft::new("a worker's job document", document.job_id.as_deref());
    // What a document says, and no more: the reader makes no other keys.
    let JobFile { intent, sla_eligible, tags, exec, constraints, timeouts, .. } = document.file;
    if let Some(intent) = intent {
        draft.set("intent", intent, "$.intent");
    }
    if let Some(eligible) = sla_eligible {
        draft.set("sla_eligible", eligible, "$.sla_eligible");
    }
    for (key, value) in tags.unwrap_or_default() {
        draft.set_in("tags", &key, value, format!("$.tags.{key}"));
    }
    draft.set("exec.command", Item::List(document.command), "$.command");
    if let Some(RlimitsTable { fsize: Some(size), .. }) = exec.and_then(|exec| exec.rlimits) {
        draft.set("exec.rlimits.fsize", scalar(size), "$.parameters.resource_limits.max_disk_mb");
    }
    set_constraints(&mut draft, constraints.unwrap_or_default());
    if let Some(run) = timeouts.and_then(|timeouts| timeouts.run) {
        draft.set("timeouts.run", run, "$.parameters.resource_limits.timeout_sec");
    }
    for note in document.notes {
        let (what, why) = note.split_once(": ").unwrap_or((&note, ""));
        draft.note(what, why);
    }
    if document.wrapper_enabled != Some(true) {
        draft.note(
            "wrapper_enabled",
            "not true in the document, but a declared job is always governed: without [constraints] nothing is limited",
        );
    }
    let known = [
        "jobid",
        "id",
        "command",
        "wrapperenabled",
        "intent",
        "slaeligible",
        "tags",
        "wrapperconstraints",
        "parameters",
    ];
    let letters = |name: &str| name.replace('_', "").to_ascii_lowercase();
    for (field, _) in document.whole.iter().filter(|(field, _)| !known.contains(&letters(field).as_str())) {
        draft.note(format!("$.{field}"), "a job file has no such key; a tag can keep a text");
    }
    Ok(draft)
}

fn scalar(value: Scalar) -> Item {
    match value {
        Scalar::Integer(number) => number.into(),
        Scalar::Text(text) => text.into(),
    }
}

fn set_constraints(draft: &mut Draft, table: ConstraintsTable) {
    let ConstraintsTable {
        cpu_quota,
        cpu_max,
        cpu_weight,
        memory_limit,
        memory_high,
        memory_swap,
        io_weight,
        io_max,
        nice,
        oom_score_adj,
        tasks_max,
        cpus,
        io_class,
        strict,
    } = table;
    let all: [(&'static str, Option<Item>); 14] = [
        ("constraints.cpu_quota", cpu_quota.map(Item::from)),
        ("constraints.cpu_max", cpu_max.map(Item::from)),
        ("constraints.cpu_weight", cpu_weight.map(Item::from)),
        ("constraints.memory_limit", memory_limit.map(scalar)),
        ("constraints.memory_high", memory_high.map(scalar)),
        ("constraints.memory_swap", memory_swap.map(scalar)),
        ("constraints.io_weight", io_weight.map(Item::from)),
        ("constraints.io_max", io_max.map(Item::List)),
        ("constraints.nice", nice.map(Item::from)),
        ("constraints.oom_score_adj", oom_score_adj.map(Item::from)),
        ("constraints.tasks_max", tasks_max.map(Item::from)),
        ("constraints.cpus", cpus.map(Item::from)),
        ("constraints.io_class", io_class.map(Item::from)),
        ("constraints.strict", strict.map(Item::from)),
    ];
    for (key, item) in all {
        if let Some(item) = item {
            draft.set(key, item, key);
        }
    }
}
