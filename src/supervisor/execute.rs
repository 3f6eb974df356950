//! Effects: one function per action. No decisions here.
//!
//! Whatever fails is told once, and tried again later; nothing is taken for done that was not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::alarms::Task;
use super::daemon::{Daemon, TRY_AGAIN, remove, tell_each_time, tell_when_begun, tell_when_readable};
use super::environment;
use super::inbox::RunChanged;
use super::observed::{self, RunStatus};
use super::run::{Run, Watched};
use crate::abort::{self, Point};
use crate::linux::cgroup::{self, Before};
use crate::linux::clock;
use crate::linux::process::{self, PidFd};
use crate::model::cgroup::{Cgroup, Controller};
use crate::model::constraints::{ConstraintName, ConstraintStatus};
use crate::model::drift::{self, Drift};
use crate::model::exit::{Ended, LostCause, Stage, StartError, State, StopReason, judge};
use crate::model::history::StartHistory;
use crate::model::ids::{JobId, RunId};
use crate::model::job::{Job, SendTo};
use crate::model::report::{Report, Usage};
use crate::model::time::WallTime;
use crate::reconcile::diff::{Change, needs_restart};
use crate::reconcile::plan::{Action, ActivitySample, Observed, Outlook, Phase, StartReason, StopAsked};
use crate::runs::dir::{self, RunDir, new_run_id};
use crate::runs::durable::errno;
use crate::runs::record::{Exited, Spec, Stopping, VERSION};

impl Daemon {
    /// Executes one action for a job. False: it failed, and is tried again later.
    pub(super) fn execute(&mut self, job: &JobId, action: Action, outlook: Outlook) -> bool {
        // Two that send a signal send it twice, and two that report hide each other's reports. A full disk keeps
        // nothing but a start.
        let locked = self.check_lock();
        if self.is_usurped() {
            return false;
        }
        let done = match action {
            Action::Start { job: declared, history, why } => {
                locked.and_then(|()| self.start(&declared, history, why))
            }
            Action::Take { job: declared, process } => self.take(&declared, &process),
            Action::Refuse { job: declared, why } => self.refuse(&declared, why),
            Action::Update { job: declared, changes } => self.update(job, &declared, &changes),
            Action::Stop { reason } => self.stop(job, reason),
            Action::SampleActivity => self.sample_activity(job),
            Action::Remind => self.remind(job),
            Action::StopOthers => self.stop_others(job),
            Action::StopLeftovers => self.stop_leftovers(job),
            Action::Kill => self.kill(job),
            Action::Abandon => self.abandon(job),
            Action::Detach => self.detach(job),
            Action::Report => self.report(job, outlook),
            Action::Forget => self.forget(job),
        };
        match &done {
            // Whether a start succeeds is not known yet.
            Ok(()) if self.run_of(job).is_some_and(|run| run.seen.phase == Phase::Starting) => {}
            Ok(()) => self.acted(job),
            Err(error) => self.failed(job, error),
        }
        done.is_ok()
    }

    /// What was to be done for a job is done.
    fn acted(&mut self, job: &JobId) {
        let Some(slot) = self.slots.get_mut(job) else { return };
        self.alarms.clear(&Task::Act(job.clone()));
        if slot.failing.take().is_some() {
            info!(job = %job, "recovered: the last action succeeded");
        }
    }

    /// What was to be done for a job could not be done. It is tried again.
    fn failed(&mut self, job: &JobId, error: &io::Error) {
        let of_the_host = self.alarms.raise(Task::Act(job.clone()), error);
        let Some(slot) = self.slots.get_mut(job) else { return };
        let text = error.to_string();
        if of_the_host {
            slot.failing = None;
        } else if slot.failing.as_ref() != Some(&text) {
            error!(job = %job, "{text}; tried again every {} s", TRY_AGAIN.as_secs());
            slot.failing = Some(text);
        }
        slot.retry_at = Some(clock::boot() + TRY_AGAIN);
    }

