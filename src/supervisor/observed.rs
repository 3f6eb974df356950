//! What runs: a run as its directory and the kernel show it.
//!
//! The order of looking is the proof: first the lock, then the records. Whoever finds the lock free
//! finds everything that the wrapper wrote.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::sys::statvfs::{FsFlags, statvfs};

use super::copied;
use crate::config::paths::Layout;
use crate::linux::cgroup;
use crate::linux::exits::{ExitWatch, Seen};
use crate::linux::process::{self, PidFd};
use crate::model::exit::{Ended, LostCause, Stage, StartError};
use crate::model::ids::{JobId, RunId};
use crate::model::report::{Report, Usage};
use crate::model::time::Moment;
use crate::reconcile::plan::{Observed, Phase, StopAsked};
use crate::runs::dir::{RecordCause, RecordError, RunDir};
use crate::runs::record::{Exited, Spec, Started, Stopping};

/// A run that was looked at.
#[derive(Debug)]
pub struct Snapshot {
    /// What `spec.json` says.
    pub spec: Spec,
    /// What `started.json` says.
    pub started: Option<Started>,
    /// What `stop.json` says.
    pub stopping: Option<Stopping>,
    /// How the run stands.
    pub status: RunStatus,
    /// Records that could not be read, and were not needed.
    pub damage: Vec<RecordError>,
}

/// Where a run stands, and what to watch for it to change.
#[derive(Debug)]
pub enum RunStatus {
    /// The wrapper lives; it has not started the workload.
    Starting,
    /// Wrapper and workload live.
    Running {
        /// The wrapper, which tells that something changed by going.
        wrapper: PidFd,
        /// The workload. Held, it tells how it ended where wrapper and workload go at once.
        workload: PidFd,
    },
    /// The workload lives, and the wrapper is gone.
    Orphaned {
        /// The workload, which tells its exit now.
        workload: ExitWatch,
    },
    /// The workload ended, the wrapper lives.
    Ending {
        /// The wrapper; `None` if it went away just now.
        wrapper: Option<PidFd>,
    },
    /// Nothing lives, and nothing ever ran: the wrapper records the process before it lets it run.
    NeverBegan,
    /// Nothing lives.
    Ended {
        /// When; `None` if that was in another boot.
        at: Option<Moment>,
        /// What `exited.json` says, or would say.
        exited: Box<Exited>,
        /// It stands there.
        recorded: bool,
    },
}

/// Why nothing can be said of a run.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// There is no spec: the run never began.
    #[error("the run never began")]
    NeverBegan,
    /// A record cannot be used, and something of the run lives: what that does is not known.
    #[error("something of the run lives, but its record cannot be used: {0}")]
    Opaque(RecordError),
    /// A newer program wrote it: what it means is not known.
    #[error("{0}; start that version again, or remove the run's directory when nothing of it lives")]
    Newer(RecordError),
    /// The spec cannot be used, and nothing lives.
    #[error("{0}")]
    Damaged(RecordError),
    /// The kernel or the disk did not answer.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Looks at a run.
///
/// # Errors
/// Nothing can be said of it.
pub fn look(dir: &RunDir, now: Moment) -> Result<Snapshot, LookError> {
    let wrapper_lives = dir.wrapper_lives()?;
    let mut spec = match dir.spec() {
        Ok(Some(spec)) => spec,
        Ok(None) if wrapper_lives => return Err(LookError::Io(io::Error::other("the run is being made"))),
        Ok(None) => return Err(LookError::NeverBegan),
        Err(error) if error.is_damage() && wrapper_lives => return Err(LookError::Opaque(error)),
        Err(error) if error.is_damage() => return Err(LookError::Damaged(error)),
        Err(error) => return Err(unreadable(error)),
    };
    // `<state>/runs/<job>/<run>`. What lives in the cgroup of a copied record is another supervisor's.
    if let Some(state) = dir.path.ancestors().nth(3)
        && copied::origin(&spec, state).is_some()
    {
        spec.cgroup = None;
    }
    let mut damage = Vec::new();
    let started = readable(dir.started(), &mut damage)?;
    let start_damaged = !damage.is_empty();
    let stopping = readable(dir.stopping(), &mut damage)?;
    let damaged_before = damage.len();
    let exited = readable(dir.exited(), &mut damage)?;
    let exit_damaged = damage.len() > damaged_before;
    if start_damaged && !wrapper_lives && exited.is_none() && is_inhabited(&spec) {
        return Err(LookError::Opaque(damage.swap_remove(0)));
    }
    let damaged = start_damaged || exit_damaged;
    let status = stand(wrapper_lives, &spec, started.as_ref(), exited, damaged, now)?;
    Ok(Snapshot { spec, started, stopping, status, damage })
}

