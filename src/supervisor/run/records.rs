//! The records of a run. Those that were damaged are set aside, and written anew where we know what they said, as are
//! those that somebody removed.

use std::io;

use tracing::{error, warn};

use super::Run;
use crate::linux::clock;
use crate::model::exit::StopReason;
use crate::model::time::Moment;
use crate::reconcile::plan::Phase;
use crate::runs::dir::{self, RecordError};
use crate::runs::record::{Spec, Stopping, VERSION};
use crate::runs::reports::private_dir;
use crate::supervisor::observed::{self, LookError, RunStatus, Snapshot};

impl Run {
    /// Records that it is let go: no supervisor ends it or governs it from now on.
    pub(crate) fn record_release(&mut self) -> io::Result<()> {
        if !self.spec.released {
            let spec = Spec { released: true, ..self.spec.clone() };
            self.dir.write_spec(&spec)?;
            (self.spec, self.seen.released) = (spec, true);
        }
        Ok(())
    }

    /// Looks at it again. Records that were damaged meanwhile are set aside, and written anew where we know
    /// what they said.
    pub(crate) fn look(&self) -> Result<Snapshot, LookError> {
        let just_started =
            self.seen.phase == Phase::Starting && self.started.is_none() && self.seen.stop.is_none();
        if just_started && let Some(begun) = observed::look_begun(&self.dir, &self.spec) {
            return Ok(begun);
        }
        let mut seen = observed::look(&self.dir, clock::now());
        if matches!(seen, Err(LookError::NeverBegan)) && self.restore()? {
            seen = observed::look(&self.dir, clock::now());
        }
        while self.mend_all(&seen) {
            seen = observed::look(&self.dir, clock::now());
        }
        if let Ok(Snapshot { status: RunStatus::Ended { exited, recorded: false, .. }, .. }) = &mut seen
            && let Some(known) = &self.ended
        {
            **exited = known.clone();
        }
        seen
    }

    /// Writes the records of a run anew whose directory was removed before its end was recorded. True: it had to be done. Its
    /// wrapper holds a lock on a file that is gone, but writes its last record where it wrote the first.
    pub(crate) fn restore(&self) -> io::Result<bool> {
        // Of one that is not known to have started its wrapper may be about to record that.
        let runs = self.started.is_some() && self.is_live();
        let is_there = |name| self.dir.path.join(name).symlink_metadata().is_ok();
        let whole = is_there(dir::SPEC) && (self.started.is_none() || is_there(dir::STARTED));
        if whole || !(runs || self.unrecorded) {
            return Ok(false);
        }
        private_dir(&self.dir.path)?;
        // The spec last: what lacks it is no run.
        self.started.as_ref().map_or(Ok(()), |started| self.dir.write_started(started))?;
        if let Some(stop) = self.seen.stop {
            let now = clock::now();
            let at = Moment { boot: stop.at, ..now };
            let (again, others) = (stop.reminded.then_some(now), stop.others.then_some(now));
            let signal = self.seen.job.stop.signal;
            let record = Stopping { version: VERSION, at, reason: stop.reason, signal, again, others };
            self.dir.write_stopping(&record)?;
        }
        self.dir.write_spec(&self.spec)?;
        warn!(job = %self.spec.job.id, run = %self.seen.id, "its records were removed; they are made anew");
        Ok(true)
    }

    /// Sets damaged records aside. True: one was written anew, so that there is more to see.
    fn mend_all(&self, seen: &Result<Snapshot, LookError>) -> bool {
        let damage = match seen {
            Ok(snapshot) => &snapshot.damage[..],
            Err(LookError::Opaque(error) | LookError::Damaged(error)) => std::slice::from_ref(error),
            Err(_) => &[],
        };
        let mut mended = false;
        for error in damage {
            match self.mend(error) {
                Ok(known) => mended |= known,
                Err(error) => warn!(job = %self.spec.job.id, "a damaged record cannot be replaced: {error}"),
            }
        }
        mended
    }

    /// Sets a damaged record aside. True: it was written anew.
    fn mend(&self, damage: &RecordError) -> io::Result<bool> {
        let name = damage.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == dir::STARTED && self.started.is_none() {
            // That it is there, whatever it said, is all that is known of the start.
            return Ok(false);
        }
        error!(job = %self.spec.job.id, run = %self.seen.id, "{damage}; it is set aside");
        self.dir.set_aside(name)?;
        match (name, &self.started) {
            (dir::SPEC, _) => self.dir.write_spec(&self.spec)?,
            (dir::STARTED, Some(started)) => self.dir.write_started(started)?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What `stop.json` says, or would have to say.
    pub(crate) fn stopping(&self, reason: StopReason, now: Moment) -> Stopping {
        let signal = self.seen.job.stop.signal;
        let unrecorded = Stopping { version: VERSION, at: now, reason, signal, again: None, others: None };
        self.dir.stopping().ok().flatten().unwrap_or(unrecorded)
    }
}
