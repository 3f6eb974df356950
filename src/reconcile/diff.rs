//! PURE: what an edit changes, and whether that can be done to a running workload.
//!
//! [`FIELDS`] is the one table that says which field is changed in place and which needs a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::time::Duration;

use crate::model::constraints::{ConstraintName, Constraints};
use crate::model::job::{Job, LogBounds, StartLimit};
use crate::model::schedule::Window;
use crate::model::space::FreeSpace;
use crate::model::units::{ByteSize, format_duration};

/// What a change of a field asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// The workload runs on.
    InPlace,
    /// The workload is ended and started anew.
    Restart,
}

/// One field that differs.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// Its name in a job file.
    pub field: &'static str,
    /// What it asks for.
    pub class: Class,
    /// What it was; empty if it was not set.
    pub from: String,
    /// What it is to be; empty if it is not set.
    pub to: String,
}

/// A field of a job.
#[derive(Debug)]
pub struct Field {
    /// Its name in a job file.
    pub name: &'static str,
    /// What a change of it asks for.
    pub class: Class,
    /// Both values in words, where they differ. The words of two values may be the same.
    differs: fn(&Job, &Job) -> Option<(String, String)>,
}

/// A field: its name, its class, its value, by which jobs are compared, and what says a value in words.
macro_rules! field {
    ($name:literal, $class:ident, |$job:ident| $value:expr, $words:path) => {
        Field {
            name: $name,
            class: Class::$class,
            differs: |old, new| {
                let from = {
                    let $job = old;
                    $value
                };
                let to = {
                    let $job = new;
                    $value
                };
                (from != to).then(|| ($words(from), $words(to)))
            },
        }
    };
}

/// Every field of a job, in the order of a job file. The constraints are those in force.
pub const FIELDS: &[Field] = &[
    field!("description", InPlace, |job| job.description.as_ref(), text),
    field!("profiles", InPlace, |job| &job.profiles, list),
    field!("lifecycle", InPlace, |job| job.lifecycle, word),
    field!("intent", InPlace, |job| job.intent, word),
    field!("sla_eligible", InPlace, |job| job.sla_eligible, shown),
    field!("tags", InPlace, |job| &job.tags, tags),
    field!("exec.command", Restart, |job| job.exec().map(|exec| &exec.command), plain),
    field!("exec.working_dir", Restart, |job| job.exec().and_then(|exec| exec.working_dir.as_ref()), plain),
    // Values of variables may be secrets; which ones changed is enough.
    Field {
        name: "exec.env",
        class: Class::Restart,
        differs: |old, new| {
            let (from, to) = (old.exec().map(|exec| &exec.env), new.exec().map(|exec| &exec.env));
            (from != to).then(|| (String::new(), changed_variables(old, new)))
        },
    },
    field!("exec.env_files", Restart, |job| job.exec().map(|exec| &exec.env_files), plain),
    field!("exec.user", Restart, |job| job.exec().and_then(|exec| exec.user.as_ref()), text),
    field!("exec.group", Restart, |job| job.exec().and_then(|exec| exec.group.as_ref()), text),
    field!("exec.umask", Restart, |job| job.exec().and_then(|exec| exec.umask), umask),
    field!("exec.rlimits", Restart, |job| rlimits(job).collect::<Vec<_>>(), spaced),
    field!("exec.output", Restart, |job| job.exec().map(|exec| exec.output), optional_word),
    field!("exec.log", InPlace, |job| job.exec().map(|exec| exec.log).unwrap_or_default(), log_bounds),
    field!("attach", Restart, |job| job.attach(), plain),
    field!(
        "schedule",
        InPlace,
        |job| (!job.schedule.is_empty()).then_some((&job.schedule, &job.constraints)),
        schedule
    ),
    field!(
        "schedule.active",
        InPlace,
        |job| job.window().map(ToString::to_string),
        Option::unwrap_or_default
    ),
    field!("constraints.cpu_quota", InPlace, |job| constraint(job, ConstraintName::CpuQuota), shown),
    field!("constraints.cpu_max", InPlace, |job| constraint(job, ConstraintName::CpuMax), shown),
    field!("constraints.cpu_weight", InPlace, |job| constraint(job, ConstraintName::CpuWeight), shown),
    field!("constraints.memory_limit", InPlace, |job| constraint(job, ConstraintName::MemoryLimit), shown),
    field!("constraints.memory_high", InPlace, |job| constraint(job, ConstraintName::MemoryHigh), shown),
    field!("constraints.memory_swap", InPlace, |job| constraint(job, ConstraintName::MemorySwap), shown),
    field!("constraints.io_weight", InPlace, |job| constraint(job, ConstraintName::IoWeight), shown),
    field!("constraints.io_max", InPlace, |job| job.in_force().io_max.as_ref(), lines),
    field!("constraints.nice", InPlace, |job| constraint(job, ConstraintName::Nice), shown),
    field!("constraints.oom_score_adj", InPlace, |job| constraint(job, ConstraintName::OomScoreAdj), shown),
    field!("constraints.tasks_max", InPlace, |job| constraint(job, ConstraintName::TasksMax), shown),
    field!("constraints.cpus", InPlace, |job| constraint(job, ConstraintName::Cpus), shown),
    field!("constraints.io_class", InPlace, |job| constraint(job, ConstraintName::IoClass), shown),
    field!("constraints.strict", InPlace, |job| job.in_force().strict, shown),
    field!("restart.policy", InPlace, |job| job.restart.policy, word),
    field!("restart.delay", InPlace, |job| job.restart.delay, format_duration),
    field!("restart.max_delay", InPlace, |job| job.restart.max_delay, format_duration),
    field!("restart.reset_after", InPlace, |job| job.restart.reset_after, format_duration),
    field!("restart.limit", InPlace, |job| job.restart.limit, start_limit),
    field!("restart.success_exit_codes", InPlace, |job| &job.restart.success_exit_codes, codes),
    field!("stop.signal", InPlace, |job| job.stop.signal, shown),
    field!("stop.timeout", InPlace, |job| job.stop.timeout, format_duration),
    field!("stop.send", InPlace, |job| job.stop.send, word),
    field!("stop.on_remove", InPlace, |job| job.stop.on_remove, word),
    field!("timeouts.run", InPlace, |job| job.timeouts.run, optional_duration),
    field!("needs", InPlace, |job| &job.needs[..], needs),
];

