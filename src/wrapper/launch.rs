//! Starting wrappers: by the nursery, and where there is none, as programs of their own.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::fcntl::OFlag;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use crate::abort;
use crate::linux::process::{self, PidFd};
use crate::linux::sys;
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::signal::Signal;
use crate::runs::dir::{LockFile, RunDir};

/// The longest path of a run directory that the nursery can be asked for (PATH_MAX).
pub(super) const MAX_PATH: usize = 4096;

/// How a forked wrapper shows itself: as one that was executed. The run directory follows.
pub(super) const TITLE: &[&[u8]] = &[b"ffrtmp", b"detached", b"--run-dir"];

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
    identity: ProcessIdentity,
    process: PidFd,
}

impl Launcher {
    /// `runs`: the folder of all run directories.
    #[must_use]
    pub fn new(program: PathBuf, runs: &Path) -> Self {
        let names = 2 * 64 + 2;
        Self { program, room: runs.as_os_str().len() + names, nursery: None }
    }

    /// Has the wrapper of a run started, and hands it the lock. The pipe is closed when the workload's program runs, or
    /// when `exited.json` says why it does not; if neither, there was no wrapper, and the error number of a fork that
    /// failed was written into the pipe.
    ///
    /// # Errors
    /// No wrapper was started; the lock is free again then.
    pub fn launch(&mut self, run: &RunDir, lock: LockFile) -> io::Result<PipeReader> {
        let (ready, begun) = pipe()?;
        // One that was killed is replaced.
        for _ in 0..2 {
            if self.nursery.is_none() {
                self.nursery = self.start_nursery().ok();
            }
            let Some(nursery) = &self.nursery else { break };
            let path = run.path.as_os_str().as_bytes();
            match sys::send_with(nursery.socket.as_fd(), path, [lock.as_fd(), begun.as_fd()]) {
                Ok(()) => return Ok(ready),
                Err(_) => self.end_nursery(),
            }
        }
        drop((ready, begun));
        execute(&self.program, run, lock).map(|(_, ready)| ready)
    }

    /// Ends a nursery that does not take what it is asked for. What it has not taken is lost with it, and told by the
    /// pipes of those starts.
    pub fn check(&mut self) {
        let is_deaf = |nursery: &Nursery| {
            sys::unread(nursery.socket.as_fd()).unwrap_or(1) > 0
                // It may have been stopped with a request in its hands.
                || process::is_stopped(&nursery.identity).unwrap_or(false)
        };
        if self.nursery.as_ref().is_some_and(is_deaf) {
            self.end_nursery();
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
        let child = command.spawn()?;
        // It is our child and not yet reaped, so the number is its own.
        let ended = || io::Error::other("it ended at once");
        let identity =
            Pid::new(child.id()).map(process::identify).transpose()?.flatten().ok_or_else(ended)?;
        let process = PidFd::open(&identity)?.ok_or_else(ended)?;
        Ok(Nursery { socket: ours, identity, process })
    }

    fn end_nursery(&mut self) {
        if let Some(nursery) = self.nursery.take() {
            let _ = nursery.process.send(Signal::KILL);
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
    let (ready, begun) = pipe()?;
    let mut command = Command::new(program);
    command
        .arg("detached")
        .arg("--run-dir")
        .arg(&run.path)
        .args(["--lock-fd", "0", "--ready-fd", "1"])
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(lock)))
        .stdout(Stdio::from(begun))
        .stderr(Stdio::null());
    abort::hand_on(&mut command);
    Ok((command.spawn()?, ready))
}

/// A pipe that nobody waits at: its reader asks only once there is something to read.
fn pipe() -> io::Result<(PipeReader, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
    Ok((reader.into(), writer))
}
