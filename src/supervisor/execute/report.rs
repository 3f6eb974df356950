//! The end of a run: recorded where its wrapper did not, judged and reported; and what is then left of it forgotten.

use std::io;

use tracing::{error, info, warn};

use super::{Executor, some_of};
use crate::abort::{self, Point};
use crate::linux::clock;
use crate::model::exit::{Ended, State, judge};
use crate::model::ids::JobId;
use crate::model::report::Usage;
use crate::model::time::WallTime;
use crate::reconcile::plan::{Outlook, Phase};
use crate::supervisor::alarms::Task;
use crate::supervisor::reporter::Reporter;
use crate::supervisor::run::Run;

/// Ends what is left of a run, judges its end, and reports it.
pub(super) fn end(run: &mut Run, outlook: Outlook, to: &Reporter) -> io::Result<()> {
    if !run.followed {
        // The next run of the job has a cgroup of the same name.
        run.close_cgroup();
    }
    let Phase::Ended { started, at, how, reported } = &mut run.seen.phase else { return Ok(()) };
    *reported = true;
    let asked = run.seen.stop.map(|stop| stop.reason);
    let evidence = run.ended.as_ref().and_then(|exited| exited.evidence.as_ref());
    let mut verdict = judge(&run.seen.job, how, asked, evidence);
    if let Outlook::Down(why) = outlook {
        verdict.message = format!("{}; {}", verdict.message, why.describe());
    }
    let never_ran = matches!(how, Ended::NotStarted(_));
    let lasted = match (started, at) {
        (Some(started), Some(at)) if !never_ran => Some(at.since(*started).as_secs_f64()),
        _ => None,
    };
    if never_ran {
        (run.report.pid, run.report.started_at) = (None, None);
    }
    let (ended, usage) = run
        .ended
        .as_ref()
        .map_or_else(|| (clock::now(), Usage::default()), |exited| (exited.at, exited.usage));
    let observed_by = run.ended.as_ref().and_then(|exited| exited.observed_by);
    if verdict.state == State::Completed || run.seen.stop.is_some() {
        info!(job = %run.seen.job.id, run = %run.seen.id, "{}", verdict.message);
    } else {
        warn!(job = %run.seen.job.id, run = %run.seen.id, "{}", verdict.message);
    }
    let left = run.ended.as_ref().map_or(&[][..], |exited| &exited.left);
    if !left.is_empty() {
        let (number, signal) = (left.len(), run.seen.job.stop.signal);
        let noun = if number == 1 { "process" } else { "processes" };
        let text = format!("{number} {noun} left behind: {}; {signal} sent", some_of(left));
        warn!(job = %run.seen.job.id, run = %run.seen.id, "{text}");
        run.report.event(ended.wall, State::Running, text);
    }
    run.report.end(ended.wall, lasted, observed_by, usage, verdict);
    run.report.next_start_at = next_start(outlook);
    to.publish(run);
    abort::at(Point::EndReported);
    Ok(())
}

impl Executor {
    /// Removes what is recorded of a run that is reported, of a job that is gone.
    pub(super) fn forget(&mut self, job: &JobId) -> io::Result<()> {
        if let Some(mut run) = self.jobs.take_run(job) {
            info!(job = %job, "removed: its file no longer exists");
            if run.report.next_start_at.take().is_some() {
                self.reporter.publish(&run);
            }
            self.reporter.discard(run);
        }
        Ok(())
    }

    /// Writes the record that a run's end lacks. False: it is tried again later.
    pub fn record_end(&mut self, job: &JobId) -> bool {
        let Some(run) = self.jobs.run_mut(job) else { return true };
        let Some(exited) = run.ended.as_ref().filter(|_| run.unrecorded) else { return true };
        let task = Task::Record(job.clone());
        match run.restore().and_then(|_| run.dir.write_exited(exited)) {
            Ok(()) => {
                run.unrecorded = false;
                self.alarms.clear(&task);
                true
            }
            Err(error) => {
                if !self.alarms.raise(task, &error) {
                    error!(job = %job, "the end of a run cannot be recorded: {error}; tried again");
                }
                false
            }
        }
    }

    /// Notes when the job starts again, where that changed since its last report.
    pub fn update_next_start(&mut self, job: &JobId, outlook: Outlook) {
        let Some(run) = self.jobs.run_mut(job).filter(|run| run.is_reported()) else { return };
        let next = next_start(outlook);
        let differs = match (next, run.report.next_start_at) {
            (None, None) => false,
            // Both clocks are read one after the other, so the two are never quite the same.
            (Some(a), Some(b)) => a.unix_ms().abs_diff(b.unix_ms()) > 100,
            _ => true,
        };
        if differs && run.report.exit_reason.is_some() {
            run.report.next_start_at = next;
            self.reporter.publish(run);
        }
    }
}

fn next_start(outlook: Outlook) -> Option<WallTime> {
    let Outlook::StartsAt(at) = outlook else { return None };
    let now = clock::now();
    let wait = i64::try_from(at.since(now.boot).as_millis()).unwrap_or(i64::MAX);
    Some(WallTime::from_unix_ms(now.wall.unix_ms().saturating_add(wait)))
}
