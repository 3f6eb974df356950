//! Ending a run, step by step: the signal to its main process, a second one where it does nothing, one to the others,
//! SIGKILL to all; or leaving it alone. Each intent is recorded before its effect, so that a successor goes on from there.

use std::io;
use std::time::Duration;

use tracing::{info, warn};

use super::some_of;
use crate::abort::{self, Point};
use crate::linux::cgroup;
use crate::linux::clock;
use crate::linux::process;
use crate::model::exit::{State, StopReason};
use crate::model::job::SendTo;
use crate::reconcile::plan::{ActivitySample, Observed, Phase, StopAsked};
use crate::runs::record::{Stopping, VERSION};
use crate::supervisor::reporter::Reporter;
use crate::supervisor::run::Run;

/// Records that the run is being ended, and sends its stop signal.
pub(super) fn stop(run: &mut Run, reason: StopReason, to: &Reporter) -> io::Result<()> {
    let Some(started) = run.started.clone() else { return Ok(()) };
    let (now, signal) = (clock::now(), run.seen.job.stop.signal);
    // A stop on request must not wait for a disk that is full; a successor then may not know of it.
    let to_all = run.seen.job.stop.send == SendTo::Group;
    let others = if to_all { run.others() } else { Vec::new() };
    let told_others = to_all.then_some(now);
    let record = Stopping { version: VERSION, at: now, reason, signal, again: None, others: told_others };
    if let Err(error) = run.dir.write_stopping(&record) {
        warn!(job = %run.seen.job.id, "cannot record that the run is being ended: {error}");
    }
    abort::at(Point::StopRecorded);
    let sent = process::send(&started.process, signal)?;
    abort::at(Point::StopSent);
    let told = others.iter().filter(|process| process::send(process, signal).is_ok_and(|sent| sent)).count();
    run.seen.stop = Some(StopAsked { others: to_all, ..StopAsked::new(reason, now.boot) });
    let text = match sent {
        true if told > 0 => {
            let pid = started.process.pid;
            format!("{signal} sent to pid {pid} and {told} more of the job: {}", reason.describe())
        }
        true => format!("{signal} sent to pid {}: {}", started.process.pid, reason.describe()),
        false => format!("has ended already; to be ended: {}", reason.describe()),
    };
    info!(job = %run.seen.job.id, run = %run.seen.id, pid = %started.process.pid, "{text}");
    run.report.event(now.wall, State::Running, text);
    to.publish(run);
    Ok(())
}

/// Notes what a run that is being ended has done so far.
pub(super) fn sample_activity(run: &mut Run) -> io::Result<()> {
    let activity = run.activity();
    if let Some(stop) = &mut run.seen.stop {
        let look = Some(ActivitySample { at: clock::boot(), activity });
        *(if stop.first.is_none() { &mut stop.first } else { &mut stop.second }) = look;
    }
    Ok(())
}

/// Sends the stop signal a second time.
pub(super) fn remind(run: &mut Run, to: &Reporter) -> io::Result<()> {
    let (Some(started), Some(stop)) = (run.started.clone(), run.seen.stop) else { return Ok(()) };
    let (now, signal) = (clock::now(), run.seen.job.stop.signal);
    let record = Stopping { again: Some(now), ..run.stopping(stop.reason, now) };
    // As with the first: a full disk is no reason to wait for SIGKILL.
    if let Err(error) = run.dir.write_stopping(&record) {
        warn!(job = %run.seen.job.id, "cannot record that the run is told again to end: {error}");
    }
    if let Some(stop) = &mut run.seen.stop {
        stop.reminded = true;
    }
    if !process::send(&started.process, signal)? {
        return Ok(());
    }
    let idle = stop.first.map_or(Duration::ZERO, |first| now.boot.since(first.at));
    let text = format!(
        "{signal} sent to pid {} a second time: no CPU time used and nothing written for {:.1} s",
        started.process.pid,
        idle.as_secs_f64()
    );
    warn!(job = %run.seen.job.id, run = %run.seen.id, pid = %started.process.pid, "{text}");
    run.report.event(now.wall, State::Running, text);
    to.publish(run);
    Ok(())
}

