//! `ffrtmp detached`: the wrapper that the supervisor starts, in a session of its own.
//!
//! One exists per running job, so it is single-threaded and touches as little memory as it can.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::child::{self, Child, failed};
use super::observe::{self, Observed};
use crate::abort::{self, Point};
use crate::linux::cgroup;
use crate::linux::spawn::{Manner, Plan, Stdio};
use crate::linux::{clock, sys};
use crate::model::constraints::in_force;
use crate::model::exit::{Ended, Stage, StartError};
use crate::model::ids::RunId;
use crate::model::job::{Exec, Output, Workload};
use crate::model::signal::Signal;
use crate::runs::dir::RunDir;
use crate::runs::record::{Exited, Spec, Started};

/// Where the journal takes streams (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/stdout";

/// How long leftovers of a job have whose spec cannot be read any more.
const DEFAULT_STOP: (Signal, Duration) = (Signal::TERM, Duration::from_secs(10));

/// Longest pause between two attempts to record an exit.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Runs the workload of a run directory to its end, in a process that was executed for it. `lock_fd` holds the lock of
/// `wrapper.lock`; `ready_fd` is closed once the program runs or `exited.json` says why it does not.
#[must_use]
pub fn main(run_dir: &Path, lock_fd: RawFd, ready_fd: RawFd) -> ExitCode {
    let run = RunDir::open(std::path::absolute(run_dir).unwrap_or_else(|_| run_dir.into()));
    let (lock, ready) = match sys::inherited(lock_fd).and_then(|lock| Ok((lock, sys::inherited(ready_fd)?))) {
        Ok(inherited) => inherited,
        Err(error) => {
            // Without the lock this is no wrapper: a second one may be at work.
            eprintln!("ffrtmp detached: --lock-fd {lock_fd} --ready-fd {ready_fd}: {error}");
            return ExitCode::from(2);
        }
    };
    abort::at(Point::WrapperBegun);
    let detached =
        detach(&mut [lock.as_raw_fd(), ready.as_raw_fd()]).and_then(|null| own_session().map(|()| null));
    attend(&run, lock, ready, detached);
    ExitCode::SUCCESS
}

/// The same in a process that was forked for it, and has nothing of its own yet but what [`detach`] leaves.
pub(super) fn forked(run: &RunDir, lock: OwnedFd, ready: OwnedFd, null: OwnedFd) {
    abort::at(Point::WrapperBegun);
    attend(run, lock, ready, own_session().map(|()| null));
}

/// The life of a wrapper. `detached` is `/dev/null`, or why it could not leave the supervisor's world.
fn attend(run: &RunDir, lock: OwnedFd, ready: OwnedFd, detached: io::Result<OwnedFd>) {
    let work = match begin(run, detached) {
        Ok(work) => work,
        Err(Failure { run_id, error }) => {
            return record(run, &Exited::unmeasured(run_id, clock::now(), Ended::NotStarted(error)));
        }
    };
    drop(ready);
    abort::at(Point::WorkloadReleased);
    // From here on it waits, one of many: what setting up took is given back.
    sys::release_unused_stack();
    match work {
        Work::Started(begun) => {
            let exited = begun.wait(&run_id_of(run));
            record(run, &Exited { left: begun.left_behind(), ..exited });
            abort::at(Point::ExitedWritten);
            begun.end_leftovers(|| stop_of(run));
            abort::at(Point::LeftoversEnded);
            // One with a process in it that cannot be ended stays, and is looked at again by the supervisor.
            let _ = begun.cgroup.as_ref().map(cgroup::remove);
            abort::at(Point::CgroupRemoved);
        }
        Work::Observed(observed) => {
            record(run, &observed.wait(run_id_of(run)));
            abort::at(Point::ExitedWritten);
            observed.let_go(run);
        }
    }
    drop(lock);
}

/// What this process is there for.
enum Work {
    /// A workload that it has started.
    Started(Box<Child>),
    /// A process that somebody else started.
    Observed(Box<Observed>),
}

