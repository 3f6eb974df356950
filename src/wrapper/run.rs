//! `ffrtmp run`: one command under constraints, from the command line or a worker agent.
//!
//! Two processes: the one that was called talks to people, and the *keeper*, its copy in a session of its own,
//! is the workload's parent: it does what a detached wrapper does, and writes the reports. So whatever becomes
//! of the caller and of all that it belongs to, the workload runs on and its end is seen.
//!
//! At a terminal the workload is in the caller's process group and takes part in job control: the terminal's
//! signals reach it once, and directly. Elsewhere it leads a session of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader, PipeReader, PipeWriter, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal as Raw};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use serde::{Deserialize, Serialize};

use super::child::{self, Child, failed};
use super::files::Files;
use super::messages::Messages;
use super::observe;
use crate::linux::cgroup::{self, Before, Tree};
use crate::linux::exits::{ExitWatch, Seen};
use crate::linux::process::{self, PidFd};
use crate::linux::spawn::{Manner, Plan, Stdio};
use crate::linux::{clock, sys};
use crate::model::cgroup::{Cgroup, Choice};
use crate::model::constraints::{ConstraintStatus, in_force};
use crate::model::exit::{Ended, LostCause, Stage, StartError, State, StopReason, exit_status, judge};
use crate::model::history::StartHistory;
use crate::model::job::{Exec, Job};
use crate::model::process::ProcessIdentity;
use crate::model::report::{Report, Usage};
use crate::model::signal::Signal;
use crate::model::time::Moment;
use crate::runs::dir::{LockFile, RunDir, new_run_id};
use crate::runs::record::{Exited, Spec, Started, VERSION};

/// The wrapper itself failed, not the workload: as with env(1), nohup(1) and timeout(1).
pub const FAILED: u8 = 125;

/// Ended because a signal ended the one that was called: 128 and its number, as shells have it.
const BY_SIGNAL: u8 = 128;

/// Told apart from the supervisors that share a cgroup with this.
pub const INSTANCE: &str = "ffrtmp-cli";

/// The variables that tell a workload who it is.
pub const JOB_VARIABLE: &str = "FFRTMP_JOB";
const RUN_VARIABLE: &str = "FFRTMP_RUN_ID";

/// How long the keeper may take to tidy up before nobody waits for it any more.
const TIDY: Duration = Duration::from_millis(200);

/// Between two attempts to write the last report.
const PAUSE: Duration = Duration::from_secs(1);

/// What `ffrtmp run` was asked for.
pub struct Request {
    /// All that a job file would say.
    pub job: Job,
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The workload's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts; where the caller is, if `None`.
    pub working_dir: Option<PathBuf>,
    /// The program's path, for people.
    pub program: String,
    /// False: it is only started and waited for.
    pub governed: bool,
    /// What keeps its limits.
    pub cgroup: Choice,
    /// What is kept of it.
    pub files: Files,
    /// One document on standard output, and nothing else there.
    pub json: bool,
    /// No messages but errors.
    pub quiet: bool,
}

/// What the keeper tells the one that was called, a line each.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    report: Report,
    /// What to exit with, once it has ended.
    status: Option<u8>,
    /// The keeper stays, for what the main process has left behind.
    stays: bool,
}

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
        Ok((pipe, signals, sys::fork()?))
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
            keep(request, tells, messages, at_terminal);
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

/// The signals that the one that was called has its own answer to. One that is ignored (nohup(1)) stays so.
pub(super) fn caught() -> io::Result<SignalFd> {
    let (mut set, ignored) = (SigSet::empty(), ignored());
    for signal in [Raw::SIGTERM, Raw::SIGHUP, Raw::SIGINT, Raw::SIGQUIT] {
        if !ignored.contains(&(signal as i32)) {
            set.add(signal);
        }
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?)
}