/// Sends the stop signal to the other processes of the run.
pub(super) fn stop_others(run: &mut Run, to: &Reporter) -> io::Result<()> {
    let (Some(started), Some(stop)) = (run.started.clone(), run.seen.stop) else { return Ok(()) };
    let (now, signal) = (clock::now(), run.seen.job.stop.signal);
    let others = run.others();
    // Recorded where there are none, too: those that come later are part of the end.
    let record = Stopping { others: Some(now), ..run.stopping(stop.reason, now) };
    if let Err(error) = run.dir.write_stopping(&record) {
        warn!(job = %run.seen.job.id, "cannot record that the others of the run are told to end: {error}");
    }
    if let Some(stop) = &mut run.seen.stop {
        stop.others = true;
    }
    abort::at(Point::OthersRecorded);
    let mut told = Vec::new();
    for process in others.iter().filter(|process| **process != started.process) {
        let name = process::name(process);
        if process::send(process, signal)? {
            told.push(format!("{} (pid {})", name.as_deref().unwrap_or("?"), process.pid));
        }
    }
    if told.is_empty() {
        return Ok(());
    }
    let text = format!("{signal} sent to what the main process did not end: {}", some_of(&told));
    warn!(job = %run.seen.job.id, run = %run.seen.id, pid = %started.process.pid, "{text}");
    run.report.event(now.wall, State::Running, text);
    to.publish(run);
    Ok(())
}

/// Sends the stop signal to all that the main process left in the run's cgroup.
pub(super) fn stop_leftovers(run: &mut Run, to: &Reporter) -> io::Result<()> {
    let (Phase::Leftovers { asked, .. }, Some(cgroup)) = (&mut run.seen.phase, &run.spec.cgroup) else {
        return Ok(());
    };
    let (now, signal) = (clock::now(), run.seen.job.stop.signal);
    *asked = Some(now.boot);
    let sent = cgroup::signal(cgroup, signal, &[])?;
    let text = format!("ended; {signal} sent to {sent} processes that it left behind");
    info!(job = %run.seen.job.id, run = %run.seen.id, "{text}");
    run.report.event(now.wall, State::Running, text);
    to.publish(run);
    Ok(())
}

/// Sends SIGKILL to every process of the run.
pub(super) fn kill(run: &mut Run, to: &Reporter) -> io::Result<()> {
    // What we did not start, we never end: no plan asks for it, and its cgroup may be somebody else's.
    let Some(started) = run.started.clone().filter(|_| run.spec.attached.is_none()) else {
        return Ok(());
    };
    let now = clock::now();
    let last = match &mut run.seen {
        Observed { phase: Phase::Leftovers { killed, .. }, .. } => killed.replace(now.boot),
        Observed { stop: Some(stop), .. } => stop.killed.replace(now.boot),
        _ => None,
    };
    let mut killed = 0;
    if let Some(cgroup) = &run.spec.cgroup {
        killed = cgroup::procs(cgroup)?.len();
        cgroup::kill(cgroup)?;
    }
    abort::at(Point::CgroupKilled);
    // What is not in the cgroup, or all of it where there is none.
    killed += process::kill_family(Some(&started.wrapper), &started.process)?;
    abort::at(Point::RunKilled);
    if last.is_none() {
        let text = format!("still there after stop.timeout: SIGKILL to {killed} processes");
        warn!(job = %run.seen.job.id, run = %run.seen.id, pid = %started.process.pid, "{text}");
        run.report.event(now.wall, State::Running, text);
        to.publish(run);
    }
    Ok(())
}

/// Lets the workload run on without us.
pub(super) fn abandon(run: &mut Run, to: &Reporter) -> io::Result<()> {
    run.record_release()?;
    abort::at(Point::ReleaseRecorded);
    let text = "let go: its file is gone or disabled, and stop.on_remove is \"leave\"";
    info!(job = %run.seen.job.id, run = %run.seen.id, "{text}");
    run.report.event(clock::now().wall, State::Running, text.into());
    to.publish(run);
    Ok(())
}
