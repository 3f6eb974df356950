//! `ffrtmp detached`: the wrapper that the supervisor starts, in a session of its own.
//!
//! One exists per running job, so it is single-threaded and touches as little memory as it can.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use super::attach;
use crate::abort::{self, Point};
use crate::linux::cgroup::{self, counters};
use crate::linux::priority::{self, Members};
use crate::linux::{clock, process, rlimits, spawn, sys};
use crate::model::cgroup::Cgroup;
use crate::model::constraints::{in_force, merge};
use crate::model::evidence::Counters;
use crate::model::exit::{Ended, LostCause, ObservedBy, Stage, StartError};
use crate::model::ids::RunId;
use crate::model::job::{Exec, Output, Workload};
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::report::Usage;
use crate::model::rlimit;
use crate::model::signal::Signal;
use crate::runs::dir::RunDir;
use crate::runs::durable::errno;
use crate::runs::record::{Exited, Spec, Started, VERSION};

/// Where the journal takes streams (systemd-journald.service(8)).
const JOURNAL: &str = "/run/systemd/journal/stdout";

/// How long leftovers of a job have whose spec cannot be read any more.
const DEFAULT_STOP: (Signal, Duration) = (Signal::TERM, Duration::from_secs(10));

/// Longest pause between two attempts to record an exit.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// Between two looks at processes that are in the job's cgroup, and nobody's children here.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Rounds of SIGKILL to what is left over, of a second each.
const KILL_ROUNDS: u32 = 5;

/// Runs the workload of a run directory to its end. `lock_fd` holds the lock of `wrapper.lock`;
/// `ready_fd` is closed once the program runs or `exited.json` says why it does not.
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
    let work = match begin(&run, &lock, &ready) {
        Ok(work) => work,
        Err(Failure { run_id, error }) => {
            record(&run, &Exited::unmeasured(run_id, clock::now(), Ended::NotStarted(error)));
            return ExitCode::SUCCESS;
        }
    };
    drop(ready);
    abort::at(Point::WorkloadReleased);
    // From here on it waits, one of many: what setting up took is given back.
    sys::release_unused_stack();
    match work {
        Work::Started(begun) => {
            record(&run, &wait(&begun, run_id_of(&run)));
            abort::at(Point::ExitedWritten);
            end_leftovers(&run, &begun);
            abort::at(Point::LeftoversEnded);
            // One with a process in it that cannot be ended stays, and is looked at again by the supervisor.
            let _ = begun.cgroup.as_ref().map(cgroup::remove);
            abort::at(Point::CgroupRemoved);
        }
        Work::Observed(observed) => {
            record(&run, &observed.wait(run_id_of(&run)));
            abort::at(Point::ExitedWritten);
            observed.let_go(&run);
        }
    }
    drop(lock);
    ExitCode::SUCCESS
}

/// What this process is there for.
enum Work {
    /// A workload that it has started.
    Started(Box<Begun>),
    /// A process that somebody else started.
    Observed(Box<attach::Observed>),
}

/// A workload that runs.
struct Begun {
    main: ProcessIdentity,
    cgroup: Option<Cgroup>,
    /// What the kernel had counted before it ran.
    baseline: Counters,
    /// Its limit on CPU time in seconds, if the job has one: the kernel raises it with each SIGXCPU.
    cpu_limit: Option<u64>,
}

/// A start that failed, of which run.
struct Failure {
    run_id: RunId,
    error: StartError,
}

pub(super) fn failed(stage: Stage, what: &str, error: &io::Error) -> StartError {
    StartError { stage, errno: errno(error), detail: format!("{what}: {error}") }
}

/// The run that a directory is named after.
fn run_id_of(run: &RunDir) -> RunId {
    run.run_id().unwrap_or_else(|| RunId::new(0, 0))
}

/// Leaves the supervisor's world and starts the workload, or takes it over.
#[inline(never)]
fn begin(run: &RunDir, lock: &OwnedFd, ready: &OwnedFd) -> Result<Work, Failure> {
    let of_run = |error| Failure { run_id: run_id_of(run), error };
    let null =
        detach(lock, ready).map_err(|e| of_run(failed(Stage::Wrapper, "the wrapper's own set-up", &e)))?;
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
        Workload::Attach(_) => attach::begin(run, &spec).map(|observed| Work::Observed(observed.into())),
    };
    begun
        .inspect(|_| leave_cgroup(spec.cgroup.as_ref()))
        .map_err(|error| Failure { run_id: spec.run_id.clone(), error })
}

