//! Starting a workload: the steps between fork and exec.
//!
//! Everything the child needs is made before the fork. In the child there is no allocation, no lock
//! and no log: only calls that signal-safety(7) lists, or bare system calls. A failing step is told to
//! the parent, by its number and errno, over a socket that exec closes.
#![allow(unsafe_code)]

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};

use super::priority::{Attempt, io_priority_of};
use super::process;
use super::rlimits::{self, Raw};
use super::sys;
use super::user::{self, Credentials};
use crate::model::cgroup::Cgroup;
use crate::model::constraints::{ConstraintName, Constraints};
use crate::model::cpus::CpuSet;
use crate::model::exit::{Stage, StartError, WaitStatus};
use crate::model::job::Exec;
use crate::model::process::Pid;
use crate::model::rlimit::Resource;

/// Where a program is looked for if the environment has no PATH (execvp(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The file mode creation mask of a job that names none.
const DEFAULT_UMASK: u32 = 0o022;

/// What a workload has from whoever starts it, where nothing else is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// Nothing, like a service: a session of its own, the kernel's default priorities, signals and umask, no
    /// descriptors.
    Service,
    /// Everything, like a command that env(1) starts: priorities, umask, descriptors, and these signals,
    /// which stay ignored (nohup(1)).
    Command {
        /// It leads a session of its own, which signals to its parent's process group do not reach. Else it
        /// is in that group, and takes part in the terminal's job control.
        session: bool,
        /// The numbers of the signals.
        ignored: Vec<i32>,
    },
}

/// A workload, ready to be started: all that the child will touch.
#[derive(Debug)]
pub struct Plan {
    argv: Vec<CString>,
    environment: Vec<CString>,
    /// The paths to execute, one after the other until one works.
    candidates: Vec<CString>,
    working_dir: CString,
    credentials: Option<Credentials>,
    umask: Option<u32>,
    manner: Manner,
    nice: Option<i8>,
    /// The text to write.
    oom_score_adj: Option<CString>,
    cpus: Option<CpuSet>,
    /// As the kernel takes it.
    io_priority: Option<i32>,
    /// The message if it is refused, and the limit as the kernel takes it.
    rlimits: Vec<(i32, i32, Raw)>,
    /// For messages.
    search_path: String,
}

