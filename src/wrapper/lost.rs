//! Runs from the command line whose wrapper was killed: once their process has ended, too, which nobody saw,
//! that is reported, and nothing is left of them.

use std::path::Path;

use crate::linux::{attach, cgroup, clock, process};
use crate::model::exit::{Ended, LostCause, judge};
use crate::model::report::{Report, Usage};
use crate::runs::dir::{self, RunDir};
use crate::runs::record::Spec;
use crate::runs::reports::Reports;

/// Looks at all runs that are recorded below a folder, and ends the records of those that are lost. What
/// cannot be done now is tried again by the next wrapper that ends.
pub(super) fn settle(runs: &Path, reports: &Reports) {
    for job in dir::all_jobs(runs).unwrap_or_default() {
        for run in dir::job_runs(runs, &job).unwrap_or_default() {
            // One without a spec is about to begin.
            if let (Ok(false), Ok(Some(spec))) = (run.wrapper_lives(), run.spec())
                && let Some(cause) = lost(&run, &spec)
            {
                let _ = settle_one(run, &spec, cause, reports);
            }
        }
    }
}

/// Why nobody saw its end; `None` as long as its process lives, or as nobody can tell.
fn lost(run: &RunDir, spec: &Spec) -> Option<LostCause> {
    if process::boot_id().ok()? != spec.boot_id {
        return Some(LostCause::HostRebooted);
    }
    let known = match (run.started(), &spec.attached) {
        (Ok(Some(started)), _) => started.process,
        (Ok(None), Some(attached)) => attached.process.clone(),
        // It was not set up: nothing of it ran.
        (Ok(None), None) => return Some(LostCause::WrapperLost),
        (Err(_), _) => return None,
    };
    let there = process::identify(known.pid).ok()?.is_some_and(|found| found == known);
    // One that whoever adopted it has not reaped yet has ended all the same.
    let lives = there && !process::is_zombie(&known).ok()?;
    (!lives).then_some(LostCause::WrapperLost)
}

fn settle_one(run: RunDir, spec: &Spec, cause: LostCause, reports: &Reports) -> std::io::Result<()> {
    let text = std::fs::read(reports.newest(&spec.job.id)).unwrap_or_default();
    let newest = serde_json::from_slice::<Report>(&text).ok();
    // Only what was told to run on is told to have ended; a run without a name has no report.
    if let Some(mut report) =
        newest.filter(|report| report.run_id == spec.run_id && report.ended_at.is_none())
    {
        let verdict = judge(&spec.job, &Ended::Lost(cause), None, None);
        report.end(clock::now().wall, None, None, Usage::default(), verdict);
        reports.file(&report)?;
    }
    match &spec.attached {
        // What is still in it is not ours to end.
        None => drop(spec.cgroup.as_ref().map(cgroup::remove)),
        // As its wrapper would have done; after a restart of the host nothing is left to restore.
        Some(attached) if cause == LostCause::WrapperLost => {
            drop(attach::release(attached, spec.cgroup.as_ref(), spec.job.in_force()));
        }
        Some(_) => {}
    }
    run.remove()
}
