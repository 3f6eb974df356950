//! Attach jobs: which process each of them governs, taking it over, and letting it go.
//!
//! Nothing here signals a process that we did not start.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, info, warn};

use super::daemon::{Daemon, remove};
use super::declared::Declared;
use super::run::Run;
use super::seek::{Found, Seeker};
use crate::abort::{self, Point};
use crate::linux::attach;
use crate::linux::clock;
use crate::linux::process::{self, PidFd};
use crate::model::exit::{Stage, StartError};
use crate::model::ids::JobId;
use crate::model::job::{Attach, Job, Workload};
use crate::model::process::ProcessIdentity;
use crate::model::signal::Signal;
use crate::reconcile::plan::{AttachTarget, Wanted};
use crate::runs::record::Spec;

/// How long a wrapper that was sent SIGKILL has to be gone.
const DYING: Duration = Duration::from_secs(1);

/// How long no process has to end too early before the next one is told of again.
const BURST: Duration = Duration::from_secs(10);

/// The rules that the files declare now.
#[must_use]
pub fn rules(declared: &Declared) -> BTreeMap<JobId, Attach> {
    let rule = |id: &JobId| match declared.wanted(id) {
        Wanted::Run(job) => Some((id.clone(), job.attach()?.clone())),
        _ => None,
    };
    declared.jobs().filter_map(rule).collect()
}

/// The runs that a rule for all has, or is about to have: one for each process that fits.
#[must_use]
pub fn matches(seeker: &Seeker, rule: &JobId) -> Vec<JobId> {
    let Found::Processes(processes) = seeker.found(rule) else { return Vec::new() };
    // A number is a name.
    processes.iter().filter_map(|p| JobId::instance(rule.stem(), &p.pid.to_string()).ok()).collect()
}

/// Who knows which process is whose.
pub struct Claims<'a> {
    /// What the files declare.
    pub declared: &'a Declared,
    /// Which processes fit.
    pub seeker: &'a Seeker,
    /// The job that governs a process, other than this one.
    pub governor: &'a dyn Fn(&ProcessIdentity, &JobId) -> Option<JobId>,
}

impl Claims<'_> {
    /// What is wanted of a job, and why it waits for its process, if it does. `live`: it has a live run.
    #[must_use]
    pub fn wanted(&self, id: &JobId, live: bool) -> (Wanted, Option<String>) {
        match self.declared.wanted(id) {
            Wanted::Run(job) => match job.attach() {
                None => (Wanted::Run(job), None),
                // Its processes are runs of their own.
                Some(attach) if attach.all => (Wanted::Take(job, AttachTarget::Nobody), None),
                Some(_) => {
                    let (target, waits) = self.target(id, id);
                    (Wanted::Take(job, target), waits)
                }
            },
            Wanted::Gone if id.entry().is_some() => self.wanted_of_match(id, live),
            wanted => (wanted, None),
        }
    }

    /// What is wanted of `<job>@<pid>`: one process of a rule for all that fit.
    fn wanted_of_match(&self, id: &JobId, live: bool) -> (Wanted, Option<String>) {
        let rule = JobId::new(id.stem()).map(|stem| self.declared.wanted(&stem));
        match rule {
            Ok(Wanted::Run(rule)) if rule.attach().is_some_and(|attach| attach.all) => {
                let (target, waits) = self.target(&rule.id, id);
                if target == AttachTarget::Nobody && !live {
                    return (Wanted::Gone, waits);
                }
                (Wanted::Take(Arc::new(Job { id: id.clone(), ..(*rule).clone() }), target), waits)
            }
            Ok(Wanted::Undecided) => (Wanted::Undecided, None),
            _ => (Wanted::Gone, None),
        }
    }

    /// The process that a job is to govern, by the rule that is declared as `rule`.
    fn target(&self, rule: &JobId, id: &JobId) -> (AttachTarget, Option<String>) {
        let processes = match self.seeker.found(rule) {
            Found::Processes(processes) => processes,
            Found::NoSuchProcess(why) | Found::Refused(why) => return (AttachTarget::Never(why), None),
            Found::Unreadable(why) => return (AttachTarget::Nobody, Some(why)),
        };
        let meant = |process: &&ProcessIdentity| rule == id || id.entry() == Some(&process.pid.to_string());
        let mut waits = None;
        for process in processes.iter().filter(meant) {
            match (self.governor)(process, id) {
                None => return (AttachTarget::Process(process.clone()), None),
                Some(other) => {
                    let pid = process.pid;
                    let why =
                        format!("process {pid} fits, and job {other} governs it already, which keeps it");
                    waits.get_or_insert(why);
                }
            }
        }
        (AttachTarget::Nobody, waits)
    }
}

impl Daemon {
    /// What is wanted of a job.
    pub(super) fn wanted(&mut self, id: &JobId) -> Wanted {
        let live = self.slots.get(id).and_then(|slot| slot.run.as_ref()).is_some_and(Run::is_live);
        let governor = |process: &ProcessIdentity, but: &JobId| {
            let governs = |run: &Run| run.is_live() && run.governs(process);
            let mut others = self.slots.iter().filter(|(id, _)| *id != but);
            others.find(|(_, slot)| slot.run.as_ref().is_some_and(governs)).map(|(id, _)| id.clone())
        };
        let claims = Claims { declared: &self.declared, seeker: &self.seeker, governor: &governor };
        let (wanted, waits) = claims.wanted(id, live);
        if let Some(why) = waits.filter(|_| !live) {
            self.tell_once(id, format!("{id} waits: {why}"));
        }
        wanted
    }