/// The signals that whoever called us has ignored (`SigIgn` in `/proc/PID/status`). Without SIGPIPE, which
/// Rust's runtime ignores itself.
fn ignored() -> Vec<i32> {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = text.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|n| mask & (1 << (n - 1)) != 0 && *n != libc::SIGPIPE).collect()
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
                if let Some(Told { report, status: Some(status), stays }) = &self.last {
                    self.ended(report);
                    if !stays {
                        self.await_keeper();
                    }
                    return *status;
                }
            } else if signalled && let Some(status) = self.read_signal(signals) {
                return status;
            }
        }
    }

    /// The keeper tidies up. It is our child, and there may be nobody else to reap it.
    fn await_keeper(&self) {
        if let Some(Ok(Some(keeper))) = self.keeper.as_ref().map(PidFd::open)
            && matches!(keeper.await_exit(TIDY), Ok(true))
        {
            let _ = self.keeper.as_ref().map(|keeper| sys::reap(keeper.pid));
        }
    }

    fn ended(&self, report: &Report) {
        if report.started_at.is_none() && report.state == State::Failed {
            let why = report.events.last().map_or("it could not be started", |event| &event.message);
            self.messages.error(&in_options(why));
        } else {
            self.messages.exited(report);
        }
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
        let began = process.map(process::began);
        let lasted = began.map(|began| exited.at.boot.since(began.boot).as_secs_f64());
        let verdict = judge(&self.request.job, &exited.ended, None, exited.evidence.as_ref());
        report.end(exited.at.wall, lasted, exited.observed_by, exited.usage, verdict);
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
            let _ =
                PidFd::open(process).and_then(|pidfd| pidfd.map_or(Ok(false), |pidfd| pidfd.send(signal)));
        }
    }

    /// Leaves the workload to its keeper.
    fn detach(&self, signal: Signal) -> u8 {
        let status = BY_SIGNAL.saturating_add(u8::try_from(signal.number()).unwrap_or(0));
        if let Some(keeper) = &self.keeper {
            let usr1 = Signal::from_number(libc::SIGUSR1).unwrap_or(Signal::TERM);
            let _ = PidFd::open(keeper).and_then(|pidfd| pidfd.map_or(Ok(false), |pidfd| pidfd.send(usr1)));
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

/// A start error in the words of the command line.
pub(super) fn in_options(text: &str) -> String {
    let words = [
        ("not started: ", ""),
        ("give its full path in exec.command", "give its full path"),
        ("exec.command", "the command"),
        ("exec.env or the env files", "the environment"),
        ("exec.env", "--env"),
        ("exec.working_dir", "--workdir"),
        ("exec.user", "--user"),
        ("constraints.strict is set", "--strict is given"),
        ("timeouts.run", "--timeout"),
    ];
    words.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

/// The life of the keeper.
fn keep(request: &Request, mut told: PipeWriter, messages: Messages, at_terminal: bool) {
    let now = clock::now();
    let run_id = new_run_id(now, None);
    let mut report =
        Report::starting(&request.job, run_id.clone(), 0, now.wall, "started by ffrtmp run".into());
    let begun = begin(request, &mut report, now, messages, at_terminal, &mut told);
    let (mut keeper, exited) = match begun {
        Ok(mut keeper) => {
            let exited = keeper.wait(&mut report);
            (Some(keeper), exited)
        }
        Err(error) => {
            (report.pid, report.started_at) = (None, None);
            (None, Exited::unmeasured(run_id, clock::now(), Ended::NotStarted(error)))
        }
    };
    let stop = keeper.as_ref().and_then(|keeper| keeper.stop);
    let lasted = keeper.as_ref().map(|keeper| exited.at.boot.since(keeper.began.boot).as_secs_f64());
    let verdict = judge(&request.job, &exited.ended, stop, exited.evidence.as_ref());
    report.end(exited.at.wall, lasted, exited.observed_by, exited.usage, verdict);
    let mut written = request.files.ended(&report);
    let stays = written.is_err() || keeper.as_ref().is_some_and(|keeper| keeper.child.leaves_something());
    tell(&mut told, &report, Some(exit_status(&exited.ended, stop)), stays);
    // The caller goes now, whatever is left to do.
    drop(told);
    // A full disk is waited out. Where the folder has gone, nobody waits for it.
    while keeper.is_some() && written.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
        std::thread::sleep(PAUSE);
        written = request.files.ended(&report);
    }
    if let Some(keeper) = &mut keeper {
        keeper.close();
    }
}

/// If nobody listens any more, the reports are on disk.
fn tell(told: &mut PipeWriter, report: &Report, status: Option<u8>, stays: bool) {
    let line = serde_json::to_vec(&Told { report: report.clone(), status, stays });
    let _ = line.map(|mut line| {
        line.push(b'\n');
        told.write_all(&line)
    });
}

/// A run that goes on, as its keeper has it.
struct Keeper<'a> {
    request: &'a Request,
    messages: Messages,
    child: Child,
    record: Option<(RunDir, LockFile)>,
    /// Its cgroups are removed with it, once they are empty.
    _tree: Option<Tree>,
    began: Moment,
    /// Why it was told to end.
    stop: Option<StopReason>,
    killed: bool,
}

fn begin<'a>(
    request: &'a Request,
    report: &mut Report,
    now: Moment,
    messages: Messages,
    at_terminal: bool,
    told: &mut PipeWriter,
) -> Result<Keeper<'a>, StartError> {
    let Some(exec) = request.job.exec() else {
        let detail = "there is no command".into();
        return Err(StartError { stage: Stage::Exec, errno: None, detail });
    };
    let of_keeper = |error| failed(Stage::Wrapper, "the keeper's own set-up", &error);
    let stays_ignored = ignored();
    sys::ignore_group_signals().and_then(|()| sys::ignore_job_control()).map_err(of_keeper)?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|errno| of_keeper(errno.into()))?;
    // Standard output is the report's, then.
    let standard = |number| sys::inherited(number).or_else(|_| null()).map_err(of_keeper);
    let (input, error) = (standard(0)?, standard(2)?);
    let output = if request.json { standard(2)? } else { standard(1)? };
    let tree = request.governed.then(|| open_tree(request.cgroup));
    let (cgroup, limits) = limit(tree.as_ref(), request, report);
    let spec = Spec {
        version: VERSION,
        run_id: report.run_id.clone(),
        boot_id: process::boot_id().map_err(of_keeper)?,
        created: now,
        job: request.job.clone(),
        // The caller's own, of which nothing is to be left on a disk.
        environment: Vec::new(),
        log: PathBuf::new(),
        history: StartHistory::default(),
        open_files: None,
        cgroup,
        limits,
        before: None,
        released: false,
        attached: None,
    };
    let record = request.files.begin(&spec, messages);
    let prepared = plan(request, exec, &spec, at_terminal, stays_ignored).and_then(|plan| {
        let stdio = Stdio { input: input.as_fd(), output: output.as_fd(), error: error.as_fd() };
        child::prepare(&spec, exec, plan, stdio, Vec::new())
    });
    let begun = prepared.and_then(|prepared| {
        // The workload is where it belongs, and has not begun: from here on whoever kills the caller with its
        // group or its session leaves it a keeper.
        nix::unistd::setsid().map_err(|errno| of_keeper(errno.into()))?;
        let started = &prepared.started;
        if let Some((run, _)) = &record {
            run.write_started(started).map_err(|e| failed(Stage::Record, "started.json", &e))?;
        }
        let began = process::began(&started.process);
        note_start(report, started, began);
        request.files.changed(report, messages);
        messages.not_in_force(&started.constraints);
        tell(told, report, None, false);
        // Before the workload says anything itself; but not of one that is not there.
        let line = format!("Started PID {}", started.process.pid);
        let early = is_there(request);
        if early {
            messages.say(&line);
        }
        let child = prepared.go()?;
        if !early {
            messages.say(&line);
        }
        Ok((child, began))
    });
    let (child, began) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            let _ = spec.cgroup.as_ref().map(cgroup::remove);
            let _ = record.map(|(run, _)| run.remove());
            return Err(error);
        }
    };
    drop((input, output, error));
    // All that the workload has from the caller is now its own. Should this fail, it is kept all the same.
    let _ = leave(told, record.as_ref().map(|(_, lock)| lock));
    child::leave_cgroup(child.cgroup.as_ref());
    sys::release_unused_stack();
    Ok(Keeper { request, messages, child, record, _tree: tree, began, stop: None, killed: false })
}

