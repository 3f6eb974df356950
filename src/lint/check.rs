//! From a text to what it declares and all that is wrong with it: parser, resolver and rules in one
//! call. The daemon puts a file in force that has no error; `validate` shows everything.

use std::collections::BTreeMap;

pub use super::rule::Facts;
use super::rule::{Check, Context};
use super::rules;
use crate::config::parse::{Parsed, parse};
use crate::config::problem::{At, KeyPath, Level, Problem, Step};
use crate::config::profiles::Profiles;
use crate::config::resolve::{Declared, resolve};
use crate::config::schema::{JobFile, SupervisorFile};
use crate::config::settings::{self, Settings};
use crate::model::job::Job;

/// A job file that was checked.
#[derive(Debug, Default)]
pub struct Checked {
    /// What it says, as far as it could be read.
    pub file: JobFile,
    /// The jobs it declares: none if there is an error.
    pub declared: Vec<Declared>,
    /// What is wrong with it, errors and warnings.
    pub problems: Vec<Problem>,
}

/// Checks a job file. `stem` is its name without the ending.
#[must_use]
pub fn check_job(stem: &str, text: &str, profiles: &Profiles, facts: &Facts) -> Checked {
    let Parsed { value: file, mut problems } = parse::<JobFile>(text);
    if problems.iter().any(|problem| problem.code == "syntax") {
        return Checked { file, declared: Vec::new(), problems };
    }
    let resolved = resolve(stem, &file, profiles);
    let misread = !problems.is_empty();
    // A misspelt `exec` or `command` was told already; that it is missing would be told twice.
    problems.extend(resolved.problems.into_iter().filter(|p| !(misread && p.code == "no-workload")));
    let jobs = match resolved.attempt {
        _ if !problems.iter().all(is_contained) => Vec::new(),
        Some(attempt) => vec![attempt],
        None => resolved.jobs,
    };
    if let Some(first) = jobs.first() {
        check_with_rules(&file, first, facts, &mut problems);
        for n in 0..first.job.schedule.len() {
            check_window(n, &file, first, facts, &mut problems);
        }
    }
    let good = problems.iter().all(|problem| problem.level == Level::Warning);
    Checked { file, declared: if good { jobs } else { Vec::new() }, problems }
}

fn check_with_rules(file: &JobFile, declared: &Declared, facts: &Facts, problems: &mut Vec<Problem>) {
    let context = Context::new(file, declared, facts);
    for rule in rules::RULES {
        if let Check::Job(check) = rule.check {
            check(&context, problems);
        }
    }
}

/// What is wrong with the constraints in a window, and not outside of it.
fn check_window(n: usize, file: &JobFile, declared: &Declared, facts: &Facts, problems: &mut Vec<Problem>) {
    let Declared { job, enabled } = declared;
    let job = Job { constraints: job.schedule[n].constraints.clone(), schedule: Vec::new(), ..job.clone() };
    let mut found = Vec::new();
    check_with_rules(file, &Declared { job, enabled: *enabled }, facts, &mut found);
    let of_constraints = |problem: &Problem| match &problem.at {
        At::Key(path) | At::Value(path) => path.0.first() == Some(&Step::Key("constraints".into())),
        At::File | At::Span(_) => false,
    };
    found.retain(|problem| of_constraints(problem) && !problems.contains(problem));
    let table = KeyPath::of("schedule").index(n);
    problems.extend(found.into_iter().map(|problem| problem.below(&table)));
}

/// Whether the meaning of the rest of the file does not hang on the place of a problem, so that the
/// rules may judge the rest in the same run.
fn is_contained(problem: &Problem) -> bool {
    if problem.code == "unknown-key" || problem.code == "systemd-key" {
        return true;
    }
    match &problem.at {
        At::File | At::Span(_) => false,
        At::Key(path) | At::Value(path) => match path.0.as_slice() {
            [Step::Key(table), Step::Key(key), ..] if table == "exec" => key != "command",
            [Step::Key(top), ..] => {
                ["description", "tags", "intent", "constraints", "schedule", "timeouts", "exec"]
                    .contains(&top.as_ref())
            }
            _ => false,
        },
    }
}