    /// Warns of something that lasts, once.
    fn tell_once(&mut self, job: &JobId, text: String) {
        let slot = self.slots.entry(job.clone()).or_default();
        if slot.waits.as_ref() != Some(&text) {
            warn!(job = %job, "{text}");
            slot.waits = Some(text);
        }
    }

    /// Looks for processes that fit, and has the jobs planned for which that changes something.
    pub(super) fn seek(&mut self) {
        // Whatever changes a run has its job planned; most events come without.
        if std::mem::take(&mut self.planned) || !self.agenda.is_empty() {
            // Whoever descends from one of these is governed already.
            let runs = self.slots.values().filter_map(|slot| slot.run.as_ref()).filter(|run| run.is_live());
            self.seeker.set_governed(runs.flat_map(Run::ours).collect());
        }
        let changed = self.seeker.look(clock::boot());
        self.mark_rules(changed);
    }

    /// Has attach jobs planned, and the runs of those that govern all that fit.
    fn mark_rules(&mut self, rules: impl IntoIterator<Item = JobId>) {
        for rule in rules {
            let all = matches!(self.declared.wanted(&rule), Wanted::Run(job) if job.attach().is_some_and(|a| a.all));
            if all {
                matches(&self.seeker, &rule).iter().for_each(|id| self.mark(id));
            }
            self.mark(&rule);
        }
    }

    /// Takes over a process: records what it is like, then starts the wrapper, which changes it.
    pub(super) fn take(&mut self, job: &Arc<Job>, process: &ProcessIdentity) -> io::Result<()> {
        let Workload::Attach(attach) = &job.workload else { return Ok(()) };
        let (attached, cgroup) =
            match attach::survey(process, attach.relocate, &self.cgroups, job.id.as_str()) {
                Ok(found) => found,
                // There never was a run.
                Err(_) if matches!(process::has_ended(process), Ok(true)) => {
                    self.miss(&job.id, process);
                    return Ok(());
                }
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) =>
                {
                    self.refuse(job, error.to_string())?;
                    // It is this one that was refused, and not tried again.
                    if let Some(run) = self.run_of(&job.id) {
                        run.seen.target = Some(process.clone());
                    }
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
        abort::at(Point::ProcessSurveyed);
        let why = format!("taking over process {}", process.pid);
        let spec = Spec { cgroup, attached: Some(attached), ..self.spec_of(job) };
        self.begin(spec, &why, None)
    }

    /// A process had ended before it was taken over: the rule goes on looking.
    fn miss(&mut self, job: &JobId, process: &ProcessIdentity) {
        self.seeker.note_end(process);
        let now = clock::boot();
        if self.missed_at.replace(now).is_none_or(|last| now.since(last) >= BURST) {
            let pid = process.pid;
            debug!(job = %job, "process {pid} ended before it was taken over; more of them are not told of now");
        }
    }

    /// Forgets a run whose process had ended before it was taken over, as if it had never been.
    pub(super) fn drop_uncertain(&mut self, job: &JobId) {
        let Some(run) = self.slots.get_mut(job).and_then(|slot| slot.run.take()) else { return };
        // What was made for it, and what it may have left behind.
        run.close_cgroup();
        if let Some(process) = &run.seen.target {
            self.miss(job, process);
        }
        remove(job, run.dir.clone());
        self.mark(job);
    }

    /// Reports that there is nothing to take over.
    pub(super) fn refuse(&mut self, job: &Arc<Job>, why: String) -> io::Result<()> {
        let error = StartError { stage: Stage::Attach, errno: None, detail: why };
        self.begin(self.spec_of(job), "looking for its process", Some(error))
    }

    /// Lets a process go: its wrapper first, which only watches, then what was changed is restored.
    pub(super) fn detach(&mut self, job: &JobId) -> io::Result<()> {
        let Some(run) = self.run_of(job) else { return Ok(()) };
        let (Some(started), Some(attached)) = (run.started.clone(), run.spec.attached.clone()) else {
            return Ok(());
        };
        run.record_release()?;
        abort::at(Point::LetGoRecorded);
        if let Some(wrapper) = PidFd::open(&started.wrapper)? {
            wrapper.send(Signal::KILL)?;
            if !wrapper.await_exit(DYING)? {
                return Err(io::Error::other(format!(
                    "the wrapper, pid {}, does not end",
                    started.wrapper.pid
                )));
            }
        }
        if matches!(run.dir.exited(), Ok(Some(_))) {
            // It ended meanwhile, and its wrapper saw it.
            self.look_again(job, None, None);
            return Ok(());
        }
        abort::at(Point::ObserverEnded);
        let lost = attach::release(&attached, run.spec.cgroup.as_ref(), run.spec.job.in_force());
        abort::at(Point::ProcessRestored);
        let now = clock::now().wall;
        let text = format!("let go: process {} runs on without us, as it was before", attached.process.pid);
        let text = if lost.is_empty() { text } else { format!("{text}, but for: {}", lost.join("; ")) };
        info!(job = %job, run = %run.seen.id, "{text}");
        run.report.let_go(now, text);
        self.publish(job);
        abort::at(Point::LetGoReported);
        if let Some(run) = self.slots.get_mut(job).and_then(|slot| slot.run.take()) {
            self.discard(run);
        }
        self.free();
        Ok(())
    }

    /// A process is nobody's any more: other jobs may wait for it.
    fn free(&mut self) {
        let rules: Vec<JobId> = rules(&self.declared).into_keys().collect();
        self.mark_rules(rules);
    }
}