/// Whether there is a program of that name, as far as can be seen from here.
fn is_there(request: &Request) -> bool {
    request.program.contains('/') && std::path::Path::new(&request.program).exists()
}

fn null() -> io::Result<OwnedFd> {
    sys::inherited(File::options().read(true).write(true).open("/dev/null")?.as_raw_fd())
}

pub(super) fn open_tree(choice: Choice) -> Tree {
    let asked = cgroup::Request { choice, parent: None, instance: INSTANCE };
    cgroup::open(&asked).map_or_else(Tree::None, |survey| survey.tree)
}

/// The run's cgroup, with its limits in force.
fn limit(tree: Option<&Tree>, request: &Request, report: &Report) -> (Option<Cgroup>, Vec<ConstraintStatus>) {
    let wanted = request.job.in_force();
    let Some(tree) = tree else { return (None, Vec::new()) };
    match tree.create(&format!("{}.{}", report.job_id, report.run_id)) {
        Ok(cgroup) => {
            let limits = cgroup::apply(&cgroup, wanted, Before::Fresh);
            (Some(cgroup), limits)
        }
        Err(why) => (None, cgroup::not_in_force(wanted, &why)),
    }
}

fn plan(
    request: &Request,
    exec: &Exec,
    spec: &Spec,
    at_terminal: bool,
    ignored: Vec<i32>,
) -> Result<Plan, StartError> {
    let here = Exec { working_dir: Some(request.working_dir.clone().unwrap_or(".".into())), ..exec.clone() };
    let manner = Manner::Command { session: !at_terminal, ignored };
    let kept = in_force(&spec.limits);
    let mut environment = request.environment.clone();
    for (key, value) in [(JOB_VARIABLE, spec.job.id.as_str()), (RUN_VARIABLE, spec.run_id.as_str())] {
        if request.governed {
            environment.retain(|(known, _)| known != key);
            environment.push((key.into(), value.into()));
        }
    }
    Plan::new(&here, &request.argv, &environment, request.job.in_force(), &kept, manner)
}