    /// A run came to nothing before anything of the user's ran: it is no run, and the start is still owed. `refused`: why
    /// no wrapper could be forked (errno(3)).
    fn owe_start(&mut self, job: &JobId, refused: Option<i32>) {
        let Some(slot) = self.slots.get_mut(job) else { return };
        let Some(mut run) = slot.run.take() else { return };
        slot.run = run.before.take().map(|before| *before);
        run.close_cgroup();
        remove(job, run.dir.clone());
        self.starts.settled(job);
        let ended = || io::Error::other("it ended before it started the workload");
        let why = refused.map_or_else(ended, io::Error::from_raw_os_error);
        self.failed(job, &because("cannot start the wrapper", why));
        self.publish(job);
        self.mark(job);
    }

    fn start(&mut self, job: &Arc<Job>, mut history: StartHistory, why: StartReason) -> io::Result<()> {
        if self.adopt(job, &history)? {
            return Ok(());
        }
        let spec = self.spec_of(job);
        history.recent.push(spec.created.boot);
        let environment = match job.exec() {
            Some(exec) => {
                let (state, pass) = (&self.identity, &self.settings.pass);
                environment::build(&job.id, &spec.run_id, exec, state, pass, std::env::vars_os())
            }
            None => Ok(Vec::new()),
        };
        let (environment, failed) = match environment {
            Ok(environment) => (environment, None),
            Err(error) => (Vec::new(), Some(error)),
        };
        let cgroup = self.cgroups.create(job.id.as_str());
        abort::at(Point::CgroupMade);
        if let Ok(cgroup) = &cgroup
            && self.slots.get(&job.id).is_none_or(|slot| slot.run.is_none())
        {
            refuse_inhabited(cgroup)?;
        }
        let (cgroup, limits) = match cgroup {
            Ok(cgroup) => {
                let limits = cgroup::apply(&cgroup, job.in_force(), Before::Fresh);
                (Some(cgroup), limits)
            }
            Err(why) => (None, cgroup::not_in_force(job.in_force(), &why)),
        };
        abort::at(Point::LimitsSet);
        let spec = Spec { environment, history, open_files: self.open_files, cgroup, limits, ..spec };
        let begun = self.begin(spec, why.describe(), failed);
        if self.run_of(&job.id).is_some_and(|run| run.seen.phase == Phase::Starting) {
            self.starts.began(&job.id, clock::boot());
        }
        begun
    }

    /// What is recorded of each new run of a job, whether its workload is started or taken over.
    pub(super) fn spec_of(&self, job: &Job) -> Spec {
        let now = clock::now();
        let last = self.slots.get(&job.id).and_then(|slot| Some(&slot.run.as_ref()?.seen.id));
        let log = self.layout.logs().join(format!("{}.log", job.id));
        Spec { log, ..Spec::new(job.clone(), new_run_id(now, last), self.boot_id.clone(), now) }
    }