impl Plan {
    /// Looks up and lays out what a start needs. `argv` is the command, for those that are no text `exec`
    /// could hold. Of the constraints, the process sets those that are attributes of its own, but for what
    /// `elsewhere` names: another mechanism keeps it.
    ///
    /// # Errors
    /// What can be known before the fork: an empty command, a NUL in a text, an unknown user.
    pub fn new<T: AsRef<OsStr>>(
        exec: &Exec,
        argv: &[T],
        environment: &[(T, T)],
        constraints: &Constraints,
        elsewhere: &[ConstraintName],
        manner: Manner,
    ) -> Result<Self, StartError> {
        let text = |stage, what: &str, text: &[u8]| {
            CString::new(text).map_err(|_| failed(stage, None, format!("{what} holds a NUL character")))
        };
        let Some(program) = argv.first().map(AsRef::as_ref).filter(|program| !program.is_empty()) else {
            return Err(failed(Stage::Exec, None, "exec.command names no program".into()));
        };
        let words = argv
            .iter()
            .map(|argument| text(Stage::Exec, "exec.command", argument.as_ref().as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let variables = environment
            .iter()
            .map(|(key, value)| {
                let (key, value) = (key.as_ref(), value.as_ref());
                let line = [key.as_bytes(), b"=", value.as_bytes()].concat();
                text(Stage::Environment, &key.to_string_lossy(), &line)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let path = environment.iter().rev().find(|(key, _)| key.as_ref() == "PATH");
        let search_path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value.as_ref());
        let candidates = candidates(program, search_path)
            .into_iter()
            .map(|path| text(Stage::Exec, "PATH", &path))
            .collect::<Result<Vec<_>, _>>()?;
        let working_dir = exec.working_dir.as_deref().unwrap_or(Path::new("/"));
        let default_umask = match manner {
            Manner::Service => Some(DEFAULT_UMASK),
            Manner::Command { .. } => None,
        };
        Ok(Self {
            argv: words,
            environment: variables,
            candidates,
            working_dir: text(Stage::WorkingDir, "exec.working_dir", working_dir.as_os_str().as_bytes())?,
            credentials: user::credentials(exec.user.as_deref(), exec.group.as_deref())?,
            umask: exec.umask.or(default_umask),
            manner,
            nice: constraints.nice,
            oom_score_adj: constraints.oom_score_adj.and_then(|value| CString::new(value.to_string()).ok()),
            cpus: constraints.cpus.clone().filter(|_| !elsewhere.contains(&ConstraintName::Cpus)),
            io_priority: constraints.io_class.map(|class| io_priority_of(Some(class))),
            rlimits: exec
                .rlimits
                .iter()
                .map(|(&resource, limit)| {
                    let (number, values) = rlimits::raw(resource, limit);
                    (FIRST_RLIMIT + resource as i32, number, values)
                })
                .collect(),
            search_path: search_path.to_string_lossy().into_owned(),
        })
    }

    /// In words, why a step failed and what to do.
    fn explain(&self, step: Step, errno: i32) -> StartError {
        let cause = Errno::from_raw(errno).desc();
        let (stage, detail) = match step {
            Step::Session => (Stage::Session, format!("setsid: {cause}")),
            Step::Stdio => (Stage::Stdio, format!("standard input, output and error: {cause}")),
            Step::Groups | Step::Gid | Step::Uid => {
                let (uid, gid) = self.credentials.as_ref().map_or((0, 0), |c| (c.uid, c.gid));
                let what = match step {
                    Step::Groups => "supplementary groups",
                    Step::Gid => "group",
                    _ => "user",
                };
                let advice = match errno {
                    libc::EPERM => "; only root can start a job as another user",
                    libc::EAGAIN => "; the user has as many processes as its RLIMIT_NPROC allows",
                    _ => "",
                };
                (
                    Stage::Credentials,
                    format!("cannot become user {uid}, group {gid} (setting the {what}): {cause}{advice}"),
                )
            }
            Step::NoNewPrivileges => (Stage::Credentials, format!("PR_SET_NO_NEW_PRIVS: {cause}")),
            Step::WorkingDir => {
                let advice = match errno {
                    libc::ENOENT | libc::ENOTDIR => "create it or correct exec.working_dir",
                    libc::EACCES => "let the job's user enter it (and every directory above it)",
                    _ => "correct exec.working_dir",
                };
                let dir = self.working_dir.to_string_lossy();
                (Stage::WorkingDir, format!("working directory {dir}: {cause}; {advice}"))
            }
            Step::Exec => (Stage::Exec, self.explain_exec(errno, cause)),
        };
        failed(stage, Some(errno), detail)
    }

    fn explain_exec(&self, errno: i32, cause: &str) -> String {
        let program = self.argv.first().map_or("".into(), |program| program.to_string_lossy());
        let searched = !program.contains('/');
        // As the child saw it: a relative path starts at the working directory.
        let dir = Path::new(std::ffi::OsStr::from_bytes(self.working_dir.as_bytes()));
        let exists = |path: &CString| dir.join(std::ffi::OsStr::from_bytes(path.as_bytes())).exists();
        match errno {
            libc::ENOENT if self.candidates.iter().any(exists) => format!(
                "program {program:?} cannot be executed: its interpreter (the first line's #!, or the dynamic \
                 loader) does not exist; install it or correct exec.command"
            ),
            libc::ENOENT | libc::ENOTDIR if searched => format!(
                "program {program:?} not found in PATH ({}); install it, give its full path in exec.command, or \
                 set PATH in exec.env",
                self.search_path
            ),
            libc::ENOENT | libc::ENOTDIR => {
                format!("program {program:?} does not exist; install it or correct exec.command")
            }
            libc::EACCES => format!(
                "program {program:?} is not executable for the job's user: {cause}; chmod +x it, or look at the \
                 directories above it and at noexec mounts"
            ),
            libc::ENOEXEC => format!(
                "program {program:?} is of no format that the kernel executes; a script needs a first line like \
                 #!/bin/sh, a binary has to be for this machine"
            ),
            libc::EAGAIN => format!(
                "program {program:?} cannot be executed: its user has as many processes as RLIMIT_NPROC allows; \
                 raise exec.rlimits.nproc, which counts all that the user runs"
            ),
            libc::E2BIG => format!(
                "program {program:?}: arguments and environment are longer than the kernel allows; shorten \
                 exec.command, exec.env or the env files"
            ),
            _ => format!("program {program:?} cannot be executed: {cause}"),
        }
    }
}

/// Where execvp(3) would look: the name itself if it has a slash, else in each directory of PATH, of
/// which an empty one is the working directory.
fn candidates(program: &OsStr, search_path: &OsStr) -> Vec<Vec<u8>> {
    let program = program.as_bytes();
    if program.contains(&b'/') {
        return vec![program.into()];
    }
    let dirs = search_path.as_bytes().split(|byte| *byte == b':');
    dirs.map(|dir| [if dir.is_empty() { b"." } else { dir }, b"/", program].concat()).collect()
}

fn failed(stage: Stage, errno: Option<i32>, detail: String) -> StartError {
    StartError { stage, errno, detail }
}

fn fork_failed(what: &str, error: &io::Error) -> StartError {
    failed(Stage::Fork, error.raw_os_error(), format!("{what}: {error}"))
}

/// The steps that can end a start, as they travel over the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Session,
    Stdio,
    Groups,
    Gid,
    Uid,
    NoNewPrivileges,
    WorkingDir,
    Exec,
}

/// A message of the child: what, and the errno.
type Message = [i32; 2];
const READY: i32 = 0;
const NICE: i32 = 1;
const OOM_SCORE_ADJ: i32 = 2;
const CGROUP: i32 = 3;
const CPUS: i32 = 4;
const IO_CLASS: i32 = 5;
const FIRST_STEP: i32 = 16;
const FIRST_RLIMIT: i32 = 64;

/// The attribute that a message says was refused.
fn refused(code: i32) -> Option<ConstraintName> {
    match code {
        NICE => Some(ConstraintName::Nice),
        OOM_SCORE_ADJ => Some(ConstraintName::OomScoreAdj),
        CPUS => Some(ConstraintName::Cpus),
        IO_CLASS => Some(ConstraintName::IoClass),
        code => {
            let found = Resource::ALL.into_iter().find(|resource| FIRST_RLIMIT + *resource as i32 == code);
            found.map(ConstraintName::Rlimit)
        }
    }
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Session,
        Self::Stdio,
        Self::Groups,
        Self::Gid,
        Self::Uid,
        Self::NoNewPrivileges,
        Self::WorkingDir,
        Self::Exec,
    ];

    fn code(self) -> i32 {
        FIRST_STEP + self as i32
    }

    fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.code() == code)
    }
}

