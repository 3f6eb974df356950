//! Runs from the command line whose wrapper is gone: once their process has ended, too, which nobody saw,
//! that is reported, and nothing is left of them. Another wrapper may take their process over before.

use std::path::{Path, PathBuf};

use crate::linux::{attach, cgroup, clock, process};
use crate::model::exit::{Ended, LostCause};
use crate::model::process::ProcessIdentity;
use crate::model::report::Report;
use crate::runs::dir::{self, RunDir};
use crate::runs::record::{Exited, Spec};
use crate::runs::reports::Reports;

/// Looks at all runs that are recorded below a folder, and ends the records of those that are lost. What
/// cannot be done now is tried again by the next wrapper that ends.
pub(super) fn settle(runs: &Path, reports: &Reports) {
    for run in dir::all_runs(runs).unwrap_or_default() {
        // One without a spec is about to begin.
        if let (Ok(false), Ok(Some(spec))) = (run.wrapper_lives(), run.spec())
            && let Some(cause) = lost(&run, &spec)
        {
            let _ = settle_one(run, &spec, cause, reports);
        }
    }
}

/// Looks for runs of a process that is about to be taken over: what a wrapper from the command line that is
/// gone has left in force is put back as it was before that. `ours` is where the runs of such wrappers are.
///
/// # Errors
/// Its wrapper lives, or the supervisor watches it without one: who that is.
pub(super) fn make_way(
    runs: &[PathBuf],
    ours: Option<&Path>,
    process: &ProcessIdentity,
) -> Result<(), String> {
    for run in runs.iter().flat_map(|runs| dir::all_runs(runs).unwrap_or_default()) {
        let Ok(Some(spec)) = run.spec() else { continue };
        let started = run.started().ok().flatten();
        let attached = spec.attached.as_ref().filter(|attached| attached.process == *process);
        if attached.is_none() && started.as_ref().is_none_or(|started| started.process != *process) {
            continue;
        }
        let abandoned =
            matches!(run.wrapper_lives(), Ok(false)) && ours.is_some_and(|ours| run.path.starts_with(ours));
        if !abandoned {
            let wrapper = started.map(|started| format!(", by PID {}", started.wrapper.pid));
            let (pid, job, by) = (process.pid, &spec.job.id, wrapper.unwrap_or_default());
            return Err(format!("process {pid} is governed already, as job {job}{by}: end that one first"));
        }
        if let Some(attached) = attached {
            // What cannot be restored stays in force, and what is asked for now replaces it.
            let _ = attach::release(attached, spec.cgroup.as_ref(), spec.job.in_force());
            let _ = run.remove();
        }
    }
    Ok(())
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
    // Only what was told to run on is told to have ended; a run without a name has no report. A process that
    // was let go ends as it likes.
    let let_go = |report: &Report| spec.attached.is_some() && report.is_last();
    let open = |report: &Report| report.run_id == spec.run_id && report.ended_at.is_none();
    if let Some(mut report) = newest.filter(|report| open(report) && !let_go(report)) {
        let exited = Exited::unmeasured(spec.run_id.clone(), clock::now(), Ended::Lost(cause));
        exited.conclude(&mut report, &spec.job, None, None);
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