    /// Records a run and starts its wrapper; if it already failed, only records that.
    pub(super) fn begin(&mut self, spec: Spec, why: &str, failed: Option<StartError>) -> io::Result<()> {
        let (now, run_id, job) = (spec.created, spec.run_id.clone(), Arc::new(spec.job.clone()));
        let (dir, lock) = RunDir::create(&self.layout.runs(), &spec)
            .map_err(|error| because("cannot record a new run, so it is not started", error))?;
        abort::at(Point::SpecWritten);
        self.tell_log(&spec);
        let report = Report::starting(&job, run_id.clone(), spec.history.restarts, now.wall, why.to_owned());
        let seen = Observed {
            id: run_id.clone(),
            job: Arc::clone(&job),
            history: spec.history.clone(),
            phase: Phase::Starting,
            stop: None,
            released: false,
            target: spec.attached.as_ref().map(|attached| attached.process.clone()),
        };
        let mut run = Run::new(seen, dir, spec, report);
        let failed = match failed {
            Some(error) => Some(error),
            None => match self.launcher.launch(&run.dir, lock) {
                Ok(ready) => {
                    abort::at(Point::WrapperLaunched);
                    let event = RunChanged { job: job.id.clone(), run: run_id, refused: None };
                    match tell_when_begun(ready, event, &self.events) {
                        Ok(watch) => run.watch = Some(watch),
                        // Without descriptors it is looked at from time to time instead.
                        Err(error) => warn!(job = %job.id, "cannot wait for the start: {error}"),
                    }
                    None
                }
                Err(error) => {
                    let detail = format!("cannot start the wrapper: {error}");
                    let failed = StartError { stage: Stage::Wrapper, errno: errno(&error), detail };
                    if failed.shortage().is_some() {
                        // Nothing was started, so the start is still owed, and no run of it.
                        remove(&job.id, run.dir.clone());
                        return Err(because("cannot start the wrapper", error));
                    }
                    Some(failed)
                }
            },
        };
        // That a process was taken over is told once it was: it may have ended before.
        if failed.is_some() || run.spec.attached.is_none() {
            info!(job = %job.id, run = %run.seen.id, "{why}");
        }
        if let Some(error) = failed {
            let how = Ended::NotStarted(error);
            let exited = Exited::unmeasured(run.seen.id.clone(), now, how.clone());
            run.seen.phase = Phase::Ended { started: None, at: Some(now.boot), how, reported: false };
            (run.ended, run.unrecorded) = (Some(exited), true);
        }
        if !run.is_uncertain() {
            self.writer.put(&run.report);
        }
        abort::at(Point::StartReported);
        let slot = self.slots.entry(job.id.clone()).or_default();
        let old = slot.run.take();
        if run.seen.phase == Phase::Starting {
            run.before = old.map(Box::new);
            slot.run = Some(run);
        } else {
            slot.run = Some(run);
            old.into_iter().for_each(|old| self.discard(old));
        }
        Ok(())
    }

    fn update(&mut self, job: &JobId, declared: &Arc<Job>, changes: &[Change]) -> io::Result<()> {
        let why = self.without_cgroup();
        let Some(run) = self.run_of(job) else { return Ok(()) };
        debug_assert!(!needs_restart(changes));
        let known = run.spec.job.in_force();
        let before = (known != declared.in_force()).then(|| known.clone());
        run.restore()?;
        let spec = Spec { job: (**declared).clone(), released: false, before, ..run.spec.clone() };
        run.dir.write_spec(&spec)?;
        abort::at(Point::EditRecorded);
        let before = std::mem::replace(&mut run.spec, spec).job;
        run.seen.job = Arc::clone(declared);
        let let_go = std::mem::replace(&mut run.seen.released, false);
        let known = run.report.constraints.clone();
        if let Some(started) = &run.started
            && before.in_force() != declared.in_force()
        {
            run.report.constraints = run.enforce(started, before.in_force(), &why);
        }
        abort::at(Point::EditInForce);
        run.report.describe(declared);
        let now = clock::now().wall;
        let mut tell = |text: String| {
            info!(job = %job, run = %run.seen.id, "{text}");
            run.report.event(now, State::Running, text);
        };
        if let_go {
            tell("declared again: governed again".into());
        }
        for Change { field, from, to, .. } in changes {
            let shown = |value: &str| if value.is_empty() { "unset".to_owned() } else { value.to_owned() };
            tell(format!("changed in place: {field} {} -> {}", shown(from), shown(to)));
        }
        if run.report.constraints.iter().any(may_be_granted) {
            self.verify_soon();
        }
        self.warn_of(job, &known);
        self.publish(job);
        if let Some(run) = self.slots.get(job).and_then(|slot| slot.run.as_ref()) {
            self.tell_log(&run.spec);
        }
        Ok(())
    }

