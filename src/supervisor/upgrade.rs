//! A new version takes over on SIGUSR2: the program that this one was started by is executed again, in this
//! very process. So the pid, the children, the lock on the state and the service manager's regard all stay.

use std::env;
use std::ffi::{CString, OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};

use super::lock::SupervisorLock;
use crate::linux::process::{self, PidFd};
use crate::model::process::Pid;

/// Names the descriptor of the lock to the next program: `<pid>:<descriptor>`. With the pid, because
/// environments are inherited by others, too.
const HANDED: &str = "FFRTMP_HANDED_LOCK";

/// How long a new program has to tell its version.
const PATIENCE: Duration = Duration::from_secs(5);

/// Signals that have a handler, and would end a program that has none yet.
const HANDLED: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2];

/// The descriptor of the lock, if a program that was in this process before has handed it on.
#[must_use]
pub fn handed_lock() -> Option<RawFd> {
    let value = env::var(HANDED).ok()?;
    let (pid, descriptor) = value.split_once(':')?;
    (pid.parse() == Ok(std::process::id())).then(|| descriptor.parse().ok())?
}

/// Has signals wait that have a handler, in this thread and in those that it makes. So they wait while one
/// program takes the place of another, which would lose what it has heard, or have no handler yet.
pub fn block_signals() {
    // It fails for no signal that there is.
    let _ = HANDLED.into_iter().collect::<SigSet>().thread_block();
}

/// Lets them in, to this thread alone: no other one may hear them while this one holds them.
pub fn unblock_signals() {
    let _ = HANDLED.into_iter().collect::<SigSet>().thread_unblock();
}

/// The program that this process was started by, where it may have been replaced since.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
}

impl Program {
    /// As it was named when it was started, so that a link is followed again; where that cannot be told,
    /// the file that is executed now.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn of_this_process() -> io::Result<Self> {
        let running = fs::metadata("/proc/self/exe")?;
        let is_running = |path: &PathBuf| {
            fs::metadata(path).is_ok_and(|m| (m.dev(), m.ino()) == (running.dev(), running.ino()))
        };
        let named = env::args_os().next().and_then(|name| find(&name)).filter(is_running);
        Ok(Self { path: named.map_or_else(env::current_exe, Ok)? })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Asks the program that is there now for its version, before it is trusted with anything.
    ///
    /// # Errors
    /// It cannot be executed, fails, takes too long, or is another program: in words.
    pub fn try_out(&self) -> Result<String, String> {
        let tried = format!("{} --version", self.path.display());
        let failed = |error: io::Error| format!("{tried}: {error}");
        let mut child = Command::new(&self.path)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        if !ends_in_time(child.id()).map_err(failed)? {
            child.kill().and_then(|()| child.wait()).map_err(failed)?;
            return Err(format!("{tried}: no answer within {} s", PATIENCE.as_secs()));
        }
        let output = child.wait_with_output().map_err(failed)?;
        let (said, complained) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        if !output.status.success() {
            return Err(format!("{tried}: {}: {}", output.status, complained.trim()));
        }
        if !said.starts_with("ffrtmp-sup ") {
            return Err(format!("{tried}: that is no ffrtmp-sup, it says {:?}", said.trim()));
        }
        Ok(said.trim().to_owned())
    }

    /// Executes it in this process, with the same arguments and environment, and with the lock. Signals
    /// that are held wait until it lets them in. Returns only if that fails, with all as it was.
    pub fn execute(&self, lock: &SupervisorLock) -> io::Error {
        match self.replace(lock) {
            Ok(never) => match never {},
            Err(error) => {
                lock.keep();
                error
            }
        }
    }

    fn replace(&self, lock: &SupervisorLock) -> io::Result<std::convert::Infallible> {
        let path = CString::new(self.path.as_os_str().as_bytes())?;
        let rest = env::args_os().skip(1).map(|argument| CString::new(argument.into_vec()));
        let arguments = std::iter::once(Ok(path.clone())).chain(rest).collect::<Result<Vec<_>, _>>()?;
        let handed = format!("{}:{}", std::process::id(), lock.hand_on()?);
        let environment = env::vars_os()
            .filter(|(name, _)| name != HANDED)
            .chain([(HANDED.into(), handed.into())])
            .map(|(name, value): (OsString, OsString)| {
                CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(nix::unistd::execve(&path, &arguments, &environment)?)
    }
}

/// The file that a program's name stands for, as execvp(3) finds it.
fn find(name: &OsStr) -> Option<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return std::path::absolute(name).ok();
    }
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// Waits until a child of ours has ended; false if it takes too long.
fn ends_in_time(child: u32) -> io::Result<bool> {
    let begin = Instant::now();
    let child = Pid::new(child).map_or(Ok(None), process::identify)?;
    let Some(child) = child.map_or(Ok(None), |child| PidFd::open(&child))? else { return Ok(true) };
    loop {
        let left = PATIENCE.saturating_sub(begin.elapsed());
        let limit = PollTimeout::try_from(left).unwrap_or(PollTimeout::NONE);
        match poll(&mut [PollFd::new(child.as_fd(), PollFlags::POLLIN)], limit) {
            Ok(ready) => return Ok(ready > 0),
            // By the very signal that tells of its end.
            Err(nix::Error::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}
