//! A run as this supervisor knows it: its records, its report, its constraints, and what is watched of it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::AbortHandle;
use tracing::{error, warn};

use super::observed::{self, LookError, RunStatus, Snapshot};
use crate::abort::{self, Point};
use crate::config::paths::Layout;
use crate::linux::activity;
use crate::linux::attach;
use crate::linux::cgroup::{self, Before, counters};
use crate::linux::clock;
use crate::linux::exits::{ExitWatch, Seen};
use crate::linux::priority::{self, Attempt, Members};
use crate::linux::process::{self, PidFd};
use crate::linux::sys::Reaped;
use crate::model::activity::Activity;
use crate::model::cgroup::Cgroup;
use crate::model::constraints::{ConstraintName, ConstraintStatus, Constraints, in_force, merge};
use crate::model::exit::{Ended, LostCause, ObservedBy, State, StopReason};
use crate::model::ids::RunId;
use crate::model::process::ProcessIdentity;
use crate::model::report::{Report, Usage};
use crate::model::time::Moment;
use crate::model::units::format_duration;
use crate::reconcile::plan::{Observed, Phase};
use crate::runs::dir::{self, RecordError, RunDir};
use crate::runs::record::{Exited, Spec, Started, Stopping, VERSION};
use crate::runs::reports::private_dir;

/// How long what was sent SIGKILL has to be gone. What takes longer has its cgroup until the next resync.
const DYING: Duration = Duration::from_millis(100);

/// How long what a lost wrapper's run left behind is waited for after the first SIGKILL: as long as by a wrapper.
const REFUSES: Duration = Duration::from_secs(5);

/// A run, as far as this supervisor knows it.
pub struct Run {
    /// What the plan sees.
    pub seen: Observed,
    pub(super) dir: RunDir,
    pub(super) spec: Spec,
    pub(super) started: Option<Started>,
    /// How it ended.
    pub(super) ended: Option<Exited>,
    /// `ended` is not on disk yet, and we must write it.
    pub(super) unrecorded: bool,
    pub(super) report: Report,
    /// The workload, held while it has a wrapper.
    workload: Option<PidFd>,
    /// The workload, watched by ourselves since the wrapper is gone.
    pub(super) orphan: Option<Arc<ExitWatch>>,
    /// Waits for the wrapper or the workload to end.
    pub(super) watch: Option<AbortHandle>,
    /// Its last report is on disk.
    pub(super) filed: bool,
    /// Another run of the job has followed.
    pub(super) followed: bool,
    /// The run before, for as long as this one may come to nothing: then that one counts.
    pub(super) before: Option<Box<Run>>,
}

/// What tells that something happened to a run.
pub(super) enum Watched {
    Wrapper(PidFd),
    Orphan(Arc<ExitWatch>),
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

impl Run {
    /// A run of which no more is known than what was recorded before its start.
    pub(super) fn new(seen: Observed, dir: RunDir, spec: Spec, mut report: Report) -> Self {
        if let Some(attached) = &spec.attached {
            report.command.clone_from(&attached.command);
        }
        Self {
            seen,
            dir,
            spec,
            started: None,
            ended: None,
            unrecorded: false,
            report,
            workload: None,
            orphan: None,
            watch: None,
            filed: false,
            followed: false,
            before: None,
        }
    }

    /// A run that another supervisor left.
    pub fn resume(layout: &Layout, dir: RunDir, snapshot: Snapshot) -> Self {
        let spec = snapshot.spec.clone();
        let filed = observed::is_filed(layout, &snapshot);
        let mut report = observed::report_of(layout, &spec.job.id)
            .filter(|report| report.run_id == spec.run_id)
            .unwrap_or_else(|| {
                let (id, restarts) = (spec.run_id.clone(), spec.history.restarts);
                Report::starting(&spec.job, id, restarts, spec.created.wall, "starting".into())
            });
        // An edit may have been recorded, and not been reported any more.
        report.describe(&spec.job);
        let mut run = Self::new(snapshot.observed(filed), dir, spec, report);
        run.filed = filed;
        run.absorb(snapshot);
        run
    }