    fn stop(&mut self, job: &JobId, reason: StopReason) -> io::Result<()> {
        let Some(run) = self.run_of(job) else { return Ok(()) };
        let Some(started) = run.started.clone() else { return Ok(()) };
        let (now, signal) = (clock::now(), run.seen.job.stop.signal);
        // A stop on request must not wait for a disk that is full; a successor then may not know of it.
        let to_all = run.seen.job.stop.send == SendTo::Group;
        let others = if to_all { run.others() } else { Vec::new() };
        let told_others = to_all.then_some(now);
        let record = Stopping { version: VERSION, at: now, reason, signal, again: None, others: told_others };
        if let Err(error) = run.dir.write_stopping(&record) {
            warn!(job = %job, "cannot record that the run is being ended: {error}");
        }
        abort::at(Point::StopRecorded);
        let sent = process::send(&started.process, signal)?;
        abort::at(Point::StopSent);
        let told =
            others.iter().filter(|process| process::send(process, signal).is_ok_and(|sent| sent)).count();
        run.seen.stop = Some(StopAsked { others: to_all, ..StopAsked::new(reason, now.boot) });
        let text = match sent {
            true if told > 0 => {
                let pid = started.process.pid;
                format!("{signal} sent to pid {pid} and {told} more of the job: {}", reason.describe())
            }
            true => format!("{signal} sent to pid {}: {}", started.process.pid, reason.describe()),
            false => format!("has ended already; to be ended: {}", reason.describe()),
        };
        info!(job = %job, run = %run.seen.id, pid = %started.process.pid, "{text}");
        run.report.event(now.wall, State::Running, text);
        self.publish(job);
        Ok(())
    }

    fn sample_activity(&mut self, job: &JobId) -> io::Result<()> {
        let Some(run) = self.run_of(job) else { return Ok(()) };
        let activity = run.activity();
        if let Some(stop) = &mut run.seen.stop {
            let look = Some(ActivitySample { at: clock::boot(), activity });
            *(if stop.first.is_none() { &mut stop.first } else { &mut stop.second }) = look;
        }
        Ok(())
    }