fn needs(needs: &[FreeSpace]) -> String {
    let word = |need: &FreeSpace| format!("{} free on {}", ByteSize(need.at_least), need.path.display());
    needs.iter().map(word).collect::<Vec<_>>().join(", ")
}

/// What differs between two declarations of a job.
#[must_use]
pub fn diff(old: &Job, new: &Job) -> Vec<Change> {
    if old == new {
        return Vec::new();
    }
    let differs = |&Field { name: field, class, differs }: &Field| {
        differs(old, new).map(|(from, to)| Change { field, class, from, to })
    };
    FIELDS.iter().filter_map(differs).collect()
}

/// Whether these changes need a restart.
#[must_use]
pub fn needs_restart(changes: &[Change]) -> bool {
    changes.iter().any(|change| change.class == Class::Restart)
}

fn changed_variables(old: &Job, new: &Job) -> String {
    let (Some(old), Some(new)) = (old.exec(), new.exec()) else { return String::new() };
    let names = old.env.keys().chain(new.env.keys()).filter(|name| old.env.get(*name) != new.env.get(*name));
    let mut names: Vec<&str> = names.map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names.join(", ")
}

/// The value of a constraint; each has words of its own.
fn constraint(job: &Job, wanted: ConstraintName) -> String {
    let found = job.in_force().requested().into_iter().find(|(name, _)| *name == wanted);
    found.map(|(_, value)| value).unwrap_or_default()
}

/// The limits of the process, each with its name.
fn rlimits(job: &Job) -> impl Iterator<Item = String> {
    let limits = job.exec().map(|exec| exec.rlimits.iter());
    limits.into_iter().flatten().map(|(resource, limit)| {
        format!("{}={}", resource.as_str().trim_start_matches("rlimits."), limit.show(*resource))
    })
}

fn shown<T: ToString>(value: T) -> String {
    value.to_string()
}

fn text(value: Option<&String>) -> String {
    value.cloned().unwrap_or_default()
}

fn list(values: &[String]) -> String {
    values.join(", ")
}

fn lines(values: Option<&Vec<String>>) -> String {
    values.map(|values| values.join("; ")).unwrap_or_default()
}

fn spaced(values: Vec<String>) -> String {
    values.join(" ")
}