/// Checks profile files, by name, together with the built-in ones. A file that could not be read is
/// `None`. The problems are those of each file; a name without problems may be missing.
#[must_use]
pub fn check_profiles(
    texts: &BTreeMap<String, Option<String>>,
) -> (Profiles, BTreeMap<String, Vec<Problem>>) {
    let mut problems: BTreeMap<String, Vec<Problem>> = BTreeMap::new();
    let mut files = BTreeMap::new();
    for (name, text) in texts {
        let parsed = text.as_deref().map(parse::<JobFile>);
        // A file with errors is no profile: half of one might loosen what the other half limits.
        let file = match parsed {
            Some(Parsed { value, problems: found }) if found.is_empty() => Some(value),
            Some(Parsed { problems: found, .. }) => {
                problems.insert(name.clone(), found);
                None
            }
            None => None,
        };
        files.insert(name.clone(), file);
    }
    let (profiles, found) = Profiles::build(&files);
    for (name, found) in found {
        problems.entry(name).or_default().extend(found);
    }
    (profiles, problems)
}

/// Checks `supervisor.toml`. A value that is wrong has its default in the settings.
#[must_use]
pub fn check_supervisor(text: &str) -> (Settings, Vec<Problem>) {
    let Parsed { value, mut problems } = parse::<SupervisorFile>(text);
    let (settings, found) = settings::resolve(&value);
    problems.extend(found);
    (settings, problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::zones::Zones;

    const FACTS: Facts = Facts { cores: 4, mode: None, zones: Zones::BUILT_IN };

    fn check(text: &str) -> (Vec<&'static str>, usize) {
        let checked = check_job("job", text, &Profiles::build(&BTreeMap::new()).0, &FACTS);
        (checked.problems.iter().map(|problem| problem.code).collect(), checked.declared.len())
    }

    #[test]
    fn errors_and_warnings_of_a_file_are_told_in_one_run() {
        let text = "bananas = 1\n[exec]\ncommand = [\"sudo\", \"x\"]\nuser = \"a\\u0000\"\n[constraints]\nnice = 50\n";
        let (codes, declared) = check(text);
        assert_eq!(codes, ["unknown-key", "nul-character", "out-of-range", "detaching-program"]);
        assert_eq!(declared, 0, "a file with an error is not in force");
        let (codes, declared) = check("[exec]\ncommand = [\"sudo\", \"x\"]\n");
        assert_eq!((codes, declared), (vec!["detaching-program"], 1));
    }

    #[test]
    fn one_mistake_is_not_told_as_two() {
        assert_eq!(check("[exec]\ncomand = [\"x\"]\n").0, ["unknown-key"]);
        assert_eq!(check("exec = 3\n").0, ["wrong-type"]);
        assert_eq!(check("[exec\n").0, ["syntax"]);
        // What the lifecycle was meant to be is not known, so nothing is held against it.
        let live = "lifecycle = \"continous\"\n[exec]\ncommand = [\"x\"]\n[restart]\npolicy = \"always\"\n";
        assert_eq!(check(live).0, ["unknown-value"]);
    }

    #[test]
    fn a_profile_with_an_error_is_broken_as_a_whole() {
        let texts =
            BTreeMap::from([("half".to_owned(), Some("nise = 1\n[constraints]\nnice = 5\n".to_owned()))]);
        let (profiles, problems) = check_profiles(&texts);
        assert_eq!(problems["half"][0].code, "unknown-key");
        let checked =
            check_job("job", "profiles = [\"half\"]\n[exec]\ncommand = [\"x\"]\n", &profiles, &FACTS);
        assert_eq!(checked.problems[0].code, "broken-profile");
    }
}