    fn remind(&mut self, job: &JobId) -> io::Result<()> {
        let Some(run) = self.run_of(job) else { return Ok(()) };
        let (Some(started), Some(stop)) = (run.started.clone(), run.seen.stop) else { return Ok(()) };
        let (now, signal) = (clock::now(), run.seen.job.stop.signal);
        let record = Stopping { again: Some(now), ..run.stopping(stop.reason, now) };
        // As with the first: a full disk is no reason to wait for SIGKILL.
        if let Err(error) = run.dir.write_stopping(&record) {
            warn!(job = %job, "cannot record that the run is told again to end: {error}");
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
        warn!(job = %job, run = %run.seen.id, pid = %started.process.pid, "{text}");
        run.report.event(now.wall, State::Running, text);
        self.publish(job);
        Ok(())
    }

    fn stop_others(&mut self, job: &JobId) -> io::Result<()> {
        let Some(run) = self.run_of(job) else { return Ok(()) };
        let (Some(started), Some(stop)) = (run.started.clone(), run.seen.stop) else { return Ok(()) };
        let (now, signal) = (clock::now(), run.seen.job.stop.signal);
        let others = run.others();
        // Recorded where there are none, too: those that come later are part of the end.
        let record = Stopping { others: Some(now), ..run.stopping(stop.reason, now) };
        if let Err(error) = run.dir.write_stopping(&record) {
            warn!(job = %job, "cannot record that the others of the run are told to end: {error}");
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
        warn!(job = %job, run = %run.seen.id, pid = %started.process.pid, "{text}");
        run.report.event(now.wall, State::Running, text);
        self.publish(job);
        Ok(())
    }

    fn stop_leftovers(&mut self, job: &JobId) -> io::Result<()> {
        let Some(run) = self.run_of(job) else { return Ok(()) };
        let (Phase::Leftovers { asked, .. }, Some(cgroup)) = (&mut run.seen.phase, &run.spec.cgroup) else {
            return Ok(());
        };
        let (now, signal) = (clock::now(), run.seen.job.stop.signal);
        *asked = Some(now.boot);
        let sent = cgroup::signal(cgroup, signal, &[])?;
        let text = format!("ended; {signal} sent to {sent} processes that it left behind");
        info!(job = %job, run = %run.seen.id, "{text}");
        run.report.event(now.wall, State::Running, text);
        self.publish(job);
        Ok(())
    }

    fn kill(&mut self, job: &JobId) -> io::Result<()> {
        let Some(run) = self.run_of(job) else { return Ok(()) };
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
            warn!(job = %job, run = %run.seen.id, pid = %started.process.pid, "{text}");
            run.report.event(now.wall, State::Running, text);
            self.publish(job);
        }
        Ok(())
    }

    fn abandon(&mut self, job: &JobId) -> io::Result<()> {
        let Some(run) = self.run_of(job) else { return Ok(()) };
        run.record_release()?;
        abort::at(Point::ReleaseRecorded);
        let text = "let go: its file is gone or disabled, and stop.on_remove is \"leave\"";
        info!(job = %job, run = %run.seen.id, "{text}");
        run.report.event(clock::now().wall, State::Running, text.into());
        self.publish(job);
        Ok(())
    }

    fn report(&mut self, job: &JobId, outlook: Outlook) -> io::Result<()> {
        let Some(run) = self.run_of(job) else { return Ok(()) };
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
            info!(job = %job, run = %run.seen.id, "{}", verdict.message);
        } else {
            warn!(job = %job, run = %run.seen.id, "{}", verdict.message);
        }
        let left = run.ended.as_ref().map_or(&[][..], |exited| &exited.left);
        if !left.is_empty() {
            let (number, signal) = (left.len(), run.seen.job.stop.signal);
            let noun = if number == 1 { "process" } else { "processes" };
            let text = format!("{number} {noun} left behind: {}; {signal} sent", some_of(left));
            warn!(job = %job, run = %run.seen.id, "{text}");
            run.report.event(ended.wall, State::Running, text);
        }
        run.report.end(ended.wall, lasted, observed_by, usage, verdict);
        run.report.next_start_at = next_start(outlook);
        self.publish(job);
        abort::at(Point::EndReported);
        Ok(())
    }

    fn forget(&mut self, job: &JobId) -> io::Result<()> {
        let run = self.slots.get_mut(job).and_then(|slot| slot.run.take());
        if let Some(mut run) = run {
            info!(job = %job, "removed: its file no longer exists");
            if run.report.next_start_at.take().is_some() {
                self.writer.put(&run.report);
            }
            self.discard(run);
        }
        Ok(())
    }