fn tags(tags: &BTreeMap<String, String>) -> String {
    spaced(tags.iter().map(|(key, value)| format!("{key}={value}")).collect())
}

fn codes(codes: &BTreeSet<u8>) -> String {
    codes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
}

fn umask(umask: Option<u32>) -> String {
    umask.map(|umask| format!("{umask:03o}")).unwrap_or_default()
}

fn start_limit(limit: Option<StartLimit>) -> String {
    let words =
        |limit: StartLimit| format!("{} starts within {}", limit.starts, format_duration(limit.within));
    limit.map(words).unwrap_or_default()
}

fn optional_duration(duration: Option<Duration>) -> String {
    duration.map(format_duration).unwrap_or_default()
}

fn log_bounds(log: LogBounds) -> String {
    let LogBounds { max_size, keep, compress } = log;
    let shown = [
        max_size.map(|size| format!("max_size={size}")),
        keep.map(|keep| format!("keep={keep}")),
        compress.map(|compress| format!("compress={compress}")),
    ];
    spaced(shown.into_iter().flatten().collect())
}

/// Every window with all that is in force in it, and what is outside of them.
fn schedule(schedule: Option<(&Vec<Window>, &Constraints)>) -> String {
    let Some((windows, otherwise)) = schedule else { return String::new() };
    let asked = |constraints: &Constraints| {
        let asked = constraints.requested().into_iter().map(|(name, value)| format!(" {name}={value}"));
        asked.collect::<String>() + if constraints.strict { " strict" } else { "" }
    };
    let windows = windows.iter().map(|window| format!("{window}{}; ", asked(&window.constraints)));
    format!("{}otherwise{}", windows.collect::<String>(), asked(otherwise))
}

fn plain<T: Debug>(value: Option<T>) -> String {
    value.map(|value| format!("{value:?}")).unwrap_or_default()
}

/// An enum's value as job files write it.
fn word<T: serde::Serialize>(value: T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

fn optional_word<T: serde::Serialize>(value: Option<T>) -> String {
    value.map(word).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{JobFile, Tables};
    use crate::model::job::Workload;
    use crate::reconcile::plan::tests::job;

    #[test]
    fn the_table_covers_every_key_of_a_job_file() {
        let known: Vec<&str> = FIELDS.iter().map(|field| field.name).collect();
        for (table, keys) in JobFile::TABLES {
            for key in keys() {
                let path = if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") };
                let path = path.split_once("[]").map_or(path.clone(), |(list, _)| list.to_owned());
                let is_table = JobFile::TABLES.iter().any(|(table, _)| *table == path);
                let other = matches!(path.as_str(), "enabled" | "instances") || path.starts_with("attach");
                let part = path.starts_with("restart.limit.") || path.starts_with("exec.rlimits.");
                let part = part || path.starts_with("exec.log.");
                assert!(is_table || other || part || known.contains(&path.as_str()), "{path} has no class");
            }
        }
    }

    #[test]
    fn exec_but_for_its_log_restarts_and_the_rest_does_not() {
        for Field { name, class, .. } in FIELDS {
            let restarts = (name.starts_with("exec.") && *name != "exec.log") || *name == "attach";
            assert_eq!(*class == Class::Restart, restarts, "{name}");
        }
    }

    #[test]
    fn values_are_compared_and_not_their_words() {
        let tags = |tags: &[(&str, &str)]| {
            let mut job = job("a", "");
            job.tags = tags.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
            job
        };
        let changes = diff(&tags(&[("a", "1 b=2")]), &tags(&[("a", "1"), ("b", "2")]));
        assert_eq!(changes.iter().map(|change| change.field).collect::<Vec<_>>(), ["tags"]);
        let described = |text: Option<&str>| Job { description: text.map(str::to_owned), ..job("a", "") };
        let changes = diff(&described(None), &described(Some("")));
        assert_eq!(changes.iter().map(|change| change.field).collect::<Vec<_>>(), ["description"]);
    }

    #[test]
    fn values_of_variables_are_not_shown() {
        let mut new = job("a", "");
        if let Workload::Exec(exec) = &mut new.workload {
            exec.env.insert("KEY".into(), "secret".into());
        }
        let changes = diff(&job("a", ""), &new);
        assert_eq!((changes.len(), changes[0].to.as_str(), changes[0].from.as_str()), (1, "KEY", ""));
        assert!(needs_restart(&changes));
    }
}