/// A child that is set up and waits for the word to execute the program. Dropped, it ends and is
/// reaped, and nothing of the program has run.
#[derive(Debug)]
pub struct Held {
    plan: Plan,
    pid: Pid,
    attempt: Attempt,
    /// What the child tells, and where it waits for the word.
    line: File,
    /// It was told to go on, or is known to have ended.
    released: bool,
}

impl Held {
    /// The child, which will be the workload's main process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Which attributes could not be set.
    #[must_use]
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Lets the child execute the program, and waits until it does.
    ///
    /// # Errors
    /// Stage `Exec`: it could not; the child has ended and is reaped.
    pub fn go(mut self) -> Result<(), StartError> {
        if let Err(error) = self.line.write_all(&[1])
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(fork_failed("the child could not be told to go on", &error));
        }
        self.released = true;
        match receive(&mut self.line) {
            // Exec closed the line. (So does a signal at this very moment; that end is waited for like any.)
            Ok(None) => Ok(()),
            Ok(Some([code, errno])) => {
                self.reap();
                let step = Step::from_code(code).unwrap_or(Step::Exec);
                Err(self.plan.explain(step, errno))
            }
            Err(error) => {
                self.reap();
                Err(fork_failed("the child cannot be heard", &error))
            }
        }
    }

    /// Waits for a child that is about to end, and tells how it did.
    fn reap(&self) -> Option<WaitStatus> {
        WaitStatus::from_raw(sys::reap(self.pid).ok()?.status)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.released {
            // The child reads the end of the line, and is gone.
            let _ = shutdown(self.line.as_raw_fd(), Shutdown::Both);
            self.reap();
        }
    }
}

