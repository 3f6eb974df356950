//! One supervisor per state: a held lock is the proof that one lives, its pid is for people.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};

/// Held as long as the supervisor lives.
#[derive(Debug)]
pub struct SupervisorLock(#[allow(dead_code, reason = "held, not used")] File);

/// Why the lock was not taken.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another supervisor has it.
    #[error(
        "another supervisor{} runs on this state ({}); stop it first, or use another --root",
        pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(),
        path.display()
    )]
    Held {
        /// The lock file.
        path: PathBuf,
        /// The other's pid, if it could be read.
        pid: Option<u32>,
    },
    /// The file cannot be opened or written.
    #[error("cannot take the lock {}: {error}", path.display())]
    Io {
        /// The lock file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW).open(path)
}

fn pid_in(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Takes the lock of a state and writes our pid into it.
///
/// # Errors
/// Another supervisor has it, or the file cannot be used.
pub fn take(path: &Path) -> Result<SupervisorLock, LockError> {
    let io_error = |error| LockError::Io { path: path.to_owned(), error };
    let mut file = open(path).map_err(io_error)?;
    match fcntl(&file, FcntlArg::F_OFD_SETLK(&crate::runs::dir::write_lock())) {
        Ok(_) => {}
        Err(nix::Error::EAGAIN | nix::Error::EACCES) => {
            return Err(LockError::Held { path: path.to_owned(), pid: pid_in(&file) });
        }
        Err(errno) => return Err(io_error(errno.into())),
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(io_error)?;
    Ok(SupervisorLock(file))
}

/// The pid of the supervisor that runs on a state; `None` if none does.
#[must_use]
pub fn holder(path: &Path) -> Option<u32> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path).ok()?;
    let mut lock = crate::runs::dir::write_lock();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
    (i32::from(lock.l_type) != libc::F_UNLCK).then(|| pid_in(&file)).flatten()
}
