//! The processes of a run: what they have done, who they are, and ending those that are left when nobody else does.

use std::time::{Duration, Instant};

use tracing::warn;

use super::Run;
use crate::linux::activity;
use crate::linux::attach;
use crate::linux::cgroup;
use crate::linux::clock;
use crate::linux::process;
use crate::model::activity::Activity;
use crate::model::process::ProcessIdentity;
use crate::reconcile::plan::Phase;

/// How long what was sent SIGKILL has to be gone. What takes longer has its cgroup until the next resync.
const DYING: Duration = Duration::from_millis(100);

/// How long what a lost wrapper's run left behind is waited for after the first SIGKILL: as long as by a wrapper.
const REFUSES: Duration = Duration::from_secs(5);

impl Run {
    /// What its processes have done so far; `None` where that cannot be seen.
    pub(crate) fn activity(&self) -> Option<Activity> {
        let main = &self.started.as_ref()?.process;
        let listed = self.spec.cgroup.as_ref().map(cgroup::procs).and_then(Result::ok);
        // One that never came into its cgroup has its children elsewhere, too.
        let others = match listed.filter(|listed| listed.contains(&main.pid)) {
            Some(listed) => listed,
            None => process::family(main).ok()?.into_iter().map(|child| child.pid).collect(),
        };
        activity::read(main, &others).ok()
    }

    /// Its processes but for the main one and zombies, the youngest first: children before their parents.
    pub(crate) fn others(&self) -> Vec<ProcessIdentity> {
        let Some(main) = self.started.as_ref().map(|started| &started.process) else { return Vec::new() };
        let listed = self.spec.cgroup.as_ref().map(cgroup::procs).and_then(Result::ok);
        let mut others: Vec<ProcessIdentity> = match listed.filter(|listed| listed.contains(&main.pid)) {
            Some(listed) => {
                listed.into_iter().filter_map(|pid| process::identify(pid).ok().flatten()).collect()
            }
            None => process::family(main).unwrap_or_default(),
        };
        others.retain(|process| process != main && !process::is_zombie(process).unwrap_or(true));
        others.sort_by_key(|process| std::cmp::Reverse(process.start_time));
        others
    }

    /// Whether it left something in its cgroup, and no wrapper to end that. `was`: how it stood before.
    pub(crate) fn detect_leftovers(&mut self, was: &Phase) {
        let ended = matches!(self.seen.phase, Phase::Ended { at: Some(_), reported: false, .. });
        let cgroup =
            self.spec.cgroup.as_ref().filter(|_| ended && !self.seen.released && self.seen.target.is_none());
        if cgroup.map(cgroup::procs).and_then(Result::ok).is_none_or(|procs| procs.is_empty()) {
            return;
        }
        let (asked, killed) = match was {
            Phase::Leftovers { asked, killed } => (*asked, *killed),
            _ => (None, None),
        };
        let patience = self.seen.job.stop.timeout + REFUSES;
        if asked.is_none_or(|asked| clock::boot() < asked + patience) {
            self.seen.phase = Phase::Leftovers { asked, killed };
        }
    }

    /// Nothing of the run is to be left in its cgroup, nor the cgroup. The wrapper does this; here for one
    /// that was lost.
    pub(crate) fn close_cgroup(&self) {
        if let Some(attached) = &self.spec.attached {
            // What it leaves behind is not ours to end: it goes back to where it was.
            for lost in attach::release(attached, self.spec.cgroup.as_ref(), self.spec.job.in_force()) {
                warn!(job = %self.spec.job.id, run = %self.seen.id, "not restored: {lost}");
            }
            return;
        }
        if self.seen.released {
            return;
        }
        let Some(cgroup) = &self.spec.cgroup else { return self.end_group() };
        if matches!(cgroup::remove(cgroup), Ok(true)) {
            return;
        }
        let begin = Instant::now();
        let gone = |()| loop {
            match cgroup::remove(cgroup) {
                Ok(false) if begin.elapsed() < DYING => std::thread::sleep(DYING / 50),
                done => return done,
            }
        };
        let closed = cgroup::kill(cgroup).and_then(gone);
        if !matches!(closed, Ok(true)) {
            warn!(job = %self.spec.job.id, run = %self.seen.id, "something is left in the job's cgroup: {closed:?}");
        }
    }

    /// The same for a run without a cgroup, as far as its processes can be found: where one is left in the
    /// process group of the main process, all of that one's session are ended.
    fn end_group(&self) {
        let Some(started) = &self.started else { return };
        // Looking for a session takes a look at every process there is.
        let group = nix::unistd::Pid::from_raw(started.process.pid.as_raw());
        if nix::sys::signal::killpg(group, None).is_err() {
            return;
        }
        if let Err(error) = process::kill_family(Some(&started.wrapper), &started.process) {
            warn!(job = %self.spec.job.id, run = %self.seen.id, "something is left of the run: {error}");
        }
    }
}