    /// This run, or the one before, if it has this id.
    pub(super) fn with_id(&mut self, id: &RunId) -> Option<&mut Self> {
        if self.seen.id == *id {
            return Some(self);
        }
        self.before.as_mut()?.with_id(id)
    }

    /// Something of it lives.
    #[must_use]
    pub fn is_live(&self) -> bool {
        !matches!(self.seen.phase, Phase::Ended { .. })
    }

    /// Whether it may come to nothing: the process that it is to govern may have ended before it is taken over.
    /// Nobody is told of it before that is known.
    #[must_use]
    pub fn is_uncertain(&self) -> bool {
        self.spec.attached.is_some() && self.seen.phase == Phase::Starting
    }

    /// Its last report is written.
    #[must_use]
    pub fn is_reported(&self) -> bool {
        matches!(self.seen.phase, Phase::Ended { reported: true, .. })
    }

    /// It can change without an event that we get: it has to be looked at from time to time.
    #[must_use]
    pub fn gives_no_event(&self) -> bool {
        self.is_live() && self.watch.as_ref().is_none_or(AbortHandle::is_finished)
    }

    /// Its main process is gone, its wrapper is not, and that stood so at the look before, too.
    #[must_use]
    pub fn has_lost_its_workload(&self) -> bool {
        let gone =
            self.workload.as_ref().is_some_and(|workload| workload.has_exited().is_ok_and(|gone| gone));
        gone && self.is_live() && self.orphan.is_none()
    }

    /// The cgroup that it lives in, or is about to.
    #[must_use]
    pub fn cgroup(&self) -> Option<&Cgroup> {
        self.spec.cgroup.as_ref().filter(|_| self.is_live())
    }

    /// The workload, once it is known which process that is.
    #[must_use]
    pub fn process(&self) -> Option<&ProcessIdentity> {
        self.started.as_ref().map(|started| &started.process)
    }

    /// Whether this process is its main one.
    #[must_use]
    pub fn governs(&self, process: &ProcessIdentity) -> bool {
        self.seen.target.as_ref().or(self.process()) == Some(process)
    }

    /// Its processes that are none to take over: the wrapper, and the main process that it started.
    pub fn ours(&self) -> impl Iterator<Item = ProcessIdentity> + '_ {
        let started = self.started.iter().filter(|_| self.seen.target.is_none());
        let main = started.map(|started| started.process.clone());
        self.started.iter().map(|started| started.wrapper.clone()).chain(main)
    }

    /// Records that it is let go: no supervisor ends it or governs it from now on.
    pub(super) fn record_release(&mut self) -> io::Result<()> {
        if !self.spec.released {
            let spec = Spec { released: true, ..self.spec.clone() };
            self.dir.write_spec(&spec)?;
            (self.spec, self.seen.released) = (spec, true);
        }
        Ok(())
    }

    /// Takes in what was seen. Gives what to watch from now on.
    pub(super) fn absorb(&mut self, snapshot: Snapshot) -> Option<Watched> {
        let reported = self.is_reported();
        let seen = snapshot.observed(reported);
        let was = std::mem::replace(&mut self.seen.phase, seen.phase);
        let began = snapshot.began();
        if let Some(started) = snapshot.started
            && self.started.is_none()
        {
            // It was held, and then could not execute its program: it never ran.
            let ran = !matches!(&snapshot.status, RunStatus::Ended { exited, .. }
                if matches!(exited.ended, Ended::NotStarted(_)));
            self.note_start(&started, ran.then_some(began).flatten());
            self.started = Some(started);
        }
        match snapshot.status {
            RunStatus::Starting => None,
            RunStatus::Running { wrapper, workload } => {
                self.workload = Some(workload);
                Some(Watched::Wrapper(wrapper))
            }
            RunStatus::Orphaned { workload } => {
                let now = clock::now().wall;
                if matches!(was, Phase::Running { .. }) && self.report.state == State::Running {
                    let text = "the wrapper was lost; the workload runs on, watched by the supervisor";
                    self.report.event(now, State::Running, text.into());
                }
                // The first one: it has seen the most.
                Some(Watched::Orphan(Arc::clone(self.orphan.get_or_insert_with(|| Arc::new(workload)))))
            }
            RunStatus::Ending { wrapper } => wrapper.map(Watched::Wrapper),
            RunStatus::NeverBegan => {
                let now = clock::now();
                self.conclude(Exited::unmeasured(self.seen.id.clone(), now, observed::never_began()));
                None
            }
            RunStatus::Ended { exited, recorded, .. } => {
                if recorded || self.unrecorded {
                    self.ended = Some(*exited);
                } else {
                    self.conclude(*exited);
                }
                (self.workload, self.orphan) = (None, None);
                None
            }
        }
    }

