//! `ffrtmp run`: one command under constraints, from the command line or a worker agent.
//!
//! Two processes: the one that was called talks to people, and the *keeper*, its copy in a session of its own,
//! is the workload's parent: it does what a detached wrapper does, and writes the reports. So whatever becomes
//! of the caller and of all that it belongs to, the workload runs on and its end is seen.
//!
//! At a terminal the workload is in the caller's process group and takes part in job control: the terminal's
//! signals reach it once, and directly. Elsewhere it leads a session of its own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signalfd::SignalFd;

use super::files;
use super::keeper::{self, Told};
use super::messages::{Messages, in_options};
use super::observe;
use super::request::{JOB_VARIABLE, Request};
use super::signals::caught;
use crate::linux::clock;
use crate::linux::exits::{ExitWatch, Seen};
use crate::linux::process;
use crate::linux::sys::{self, SingleThreaded};
use crate::model::exit::{Ended, LostCause, State, exit_status};
use crate::model::process::ProcessIdentity;
use crate::model::report::{Report, Usage};
use crate::model::signal::Signal;
use crate::runs::record::Exited;

/// The wrapper itself failed, not the workload: as with env(1), nohup(1) and timeout(1).
pub const FAILED: u8 = 125;

/// Ended because a signal ended the one that was called: 128 and its number, as shells have it.
const BY_SIGNAL: u8 = 128;

/// Runs it, and gives what to exit with: the workload's code; 128 and the number of the signal that ended it;
/// 124 after a time-out; 125, 126 or 127 where it could not be run.
#[must_use]
pub fn main(request: &Request) -> ExitCode {
    let messages = Messages::new(request.quiet);
    let words: Vec<_> = request.argv.iter().skip(1).map(|word| word.to_string_lossy()).collect();
    messages.say(&format!("RUN mode: {} [{}]", request.program, words.join(" ")));
    messages.job(&request.job);
    if let Some(outer) = wrapped() {
        messages.warn(&format!(
            "this wrapper runs in another one, of {outer}: one is enough, and takes the constraints of both"
        ));
    }
    let at_terminal = File::open("/dev/tty").is_ok();
    let forked = io::pipe().and_then(|pipe| {
        // Before the fork, so that none is lost: the keeper has a mask of its own.
        let signals = caught()?;
        // Should the keeper be killed, the workload becomes our child.
        nix::sys::prctl::set_child_subreaper(true)?;
        Ok((pipe, signals, SingleThreaded::prove()?.fork()?))
    });
    let ((hears, tells), signals, keeper) = match forked {
        Ok(forked) => forked,
        Err(error) => {
            messages.error(&format!("cannot start the keeper of the run: {error}"));
            return ExitCode::from(FAILED);
        }
    };
    match keeper {
        None => {
            drop((hears, signals));
            keeper::keep(request, tells, messages, at_terminal);
            ExitCode::SUCCESS
        }
        Some(keeper) => {
            drop(tells);
            let identity = process::identify(keeper).ok().flatten();
            let caller = Caller {
                request,
                messages,
                at_terminal,
                keeper: identity,
                workload: None,
                last: None,
                early: None,
            };
            ExitCode::from(caller.wait(hears, &signals))
        }
    }
}

/// The run whose wrapper started us, if one did.
fn wrapped() -> Option<String> {
    let parent = std::fs::read_to_string(format!("/proc/{}/comm", nix::unistd::getppid())).ok()?;
    let job = std::env::var(JOB_VARIABLE).ok()?;
    (parent.trim_end() == "ffrtmp").then(|| format!("job {job}"))
}

/// The one that was called.
struct Caller<'a> {
    request: &'a Request,
    messages: Messages,
    at_terminal: bool,
    keeper: Option<ProcessIdentity>,
    workload: Option<ProcessIdentity>,
    last: Option<Told>,
    /// A signal that was for the workload, and came before it.
    early: Option<Signal>,
}