    /// Writes the record that a run's end lacks. False: it is tried again later.
    pub(super) fn record_end(&mut self, job: &JobId) -> bool {
        let Some(run) = self.run_of(job) else { return true };
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

    /// Removes a run's directory, now or as soon as its report is on disk.
    pub(super) fn discard(&mut self, run: Run) {
        let dir = run.dir.clone();
        if run.filed {
            remove(&run.spec.job.id, dir);
        } else {
            self.unfiled.insert(run.seen.id.clone(), dir);
        }
    }

    /// Notes when the job starts again, where that changed since its last report.
    pub(super) fn update_next_start(&mut self, job: &JobId, outlook: Outlook) {
        let Some(run) = self.run_of(job).filter(|run| run.is_reported()) else { return };
        let next = next_start(outlook);
        let differs = match (next, run.report.next_start_at) {
            (None, None) => false,
            // Both clocks are read one after the other, so the two are never quite the same.
            (Some(a), Some(b)) => a.unix_ms().abs_diff(b.unix_ms()) > 100,
            _ => true,
        };
        if differs && run.report.exit_reason.is_some() {
            run.report.next_start_at = next;
            self.publish(job);
        }
    }

    /// Looks at a run again, because something happened to it.
    pub(super) fn look_again(&mut self, job: &JobId, expected: Option<&RunId>, refused: Option<i32>) {
        let Some(slot) = self.slots.get_mut(job) else { return };
        let Some(run) = &mut slot.run else { return };
        if expected.is_some_and(|id| *id != run.seen.id) || !run.is_live() {
            return;
        }
        let mut snapshot = match run.look() {
            Ok(snapshot) => snapshot,
            Err(blind) => {
                run.watch = None;
                slot.retry_at = Some(clock::boot() + TRY_AGAIN);
                self.log_unobservable(job, &blind, "it is looked at again every 5 s");
                return self.mark(job);
            }
        };
        if run.started.is_none()
            && let Some(error) = snapshot.damage.iter().find(|error| error.path.ends_with(dir::STARTED))
        {
            let text = format!("{error}; which process it is will be known when its wrapper ends");
            if slot.failing.as_ref() != Some(&text) {
                error!(job = %job, run = %run.seen.id, "{text}");
                slot.failing = Some(text);
            }
        }
        if let RunStatus::Ended { at: Some(at), exited, recorded: false } = &mut snapshot.status
            && matches!(exited.ended, Ended::Lost(LostCause::WrapperLost))
        {
            let process = snapshot.started.as_ref().map(|started| &started.process);
            let reaped = process.and_then(|process| self.reaped.remove(process));
            if let Some(told) = run.told(reaped, *at) {
                **exited = told;
            }
        }
        if run.is_uncertain() && snapshot.came_too_late() {
            return self.drop_uncertain(job);
        }
        if run.seen.phase == Phase::Starting && matches!(snapshot.status, RunStatus::NeverBegan) {
            return self.owe_start(job, refused);
        }
        let had_started = run.started.is_some();
        let was_orphaned = run.orphan.is_some();
        let was = run.seen.phase.clone();
        let watched = run.absorb(snapshot);
        run.detect_leftovers(&was);
        // An orphan is watched on: it has two things to tell, that it ended and that it was reaped.
        let goes_on = was_orphaned && matches!(watched, Some(Watched::Orphan(_))) && !run.gives_no_event();
        if !goes_on {
            if let Some(watch) = run.watch.take() {
                watch.abort();
            }
            let event = RunChanged { job: job.clone(), run: run.seen.id.clone(), refused: None };
            let watch = match watched {
                Some(Watched::Wrapper(wrapper)) => Some(tell_when_readable(wrapper, event, &self.events)),
                Some(Watched::Orphan(orphan)) => Some(tell_each_time(orphan, event, &self.events)),
                None => None,
            };
            match watch.transpose() {
                Ok(watch) => run.watch = watch,
                Err(error) => {
                    warn!(job = %job, "cannot wait for the exit, looking from time to time: {error}")
                }
            }
        }
        self.alarms.clear(&Task::See(job.clone()));
        let Some(run) = self.run_of(job) else { return };
        if run.seen.phase != Phase::Starting {
            let before = run.before.take();
            before.into_iter().for_each(|before| self.discard(*before));
            self.starts.settled(job);
            self.acted(job);
        }
        let Some(run) = self.run_of(job) else { return };
        if !had_started
            && let Some(started) = &run.started
            && run.is_live()
        {
            let text = if run.spec.attached.is_some() { "taken over, and running" } else { "running" };
            info!(job = %job, run = %run.seen.id, pid = %started.process.pid, "{text}");
            self.warn_of(job, &[]);
        }
        let Some(run) = self.run_of(job) else { return };
        if run.is_live() {
            self.publish(job);
        }
        self.mark(job);
    }

    /// Puts an edit in force that another supervisor had recorded, and was killed before it reported it.
    pub(super) fn finish_edit(&mut self, job: &JobId) {
        let why = self.without_cgroup();
        let Some(run) = self.run_of(job).filter(|run| matches!(run.seen.phase, Phase::Running { .. })) else {
            return;
        };
        let (Some(started), Some(before)) = (&run.started, &run.spec.before) else { return };
        let told = |list: &[(ConstraintName, String)], status: &ConstraintStatus| {
            list.iter().any(|(name, value)| (*name, value) == (status.name, &status.requested))
        };
        let (was, wanted) = (before.requested(), run.seen.job.in_force().requested());
        let as_before = |status: &ConstraintStatus| told(&was, status) && !told(&wanted, status);
        let all_told = wanted.iter().all(|(name, value)| {
            run.report.constraints.iter().any(|s| (s.name, &s.requested) == (*name, value))
        });
        if run.seen.released || (all_told && !run.report.constraints.iter().any(as_before)) {
            return;
        }
        run.report.constraints = run.enforce(started, before, &why);
        let text = "an edit in place that was interrupted is finished";
        info!(job = %job, run = %run.seen.id, "{text}");
        run.report.event(clock::now().wall, State::Running, text.into());
        self.publish(job);
    }

    /// Reads back what is declared to be in force, puts right what somebody else has changed, and tries
    /// again what was refused: the job may use less by now.
    pub(super) fn verify_constraints(&mut self, job: &JobId) {
        let why = self.without_cgroup();
        let Some(run) = self.run_of(job).filter(|run| matches!(run.seen.phase, Phase::Running { .. })) else {
            return;
        };
        let Some(started) = &run.started else { return };
        if run.seen.released {
            return;
        }
        let found = run.read_back(started, &why);
        let known = run.report.constraints.clone();
        let lost = found.iter().any(|status| !status.applied && drift::was_in_force(&known, status));
        if lost
            && !matches!(
                PidFd::open(&started.process).map(|p| p.map(|p| p.has_exited())),
                Ok(Some(Ok(false)))
            )
        {
            // It has just ended, and that is about to be told.
            return;
        }
        let tried = if lost {
            run.enforce(started, run.seen.job.in_force(), &why)
        } else if found.iter().any(may_be_granted) {
            run.try_again()
        } else {
            Vec::new()
        };
        let (now, drift) = drift::settle(&known, found, &tried);
        if now == known && drift == Drift::default() {
            return;
        }
        run.report.constraints = now;
        run.report.drift_corrected += u32::try_from(drift.put_right.len()).unwrap_or(u32::MAX);
        let mut tell = |what: &str, list: Vec<String>| {
            if !list.is_empty() {
                let text = format!("{what}: {}", list.join("; "));
                warn!(job = %job, run = %run.seen.id, "{text}");
                run.report.event(clock::now().wall, State::Running, text);
            }
        };
        tell("changed by someone else; restored", drift.put_right);
        tell("not in force any more", drift.lost);
        tell("in force now", drift.gained);
        self.publish(job);
    }

    /// A main process that is gone while its wrapper lives, and no record of that: it is told, once. Only the wrapper's
    /// end is an event, and it does not end before it could record this.
    fn look_for_lost_end(&mut self, job: &JobId) {
        let Some(run) = self.run_of(job).filter(|run| run.has_lost_its_workload()) else { return };
        let Some(text) = observed::cannot_be_recorded(&run.dir) else { return };
        let slot = self.slots.entry(job.clone()).or_default();
        if slot.failing.as_ref() != Some(&text) {
            error!(job = %job, "{text}");
            slot.failing = Some(text);
        }
    }

    /// Looks at the limits of every job, and for cgroups that are nobody's any more.
    pub(super) fn verify_all(&mut self) {
        self.restore_records();
        let running: Vec<JobId> = self.slots.keys().cloned().collect();
        for job in running {
            self.look_for_lost_end(&job);
            self.verify_constraints(&job);
        }
        self.sweep();
    }

    /// Writes records of runs anew that somebody removed while their workloads run.
    pub(super) fn restore_records(&mut self) {
        for slot in self.slots.values() {
            let Some(run) = &slot.run else { continue };
            if let Err(error) = run.restore() {
                warn!(job = %run.spec.job.id, "the records of a run were removed, and cannot be made anew: {error}");
            }
        }
    }

    /// Why a run has no cgroup.
    fn without_cgroup(&self) -> String {
        let started_without = "the run was started without a cgroup; restart the job to give it one";
        self.cgroups.why_none().unwrap_or(started_without).into()
    }

    /// Logs what is not in force, but for what was known before, and for what the host as a whole lacks:
    /// that was told at the start.
    fn warn_of(&self, job: &JobId, known: &[ConstraintStatus]) {
        let Some(run) = self.slots.get(job).and_then(|slot| slot.run.as_ref()) else { return };
        let host = self.cgroups.why_none();
        let told = |status: &&ConstraintStatus| {
            let same =
                |was: &ConstraintStatus| (was.name, &was.requested) == (status.name, &status.requested);
            known.iter().any(|was| !was.applied && same(was))
                || (host.is_some() && status.reason.as_deref() == host)
        };
        for status in run.report.constraints.iter().filter(|status| !status.applied && !told(status)) {
            let reason = status.reason.as_deref().unwrap_or("not read back");
            warn!(job = %job, "{} {} is not in force: {reason}", status.name, status.requested);
        }
    }

    /// Hands over the job's report as it is now.
    pub(super) fn publish(&self, job: &JobId) {
        match self.slots.get(job).and_then(|slot| slot.run.as_ref()) {
            Some(run) if run.is_uncertain() => {}
            Some(run) if run.followed => self.writer.file(&run.report),
            Some(run) => self.writer.put(&run.report),
            None => {}
        }
    }

    pub(super) fn run_of(&mut self, job: &JobId) -> Option<&mut Run> {
        self.slots.get_mut(job)?.run.as_mut()
    }
}

/// The first of a list, and how many more there are.
fn some_of(list: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = list.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The same error, with what could not be done for it.
fn because(what: &str, error: io::Error) -> io::Error {
    #[derive(Debug, thiserror::Error)]
    #[error("{what}: {error}")]
    struct Because {
        what: String,
        #[source]
        error: io::Error,
    }
    io::Error::new(error.kind(), Because { what: what.into(), error })
}

/// A job of which no run is known starts in an empty cgroup only: what lives there may be the job itself.
fn refuse_inhabited(cgroup: &Cgroup) -> io::Result<()> {
    let procs = cgroup::procs(cgroup)?;
    if procs.is_empty() {
        return Ok(());
    }
    let pids: Vec<String> = procs.iter().take(5).map(ToString::to_string).collect();
    let more = if procs.len() > pids.len() { ", ..." } else { "" };
    Err(io::Error::other(format!(
        "not started: its cgroup holds processes ({}) of which no record tells (pid {}{more}), which may be this job; end what \
         is left over, and it starts",
        procs.len(),
        pids.join(", ")
    )))
}

/// Whether a limit is refused whose file is there: a job that uses less, or a disk that comes back, is
/// reason enough to try again.
fn may_be_granted(status: &ConstraintStatus) -> bool {
    !status.applied && status.actual.is_some() && Controller::of(status.name).is_some()
}

fn next_start(outlook: Outlook) -> Option<WallTime> {
    let Outlook::StartsAt(at) = outlook else { return None };
    let now = clock::now();
    let wait = i64::try_from(at.since(now.boot).as_millis()).unwrap_or(i64::MAX);
    Some(WallTime::from_unix_ms(now.wall.unix_ms().saturating_add(wait)))
}
