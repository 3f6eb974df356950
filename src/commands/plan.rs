//! `ffrtmp-sup plan`: what the supervisor would do, and why, without doing it.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::survey::{self, Scheduled};
use crate::config::paths::Layout;
use crate::lint::diagnostic::escape;
use crate::linux::clock;
use crate::model::exit::StopReason;
use crate::model::ids::JobId;
use crate::model::units::{count, format_duration};
use crate::reconcile::diff::{Change, Class, diff};
use crate::reconcile::plan::{Action, Outlook, Phase, Wanted, plan};
use crate::supervisor::observed::is_filed;

/// What would be done for a job.
#[derive(Debug, Serialize)]
struct Step {
    job: JobId,
    action: Kind,
    reason: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changes: Vec<Change>,
}

/// The kinds of step, with the mark they have in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Start,
    Change,
    Restart,
    Stop,
    Release,
    /// After an exit.
    #[serde(rename = "wait")]
    StartLater,
    Scheduled,
    /// Something that it needs is not there.
    #[serde(rename = "waits")]
    Blocked,
    Take,
}

impl Kind {
    fn mark(self) -> (&'static str, &'static str) {
        match self {
            Self::Start => ("+", "start"),
            Self::Change => ("~", "change in place"),
            Self::Restart => ("!", "restart"),
            Self::Stop => ("-", "stop"),
            Self::Release => ("-", "let go"),
            Self::StartLater => (" ", "start later"),
            Self::Scheduled => (" ", "scheduled"),
            Self::Blocked => (" ", "waits"),
            Self::Take => ("+", "take over"),
        }
    }

    fn is_change(self) -> bool {
        !matches!(self, Self::StartLater | Self::Scheduled | Self::Blocked)
    }
}

/// What came of it, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing would be done.
    Nothing,
    /// Something would be done.
    Changes,
    /// A file has errors.
    Errors,
}

/// Prints the plan. `candidate` is a folder that is not in force yet: one that holds `jobs.d`, or the
/// job files themselves.
///
/// # Errors
/// Nothing can be printed.
pub fn run(
    layout: &Layout,
    candidate: Option<&Path>,
    json: bool,
    out: &mut dyn Write,
) -> io::Result<Outcome> {
    let files = candidate.map_or_else(|| layout.clone(), |folder| of_candidate(layout, folder));
    let desired = survey::desired(&files, layout);
    let declared = &desired.declared;
    let errors: Vec<&str> = declared.all_errors().collect();
    let now = clock::now();
    let (mut steps, mut unchanged) = (Vec::new(), 0);
    for job in desired.jobs(layout) {
        // A file that cannot be read keeps what runs as it is; one that is missing does not.
        let snapshot = survey::run_of(layout, &job);
        let observed = snapshot.as_ref().map(|snapshot| snapshot.observed(is_filed(layout, snapshot)));
        let live = observed.as_ref().is_some_and(|run| !matches!(run.phase, Phase::Ended { .. }));
        let (wanted, waits) = desired.wanted(&job, live);
        let before = steps.len();
        let plan = plan(now, &clock::ZONES, &wanted, observed.as_ref());
        for action in plan.actions {
            let (action, reason, changes) = match action {
                Action::Take { process, .. } => (Kind::Take, format!("process {}", process.pid), Vec::new()),
                Action::Refuse { why, .. } => (Kind::Blocked, why, Vec::new()),
                Action::Detach => (Kind::Release, "it runs on, as it was before".to_owned(), Vec::new()),
                Action::Start { why, job, .. } => match desired.no_space(&job) {
                    Some(space) => (Kind::Blocked, space.to_string(), Vec::new()),
                    None => (Kind::Start, why.describe().to_owned(), Vec::new()),
                },
                Action::Update { changes, .. } => (Kind::Change, summary(&changes), changes),
                Action::Stop { reason: StopReason::Changed } => {
                    let changes = match (&observed, &wanted) {
                        (Some(run), Wanted::Run(job)) => diff(&run.job, &job.at(now.wall, &clock::ZONES).0),
                        _ => Vec::new(),
                    };
                    (Kind::Restart, summary(&changes), changes)
                }
                Action::Stop { reason } => (Kind::Stop, reason.describe().to_owned(), Vec::new()),
                Action::Abandon => (Kind::Release, "stop.on_remove is \"leave\"".to_owned(), Vec::new()),
                // What follows from what was decided before.
                Action::SampleActivity
                | Action::Remind
                | Action::StopOthers
                | Action::StopLeftovers
                | Action::Kill
                | Action::Report
                | Action::Forget => continue,
            };
            steps.push(Step { job: job.clone(), action, reason, changes });
        }
        if let Outlook::StartsAt(at) = plan.outlook {
            let reason = format!("in {}, after an exit", format_duration(at.since(now.boot)));
            steps.push(Step { job: job.clone(), action: Kind::StartLater, reason, changes: Vec::new() });
        }
        if let Some(reason) = waits.filter(|_| !live) {
            steps.push(Step { job: job.clone(), action: Kind::Blocked, reason, changes: Vec::new() });
        }
        let live = observed.as_ref().filter(|run| !matches!(run.phase, Phase::Ended { .. }));
        let runs = live.is_some() || steps.len() > before;
        if steps.len() == before {
            unchanged += 1;
        }
        let governing = match (&wanted, live) {
            (Wanted::Run(job) | Wanted::Take(job, _), _) if runs => Some(job),
            (Wanted::Undecided, Some(run)) if !run.released => Some(&run.job),
            _ => None,
        };
        if let Some(scheduled) = governing.and_then(|job| Scheduled::of(job, None, now)) {
            let reason = scheduled.to_string();
            steps.push(Step { job, action: Kind::Scheduled, reason, changes: Vec::new() });
        }
    }
    let changes = steps.iter().filter(|step| step.action.is_change()).count();
    if json {
        let document = serde_json::json!({
            "schema": "ffrtmp.plan/1", "changes": changes, "unchanged": unchanged, "steps": steps, "errors": errors,
        });
        writeln!(out, "{document:#}")?;
    } else {
        print(&steps, changes, unchanged, &errors, out)?;
    }
    Ok(if !errors.is_empty() {
        Outcome::Errors
    } else if changes > 0 {
        Outcome::Changes
    } else {
        Outcome::Nothing
    })
}

