//! PURE: what an edit changes, and whether that can be done to a running workload.
//!
//! [`FIELDS`] is the one table that says which field is changed in place and which needs a restart.

use std::fmt::Debug;

use crate::model::constraints::{ConstraintName, Constraints};
use crate::model::job::{Job, LogBounds, Workload};
use crate::model::units::format_duration;

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

/// A field: its name, its class, its value, by which jobs are compared, and its value in words.
macro_rules! field {
    ($name:literal, $class:ident, |$job:ident| $value:expr, $words:expr) => {
        Field {
            name: $name,
            class: Class::$class,
            differs: |old, new| {
                let same = {
                    let $job = old;
                    $value
                } == {
                    let $job = new;
                    $value
                };
                let words = |$job: &Job| $words;
                (!same).then(|| (words(old), words(new)))
            },
        }
    };
}

/// Every field of a job, in the order of a job file. The constraints are those in force.
pub const FIELDS: &[Field] = &[
    field!("description", InPlace, |job| &job.description, job.description.clone().unwrap_or_default()),
    field!("profiles", InPlace, |job| &job.profiles, job.profiles.join(", ")),
    field!("lifecycle", InPlace, |job| job.lifecycle, word(&job.lifecycle)),
    field!("intent", InPlace, |job| job.intent, word(&job.intent)),
    field!("sla_eligible", InPlace, |job| job.sla_eligible, job.sla_eligible.to_string()),
    field!(
        "tags",
        InPlace,
        |job| &job.tags,
        job.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    ),
    field!(
        "exec.command",
        Restart,
        |job| job.exec().map(|exec| &exec.command),
        job.exec().map(|exec| format!("{:?}", exec.command)).unwrap_or_default()
    ),
    field!(
        "exec.working_dir",
        Restart,
        |job| job.exec().map(|exec| &exec.working_dir),
        job.exec().map(|exec| plain(exec.working_dir.as_ref())).unwrap_or_default()
    ),
    // Values of variables may be secrets; which ones changed is enough.
    Field {
        name: "exec.env",
        class: Class::Restart,
        differs: |old, new| {
            let env = |job: &Job| job.exec().map(|exec| exec.env.clone());
            (env(old) != env(new)).then(|| (String::new(), changed_variables(old, new)))
        },
    },
    field!(
        "exec.env_files",
        Restart,
        |job| job.exec().map(|exec| &exec.env_files),
        job.exec().map(|exec| format!("{:?}", exec.env_files)).unwrap_or_default()
    ),
    field!(
        "exec.user",
        Restart,
        |job| job.exec().and_then(|exec| exec.user.as_ref()),
        job.exec().and_then(|exec| exec.user.clone()).unwrap_or_default()
    ),
    field!(
        "exec.group",
        Restart,
        |job| job.exec().and_then(|exec| exec.group.as_ref()),
        job.exec().and_then(|exec| exec.group.clone()).unwrap_or_default()
    ),
    field!(
        "exec.umask",
        Restart,
        |job| job.exec().and_then(|exec| exec.umask),
        job.exec().and_then(|exec| exec.umask).map(|umask| format!("{umask:03o}")).unwrap_or_default()
    ),
    field!(
        "exec.rlimits",
        Restart,
        |job| job.exec().map(|exec| &exec.rlimits).filter(|limits| !limits.is_empty()),
        {
            let limits = job.exec().map(|exec| exec.rlimits.iter());
            let shown = limits.into_iter().flatten().map(|(resource, limit)| {
                format!("{}={}", resource.as_str().trim_start_matches("rlimits."), limit.show(*resource))
            });
            shown.collect::<Vec<_>>().join(" ")
        }
    ),
    field!(
        "exec.output",
        Restart,
        |job| job.exec().map(|exec| &exec.output),
        job.exec().map(|exec| word(&exec.output)).unwrap_or_default()
    ),
    field!(
        "exec.log",
        InPlace,
        |job| job.exec().map(|exec| exec.log).filter(|log| *log != LogBounds::default()),
        job.exec().map(|exec| log_bounds(&exec.log)).unwrap_or_default()
    ),
    field!(
        "attach",
        Restart,
        |job| job.attach(),
        match &job.workload {
            Workload::Attach(attach) => format!("{attach:?}"),
            Workload::Exec(_) => String::new(),
        }
    ),
    field!(
        "schedule",
        InPlace,
        |job| (!job.schedule.is_empty()).then_some((&job.schedule, &job.constraints)),
        schedule(job)
    ),
    field!(
        "schedule.active",
        InPlace,
        |job| job.window().map(ToString::to_string),
        job.window().map(ToString::to_string).unwrap_or_default()
    ),
    field!(
        "constraints.cpu_quota",
        InPlace,
        |job| constraint(job, ConstraintName::CpuQuota),
        constraint(job, ConstraintName::CpuQuota)
    ),
    field!(
        "constraints.cpu_max",
        InPlace,
        |job| constraint(job, ConstraintName::CpuMax),
        constraint(job, ConstraintName::CpuMax)
    ),
    field!(
        "constraints.cpu_weight",
        InPlace,
        |job| &job.in_force().cpu_weight,
        constraint(job, ConstraintName::CpuWeight)
    ),
    field!(
        "constraints.memory_limit",
        InPlace,
        |job| &job.in_force().memory_limit,
        constraint(job, ConstraintName::MemoryLimit)
    ),
    field!(
        "constraints.memory_high",
        InPlace,
        |job| &job.in_force().memory_high,
        constraint(job, ConstraintName::MemoryHigh)
    ),
    field!(
        "constraints.memory_swap",
        InPlace,
        |job| &job.in_force().memory_swap,
        constraint(job, ConstraintName::MemorySwap)
    ),
    field!(
        "constraints.io_weight",
        InPlace,
        |job| &job.in_force().io_weight,
        constraint(job, ConstraintName::IoWeight)
    ),
    field!(
        "constraints.io_max",
        InPlace,
        |job| &job.in_force().io_max,
        constraint(job, ConstraintName::IoMax)
    ),
    field!("constraints.nice", InPlace, |job| &job.in_force().nice, constraint(job, ConstraintName::Nice)),
    field!(
        "constraints.oom_score_adj",
        InPlace,
        |job| &job.in_force().oom_score_adj,
        constraint(job, ConstraintName::OomScoreAdj)
    ),
    field!(
        "constraints.tasks_max",
        InPlace,
        |job| &job.in_force().tasks_max,
        constraint(job, ConstraintName::TasksMax)
    ),
    field!("constraints.cpus", InPlace, |job| &job.in_force().cpus, constraint(job, ConstraintName::Cpus)),
    field!(
        "constraints.io_class",
        InPlace,
        |job| &job.in_force().io_class,
        constraint(job, ConstraintName::IoClass)
    ),
    field!("constraints.strict", InPlace, |job| job.in_force().strict, job.in_force().strict.to_string()),
    field!("restart.policy", InPlace, |job| &job.restart.policy, word(&job.restart.policy)),
    field!("restart.delay", InPlace, |job| &job.restart.delay, format_duration(job.restart.delay)),
    field!(
        "restart.max_delay",
        InPlace,
        |job| &job.restart.max_delay,
        format_duration(job.restart.max_delay)
    ),
    field!(
        "restart.reset_after",
        InPlace,
        |job| &job.restart.reset_after,
        format_duration(job.restart.reset_after)
    ),
    field!("restart.limit", InPlace, |job| &job.restart.limit, {
        let show = |limit: crate::model::job::StartLimit| {
            format!("{} starts within {}", limit.starts, format_duration(limit.within))
        };
        job.restart.limit.map(show).unwrap_or_default()
    }),
    field!(
        "restart.success_exit_codes",
        InPlace,
        |job| &job.restart.success_exit_codes,
        job.restart.success_exit_codes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
    ),
    field!("stop.signal", InPlace, |job| &job.stop.signal, job.stop.signal.to_string()),
    field!("stop.timeout", InPlace, |job| &job.stop.timeout, format_duration(job.stop.timeout)),
    field!("stop.send", InPlace, |job| &job.stop.send, word(&job.stop.send)),
    field!("stop.on_remove", InPlace, |job| &job.stop.on_remove, word(&job.stop.on_remove)),
    field!(
        "timeouts.run",
        InPlace,
        |job| &job.timeouts.run,
        job.timeouts.run.map(format_duration).unwrap_or_default()
    ),
];

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