/// Makes this process independent of whoever started it. Returns `/dev/null`.
fn detach(lock: &OwnedFd, ready: &OwnedFd) -> io::Result<OwnedFd> {
    // Above 2, where the three standard ones go.
    let null = sys::inherited(OpenOptions::new().read(true).write(true).open("/dev/null")?.as_raw_fd())?;
    sys::close_all_but(&mut [lock.as_raw_fd(), ready.as_raw_fd(), null.as_raw_fd()], null.as_fd())?;
    // Fails only for a process that leads a group, and then it is not the supervisor's.
    let _ = nix::unistd::setsid();
    nix::sys::prctl::set_child_subreaper(true)?;
    // The file may have been executed as /proc/self/fd/N, which would be its name.
    nix::sys::prctl::set_name(c"ffrtmp")?;
    sys::ignore_group_signals()?;
    nix::unistd::chdir("/")?;
    Ok(null)
}

/// Starts the workload, and records that it runs before its first instruction.
fn start(run: &RunDir, spec: &Spec, exec: &Exec, null: &OwnedFd) -> Result<Begun, StartError> {
    if let Some(soft) = spec.open_files
        && let Ok((_, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
    {
        // Lowering it cannot fail, and programs that use select(2) break on what the supervisor needs.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard);
    }
    let constraints = spec.job.in_force();
    let kept = in_force(&spec.limits);
    let plan = spawn::Plan::new(exec, &spec.environment, constraints, &kept)?;
    let mut notes = Vec::new();
    let output = open_output(spec, exec.output, null, &mut notes)?;
    let held = spawn::start(plan, spec.cgroup.as_ref(), null.as_fd(), output.as_fd())?;
    abort::at(Point::WorkloadForked);
    let proc_failed = |error: io::Error| failed(Stage::Record, "identifying the new process", &error);
    let main = process::identify(held.pid())
        .and_then(|found| found.ok_or_else(|| io::Error::other("it is gone already")))
        .map_err(proc_failed)?;
    let limits = match held.attempt().cgroup {
        None => spec.limits.clone(),
        Some(errno) => cgroup::outside(
            spec.limits.clone(),
            &format!("entering it failed: {}", io::Error::from_raw_os_error(errno)),
        ),
    };
    let attributes = priority::read_back(Members::Main(&main), constraints, held.attempt(), &kept);
    let mut statuses = merge(constraints, limits, attributes);
    statuses.extend(rlimits::read_back(&main, &exec.rlimits, held.attempt()));
    if constraints.strict
        && let Some(status) = statuses.iter().find(|status| !status.applied)
    {
        let reason = status.reason.as_deref().unwrap_or("it was not read back");
        let detail = format!("constraints.strict is set, and {} is not in force: {reason}", status.name);
        return Err(StartError { stage: Stage::Constraint, errno: None, detail });
    }
    // What is not in its cgroup is not counted there.
    let counted = spec.cgroup.as_ref().filter(|_| held.attempt().cgroup.is_none());
    let baseline = counters::read(counted);
    let started = Started {
        version: VERSION,
        run_id: spec.run_id.clone(),
        at: clock::now(),
        process: main.clone(),
        wrapper: process::current().map_err(proc_failed)?,
        constraints: statuses,
        notes,
        baseline: Some(baseline.clone()),
    };
    let cpu_limit = exec.rlimits.get(&rlimit::Resource::Cpu).and_then(|_| rlimits::cpu_time(main.pid));
    run.write_started(&started).map_err(|error| failed(Stage::Record, "started.json", &error))?;
    abort::at(Point::StartedWritten);
    held.go()?;
    Ok(Begun { main, cgroup: spec.cgroup.clone(), baseline, cpu_limit })
}

/// Moves this process to where wrappers live. After the start, which must not wait for it: the kernel
/// takes milliseconds. Where it fails, it stays in the supervisor's cgroup, and never is in the job's.
fn leave_cgroup(cgroup: Option<&Cgroup>) {
    if let Some(Cgroup::V2 { wrappers, .. }) = cgroup {
        let _ = cgroup::files::write(wrappers, "cgroup.procs", "0");
    }
}

/// Opens what becomes the workload's standard output and error.
fn open_output(
    spec: &Spec,
    output: Output,
    null: &OwnedFd,
    notes: &mut Vec<String>,
) -> Result<OwnedFd, StartError> {
    match output {
        Output::Null => null.try_clone().map_err(|error| failed(Stage::Output, "/dev/null", &error)),
        Output::Journal => match open_journal(Path::new(JOURNAL), spec.job.id.as_str()) {
            Ok(stream) => Ok(stream),
            Err(error) => {
                notes.push(format!(
                    "the journal cannot be reached ({JOURNAL}: {error}): output goes to {}",
                    spec.log.display()
                ));
                open_log(&spec.log)
            }
        },
        Output::File => open_log(&spec.log),
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

fn open_log(path: &Path) -> Result<OwnedFd, StartError> {
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
    Ok(file.into())
}

/// Waits until the main process ends. Orphans that come to us are reaped on the way.
fn wait(begun: &Begun, run_id: RunId) -> Exited {
    loop {
        let Ok(Some(pid)) = sys::peek_exit(true) else {
            // No child is left, and the main one was never seen to end.
            return Exited::unmeasured(run_id, clock::now(), Ended::Lost(LostCause::WrapperLost));
        };
        if pid != begun.main.pid {
            // Gone already: somebody else's it is not, so it was reaped.
            let _ = sys::reap(pid);
            continue;
        }
        // Before it is reaped: then its counters are gone.
        let io = read_io(pid);
        let raised = begun.cpu_limit.and_then(|before| rlimits::cpu_time(pid)?.checked_sub(before));
        let Ok(reaped) = sys::reap(pid) else { continue };
        abort::at(Point::WorkloadReaped);
        let at = clock::now();
        // A kill for memory was counted before the signal was sent.
        let (mut evidence, used) = counters::read(begun.cgroup.as_ref()).since(&begun.baseline);
        evidence.cpu_limit_signals = raised.unwrap_or(0);
        let usage = used.or(&Usage {
            cpu_sec: Some(reaped.cpu_sec),
            memory_peak_bytes: Some(reaped.memory_peak_bytes),
            io_read_bytes: io.0,
            io_write_bytes: io.1,
            ..Usage::default()
        });
        let exited = Exited::waited(run_id, at, reaped.status, ObservedBy::Parent);
        return Exited { usage, evidence: Some(evidence), ..exited };
    }
}

/// Bytes read from and written to storage (`/proc/PID/io`), with those of the children it waited for.
/// Nothing where we may not see them.
fn read_io(pid: Pid) -> (Option<u64>, Option<u64>) {
    let text = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    (field("read_bytes:"), field("write_bytes:"))
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

/// Ends what the main process left behind: its signal once, the time the job gives, then SIGKILL.
fn end_leftovers(run: &RunDir, begun: &Begun) {
    let (main, cgroup) = (&begun.main, begun.cgroup.as_ref());
    let Ok(wrapper) = process::current() else { return };
    if all_gone(cgroup) {
        return;
    }
    // As the job is declared now: an edit in place may have changed it.
    let (signal, timeout) = match run.spec() {
        Ok(Some(spec)) => (spec.job.stop.signal, spec.job.stop.timeout),
        _ => DEFAULT_STOP,
    };
    let leftovers = process::family(&wrapper).unwrap_or_default();
    for leftover in &leftovers {
        // Gone or not ours to signal: SIGKILL is tried later all the same.
        let _ = process::PidFd::open(leftover).and_then(|pidfd| pidfd.map_or(Ok(false), |p| p.send(signal)));
    }
    // What is nobody's child here any more is in the cgroup all the same.
    let _ = cgroup.map(|cgroup| cgroup::signal(cgroup, signal, &leftovers));
    if all_gone_within(timeout, cgroup) {
        return;
    }
    for _ in 0..KILL_ROUNDS {
        // What refuses is not ours (it changed its user): the others have got theirs.
        let _ = cgroup.map(cgroup::kill);
        let _ = process::kill_family(Some(&wrapper), main);
        if all_gone_within(Duration::from_secs(1), cgroup) {
            return;
        }
    }
}

/// Whether everything that the main process left has ended within this time; reaps what are children.
fn all_gone_within(timeout: Duration, cgroup: Option<&Cgroup>) -> bool {
    let begin = Instant::now();
    loop {
        if all_gone(cgroup) {
            return true;
        }
        let left = timeout.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return false;
        }
        // Of what is no child there is no signal.
        sys::wait_for_child_signal(if no_child_is_left() { left.min(LOOK_AGAIN) } else { left });
    }
}

/// Whether no child is left, born or adopted, and nothing in the cgroup.
fn all_gone(cgroup: Option<&Cgroup>) -> bool {
    no_child_is_left() && cgroup.map(cgroup::procs).and_then(Result::ok).is_none_or(|procs| procs.is_empty())
}

/// Reaps the children that have ended; true if none is left.
fn no_child_is_left() -> bool {
    loop {
        match sys::peek_exit(false) {
            Ok(Some(pid)) => drop(sys::reap(pid)),
            Ok(None) => return false,
            Err(_) => return true,
        }
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
