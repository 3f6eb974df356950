//! PURE: from raw files to jobs. Values are read into layers, layers are laid over each other
//! (profiles from left to right, then the job), and what is still open gets its default.
//!
//! A file for each table of a job file says how it is read (`reader`), what one `layer` of it laid over
//! another gives, and its defaults. `template` makes several jobs of one file, `job` puts one together.

mod attach;
mod constraints;
mod exec;
mod job;
pub(super) mod layer;
pub(super) mod log;
mod needs;
pub(super) mod reader;
mod restart;
mod rlimits;
mod schedule;
mod shared;
mod stop;
mod template;
#[cfg(test)]
mod testing;
mod timeouts;

pub use job::Declared;
pub use layer::layer;
use layer::{Layer, overlay};
use schedule::WindowLayer;

use super::problem::{At, KeyPath, Problem};
use super::profiles::Profiles;
use super::schema::{FileKind, JobFile};
use crate::model::ids::{JobId, check_name};

/// What a job file comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolved {
    /// Its jobs: one, or one per instance. Empty if something is wrong.
    pub jobs: Vec<Declared>,
    /// The (first) job as far as it could be read, if something is wrong. For the linter only: the
    /// values that are wrong are missing from it.
    pub attempt: Option<Declared>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Resolves a job file. `stem` is the file's name without its ending.
#[must_use]
pub fn resolve(stem: &str, file: &JobFile, profiles: &Profiles) -> Resolved {
    resolve_with(stem, file, profiles, template::pattern_problem)
}

/// The same for what a command line says, in which there are no rules to find processes by. So `ffrtmp`, one
/// of which runs per job, is spared an engine for regular expressions.
#[must_use]
pub fn resolve_command(name: &str, file: &JobFile, profiles: &Profiles) -> Resolved {
    debug_assert!(file.attach.is_none());
    resolve_with(name, file, profiles, |_, _| None)
}

/// What is wrong with the regular expression of a layer, for any of these jobs.
type CheckPattern = fn(&[(JobId, &str)], &mut Layer) -> Option<Problem>;

fn resolve_with(stem: &str, file: &JobFile, profiles: &Profiles, check_pattern: CheckPattern) -> Resolved {
    let (own, mut problems) = layer(file, FileKind::Job);
    if let Err(error) = check_name(stem) {
        problems.push(template::bad_name("job", stem, &error, At::File));
    }
    let base = profiles.apply(&own.profiles).unwrap_or_else(|found| {
        problems.extend(found);
        Layer::default()
    });
    let mut merged = overlay(base, own);
    let mut schedule = merged.schedule.take().unwrap_or_default();
    let before = problems.len();
    for (n, WindowLayer { profiles: names, window, strict }) in schedule.iter_mut().enumerate() {
        match profiles.apply(names) {
            Ok(base) => {
                window.constraints =
                    constraints::overlay(base.constraints, std::mem::take(&mut window.constraints));
                *strict = strict.or(base.strict);
            }
            Err(found) => {
                let table = KeyPath::of("schedule").index(n);
                problems.extend(found.into_iter().map(|problem| problem.below(&table)));
            }
        }
    }
    // Without its profiles a window would be judged for what it does not say.
    merged.schedule = (problems.len() == before).then_some(schedule);
    job::workload_problems(file, &merged, &mut problems);
    let entries = template::instances(file, &mut problems);
    template::check(file, &entries, &mut merged, &mut problems);
    let name = |entry: &Option<String>| match entry {
        Some(entry) => JobId::instance(stem, entry).ok(),
        None => JobId::new(stem).ok(),
    };
    let named = entries.iter().filter_map(|entry| Some((name(entry)?, entry.as_deref().unwrap_or(""))));
    problems.extend(check_pattern(&named.collect::<Vec<_>>(), &mut merged));
    let declare = |layer: Layer, entry: &Option<String>| {
        let id = name(entry)?;
        let expanded = template::expand(layer, &id, entry.as_deref().unwrap_or(""));
        job::finish(id, expanded)
    };
    let Some((last, others)) = entries.split_last() else {
        return Resolved { problems, ..Resolved::default() };
    };
    if !problems.is_empty() {
        let first = others.first().unwrap_or(last);
        return Resolved { jobs: Vec::new(), attempt: declare(merged, first), problems };
    }
    let mut jobs: Vec<Declared> = others.iter().filter_map(|entry| declare(merged.clone(), entry)).collect();
    jobs.extend(declare(merged, last));
    Resolved { jobs, attempt: None, problems }
}
