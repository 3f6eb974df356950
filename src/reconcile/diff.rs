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

/// A field of a job: name, class, and its value in words. Two jobs differ in it if the words do.
type Field = (&'static str, Class, fn(&Job) -> String);

/// Every field of a job, in the order of a job file. The constraints are those in force.
pub const FIELDS: &[Field] = &[
    ("description", Class::InPlace, |job| job.description.clone().unwrap_or_default()),
    ("profiles", Class::InPlace, |job| job.profiles.join(", ")),
    ("lifecycle", Class::InPlace, |job| word(&job.lifecycle)),
    ("intent", Class::InPlace, |job| word(&job.intent)),
    ("sla_eligible", Class::InPlace, |job| job.sla_eligible.to_string()),
    ("tags", Class::InPlace, |job| {
        job.tags.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" ")
    }),
    ("exec.command", Class::Restart, |job| {
        job.exec().map(|exec| format!("{:?}", exec.command)).unwrap_or_default()
    }),
    ("exec.working_dir", Class::Restart, |job| {
        job.exec().map(|exec| plain(exec.working_dir.as_ref())).unwrap_or_default()
    }),
    ("exec.env", Class::Restart, |job| job.exec().map(|exec| format!("{:?}", exec.env)).unwrap_or_default()),
    ("exec.env_files", Class::Restart, |job| {
        job.exec().map(|exec| format!("{:?}", exec.env_files)).unwrap_or_default()
    }),
    ("exec.user", Class::Restart, |job| job.exec().and_then(|exec| exec.user.clone()).unwrap_or_default()),
    ("exec.group", Class::Restart, |job| job.exec().and_then(|exec| exec.group.clone()).unwrap_or_default()),
    ("exec.umask", Class::Restart, |job| {
        job.exec().and_then(|exec| exec.umask).map(|umask| format!("{umask:03o}")).unwrap_or_default()
    }),
    ("exec.rlimits", Class::Restart, |job| {
        let limits = job.exec().map(|exec| exec.rlimits.iter());
        let shown = limits.into_iter().flatten().map(|(resource, limit)| {
            format!("{}={}", resource.as_str().trim_start_matches("rlimits."), limit.show(*resource))
        });
        shown.collect::<Vec<_>>().join(" ")
    }),
    ("exec.output", Class::Restart, |job| job.exec().map(|exec| word(&exec.output)).unwrap_or_default()),
    ("exec.log", Class::InPlace, |job| job.exec().map(|exec| log_bounds(&exec.log)).unwrap_or_default()),
    ("attach", Class::Restart, |job| match &job.workload {
        Workload::Attach(attach) => format!("{attach:?}"),
        Workload::Exec(_) => String::new(),
    }),
    ("schedule", Class::InPlace, schedule),
    ("schedule.active", Class::InPlace, |job| job.window().map(ToString::to_string).unwrap_or_default()),
    ("constraints.cpu_quota", Class::InPlace, |job| constraint(job, ConstraintName::CpuQuota)),
    ("constraints.cpu_max", Class::InPlace, |job| constraint(job, ConstraintName::CpuMax)),
    ("constraints.cpu_weight", Class::InPlace, |job| constraint(job, ConstraintName::CpuWeight)),
    ("constraints.memory_limit", Class::InPlace, |job| constraint(job, ConstraintName::MemoryLimit)),
    ("constraints.memory_high", Class::InPlace, |job| constraint(job, ConstraintName::MemoryHigh)),
    ("constraints.memory_swap", Class::InPlace, |job| constraint(job, ConstraintName::MemorySwap)),
    ("constraints.io_weight", Class::InPlace, |job| constraint(job, ConstraintName::IoWeight)),
    ("constraints.io_max", Class::InPlace, |job| constraint(job, ConstraintName::IoMax)),
    ("constraints.nice", Class::InPlace, |job| constraint(job, ConstraintName::Nice)),
    ("constraints.oom_score_adj", Class::InPlace, |job| constraint(job, ConstraintName::OomScoreAdj)),
    ("constraints.tasks_max", Class::InPlace, |job| constraint(job, ConstraintName::TasksMax)),
    ("constraints.cpus", Class::InPlace, |job| constraint(job, ConstraintName::Cpus)),
    ("constraints.io_class", Class::InPlace, |job| constraint(job, ConstraintName::IoClass)),
    ("constraints.strict", Class::InPlace, |job| job.in_force().strict.to_string()),
    ("restart.policy", Class::InPlace, |job| word(&job.restart.policy)),
    ("restart.delay", Class::InPlace, |job| format_duration(job.restart.delay)),
    ("restart.max_delay", Class::InPlace, |job| format_duration(job.restart.max_delay)),
    ("restart.reset_after", Class::InPlace, |job| format_duration(job.restart.reset_after)),
    ("restart.limit", Class::InPlace, |job| {
        let show = |limit: crate::model::job::StartLimit| {
            format!("{} starts within {}", limit.starts, format_duration(limit.within))
        };
        job.restart.limit.map(show).unwrap_or_default()
    }),
    ("restart.success_exit_codes", Class::InPlace, |job| {
        job.restart.success_exit_codes.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")
    }),
    ("stop.signal", Class::InPlace, |job| job.stop.signal.to_string()),
    ("stop.timeout", Class::InPlace, |job| format_duration(job.stop.timeout)),
    ("stop.send", Class::InPlace, |job| word(&job.stop.send)),
    ("stop.on_remove", Class::InPlace, |job| word(&job.stop.on_remove)),
    ("timeouts.run", Class::InPlace, |job| job.timeouts.run.map(format_duration).unwrap_or_default()),
];

/// What differs between two declarations of a job.
#[must_use]
pub fn diff(old: &Job, new: &Job) -> Vec<Change> {
    if old == new {
        return Vec::new();
    }
    let differs = |&(field, class, show): &Field| {
        let (from, to) = (show(old), show(new));
        (from != to).then(|| match field {
            // Values of variables may be secrets; which ones changed is enough.
            "exec.env" => Change { field, class, from: String::new(), to: changed_variables(old, new) },
            _ => Change { field, class, from, to },
        })
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
        let known: Vec<&str> = FIELDS.iter().map(|(name, ..)| *name).collect();
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
        for (name, class, _) in FIELDS {
            let restarts = (name.starts_with("exec.") && *name != "exec.log") || *name == "attach";
            assert_eq!(*class == Class::Restart, restarts, "{name}");
        }
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
