//! `ffrtmp attach`: a process that runs already is put under constraints and observed until it ends.
//!
//! It is never signalled. Whatever becomes of this program, the process runs on.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use nix::sys::signalfd::SignalFd;

use super::files::Files;
use super::keeper::open_tree;
use super::lost;
use super::messages::{Messages, in_options};
use super::observe::{self, Observed};
use super::signals::caught;
use crate::linux::attach;
use crate::linux::cgroup::Tree;
use crate::linux::{clock, process};
use crate::model::cgroup::{Choice, Controller};
use crate::model::exit::{State, exit_status};
use crate::model::ids::RunId;
use crate::model::job::{Attach, Job, Target, Workload};
use crate::model::process::Pid;
use crate::model::report::Report;
use crate::model::signal::Signal;
use crate::model::time::Moment;
use crate::model::units::format_duration;
use crate::runs::dir::{LockFile, RunDir, new_run_id};
use crate::runs::record::{Exited, Spec, Started};

/// There is nothing to attach to, or it may not be attached: as the reference has it.
const REFUSED: u8 = 1;

/// What `ffrtmp attach` was asked for.
pub struct Request {
    /// The process.
    pub pid: i64,
    /// All that a job file would say; where its workload comes from is made up here.
    pub job: Job,
    /// A process that shares its cgroup is moved into one of its own, if limits are asked for.
    pub relocate: bool,
    /// On letting it go, what was changed is put back.
    pub restore: bool,
    /// What keeps its limits.
    pub cgroup: Choice,
    /// Folders of run directories, which say what is governed already.
    pub governed: Vec<PathBuf>,
    /// What is kept of it.
    pub files: Files,
    /// One document on standard output.
    pub json: bool,
    /// No messages but errors.
    pub quiet: bool,
}

/// Governs the process until it ends or a signal ends this program. What to exit with: the process's code, or
/// 128 and the number of the signal that ended it; 0 if it was let go; 1 if it was not taken over; 125 where
/// nobody could tell how it ended.
#[must_use]
pub fn main(request: &Request) -> ExitCode {
    let messages = Messages::new(request.quiet);
    match govern(request, messages) {
        Ok(status) => ExitCode::from(status),
        Err(why) => {
            messages.error(&why);
            ExitCode::from(REFUSED)
        }
    }
}

fn govern(request: &Request, messages: Messages) -> Result<u8, String> {
    let gone = || format!("process {} does not exist", request.pid);
    let pid = u32::try_from(request.pid).ok().and_then(Pid::new).ok_or_else(gone)?;
    let look = |error: io::Error| format!("process {pid}: {error}");
    let target = process::identify(pid).map_err(look)?.ok_or_else(gone)?;
    let ours = request.files.runs.as_deref().ok();
    lost::make_way(&request.governed, ours, &target)?;
    // From here on a signal means: let it go.
    let signals = caught().map_err(|error| format!("signals cannot be waited for: {error}"))?;
    let now = clock::now();
    let attach = Attach { target: Target::Pid(pid), all: false, relocate: request.relocate };
    let job = Job { workload: Workload::Attach(attach), ..request.job.clone() };
    let limited = job.in_force().requested().iter().any(|(name, _)| Controller::of(*name).is_some());
    let tree = match limited {
        true => open_tree(request.cgroup),
        false => Tree::None("no limit is asked for".into()),
    };
    let run_id = new_run_id(now, None);
    let (attached, cgroup) =
        attach::survey(&target, request.relocate, &tree, &format!("{}.{run_id}", job.id))
            .map_err(|error| error.to_string())?;
    let mut report =
        Report::starting(&job, run_id.clone(), 0, now.wall, format!("taking over process {pid}"));
    report.command.clone_from(&attached.command);
    messages.say(&format!("ATTACH mode: PID {pid} [{}]", attached.command.join(" ")));
    messages.job(&job);
    let boot_id = process::boot_id().map_err(look)?;
    let spec = Spec { cgroup, attached: Some(attached), ..Spec::new(job, run_id.clone(), boot_id, now) };
    // Before anything is changed: what it was like.
    let record = request.files.begin(&spec, messages);
    let began = process::began(&target);
    let mut run = Run { request, messages, spec: &spec, report, record, record_stays: false, began };
    match run.take() {
        Ok(observed) => Ok(run.watch(&observed, &signals)),
        Err(why) => {
            // Its cgroup, if it was to be moved; if anything else was changed, that was undone.
            if let Some(attached) = &spec.attached {
                let _ = attach::release(attached, spec.cgroup.as_ref(), spec.job.in_force());
            }
            run.forget();
            Err(why)
        }
    }
}