/// A start that failed, of which run.
struct Failure {
    run_id: RunId,
    error: StartError,
}

/// The run that a directory is named after.
fn run_id_of(run: &RunDir) -> RunId {
    run.run_id().unwrap_or_else(|| RunId::new(0, 0))
}

/// Starts the workload, or takes it over.
#[inline(never)]
fn begin(run: &RunDir, detached: io::Result<OwnedFd>) -> Result<Work, Failure> {
    let of_run = |error| Failure { run_id: run_id_of(run), error };
    let null = detached.map_err(|e| of_run(failed(Stage::Wrapper, "the wrapper's own set-up", &e)))?;
    abort::at(Point::WrapperDetached);
    let spec = match run.spec() {
        Ok(Some(spec)) => spec,
        Ok(None) => {
            let detail = format!("{} has no spec.json", run.path.display());
            return Err(of_run(StartError { stage: Stage::Record, errno: Some(libc::ENOENT), detail }));
        }
        Err(error) => {
            return Err(of_run(StartError { stage: Stage::Record, errno: None, detail: error.to_string() }));
        }
    };
    abort::at(Point::SpecRead);
    let begun = match &spec.job.workload {
        Workload::Exec(exec) => start(run, &spec, exec, &null).map(|begun| Work::Started(begun.into())),
        Workload::Attach(_) => {
            let record = |started: &Started| run.write_started(started);
            observe::begin(&spec, record).map(|observed| Work::Observed(observed.into()))
        }
    };
    begun
        .inspect(|_| child::leave_cgroup(spec.cgroup.as_ref()))
        .map_err(|error| Failure { run_id: spec.run_id.clone(), error })
}

/// Makes this process independent of whoever started it, but for the session; keeps these descriptors alone. Returns
/// `/dev/null`.
pub(super) fn detach(keep: &mut [RawFd; 2]) -> io::Result<OwnedFd> {
    // Above 2, where the three standard ones go.
    let null = sys::inherited(OpenOptions::new().read(true).write(true).open("/dev/null")?.as_raw_fd())?;
    let [first, second] = *keep;
    sys::close_all_but(&mut [first, second, null.as_raw_fd()], null.as_fd())?;
    // The file may have been executed as /proc/self/fd/N, which would be its name.
    nix::sys::prctl::set_name(c"ffrtmp")?;
    sys::ignore_group_signals()?;
    nix::unistd::chdir("/")?;
    Ok(null)
}