fn print(
    steps: &[Step],
    changes: usize,
    unchanged: usize,
    errors: &[&str],
    out: &mut dyn Write,
) -> io::Result<()> {
    let width = steps.iter().map(|step| step.job.as_str().len()).max().unwrap_or(0);
    for step in steps {
        let (mark, what) = step.action.mark();
        writeln!(out, "{mark} {:width$}  {what}: {}", step.job, escape(&step.reason))?;
        for change in &step.changes {
            let class = match change.class {
                Class::InPlace => "in place",
                Class::Restart => "restart",
            };
            let shown =
                |value: &str| if value.is_empty() { "unset".into() } else { escape(value).into_owned() };
            let (from, to) = (shown(&change.from), shown(&change.to));
            writeln!(out, "    {} ({class}): {from} -> {to}", change.field)?;
        }
    }
    for error in errors {
        writeln!(out, "error: {error}")?;
    }
    let errors = match errors.len() {
        0 => String::new(),
        n => format!(", {} (what they concern stays as it is)", count(n, "error")),
    };
    writeln!(out, "{}, {} unchanged{errors}", count(changes, "change"), count(unchanged, "job"))
}

fn summary(changes: &[Change]) -> String {
    let fields: Vec<&str> = changes.iter().map(|change| change.field).collect();
    if fields.is_empty() { "governed again".into() } else { fields.join(", ") }
}

fn of_candidate(layout: &Layout, folder: &Path) -> Layout {
    let (jobs_d, profiles_d): (PathBuf, PathBuf) = if folder.join("jobs.d").is_dir() {
        (folder.join("jobs.d"), folder.join("profiles.d"))
    } else {
        let beside = folder.parent().map(|parent| parent.join("profiles.d"));
        let beside = beside.filter(|beside| beside.is_dir());
        (folder.to_owned(), beside.unwrap_or_else(|| layout.profiles_d.clone()))
    };
    Layout { jobs_d, profiles_d, ..layout.clone() }
}