    /// How the workload ended, from those who may know where no record tells: `reaped` is what we reaped
    /// of it ourselves.
    pub(super) fn told(&self, reaped: Option<Reaped>, at: Moment) -> Option<Exited> {
        if let Some(reaped) = reaped {
            // Its wrapper died, so it became our child.
            let exited = Exited::waited(self.seen.id.clone(), at, reaped.status, ObservedBy::Parent);
            let (cpu_sec, memory) = (Some(reaped.cpu_sec), Some(reaped.memory_peak_bytes));
            let usage = Usage { cpu_sec, memory_peak_bytes: memory, ..Usage::default() };
            return Some(Exited { usage, ..exited });
        }
        let seen = match (&self.orphan, &self.workload) {
            (Some(orphan), _) => orphan.look().ok().flatten()?,
            (None, Some(workload)) => {
                let status = workload.exit_status();
                Seen { status, by: status.map(|_| ObservedBy::Pidfd), cpu_sec: None }
            }
            (None, None) => return None,
        };
        Some(observed::orphans_end(self.seen.id.clone(), at, seen))
    }

    /// Records an end that the wrapper did not, so that it is told the same way for ever.
    fn conclude(&mut self, mut exited: Exited) {
        if self.spec.attached.is_some() {
            // It counts from its beginning, and not from where it was taken over.
            exited.usage = Usage::default();
        }
        // In its cgroup the kernel went on counting without the wrapper, but not over a restart of the host.
        if !matches!(exited.ended, Ended::Lost(LostCause::HostRebooted))
            && let Some(baseline) = self.started.as_ref().and_then(|started| started.baseline.as_ref())
        {
            let (evidence, usage) = counters::read(self.spec.cgroup.as_ref()).since(baseline);
            (exited.evidence, exited.usage) = (Some(evidence), usage.or(&exited.usage));
        }
        self.unrecorded = self.dir.write_exited(&exited).is_err();
        abort::at(Point::EndConcluded);
        self.ended = Some(exited);
    }

    /// It ended, we are the ones to record that, and it could not be done yet.
    #[must_use]
    pub fn owes_record(&self) -> bool {
        self.unrecorded
    }