/// Gives this process a session of its own, and the orphans of its workload.
fn own_session() -> io::Result<()> {
    // Fails only for a process that leads a group, and then it is not the supervisor's.
    let _ = nix::unistd::setsid();
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Starts the workload, and records that it runs before its first instruction.
fn start(run: &RunDir, spec: &Spec, exec: &Exec, null: &OwnedFd) -> Result<Child, StartError> {
    if let Some(soft) = spec.open_files
        && let Ok((now, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && now != soft.min(hard)
    {
        // Lowering it cannot fail, and programs that use select(2) break on what the supervisor needs.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard);
    }
    let (constraints, kept) = (spec.job.in_force(), in_force(&spec.limits));
    let plan = Plan::new(exec, &exec.command, &spec.environment, constraints, &kept, Manner::Service)?;
    let mut notes = Vec::new();
    let output = open_output(spec, exec.output, &mut notes)?;
    let output = output.as_ref().unwrap_or(null).as_fd();
    let stdio = Stdio { input: null.as_fd(), output, error: output };
    let mut prepared = child::prepare(spec, exec, plan, stdio, notes)?;
    run.write_started(prepared.about_to_begin())
        .map_err(|error| failed(Stage::Record, "started.json", &error))?;
    abort::at(Point::StartedWritten);
    prepared.go().map(|(child, _)| child)
}

/// What the leftovers of a run get: as its job is declared now, which an edit in place may have changed.
fn stop_of(run: &RunDir) -> (Signal, Duration) {
    match run.spec() {
        Ok(Some(spec)) => (spec.job.stop.signal, spec.job.stop.timeout),
        _ => DEFAULT_STOP,
    }
}

/// Opens what becomes the workload's standard output and error; `None`: `/dev/null`.
fn open_output(spec: &Spec, output: Output, notes: &mut Vec<String>) -> Result<Option<OwnedFd>, StartError> {
    match output {
        Output::Null => Ok(None),
        Output::Journal => match open_journal(Path::new(JOURNAL), spec.job.id.as_str()) {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => {
                notes.push(format!(
                    "the journal cannot be reached ({JOURNAL}: {error}): output goes to {}",
                    spec.log.display()
                ));
                open_log(&spec.log).map(|log| Some(log.into()))
            }
        },
        Output::File => {
            let log = open_log(&spec.log)?;
            // A disk that is full keeps nothing from starting.
            if let Err(error) = mark(&log, spec) {
                notes.push(format!("{} does not say where this run begins: {error}", spec.log.display()));
            }
            Ok(Some(log.into()))
        }
    }
}

/// A stream into the journal, as systemd-cat(1) opens it.
fn open_journal(socket: &Path, job: &str) -> io::Result<OwnedFd> {
    let mut stream = UnixStream::connect(socket)?;
    stream.shutdown(std::net::Shutdown::Read)?;
    // Identifier; unit; priority (info); no prefixes in lines; not to syslog, kmsg or console.
    stream.write_all(format!("ffrtmp-{job}\n\n6\n0\n0\n0\n0\n").as_bytes())?;
    Ok(stream.into())
}

/// Writes where a run begins, as a line of its own.
fn mark(mut log: &File, spec: &Spec) -> io::Result<()> {
    let mut line = format!("-- run {}, started {} --\n", spec.run_id, clock::now().wall);
    if log.metadata()?.len() > 0 && !ends_with_a_line(&spec.log)? {
        line.insert(0, '\n');
    }
    log.write_all(line.as_bytes())
}

/// What the workload gets cannot be read: this is another descriptor.
fn ends_with_a_line(path: &Path) -> io::Result<bool> {
    let mut options = OpenOptions::new();
    let log = options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)?;
    let mut last = [0];
    log.read_exact_at(&mut last, log.metadata()?.len().saturating_sub(1))?;
    Ok(last == *b"\n")
}

fn open_log(path: &Path) -> Result<File, StartError> {
    let failed = |error: io::Error| failed(Stage::Output, &format!("output file {}", path.display()), &error);
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    }
    let mut options = OpenOptions::new();
    // Not blocking, for a FIFO in its place: that would wait for a reader.
    let flags = libc::O_NOFOLLOW | libc::O_NOCTTY | libc::O_NONBLOCK;
    let file: File =
        options.append(true).create(true).mode(0o600).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::other("it is not a regular file; remove it")));
    }
    // The workload shares these flags, and does not expect this one.
    nix::fcntl::fcntl(&file, nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_APPEND))
        .map_err(|errno| failed(errno.into()))?;
    Ok(file)
}

/// Writes `exited.json`. An exit is never given up: a full disk is waited out. Only where the run
/// directory is gone there is nobody left to tell.
fn record(run: &RunDir, exited: &Exited) {
    let mut pause = Duration::from_millis(50);
    while let Err(error) = run.write_exited(exited) {
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn the_journal_is_told_who_speaks_before_the_job_does() {
        let dir = tempfile::tempdir().expect("a directory");
        let socket = dir.path().join("stdout");
        let journal = UnixListener::bind(&socket).expect("bound");
        let mut stream = File::from(open_journal(&socket, "channel@a").expect("connected"));
        stream.write_all(b"frame=1\n").expect("written");
        drop(stream);
        let mut text = String::new();
        journal.accept().expect("connected").0.read_to_string(&mut text).expect("read");
        assert_eq!(text, "ffrtmp-channel@a\n\n6\n0\n0\n0\n0\nframe=1\n");
    }
}
