//! What became of a run: seen when something happened to it. What it turns out to be decides what is watched from now
//! on; one that came to nothing is no run.

use std::io;

use tracing::{error, info, warn};

use super::{Executor, because};
use crate::linux::clock;
use crate::model::exit::{Ended, LostCause};
use crate::model::ids::{JobId, RunId};
use crate::reconcile::plan::Phase;
use crate::runs::dir;
use crate::supervisor::alarms::{TRY_AGAIN, Task};
use crate::supervisor::changes::{self, RunChanged};
use crate::supervisor::observed::{LookError, RunStatus};
use crate::supervisor::reporter::remove;
use crate::supervisor::run::Watched;

impl Executor {
    /// Looks at a run again, because something happened to it.
    pub fn look_again(&mut self, job: &JobId, expected: Option<&RunId>, refused: Option<i32>) {
        let Some(run) = self.jobs.run_mut(job) else { return };
        if expected.is_some_and(|id| *id != run.seen.id) || !run.is_live() {
            return;
        }
        let mut snapshot = match run.look() {
            Ok(snapshot) => snapshot,
            Err(error) => {
                run.watch = None;
                self.jobs.entry(job).retry_at(clock::boot() + TRY_AGAIN);
                self.log_unobservable(job, &error, "it is looked at again every 5 s");
                return self.jobs.mark(job);
            }
        };
        if run.started.is_none()
            && let Some(error) = snapshot.damage.iter().find(|error| error.path.ends_with(dir::STARTED))
        {
            let text = format!("{error}; which process it is will be known when its wrapper ends");
            let id = run.seen.id.clone();
            if self.jobs.entry(job).is_news(&text) {
                error!(job = %job, run = %id, "{text}");
            }
        }
        let Some(run) = self.jobs.run_mut(job) else { return };
        if let RunStatus::Ended { at: Some(at), exited, recorded: false } = &mut snapshot.status
            && matches!(exited.ended, Ended::Lost(LostCause::WrapperLost))
        {
            let process = snapshot.started.as_ref().map(|started| &started.process);
            let reaped = process.and_then(|process| self.reaper.take(process));
            if let Some(told) = run.told(reaped, *at) {
                **exited = told;
            }
        }
        if run.is_uncertain() && snapshot.came_too_late() {
            return self.drop_uncertain(job);
        }
        if run.seen.phase == Phase::Starting && matches!(snapshot.status, RunStatus::NeverBegan) {
            return self.owe_start(job, refused);
        }
        let had_started = run.started.is_some();
        let was_orphaned = run.orphan.is_some();
        let was = run.seen.phase.clone();
        let watched = run.absorb(snapshot);
        run.detect_leftovers(&was);
        // An orphan is watched on: it has two things to tell, that it ended and that it was reaped.
        let goes_on = was_orphaned && matches!(watched, Some(Watched::Orphan(_))) && !run.gives_no_event();
        if !goes_on {
            if let Some(watch) = run.watch.take() {
                watch.abort();
            }
            let change = RunChanged { job: job.clone(), run: run.seen.id.clone(), refused: None };
            let watch = match watched {
                Some(Watched::Wrapper(wrapper)) => {
                    Some(changes::when_readable(wrapper, change, &self.changes))
                }
                Some(Watched::Orphan(orphan)) => Some(changes::each_time(orphan, change, &self.changes)),
                None => None,
            };
            match watch.transpose() {
                Ok(watch) => run.watch = watch,
                Err(error) => {
                    warn!(job = %job, "cannot wait for the exit, looking from time to time: {error}")
                }
            }
        }
        self.alarms.clear(&Task::See(job.clone()));
        let Some(run) = self.jobs.run_mut(job) else { return };
        if run.seen.phase != Phase::Starting {
            let before = run.before.take();
            before.into_iter().for_each(|before| self.reporter.discard(*before));
            self.starts.settled(job);
            self.acted(job);
        }
        let Some(run) = self.jobs.run_mut(job) else { return };
        if !had_started
            && let Some(started) = &run.started
            && run.is_live()
        {
            let text = if run.spec.attached.is_some() { "taken over, and running" } else { "running" };
            info!(job = %job, run = %run.seen.id, pid = %started.process.pid, "{text}");
            self.warn_of(job, &[]);
        }
        let Some(run) = self.jobs.run(job) else { return };
        if run.is_live() {
            self.reporter.publish(run);
        }
        self.jobs.mark(job);
    }

    /// A run came to nothing before anything of the user's ran: it is no run, and the start is still owed. `refused`: why
    /// no wrapper could be forked (errno(3)).
    fn owe_start(&mut self, job: &JobId, refused: Option<i32>) {
        let Some(mut run) = self.jobs.take_run(job) else { return };
        if let Some(before) = run.before.take() {
            self.jobs.put_run(job, *before);
        }
        run.close_cgroup();
        remove(job, run.dir.clone());
        self.starts.settled(job);
        let ended = || io::Error::other("it ended before it started the workload");
        let why = refused.map_or_else(ended, io::Error::from_raw_os_error);
        self.failed(job, &because("cannot start the wrapper", why));
        self.publish(job);
        self.jobs.mark(job);
    }

    /// Forgets a run whose process had ended before it was taken over, as if it had never been.
    fn drop_uncertain(&mut self, job: &JobId) {
        let Some(mut run) = self.jobs.take_run(job) else { return };
        if let Some(before) = run.before.take() {
            self.jobs.put_run(job, *before);
        }
        // What was made for it, and what it may have left behind.
        run.close_cgroup();
        if let Some(process) = &run.seen.target {
            self.attach_news.miss(job, process, clock::boot());
        }
        remove(job, run.dir.clone());
        self.jobs.mark(job);
    }

    /// Tells once why nothing can be said of a run.
    pub(super) fn log_unobservable(&mut self, job: &JobId, why: &LookError, so: &str) {
        if let LookError::Io(error) = why
            && self.alarms.raise(Task::See(job.clone()), error)
        {
            return;
        }
        let text = format!("{why}; {so}");
        if self.jobs.entry(job).is_news(&text) {
            error!(job = %job, "{text}");
        }
    }
}