/// The kernel's `struct clone_args` (clone3(2)).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// clone3(2), since Linux 5.7. libc's constant of this name does not fit its type, and is 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// How a child comes into its cgroup.
enum Entry {
    /// It is made there: a directory of version 2.
    Born(OwnedFd),
    /// It writes itself into these files, all of which must work.
    Joins(Vec<OwnedFd>),
    /// Not at all: an error number.
    Refused(i32),
}

impl Entry {
    fn new(cgroup: Option<&Cgroup>) -> Self {
        match cgroup {
            None => Self::Joins(Vec::new()),
            Some(Cgroup::V2 { dir, .. }) => open(dir, libc::O_PATH | libc::O_DIRECTORY, Self::Born),
            // `tasks`, not `cgroup.procs`: a process with one thread that moves itself so need not wait for
            // all others in the kernel, which takes milliseconds.
            Some(Cgroup::V1 { dirs }) => {
                let unique: BTreeSet<_> = dirs.values().collect();
                let files = unique.into_iter().map(|dir| open_fd(&dir.join("tasks"), libc::O_WRONLY));
                files.collect::<io::Result<_>>().map_or_else(Self::refused, Self::Joins)
            }
        }
    }

    /// Where a child cannot be made in its cgroup: before Linux 5.7, or forbidden by a filter.
    fn fallback(cgroup: Option<&Cgroup>) -> Self {
        match cgroup {
            Some(Cgroup::V2 { dir, .. }) => {
                open(&dir.join("cgroup.procs"), libc::O_WRONLY, |fd| Self::Joins(vec![fd]))
            }
            other => Self::new(other),
        }
    }