fn constraint(job: &Job, wanted: ConstraintName) -> String {
    let found = job.in_force().requested().into_iter().find(|(name, _)| *name == wanted);
    found.map(|(_, value)| value).unwrap_or_default()
}

fn log_bounds(log: &LogBounds) -> String {
    let LogBounds { max_size, keep, compress } = log;
    let shown = [
        max_size.map(|size| format!("max_size={size}")),
        keep.map(|keep| format!("keep={keep}")),
        compress.map(|compress| format!("compress={compress}")),
    ];
    shown.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Every window with all that is in force in it, and what is outside of them.
fn schedule(job: &Job) -> String {
    let asked = |constraints: &Constraints| {
        let asked = constraints.requested().into_iter().map(|(name, value)| format!(" {name}={value}"));
        asked.collect::<String>() + if constraints.strict { " strict" } else { "" }
    };
    let windows = job.schedule.iter().map(|window| format!("{window}{}; ", asked(&window.constraints)));
    let windows: String = windows.collect();
    if windows.is_empty() { windows } else { format!("{windows}otherwise{}", asked(&job.constraints)) }
}

fn plain<T: Debug>(value: Option<T>) -> String {
    value.map(|value| format!("{value:?}")).unwrap_or_default()
}

/// An enum's value as job files write it.
fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(other) => other.to_string(),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{JobFile, Tables};
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