/// Looks at a run that was just started, whose spec is therefore known. `None`: it does not run yet, or not any more, or
/// something is the matter; [`look`] tells.
#[must_use]
pub fn look_begun(dir: &RunDir, spec: &Spec) -> Option<Snapshot> {
    let started = dir.started().ok().flatten()?;
    // This very process has written the record, and it holds the lock as long as it lives. As long as the workload lives,
    // there is no record of its end.
    let wrapper = PidFd::open(&started.wrapper).ok().flatten()?;
    let workload = PidFd::open_living(&started.process).ok().flatten()?;
    let status = RunStatus::Running { wrapper, workload };
    Some(Snapshot { spec: spec.clone(), started: Some(started), stopping: None, status, damage: Vec::new() })
}

/// A record; `None` if there is none, or it is damaged. One that is only out of reach now says nothing.
fn readable<T>(
    read: Result<Option<T>, RecordError>,
    damage: &mut Vec<RecordError>,
) -> Result<Option<T>, LookError> {
    read.or_else(|error| {
        if !error.is_damage() {
            return Err(unreadable(error));
        }
        damage.push(error);
        Ok(None)
    })
}

fn unreadable(error: RecordError) -> LookError {
    match error.cause {
        RecordCause::Version(_) => LookError::Newer(error),
        _ => LookError::Io(io::Error::other(error)),
    }
}

/// Whether something lives in the run's cgroup, which is no more than this boot's.
fn is_inhabited(spec: &Spec) -> bool {
    if process::boot_id().is_ok_and(|boot| boot != spec.boot_id) {
        return false;
    }
    let procs = spec.cgroup.as_ref().map(cgroup::procs).and_then(Result::ok);
    procs.is_some_and(|procs| !procs.is_empty())
}

/// `damaged`: of the records of its start and its end, one was there and cannot be used.
fn stand(
    wrapper_lives: bool,
    spec: &Spec,
    started: Option<&Started>,
    exited: Option<Exited>,
    damaged: bool,
    now: Moment,
) -> io::Result<RunStatus> {
    let same_boot = spec.boot_id == process::boot_id()?;
    let lost = |cause| RunStatus::Ended {
        at: same_boot.then_some(now),
        exited: Box::new(Exited::unmeasured(spec.run_id.clone(), now, Ended::Lost(cause))),
        recorded: false,
    };
    if wrapper_lives && same_boot {
        let Some(started) = started else {
            // It may be about to end after a failed start; its end is told by the ready pipe or the lock.
            return Ok(RunStatus::Starting);
        };
        let wrapper = PidFd::open(&started.wrapper)?;
        return Ok(match (exited, PidFd::open_living(&started.process)?, wrapper) {
            (None, Some(workload), Some(wrapper)) => RunStatus::Running { wrapper, workload },
            (_, _, wrapper) => RunStatus::Ending { wrapper },
        });
    }
    if let Some(exited) = exited {
        let at = same_boot.then_some(exited.at);
        return Ok(RunStatus::Ended { at, exited: Box::new(exited), recorded: true });
    }
    if started.is_none() && !damaged {
        return Ok(RunStatus::NeverBegan);
    }
    if !same_boot {
        return Ok(lost(LostCause::HostRebooted));
    }
    if let Some(workload) = started.map(|started| ExitWatch::open(&started.process)).transpose()?.flatten() {
        // Also one that nobody has reaped yet can tell how it ended.
        return Ok(match workload.look()? {
            None => RunStatus::Orphaned { workload },
            Some(seen) => {
                let exited = Box::new(orphans_end(spec.run_id.clone(), now, seen));
                RunStatus::Ended { at: Some(now), exited, recorded: false }
            }
        });
    }
    Ok(lost(if damaged { LostCause::RecordDamaged } else { LostCause::WrapperLost }))
}