    fn refused(error: io::Error) -> Self {
        Self::Refused(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

fn open(path: &Path, flags: i32, entry: impl FnOnce(OwnedFd) -> Entry) -> Entry {
    open_fd(path, flags).map_or_else(Entry::refused, entry)
}

fn open_fd(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let mut options = File::options();
    // One of the two is asked for by std; with O_PATH the kernel passes over it.
    let writes = flags & libc::O_ACCMODE == libc::O_WRONLY;
    options.read(!writes).write(writes).custom_flags(flags & !libc::O_ACCMODE).open(path).map(Into::into)
}

/// A workload's standard input, output and error.
#[derive(Debug, Clone, Copy)]
pub struct Stdio<'a> {
    /// Standard input.
    pub input: BorrowedFd<'a>,
    /// Standard output.
    pub output: BorrowedFd<'a>,
    /// Standard error.
    pub error: BorrowedFd<'a>,
}

/// Makes the process, in its cgroup, and has it set itself up; the program does not run yet. Every
/// descriptor of this process that a command is not to inherit has to be close-on-exec; those of `stdio`
/// are above 2.
///
/// # Errors
/// The step that failed; nothing is left of the child then. That it could not enter its cgroup is no
/// such step: see [`Held::attempt`].
pub fn start(plan: Plan, cgroup: Option<&Cgroup>, stdio: Stdio<'_>) -> Result<Held, StartError> {
    let argv = pointers(&plan.argv);
    let environment = pointers(&plan.environment);
    let (line, line_of_child) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| fork_failed("a line to the child", &errno.into()))?;
    let mut entry = Entry::new(cgroup);
    let signals = to_reset(match &plan.manner {
        Manner::Service => &[],
        Manner::Command { ignored, .. } => ignored,
    });
    let setup = |entry: &Entry| Setup {
        plan: &plan,
        argv: &argv,
        environment: &environment,
        cgroup: match entry {
            Entry::Joins(files) => files.iter().map(AsRawFd::as_raw_fd).collect(),
            Entry::Born(_) | Entry::Refused(_) => Vec::new(),
        },
        stdio: [stdio.input, stdio.output, stdio.error].map(|fd| fd.as_raw_fd()),
        line: line_of_child.as_raw_fd(),
        line_of_parent: line.as_raw_fd(),
        signals: signals.clone(),
    };
    let mut pid = match &entry {
        Entry::Born(dir) => {
            let setup = setup(&entry);
            // SAFETY: as for fork below; the new process has copies of everything this one has, and no
            // memory is shared.
            unsafe { clone_into(dir, &setup) }
        }
        _ => -1,
    };
    if pid == -1 {
        if matches!(entry, Entry::Born(_)) {
            entry = Entry::fallback(cgroup);
        }
        let setup = setup(&entry);
        // SAFETY: the child runs `Setup::child` only, which never returns, allocates nothing, takes no lock
        // and makes only async-signal-safe calls; this holds even if this process had other threads.
        pid = match unsafe { libc::fork() } {
            // SAFETY: this is the child, and everything `setup` borrows outlives it here.
            0 => unsafe { setup.child() },
            pid => pid,
        };
    }
    if pid == -1 {
        let error = io::Error::last_os_error();
        let advice = match error.raw_os_error() {
            Some(libc::EAGAIN) => " (too many processes: look at RLIMIT_NPROC, pids.max and kernel.pid_max)",
            _ => "",
        };
        return Err(fork_failed(&format!("fork{advice}"), &error));
    }
    let pid = u32::try_from(pid).ok().and_then(Pid::new);
    let Some(pid) = pid else {
        return Err(failed(Stage::Fork, None, "fork returned no pid".into()));
    };
    drop(line_of_child);
    let attempt = Attempt {
        cgroup: if let Entry::Refused(errno) = entry { Some(errno) } else { None },
        ..Attempt::default()
    };
    let mut held = Held { plan, pid, attempt, line: line.into(), released: false };
    loop {
        match receive(&mut held.line) {
            Ok(Some([READY, _])) => return Ok(held),
            Ok(Some([CGROUP, errno])) => held.attempt.cgroup = Some(errno),
            Ok(Some([code, errno])) => match refused(code) {
                Some(name) => held.attempt.refused.push((name, errno)),
                // Dropping `held` reaps the child in each of these cases.
                None => {
                    let step = Step::from_code(code).unwrap_or(Step::Session);
                    return Err(held.plan.explain(step, errno));
                }
            },
            Ok(None) => {
                held.released = true;
                let how = match held.reap() {
                    Some(WaitStatus::Signaled(signal)) => format!(" by {signal}"),
                    _ => String::new(),
                };
                return Err(failed(
                    Stage::Fork,
                    None,
                    format!("the child was ended{how} before it was set up"),
                ));
            }
            Err(error) => return Err(fork_failed("the child cannot be heard", &error)),
        }
    }
}

/// The next message; `None` when the child has closed its end.
fn receive(line: &mut File) -> io::Result<Option<Message>> {
    let mut bytes = [0; size_of::<Message>()];
    match line.read_exact(&mut bytes) {
        Ok(()) => {
            let [a, b, c, d, e, f, g, h] = bytes;
            Ok(Some([i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h])]))
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        // It ended before it read the word.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}

/// A list as execve(2) takes it, ending in null.
fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// What the child works with. Made by the parent, only read by the child.
struct Setup<'a> {
    plan: &'a Plan,
    argv: &'a [*const libc::c_char],
    environment: &'a [*const libc::c_char],
    /// The files to write itself into.
    cgroup: Vec<RawFd>,
    /// What becomes 0, 1 and 2.
    stdio: [RawFd; 3],
    line: RawFd,
    line_of_parent: RawFd,
    /// The signals that have another disposition than they are to have.
    signals: Vec<i32>,
}

/// fork(2) into a cgroup. Returns in the parent only: the child's pid, or -1.
///
/// # Safety
/// As fork(2) with [`Setup::child`] after it.
unsafe fn clone_into(dir: &OwnedFd, setup: &Setup<'_>) -> i32 {
    let args = CloneArgs {
        flags: CLONE_INTO_CGROUP,
        exit_signal: libc::SIGCHLD as u64,
        cgroup: dir.as_raw_fd() as u64,
        ..CloneArgs::default()
    };
    // SAFETY: the struct is the kernel's, of the size that is given; without a stack and without shared
    // memory this is fork(2).
    match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) } {
        // SAFETY: this is the child.
        0 => unsafe { setup.child() },
        pid => i32::try_from(pid).unwrap_or(-1),
    }
}