/// A process that is governed.
struct Run<'a> {
    request: &'a Request,
    messages: Messages,
    spec: &'a Spec,
    report: Report,
    record: Option<(RunDir, LockFile)>,
    /// It is let go under its constraints.
    record_stays: bool,
    began: Moment,
}

impl Run<'_> {
    /// Puts the constraints in force.
    fn take(&mut self) -> Result<Observed, String> {
        let record = self.record.as_ref().map(|(run, _)| run);
        let mut started = None;
        let write = |known: &Started| {
            started = Some(known.clone());
            record.map_or(Ok(()), |run| run.write_started(known))
        };
        let observed = observe::begin(self.spec, write).map_err(|error| in_options(&error.detail))?;
        if let Some(started) = started {
            let pid = started.process.pid;
            let running = format_duration(started.at.boot.since(self.began.boot));
            self.report.pid = Some(pid);
            self.report.started_at = Some(self.began.wall);
            self.report.constraints.clone_from(&started.constraints);
            let text = format!("taken over, pid {pid}, running for {running}");
            self.report.event(started.at.wall, State::Running, text);
            // First, so that whoever is told finds it.
            self.request.files.changed(&self.report, self.messages);
            self.messages.not_in_force(&started.constraints);
            self.messages.say(&format!("Attached to PID {pid}, running for {running}"));
        }
        Ok(observed)
    }

    /// Waits until it has ended, or is to be let go.
    fn watch(mut self, observed: &Observed, signals: &SignalFd) -> u8 {
        loop {
            match observed.wait_or(signals.as_fd()) {
                Ok(Some(seen)) => {
                    let exited = observed.exited(seen, self.run_id());
                    return self.ended(observed, &exited);
                }
                Ok(None) => {
                    let info = signals.read_signal().ok().flatten();
                    let number = info.and_then(|info| i32::try_from(info.ssi_signo).ok());
                    if let Some(signal) = number.and_then(Signal::from_number) {
                        return self.let_go(observed, signal);
                    }
                }
                Err(error) => {
                    self.messages.error(&format!("cannot wait for the process: {error}; it runs on"));
                    return super::run::FAILED;
                }
            }
        }
    }

    fn run_id(&self) -> RunId {
        self.report.run_id.clone()
    }

    fn ended(&mut self, observed: &Observed, exited: &Exited) -> u8 {
        // What it leaves behind goes back to where it was.
        let lost = observed.restore();
        exited.conclude(&mut self.report, &self.spec.job, None, Some(self.began));
        for text in lost {
            self.messages.warn(&format!("not restored: {text}"));
        }
        self.messages.exited(&self.report);
        self.finish();
        exit_status(&exited.ended, None)
    }

    fn let_go(&mut self, observed: &Observed, signal: Signal) -> u8 {
        let pid = self.report.pid.map_or_else(String::new, |pid| pid.to_string());
        let text = if self.request.restore {
            let lost = observed.restore();
            let but = if lost.is_empty() { String::new() } else { format!(", but for: {}", lost.join("; ")) };
            format!("let go by {signal}: process {pid} runs on, as it was before{but}")
        } else {
            // Its record stays as long as it lives: then its cgroup goes, too.
            self.record_stays = !self.spec.job.in_force().requested().is_empty();
            format!("let go by {signal}: process {pid} runs on, under its constraints")
        };
        self.messages.say(&text);
        self.report.let_go(clock::now().wall, text);
        self.finish();
        0
    }

    /// The last report, and nothing else is left of the run.
    fn finish(&mut self) {
        if let Err(error) = self.request.files.ended(&self.report) {
            self.messages.error(&format!("the report cannot be written: {error}"));
        }
        if self.request.json {
            // Whoever does not read it does not want it.
            let _ = io::stdout().write_all(&self.request.files.render(&self.report));
        }
        self.forget();
    }

    fn forget(&mut self) {
        if let Some((run, _lock)) = self.record.take()
            && !self.record_stays
        {
            // One that cannot be removed now is a run whose wrapper is gone.
            let _ = run.remove();
        }
        self.request.files.settle();
    }
}