impl Caller<'_> {
    /// Waits for the end of the workload, or for a signal that ends the wait.
    fn wait(mut self, hears: PipeReader, signals: &SignalFd) -> u8 {
        let mut lines = BufReader::new(hears);
        loop {
            let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(false);
            let mut fds = [
                PollFd::new(lines.get_ref().as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            if let Err(errno) = poll(&mut fds, PollTimeout::NONE)
                && errno != nix::Error::EINTR
            {
                self.messages.error(&format!("cannot wait: {errno}"));
                return FAILED;
            }
            let [told, signalled] = fds.each_ref().map(ready);
            if told {
                let mut line = String::new();
                match lines.read_line(&mut line) {
                    Ok(length) if length > 0 => self.last = serde_json::from_str(&line).ok().or(self.last),
                    _ => return self.keeper_lost(signals),
                }
                if self.workload.is_none() {
                    let pid = self.last.as_ref().and_then(|told| told.report.pid);
                    self.workload = pid.and_then(|pid| process::identify(pid).ok().flatten());
                    if let Some(early) = self.early.take() {
                        self.pass_on(early);
                    }
                }
                if let Some(Told { report, status: Some(status), stays, .. }) = &self.last {
                    self.ended(report);
                    if let Some(keeper) = self.keeper.as_ref().filter(|_| !stays) {
                        // It ends now, and there may be nobody else to reap it.
                        let _ = sys::reap(keeper.pid);
                    }
                    return *status;
                }
            } else if signalled && let Some(status) = self.read_signal(signals) {
                return status;
            }
        }
    }

    fn ended(&self, report: &Report) {
        if report.started_at.is_none() && report.state == State::Failed {
            let why = report.events.last().map_or("it could not be started", |event| &event.message);
            self.messages.error(&in_options(why));
        } else {
            self.messages.exited(report);
        }
        self.messages.summary(report);
        self.print(report);
    }

    /// The keeper was killed. The workload goes on, and is watched from here.
    fn keeper_lost(&mut self, signals: &SignalFd) -> u8 {
        let Some(report) = self.last.as_ref().map(|told| &told.report) else {
            self.messages.error("the keeper of the run was lost before anything was started");
            return FAILED;
        };
        self.messages.warn("the keeper of the run was lost; the workload runs on, and is watched from here");
        let mut report = report.clone();
        let now = clock::now().wall;
        report.event(now, State::Running, "the keeper of the run was lost; watched by the wrapper".into());
        self.request.files.changed(&report, self.messages);
        let process = self.workload.clone();
        let process = process.as_ref();
        let watch = process.and_then(|process| ExitWatch::open(process).ok().flatten());
        let exited = match watch.as_ref().map(|watch| self.watch(watch, signals)) {
            Some(Err(status)) => return status,
            Some(Ok(seen)) => {
                let ended = seen
                    .status
                    .map_or(Ended::Lost(LostCause::WrapperLost), |status| Ended::Waited { status });
                let unmeasured = Exited::unmeasured(report.run_id.clone(), clock::now(), ended);
                Exited {
                    usage: Usage { cpu_sec: seen.cpu_sec, ..Usage::default() },
                    observed_by: seen.by,
                    ..unmeasured
                }
            }
            None => {
                let lost = Ended::Lost(LostCause::WrapperLost);
                Exited::unmeasured(report.run_id.clone(), clock::now(), lost)
            }
        };
        if let Some(process) = process {
            // It is ours since the keeper is gone.
            let _ = sys::reap(process.pid);
        }
        if let Some((file, pid)) = self.request.pid_file.as_ref().zip(report.pid) {
            files::drop_pid(file, pid);
        }
        let began = self.last.as_ref().and_then(|told| told.began);
        exited.conclude(&mut report, &self.request.job, None, began);
        if let Err(error) = self.request.files.ended(&report) {
            self.messages.error(&format!("the report cannot be written: {error}"));
        }
        self.request.files.settle();
        self.ended(&report);
        exit_status(&exited.ended, None)
    }

    /// Waits for the end of a workload that has no keeper; a status if a signal ends the wait.
    fn watch(&mut self, watch: &ExitWatch, signals: &SignalFd) -> Result<Seen, u8> {
        loop {
            match observe::wait_or(watch, signals.as_fd()) {
                Ok(Some(seen)) => return Ok(seen),
                Ok(None) => {
                    if let Some(status) = self.read_signal(signals) {
                        return Err(status);
                    }
                }
                Err(_) => return Ok(Seen { status: None, by: None, cpu_sec: None }),
            }
        }
    }

    fn read_signal(&mut self, signals: &SignalFd) -> Option<u8> {
        let info = signals.read_signal().ok().flatten()?;
        let signal = i32::try_from(info.ssi_signo).ok().and_then(Signal::from_number)?;
        self.signalled(signal)
    }

    /// What a signal to the one that was called means; a status if the wait is over.
    fn signalled(&mut self, signal: Signal) -> Option<u8> {
        if [libc::SIGTERM, libc::SIGHUP].contains(&signal.number()) {
            return Some(self.detach(signal));
        }
        // At a terminal the workload has got it, too: it is in the same process group. If it was there yet.
        if self.workload.is_none() {
            self.early = Some(signal);
        } else if !self.at_terminal {
            self.pass_on(signal);
        }
        None
    }

    fn pass_on(&self, signal: Signal) {
        if let Some(process) = &self.workload {
            // If it is gone, its end is about to be told.
            let _ = process::send(process, signal);
        }
    }

    /// Leaves the workload to its keeper.
    fn detach(&self, signal: Signal) -> u8 {
        let status = BY_SIGNAL.saturating_add(u8::try_from(signal.number()).unwrap_or(0));
        if let Some(keeper) = &self.keeper {
            let usr1 = Signal::from_number(libc::SIGUSR1).unwrap_or(Signal::TERM);
            let _ = process::send(keeper, usr1);
        }
        let Some(Told { report, .. }) = &self.last else {
            self.messages.say(&format!("{signal}: detached; the workload continues"));
            return status;
        };
        let pid = report.pid.map_or_else(|| "?".to_owned(), |pid| pid.to_string());
        self.messages.say(&format!("{signal}: detached; the workload, PID {pid}, continues"));
        let mut report = report.clone();
        report.let_go(clock::now().wall, detached(signal));
        self.print(&report);
        status
    }

    fn print(&self, report: &Report) {
        if self.request.json {
            // Whoever does not read it does not want it.
            let _ = io::stdout().write_all(&self.request.files.render(report));
        }
    }
}

fn detached(by: Signal) -> String {
    format!("{by} to the wrapper: detached, the workload continues")
}