/// The calling thread's errno.
fn errno() -> i32 {
    Errno::last_raw()
}

impl Setup<'_> {
    /// The life of the child until exec.
    ///
    /// # Safety
    /// Only in a process that fork(2) just made.
    unsafe fn child(&self) -> ! {
        // SAFETY: every call below is async-signal-safe, and is given integers or pointers to memory
        // that was made before the fork and stays as it is.
        unsafe {
            // Open here, too, it would keep the word from ever failing to come.
            libc::close(self.line_of_parent);
            // First: everything from here on is charged to the job.
            for file in &self.cgroup {
                if libc::write(*file, c"0".as_ptr().cast(), 1) == -1 {
                    self.tell(CGROUP, errno());
                }
            }
            let (session, ignored): (bool, &[i32]) = match &self.plan.manner {
                Manner::Service => (true, &[]),
                Manner::Command { session, ignored } => (*session, ignored),
            };
            if session && libc::setsid() == -1 {
                self.fail(Step::Session);
            }
            reset_signals(&self.signals, ignored);
            self.attributes();
            if let Some(umask) = self.plan.umask {
                libc::umask(umask as libc::mode_t);
            }
            for (to, from) in (0..).zip(self.stdio) {
                if libc::dup2(from, to) == -1 {
                    self.fail(Step::Stdio);
                }
            }
            // While it may still have the privilege to raise them.
            self.rlimits();
            self.credentials();
            if libc::chdir(self.plan.working_dir.as_ptr()) == -1 {
                self.fail(Step::WorkingDir);
            }
            self.tell(READY, 0);
            self.await_word();
            // Whatever may have slipped past close-on-exec. Kernels before 5.11 lack the flag: there the
            // wrapper's own descriptors are close-on-exec all the same.
            if self.plan.manner == Manner::Service {
                libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            }
            self.execute()
        }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn attributes(&self) {
        // SAFETY: as in `child`.
        unsafe {
            // What is not asked for is the kernel's default, not what the supervisor happens to have:
            // with an inherited oom_score_adj of -1000 no limit of the job's would ever end it. Where
            // the kernel refuses, nothing was promised. A command has what its caller has.
            let service = self.plan.manner == Manner::Service;
            if let Some(nice) = self.plan.nice.or(service.then_some(0))
                && libc::setpriority(libc::PRIO_PROCESS as _, 0, nice.into()) == -1
                && self.plan.nice.is_some()
            {
                self.tell(NICE, errno());
            }
            // As with nice: not even best-effort, which would no longer follow nice.
            if let Some(value) = self.plan.io_priority.or(service.then_some(0))
                && libc::syscall(libc::SYS_ioprio_set, sys::IOPRIO_THREAD, 0, value) == -1
                && self.plan.io_priority.is_some()
            {
                self.tell(IO_CLASS, errno());
            }
            // Unset, the affinity is what was inherited: who started the supervisor, or isolated CPUs at
            // boot, keeps all workloads off some.
            if let Some(cpus) = &self.plan.cpus {
                let words = cpus.words();
                let size = size_of_val(words);
                if libc::syscall(libc::SYS_sched_setaffinity, 0, size, words.as_ptr()) == -1 {
                    self.tell(CPUS, errno());
                }
            }
            let value = self.plan.oom_score_adj.as_deref();
            if let Some(value) = value.or(service.then_some(c"0"))
                && let Err(errno) = write_oom_score_adj(value)
                && self.plan.oom_score_adj.is_some()
            {
                self.tell(OOM_SCORE_ADJ, errno);
            }
        }
    }

    /// Sets the limits; one that is above what is allowed, as near to it as can be.
    ///
    /// # Safety
    /// As [`Setup::child`].
    unsafe fn rlimits(&self) {
        for &(code, number, wanted) in &self.plan.rlimits {
            // SAFETY: as in `child`; prlimit(2) of this process, on the kernel's own struct of two numbers.
            // The C libraries' calls have other ones, and some of them take locks.
            unsafe {
                let this = 0;
                let (read, written) = (ptr::null_mut::<Raw>(), ptr::null::<Raw>());
                if libc::syscall(libc::SYS_prlimit64, this, number, &raw const wanted, read) == 0 {
                    continue;
                }
                self.tell(code, errno());
                let mut allowed: Raw = [0; 2];
                if libc::syscall(libc::SYS_prlimit64, this, number, written, &raw mut allowed) == 0 {
                    let [_, hard] = allowed;
                    let nearest: Raw = wanted.map(|value| value.min(hard));
                    libc::syscall(libc::SYS_prlimit64, this, number, &raw const nearest, read);
                }
            }
        }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn credentials(&self) {
        let Some(credentials) = &self.plan.credentials else { return };
        // SAFETY: as in `child`. The C libraries apply these calls to all threads by signalling them; the
        // child of a fork has only one.
        unsafe {
            if libc::setgroups(credentials.groups.len() as _, credentials.groups.as_ptr()) == -1 {
                self.fail(Step::Groups);
            }
            if libc::setgid(credentials.gid) == -1 {
                self.fail(Step::Gid);
            }
            if libc::setuid(credentials.uid) == -1 {
                self.fail(Step::Uid);
            }
            let (one, zero): (libc::c_ulong, libc::c_ulong) = (1, 0);
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) == -1 {
                self.fail(Step::NoNewPrivileges);
            }
        }
    }

    /// Returns when the parent says so; ends the process when the parent is gone or has decided otherwise.
    ///
    /// # Safety
    /// As [`Setup::child`].
    unsafe fn await_word(&self) {
        let mut word = 0_u8;
        loop {
            // SAFETY: one byte, into a local of one byte.
            match unsafe { libc::read(self.line, (&raw mut word).cast(), 1) } {
                1 => return,
                -1 if errno() == libc::EINTR => {}
                // SAFETY: ends this process, without running anything of the parent's.
                _ => unsafe { libc::_exit(127) },
            }
        }
    }

    /// Executes the first candidate that can be, as execvp(3) does, but never through a shell.
    ///
    /// # Safety
    /// As [`Setup::child`].
    unsafe fn execute(&self) -> ! {
        let mut remembered = libc::ENOENT;
        for path in &self.plan.candidates {
            // SAFETY: the lists end in null and, like the path, point to memory that is still there.
            unsafe { libc::execve(path.as_ptr(), self.argv.as_ptr(), self.environment.as_ptr()) };
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => remembered = libc::EACCES,
                // SAFETY: as in `child`.
                other => unsafe { self.fail_with(Step::Exec, other) },
            }
        }
        // SAFETY: as in `child`.
        unsafe { self.fail_with(Step::Exec, remembered) }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn fail(&self, step: Step) -> ! {
        // SAFETY: as in `child`.
        unsafe { self.fail_with(step, errno()) }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn fail_with(&self, step: Step, errno: i32) -> ! {
        // SAFETY: as in `child`.
        unsafe {
            self.tell(step.code(), errno);
            libc::_exit(127)
        }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn tell(&self, code: i32, errno: i32) {
        let message: Message = [code, errno];
        // SAFETY: the message is a local; so few bytes are sent whole or not at all. If the parent
        // is gone, there is nobody to tell.
        unsafe { libc::write(self.line, message.as_ptr().cast(), size_of::<Message>()) };
    }
}

/// Reads once, for this process and all that are forked from it, what [`start`] asks of `/proc`.
pub fn warm_up() {
    to_reset(&[]);
}

/// The signals that may have another disposition than the default (`SigIgn` and `SigCgt` of `/proc/PID/status`), and
/// those that are to have one; all of them where that cannot be read.
fn to_reset(ignored: &[i32]) -> Vec<i32> {
    /// Nobody here changes a disposition after that, but for SIGCHLD.
    static MASK: OnceLock<Option<u64>> = OnceLock::new();
    let read = || {
        let mask = |field| u64::from_str_radix(&process::own_status(field)?, 16).ok();
        mask("SigIgn").zip(mask("SigCgt")).map(|(ignored, caught)| ignored | caught)
    };
    let Some(mask) = *MASK.get_or_init(read) else { return (1..=64).collect() };
    (1..=64).filter(|signal| mask & (1 << (signal - 1)) != 0 || ignored.contains(signal)).collect()
}

/// Gives these signals their default, but for those that stay ignored, then empties the mask.
///
/// # Safety
/// Async-signal-safe; changes the whole process.
unsafe fn reset_signals(signals: &[i32], ignored: &[i32]) {
    // The kernel's own call, because the C libraries refuse to touch the signals they keep for
    // themselves, of which an ancestor may have ignored one. All zeros: SIG_DFL, no flags, no mask.
    let default = [0_u64; 8];
    let mut ignore = default;
    // The first member is the handler, as wide as an address.
    ignore[0] = libc::SIG_IGN as u64;
    let set_size: libc::size_t = 8;
    for &signal in signals {
        let disposition = if ignored.contains(&signal) { &ignore } else { &default };
        // SAFETY: either is larger than the kernel's struct sigaction. SIGKILL and SIGSTOP answer
        // EINVAL, which is as it should be.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                disposition.as_ptr(),
                ptr::null_mut::<libc::c_void>(),
                set_size,
            )
        };
    }
    // SAFETY: an empty set of the kernel's size.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            default.as_ptr(),
            ptr::null_mut::<libc::c_void>(),
            set_size,
        )
    };
}