/// The end of a workload that had no wrapper any more, as the kernel told it.
#[must_use]
pub fn orphans_end(run_id: RunId, at: Moment, seen: Seen) -> Exited {
    let exited = match seen.status.zip(seen.by) {
        Some((status, by)) => Exited::waited(run_id, at, status, by),
        None => Exited::unmeasured(run_id, at, Ended::Lost(LostCause::WrapperLost)),
    };
    Exited { usage: Usage { cpu_sec: seen.cpu_sec, ..Usage::default() }, ..exited }
}

/// Why a run's end is not recorded although its main process is gone and its wrapper lives; `None`: it is recorded, and
/// the wrapper ends what is left.
#[must_use]
pub fn cannot_be_recorded(dir: &RunDir) -> Option<String> {
    if !matches!(dir.exited(), Ok(None)) {
        return None;
    }
    let why = match statvfs(&dir.path) {
        Ok(disk) if disk.flags().contains(FsFlags::ST_RDONLY) => "the file system is read-only".into(),
        Ok(disk) if disk.blocks_available() == 0 => "the disk is full".into(),
        Ok(_) => format!("{} cannot be written", dir.path.display()),
        Err(errno) => format!("{}: {errno}", dir.path.display()),
    };
    Some(format!("ended, cannot be recorded: {why}; its wrapper goes on trying"))
}

impl Snapshot {
    /// Whether the process that it was to take over had ended before: it is no run.
    #[must_use]
    pub fn came_too_late(&self) -> bool {
        matches!(&self.status, RunStatus::Ended { exited, .. }
            if matches!(&exited.ended, Ended::NotStarted(error) if error.came_too_late()))
    }

    /// When the workload began; a process that was taken over had begun before that.
    #[must_use]
    pub fn began(&self) -> Option<Moment> {
        let started = self.started.as_ref()?;
        Some(if self.spec.attached.is_some() { process::began(&started.process) } else { started.at })
    }

    /// What the plan needs to know of it. `reported`: its last report is on disk.
    #[must_use]
    pub fn observed(&self, reported: bool) -> Observed {
        let began = self.began().map(|began| began.boot);
        let phase = match &self.status {
            RunStatus::Starting => Phase::Starting,
            RunStatus::Running { .. } | RunStatus::Orphaned { .. } => {
                Phase::Running { since: began.unwrap_or(self.spec.created.boot) }
            }
            RunStatus::Ending { .. } => Phase::Ending,
            RunStatus::NeverBegan => {
                let at = Some(self.spec.created.boot);
                Phase::Ended { started: None, at, how: never_began(), reported }
            }
            RunStatus::Ended { at, exited, .. } => {
                let how = exited.ended.clone();
                Phase::Ended { started: at.and(began), at: at.map(|at| at.boot), how, reported }
            }
        };
        Observed {
            id: self.spec.run_id.clone(),
            job: Arc::clone(&self.spec.job),
            history: self.spec.history.clone(),
            phase,
            stop: self.stopping.as_ref().map(|stop| StopAsked {
                reminded: stop.again.is_some(),
                others: stop.others.is_some(),
                ..StopAsked::new(stop.reason, stop.at.boot)
            }),
            released: self.spec.released,
            target: self.spec.attached.as_ref().map(|attached| attached.process.clone()),
        }
    }
}

/// The end of a run whose wrapper went away before it started anything.
#[must_use]
pub fn never_began() -> Ended {
    Ended::NotStarted(StartError {
        stage: Stage::Wrapper,
        errno: None,
        detail: "the wrapper ended before it started the workload".into(),
    })
}

/// The newest report of a job.
#[must_use]
pub fn report_of(layout: &Layout, job: &JobId) -> Option<Report> {
    let bytes = fs::read(layout.reports().join(format!("{job}.json"))).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether the last report of a run is on disk: in the history, and as its job's newest, if it is that.
#[must_use]
pub fn is_filed(layout: &Layout, snapshot: &Snapshot) -> bool {
    let spec = &snapshot.spec;
    let name = format!("{}.json", spec.run_id);
    let in_history = layout.history().join(Path::new(spec.job.id.as_str())).join(name).exists();
    // A supervisor may have been killed between the two.
    let stale = |report: Report| report.run_id == spec.run_id && report.exit_reason.is_none();
    in_history && !report_of(layout, &spec.job.id).is_some_and(stale)
}
