//! A look at everything without touching it: what is declared, what runs, what was last reported.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use crate::config::load;
use crate::config::paths::Layout;
use crate::lint::check::check_supervisor;
use crate::linux::{clock, disk};
use crate::model::ids::JobId;
use crate::model::job::Job;
use crate::model::process::ProcessIdentity;
use crate::model::schedule::Window;
use crate::model::space::{NoSpace, Reserve};
use crate::model::time::{Moment, WallTime};
use crate::model::units::format_duration;
use crate::reconcile::gates::space::{self, Reading};
use crate::reconcile::plan::Wanted;
use crate::runs::dir::{all_jobs, current, job_runs};
use crate::runs::durable::errno;
use crate::supervisor::declared::Declared;
use crate::supervisor::observed::{self, RunStatus, Snapshot};
use crate::supervisor::seek::Seeker;
use crate::supervisor::targets::{Targets, matches, rules};

/// What is wanted at this moment.
pub struct DesiredState {
    /// What the files declare.
    pub declared: Declared,
    seeker: Seeker,
    /// The processes that jobs govern.
    governed: HashMap<ProcessIdentity, JobId>,
    /// The state folder, and what its file system keeps free.
    state: (PathBuf, Reserve),
}

/// What the files of one layout want of the runs of another.
#[must_use]
pub fn desired(files: &Layout, layout: &Layout) -> DesiredState {
    let declared = Declared::snapshot(files.clone(), clock::now());
    let mut seeker = Seeker::scanning();
    let mut governed = HashMap::new();
    let rules = rules(&declared);
    if !rules.is_empty() {
        for job in all_jobs(&layout.runs()).unwrap_or_default() {
            if let Some(Snapshot { status: RunStatus::Running { .. }, started: Some(started), .. }) =
                run_of(layout, &job)
            {
                governed.insert(started.process, job);
            }
        }
        // It could wait for events, although here it looks once.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        let _entered = runtime.as_ref().map(tokio::runtime::Runtime::enter);
        seeker.set_rules(rules);
        seeker.look(clock::boot());
    }
    // A file with errors has nothing in force, and `supervise` says so.
    let text = load::read(&layout.supervisor_toml, None).ok();
    let settings = text.map(|read| check_supervisor(&read.text).0).unwrap_or_default();
    DesiredState { declared, seeker, governed, state: (layout.state.clone(), settings.reserve) }
}

impl DesiredState {
    /// What is wanted of a job, and why it waits for its process, if it does.
    #[must_use]
    pub fn wanted(&self, id: &JobId, live: bool) -> (Wanted, Option<String>) {
        let governor = |process: &ProcessIdentity, but: &JobId| {
            self.governed.get(process).filter(|governor| *governor != but).cloned()
        };
        Targets { declared: &self.declared, seeker: &self.seeker, governor: &governor }.wanted(id, live)
    }

    /// Why a job that is about to start waits for free space.
    #[must_use]
    pub fn no_space(&self, job: &Job) -> Option<NoSpace> {
        let (state, reserve) = &self.state;
        space::shut(job, *reserve, (state, disk::space(state).ok()), ask)
    }

    /// Whether the state's file system has less free space than its reserve: that, the reserve, and the folder.
    #[must_use]
    pub fn low(&self) -> Option<(u64, u64, &Path)> {
        let (state, reserve) = &self.state;
        let space = disk::space(state).ok()?;
        reserve.missing(space).map(|_| (space.free, reserve.of(space), &**state))
    }

    /// Every job that is declared, or has a run, or would have one.
    #[must_use]
    pub fn jobs(&self, layout: &Layout) -> BTreeSet<JobId> {
        let mut jobs: BTreeSet<JobId> = self.declared.jobs().cloned().collect();
        jobs.extend(all_jobs(&layout.runs()).unwrap_or_default());
        for (rule, attach) in rules(&self.declared) {
            if attach.all {
                jobs.extend(matches(&self.seeker, &rule));
            }
        }
        jobs
    }
}

/// What a file system has free, if it answers in time: it may never do so.
fn ask(path: &Path) -> Reading {
    const PATIENCE: Duration = Duration::from_secs(1);
    let (sender, answer) = mpsc::channel();
    let of = path.to_owned();
    let asked = thread::Builder::new().spawn(move || sender.send(disk::space(&of)));
    match asked.map(|_| answer.recv_timeout(PATIENCE)) {
        Ok(Ok(Ok(space))) => Reading::Space(space),
        Ok(Ok(Err(error))) => {
            let words = errno(&error).map(|number| nix::errno::Errno::from_raw(number).desc().to_owned());
            Reading::Failed(words.unwrap_or_else(|| error.to_string()))
        }
        Ok(Err(_)) => Reading::Asked(PATIENCE),
        Err(error) => Reading::Failed(format!("cannot be asked: {error}")),
    }
}

/// A job's live run, or else its newest.
#[must_use]
pub fn run_of(layout: &Layout, job: &JobId) -> Option<Snapshot> {
    let (dir, _) = current(job_runs(&layout.runs(), job).ok()?);
    let dir = dir?;
    observed::look(&dir, clock::now()).ok()
}

/// What a job's schedule has in force, and what comes next.
#[derive(Debug, Serialize)]
pub struct Scheduled {
    /// The window in force; `None`: the job's own constraints.
    active: Option<String>,
    /// What follows, the same way.
    next: Option<String>,
    /// When; `None`: this goes on for ever.
    next_change_at: Option<WallTime>,
    /// How long until then.
    #[serde(skip)]
    wait: Duration,
}

impl Scheduled {
    /// Of a job that has a schedule. A live run may not be in the window yet that it should be in, where
    /// no supervisor saw to it; that is due now.
    #[must_use]
    pub fn of(job: &Arc<Job>, live: Option<&Job>, now: Moment) -> Option<Self> {
        if job.schedule.is_empty() {
            return None;
        }
        let (scheduled, next) = job.at(now.wall, &clock::ZONES);
        let window = |active: Option<usize>| active.and_then(|n| job.schedule.get(n)).map(Window::to_string);
        let (mut active, mut next) =
            (window(scheduled.active), next.map(|next| (next.at, window(next.active))));
        if let Some(live) = live
            && live.in_force() != scheduled.in_force()
        {
            next = Some((now.wall, active));
            active = live.window().map(Window::to_string);
        }
        let wait = next.as_ref().map_or(0, |(at, _)| at.unix_ms().saturating_sub(now.wall.unix_ms()));
        Some(Self {
            active,
            next_change_at: next.as_ref().map(|(at, _)| *at),
            next: next.and_then(|(_, next)| next),
            wait: Duration::from_secs(u64::try_from(wait).unwrap_or(0) / 1000),
        })
    }
}

impl fmt::Display for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |window: &Option<String>| window.clone().unwrap_or_else(|| "[constraints]".into());
        write!(f, "{} in force", name(&self.active))?;
        let Some(at) = self.next_change_at else { return Ok(()) };
        write!(f, ", then {} at {at} (in {})", name(&self.next), format_duration(self.wait))
    }
}