    /// Looks at it again. Records that were damaged meanwhile are set aside, and written anew where we know
    /// what they said.
    pub(super) fn look(&self) -> Result<Snapshot, LookError> {
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
    pub(super) fn restore(&self) -> io::Result<bool> {
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

    /// Puts the job's constraints in force, after others were.
    pub(super) fn enforce(
        &self,
        started: &Started,
        before: &Constraints,
        why: &str,
    ) -> Vec<ConstraintStatus> {
        let wanted = self.seen.job.in_force();
        if let Some(attached) = &self.spec.attached {
            return attach::enforce(attached, self.spec.cgroup.as_ref(), wanted, Some(before));
        }
        let main = &started.process;
        let Some(cgroup) = &self.spec.cgroup else {
            let mut attributes = priority::apply(Members::Family(main), wanted, Some(before), &[]);
            attributes.extend(rlimits(started));
            return merge(wanted, cgroup::not_in_force(wanted, why), attributes);
        };
        let limits = self.inside(cgroup, started, cgroup::apply(cgroup, wanted, Before::Was(before)));
        let list = || cgroup::procs(cgroup);
        let members = Members::Listed(main, &list);
        let mut attributes = priority::apply(members, wanted, Some(before), &in_force(&limits));
        attributes.extend(rlimits(started));
        merge(wanted, limits, attributes)
    }

    /// Tries to put limits in force that were refused.
    pub(super) fn try_again(&self) -> Vec<ConstraintStatus> {
        let (wanted, cgroup) = (self.seen.job.in_force(), self.spec.cgroup.as_ref());
        match &self.spec.attached {
            Some(attached) => attach::enforce(attached, cgroup, wanted, Some(wanted)),
            None => cgroup.map_or_else(Vec::new, |cgroup| cgroup::apply(cgroup, wanted, Before::Was(wanted))),
        }
    }

    /// Reads the job's constraints back.
    pub(super) fn read_back(&self, started: &Started, why: &str) -> Vec<ConstraintStatus> {
        let wanted = self.seen.job.in_force();
        if let Some(attached) = &self.spec.attached {
            return attach::read_back(attached, self.spec.cgroup.as_ref(), wanted);
        }
        let limits = match &self.spec.cgroup {
            Some(cgroup) => self.inside(cgroup, started, cgroup::read_back(cgroup, wanted)),
            None => cgroup::not_in_force(wanted, why),
        };
        let (members, kept) = (Members::Main(&started.process), in_force(&limits));
        let mut attributes = priority::read_back(members, wanted, &Attempt::default(), &kept);
        attributes.extend(rlimits(started));
        merge(wanted, limits, attributes)
    }

    /// A limit is in force for whom it holds: the workload may never have come into its cgroup, or
    /// somebody may have moved it.
    fn inside(
        &self,
        cgroup: &Cgroup,
        started: &Started,
        limits: Vec<ConstraintStatus>,
    ) -> Vec<ConstraintStatus> {
        match cgroup::holds(cgroup, &started.process) {
            _ if limits.is_empty() => limits,
            Ok(true) => limits,
            Ok(false) => cgroup::outside(
                limits,
                "the process is not in the job's cgroup (moved out, or never entered); restart the job",
            ),
            Err(error) => cgroup::outside(limits, &error.to_string()),
        }
    }

    /// What its processes have done so far; `None` where that cannot be seen.
    pub(super) fn activity(&self) -> Option<Activity> {
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
    pub(super) fn others(&self) -> Vec<ProcessIdentity> {
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

    /// What `stop.json` says, or would have to say.
    pub(super) fn stopping(&self, reason: StopReason, now: Moment) -> Stopping {
        let signal = self.seen.job.stop.signal;
        let unrecorded = Stopping { version: VERSION, at: now, reason, signal, again: None, others: None };
        self.dir.stopping().ok().flatten().unwrap_or(unrecorded)
    }

    /// Whether it left something in its cgroup, and no wrapper to end that. `was`: how it stood before.
    pub(super) fn detect_leftovers(&mut self, was: &Phase) {
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
    pub(super) fn close_cgroup(&self) {
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

    /// `began`: when the workload did, if it did.
    fn note_start(&mut self, started: &Started, began: Option<Moment>) {
        let pid = started.process.pid;
        self.report.pid = Some(pid);
        // A report that tells of the start was written after it, and edits may have followed.
        if self.report.started_at.is_some() {
            return;
        }
        self.report.constraints.clone_from(&started.constraints);
        if let Some(began) = began {
            self.report.started_at = Some(began.wall);
            let text = match &self.spec.attached {
                Some(_) => {
                    format!(
                        "taken over, pid {pid}, running for {}",
                        format_duration(started.at.boot.since(began.boot))
                    )
                }
                None => format!("running, pid {pid}"),
            };
            self.report.event(started.at.wall, State::Running, text);
            for note in &started.notes {
                self.report.event(started.at.wall, State::Running, note.clone());
            }
        }
    }
}

/// What became of the limits of the process, which are never changed in place: as at its start.
fn rlimits(started: &Started) -> impl Iterator<Item = ConstraintStatus> {
    let is_rlimit = |status: &&ConstraintStatus| matches!(status.name, ConstraintName::Rlimit(_));
    started.constraints.iter().filter(is_rlimit).cloned()
}
