//! Starting wrappers: by the nursery, and where there is none, as programs of their own.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::abort;
use crate::linux::process::{self, PidFd};
use crate::linux::sys;
use crate::model::process::Pid;
use crate::model::signal::Signal;
use crate::runs::dir::{LockFile, RunDir};

/// The longest path of a run directory that the nursery can be asked for (PATH_MAX).
pub(super) const MAX_PATH: usize = 4096;

/// What the nursery answers when it has forked: else it is an error number.
pub(super) const FORKED: i32 = 0;

/// How a forked wrapper shows itself: as one that was executed. The run directory follows.
pub(super) const TITLE: &[&[u8]] = &[b"ffrtmp", b"detached", b"--run-dir"];

/// How long the nursery may take to fork, which takes a fraction of a millisecond. Then it is ended.
const PATIENCE: Duration = Duration::from_secs(2);

/// Starts wrappers.
#[derive(Debug)]
pub struct Launcher {
    /// The wrapper program; it may be `/proc/self/fd/N`.
    program: PathBuf,
    /// Room for the longest path of a run directory, in what the nursery shows as its command line.
    room: usize,
    nursery: Option<Nursery>,
}

/// The process that forks wrappers.
#[derive(Debug)]
struct Nursery {
    socket: OwnedFd,
    process: PidFd,
}

/// What came of asking the nursery.
enum Asked {
    /// The wrapper is there.
    Forked,
    /// It is not, and nobody else has tried.
    Refused(io::Error),
    /// There is no nursery to ask.
    Nobody,
    /// The nursery was lost before it answered.
    Lost,
}

impl Launcher {
    /// `runs`: the folder of all run directories.
    #[must_use]
    pub fn new(program: PathBuf, runs: &Path) -> Self {
        let names = 2 * 64 + 2;
        Self { program, room: runs.as_os_str().len() + names, nursery: None }
    }

    /// Starts the wrapper of a run and hands it the lock. The pipe is closed when the workload's program runs, or when
    /// `exited.json` says why it does not.
    ///
    /// # Errors
    /// No wrapper was started; the lock is free again then.
    pub fn launch(&mut self, run: &RunDir, lock: LockFile) -> io::Result<PipeReader> {
        let (ready, begun) = io::pipe()?;
        for _ in 0..2 {
            match self.ask(run, &lock, begun.as_fd()) {
                Asked::Forked => return Ok(ready),
                Asked::Refused(error) => return Err(error),
                Asked::Nobody => {}
                Asked::Lost => {
                    drop((lock, begun));
                    // What has the lock now, or has left a record, is the wrapper.
                    let there = run.wrapper_lives()? || matches!(run.exited(), Ok(Some(_)) | Err(_));
                    // Nothing was started: as where there is no room for one more process.
                    return if there { Ok(ready) } else { Err(Errno::EAGAIN.into()) };
                }
            }
        }
        execute(&self.program, run, lock).map(|(_, ready)| ready)
    }

    /// Has the nursery fork; starts it first where there is none.
    fn ask(&mut self, run: &RunDir, lock: &LockFile, begun: BorrowedFd<'_>) -> Asked {
        if self.nursery.is_none() {
            self.nursery = self.start_nursery().ok();
        }
        let Some(nursery) = &self.nursery else { return Asked::Nobody };
        let path = run.path.as_os_str().as_bytes();
        if sys::send_with(nursery.socket.as_fd(), path, [lock.as_fd(), begun]).is_err() {
            // It did not get the message, so it is asked for nothing.
            self.end_nursery();
            return Asked::Nobody;
        }
        match nursery.answer() {
            Some(FORKED) => Asked::Forked,
            Some(errno) => Asked::Refused(io::Error::from_raw_os_error(errno)),
            None => {
                self.end_nursery();
                Asked::Lost
            }
        }
    }

    fn start_nursery(&self) -> io::Result<Nursery> {
        let flags = SockFlag::SOCK_CLOEXEC;
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?;
        let mut command = Command::new(&self.program);
        command
            .args(["nursery", "--socket-fd", "0", "--room"])
            .arg("-".repeat(self.room))
            .env_clear()
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        abort::hand_on(&mut command);
        let patience = TimeVal::seconds(PATIENCE.as_secs() as _);
        setsockopt(&ours, sockopt::ReceiveTimeout, &patience)?;
        let child = command.spawn()?;
        // It is our child and not yet reaped, so the number is its own.
        let process = Pid::new(child.id()).map(process::identify).transpose()?.flatten();
        let process = process.as_ref().map(PidFd::open).transpose()?.flatten();
        Ok(Nursery { socket: ours, process: process.ok_or_else(|| io::Error::other("it ended at once"))? })
    }

    /// Ends the nursery, and waits until nobody can be forked by it any more.
    fn end_nursery(&mut self) {
        if let Some(nursery) = self.nursery.take() {
            let _ = nursery.process.send(Signal::KILL);
            let _ = nursery.answer();
        }
    }
}

/// Starts the wrapper of a run as a program of its own; see [`Launcher::launch`].
///
/// Lock and pipe travel as standard input and output, which needs no code between fork and exec and leaks them to nobody
/// else. The wrapper gets no environment; it needs none.
///
/// # Errors
/// The program cannot be executed; the lock is free again then.
pub fn execute(program: &Path, run: &RunDir, lock: LockFile) -> io::Result<(Child, PipeReader)> {
    let (ready, begun) = io::pipe()?;
    let mut command = Command::new(program);
    command
        .arg("detached")
        .arg("--run-dir")
        .arg(&run.path)
        .args(["--lock-fd", "0", "--ready-fd", "1"])
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(lock)))
        .stdout(Stdio::from(OwnedFd::from(begun)))
        .stderr(Stdio::null());
    abort::hand_on(&mut command);
    Ok((command.spawn()?, ready))
}

impl Nursery {
    /// Its answer; `None` where it ended, or is silent for too long.
    fn answer(&self) -> Option<i32> {
        let mut answer = [0; size_of::<i32>()];
        let length = loop {
            match nix::unistd::read(&self.socket, &mut answer) {
                Err(Errno::EINTR) => {}
                read => break read.ok()?,
            }
        };
        (length == answer.len()).then(|| i32::from_ne_bytes(answer))
    }
}