/// Writes this process's own value.
///
/// # Safety
/// Async-signal-safe.
unsafe fn write_oom_score_adj(value: &CStr) -> Result<(), i32> {
    // SAFETY: constant path, and a text whose length is known.
    unsafe {
        let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd == -1 {
            return Err(errno());
        }
        let written = libc::write(fd, value.as_ptr().cast(), value.count_bytes());
        let result = if written == -1 { Err(errno()) } else { Ok(()) };
        libc::close(fd);
        result
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_program_is_looked_for_as_execvp_does() {
        let looked_for = |program: &str, path: &str| {
            let found = candidates(program.as_ref(), path.as_ref()).into_iter();
            found.map(|path| String::from_utf8(path).expect("text")).collect::<Vec<_>>()
        };
        assert_eq!(looked_for("/bin/true", "/usr/bin"), ["/bin/true"]);
        assert_eq!(looked_for("./run", "/usr/bin"), ["./run"]);
        assert_eq!(looked_for("ffmpeg", "/usr/bin::/bin"), ["/usr/bin/ffmpeg", "./ffmpeg", "/bin/ffmpeg"]);
    }

    fn held(command: &[&str]) -> Held {
        let exec = format!("{{\"command\": {command:?}}}");
        let exec: Exec = serde_json::from_str(&exec).expect("an exec table");
        let none = Constraints::default();
        let plan = Plan::new(&exec, &exec.command, &[], &none, &[], Manner::Service).expect("a plan");
        let null = File::options().read(true).write(true).open("/dev/null").expect("opened");
        let null = null.as_fd();
        start(plan, None, Stdio { input: null, output: null, error: null }).expect("set up")
    }

    /// One test, because a second child would hold this process's end of the first one's line.
    #[test]
    fn nothing_runs_without_the_word() {
        let dir = tempfile::tempdir().expect("a directory");
        let trace = dir.path().join("trace");
        let command = ["touch", trace.to_str().expect("a path")];
        let waiting = held(&command);
        let pid = waiting.pid();
        // As when the wrapper dies here: the line is closed.
        drop(waiting);
        assert!(sys::reap(pid).is_err(), "the child has ended and was reaped");
        assert!(!trace.exists());
        let waiting = held(&command);
        let pid = waiting.pid();
        waiting.go().expect("executed");
        assert_eq!(sys::reap(pid).expect("our child").status, 0);
        assert!(trace.exists());
    }

    #[test]
    fn a_nul_is_refused_before_anything_is_made() {
        let plan = |command: &str, variable: &str| {
            let exec: Exec =
                serde_json::from_value(serde_json::json!({"command": [command]})).expect("a table");
            let environment = [(String::from("KEY"), String::from(variable))];
            let plan =
                Plan::new(&exec, &exec.command, &environment, &Constraints::default(), &[], Manner::Service);
            plan.map_err(|error| error.stage).err()
        };
        assert_eq!(plan("a\0b", ""), Some(Stage::Exec));
        assert_eq!(plan("a", "\0"), Some(Stage::Environment));
        assert_eq!(plan("", ""), Some(Stage::Exec));
        assert_eq!(plan("a", ""), None);
    }
}