fn note_start(report: &mut Report, started: &Started, began: Moment) {
    report.pid = Some(started.process.pid);
    report.started_at = Some(began.wall);
    report.constraints.clone_from(&started.constraints);
    report.event(started.at.wall, State::Running, format!("running, pid {}", started.process.pid));
}

/// Leaves what else there is of the caller's world: its folder, its descriptors.
fn leave(told: &PipeWriter, lock: Option<&LockFile>) -> io::Result<()> {
    let null = null()?;
    let mut keep = vec![told.as_raw_fd(), null.as_raw_fd()];
    keep.extend(lock.map(|lock| lock.as_fd().as_raw_fd()));
    sys::close_all_but(&mut keep, null.as_fd())?;
    nix::sys::prctl::set_name(c"ffrtmp")?;
    nix::unistd::chdir("/")?;
    Ok(())
}

impl Keeper<'_> {
    /// Waits until the main process has ended, and ends it where it takes longer than it may.
    fn wait(&mut self, report: &mut Report) -> Exited {
        loop {
            if let Some(exited) = self.child.look(&report.run_id, false) {
                self.note_leftovers(report);
                return exited;
            }
            let left = self.due().map_or(Duration::MAX, |due| due.saturating_sub(self.lasted()));
            if left.is_zero() {
                self.end(report);
            } else if sys::wait_for_signal(left) {
                report.let_go(clock::now().wall, "the wrapper has gone; the workload continues".into());
                self.request.files.changed(report, self.messages);
            }
        }
    }

    fn lasted(&self) -> Duration {
        clock::boot().since(self.began.boot)
    }

    /// How long after its begin the next step of its end is due, if one is.
    fn due(&self) -> Option<Duration> {
        let job = &self.request.job;
        match (job.timeouts.run?, self.stop) {
            (run, None) => Some(run),
            (run, Some(_)) => (!self.killed).then(|| run + job.stop.timeout),
        }
    }

    /// It has taken longer than it may: its signal, once, to the main process; then SIGKILL to all of it.
    fn end(&mut self, report: &mut Report) {
        let (pid, signal) = (self.child.main.pid, self.request.job.stop.signal);
        let text = if self.stop.is_none() {
            self.stop = Some(StopReason::Timeout);
            let sent =
                PidFd::open(&self.child.main).and_then(|found| found.map_or(Ok(false), |p| p.send(signal)));
            match sent {
                Ok(_) => format!("{signal} sent to pid {pid}: it ran longer than the time-out"),
                Err(error) => {
                    format!("it ran longer than the time-out, and {signal} cannot be sent: {error}")
                }
            }
        } else {
            self.killed = true;
            self.child.kill();
            "still there: SIGKILL to all its processes".into()
        };
        report.event(clock::now().wall, State::Running, text);
        self.request.files.changed(report, self.messages);
    }

    /// What the main process has left behind is not ours to end: it runs on, under the same limits.
    fn note_leftovers(&self, report: &mut Report) {
        if self.stop.is_some() || !self.child.leaves_something() {
            return;
        }
        let (left, place) = match &self.child.cgroup {
            Some(cgroup) => (cgroup::procs(cgroup).map(|left| left.len()), ", in its cgroup"),
            None => (process::current().and_then(|own| process::family(&own)).map(|left| left.len()), ""),
        };
        if let Ok(left @ 1..) = left {
            let text = format!("{left} processes that it left behind run on{place}");
            report.event(clock::now().wall, State::Running, text);
        }
    }

    /// Waits for what is left of the run, and removes what was made for it.
    fn close(&mut self) {
        if self.stop.is_some() {
            let stop = &self.request.job.stop;
            self.child.end_leftovers(stop.signal, stop.timeout);
        }
        self.child.reap_all();
        // One that somebody has moved a process into stays.
        let _ = self.child.cgroup.as_ref().map(cgroup::remove);
        if let Some((run, _lock)) = self.record.take() {
            let _ = run.remove();
        }
        self.request.files.settle();
    }
}
