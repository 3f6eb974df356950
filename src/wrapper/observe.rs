//! A run whose process somebody else started. It is constrained, watched, and let go when it has ended. It
//! is never signalled, and neither is what it leaves behind.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::child::failed;
use crate::abort::{self, Point};
use crate::linux::attach;
use crate::linux::cgroup::{self, counters};
use crate::linux::exits::{ExitWatch, Seen};
use crate::linux::{clock, process};
use crate::model::attached::Attached;
use crate::model::cgroup::Cgroup;
use crate::model::constraints::Constraints;
use crate::model::evidence::Counters;
use crate::model::exit::{Ended, LostCause, Stage, StartError};
use crate::model::ids::RunId;
use crate::model::report::Usage;
use crate::runs::dir::RunDir;
use crate::runs::record::{Exited, Spec, Started, VERSION};

/// Between two attempts to wait, where the kernel refuses.
const PAUSE: Duration = Duration::from_secs(1);

/// A process that was taken over.
pub(super) struct Observed {
    attached: Attached,
    cgroup: Option<Cgroup>,
    /// What it was taken over with.
    constraints: Constraints,
    watch: ExitWatch,
    /// Its cgroup, if it is in there and nobody else is: what is counted there is its own.
    counted: Option<Cgroup>,
    /// What the kernel had counted there before.
    baseline: Counters,
    /// The CPU time that it had used before.
    cpu_before: Option<f64>,
}

/// Takes a process over: its identity is checked again, its constraints are put in force, and what came of
/// that is recorded.
pub(super) fn begin(
    spec: &Spec,
    write: impl FnOnce(&Started) -> io::Result<()>,
) -> Result<Observed, StartError> {
    let of_stage = |stage, errno, detail| StartError { stage, errno, detail };
    let Some(attached) = spec.attached.clone() else {
        let detail = "spec.json does not say which process is meant".into();
        return Err(of_stage(Stage::Record, None, detail));
    };
    let pid = attached.process.pid;
    let look = |error| failed(Stage::Attach, &format!("looking at process {pid}"), &error);
    let gone = || of_stage(Stage::Attach, Some(libc::ESRCH), format!("process {pid} does not exist"));
    let ended = || of_stage(Stage::Attach, Some(libc::ESRCH), format!("process {pid} has just ended"));
    let watch = ExitWatch::open(&attached.process).map_err(look)?.ok_or_else(gone)?;
    if process::is_zombie(&attached.process).map_err(look)? {
        return Err(ended());
    }
    let cpu_before = attach::cpu_sec(&attached.process);
    let constraints = spec.job.in_force().clone();
    let statuses = attach::enforce(&attached, spec.cgroup.as_ref(), &constraints, None);
    abort::at(Point::ProcessTaken);
    let undo = |mut error: StartError| {
        for text in attach::release(&attached, spec.cgroup.as_ref(), &constraints) {
            error.detail = format!("{}; {text}", error.detail);
        }
        error
    };
    // One that ended meanwhile was a run if its exit is known, or will be once it is reaped.
    if matches!(watch.look(), Ok(Some(Seen { status: None, .. }))) {
        return Err(undo(ended()));
    }
    if constraints.strict
        && let Some(status) = statuses.iter().find(|status| !status.applied)
    {
        // What it was not there for was not refused.
        if matches!(process::has_ended(&attached.process), Ok(true)) {
            return Err(undo(ended()));
        }
        let reason = status.reason.as_deref().unwrap_or("it was not read back");
        let detail = format!("constraints.strict is set, and {} is not in force: {reason}", status.name);
        return Err(undo(of_stage(Stage::Constraint, None, detail)));
    }
    let inside = |cgroup: &&Cgroup| matches!(cgroup::holds(cgroup, &attached.process), Ok(true));
    let counted = spec.cgroup.as_ref().filter(inside).cloned();
    let baseline = counters::read(counted.as_ref());
    let record = |error| failed(Stage::Record, "started.json", &error);
    let started = Started {
        version: VERSION,
        run_id: spec.run_id.clone(),
        at: clock::now(),
        process: attached.process.clone(),
        wrapper: process::current().map_err(record).map_err(undo)?,
        constraints: statuses,
        notes: Vec::new(),
        baseline: Some(baseline.clone()),
    };
    write(&started).map_err(record).map_err(undo)?;
    let cgroup = spec.cgroup.clone();
    Ok(Observed { attached, cgroup, constraints, watch, counted, baseline, cpu_before })
}

impl Observed {
    /// Waits until the process has ended.
    pub(super) fn wait(&self, run_id: RunId) -> Exited {
        let seen = loop {
            match self.watch.wait() {
                Ok(seen) => break seen,
                Err(_) => std::thread::sleep(PAUSE),
            }
        };
        self.exited(seen, run_id)
    }

    /// Waits until the process has ended, or `other` is readable: `None`.
    pub(super) fn wait_or(&self, other: BorrowedFd<'_>) -> io::Result<Option<Seen>> {
        wait_or(&self.watch, other)
    }

    /// What is known of the end.
    pub(super) fn exited(&self, seen: Seen, run_id: RunId) -> Exited {
        let at = clock::now();
        let (mut evidence, mut used) = counters::read(self.counted.as_ref()).since(&self.baseline);
        if used.memory_peak_bytes == self.baseline.usage.memory_peak_bytes {
            // It was higher before we came, so how high it was since then is not known.
            (used.memory_peak_bytes, evidence.memory_peak_bytes) = (None, None);
        }
        let cpu = |cpu_sec| Usage { cpu_sec, ..Usage::default() };
        let usage = used.or(&cpu(seen.cpu_sec).since(&cpu(self.cpu_before)));
        let ended = seen.status.map_or(Ended::Lost(LostCause::NotTold), |status| Ended::Waited { status });
        Exited {
            usage,
            evidence: Some(evidence),
            observed_by: seen.by,
            ..Exited::unmeasured(run_id, at, ended)
        }
    }

    /// Restores what was changed, for what is left of it. Where the supervisor has let it go, that was done.
    pub(super) fn let_go(&self, run: &RunDir) {
        let was = match run.spec() {
            Ok(Some(spec)) if spec.released => return,
            // As the job is declared now: an edit in place may have changed it.
            Ok(Some(spec)) => spec.job.in_force().clone(),
            _ => self.constraints.clone(),
        };
        let _ = attach::release(&self.attached, self.cgroup.as_ref(), &was);
    }

    /// The same for one whose constraints never change. In words what could not be restored.
    pub(super) fn restore(&self) -> Vec<String> {
        attach::release(&self.attached, self.cgroup.as_ref(), &self.constraints)
    }
}

/// Waits until the process has ended, or `other` is readable: `None`.
pub(super) fn wait_or(watch: &ExitWatch, other: BorrowedFd<'_>) -> io::Result<Option<Seen>> {
    // Asked for nothing, poll(2) waits for what it always tells: that it was reaped.
    let mut interest = PollFlags::POLLIN;
    loop {
        let mut fds = [PollFd::new(watch.as_fd(), interest), PollFd::new(other, PollFlags::POLLIN)];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let [ended, told] = fds.map(|fd| fd.any().unwrap_or(false));
        if ended {
            if let Some(seen) = watch.look()? {
                return Ok(Some(seen));
            }
            // A zombie of which the kernel tells us only once it is reaped.
            interest = PollFlags::empty();
        } else if told {
            return Ok(None);
        }
    }
}
