//! One supervisor per state: a held lock is the proof that one lives, its pid is for people.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, Flock, FlockArg, fcntl};

use crate::linux::process::identify;
use crate::linux::sys;
use crate::model::process::Pid;

/// How long a lock is waited for whose holder is not there any more.
const LEFT_BEHIND: Duration = Duration::from_secs(2);

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(5);

/// Held as long as the supervisor lives.
#[derive(Debug)]
pub struct SupervisorLock {
    file: File,
    /// The folder that the file is in, locked as well (flock(2)): who deletes the file lets nobody in. `None` where
    /// the file system locks no folders.
    folder: Option<Flock<File>>,
}

impl SupervisorLock {
    /// Has the next program in this process inherit it (execve(2)), and gives its number there.
    ///
    /// # Errors
    /// None that a running kernel gives.
    pub fn hand_on(&self) -> io::Result<RawFd> {
        fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(self.file.as_raw_fd())
    }

    /// Whether the file at this path is the one that is held.
    #[must_use]
    pub fn is_at(&self, path: &Path) -> bool {
        is_at(&self.file, path)
    }

    /// Takes the lock at this path once more, where the file, or the folder with it, was deleted.
    ///
    /// # Errors
    /// Another supervisor was quicker, or the file cannot be used.
    pub fn renew(&mut self, path: &Path) -> Result<(), LockError> {
        if self.folder.as_ref().is_none_or(|folder| !is_at(folder, folder_of(path))) {
            self.folder = lock_folder(path)?;
        }
        self.file = lock_file(path, None)?;
        Ok(())
    }

    /// Keeps it from every other program again.
    pub fn keep(&self) {
        // As above.
        let _ = fcntl(&self.file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}

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

fn open_to_read(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path)
}

/// Whether somebody else lives who has this number.
fn is_another(pid: Option<u32>) -> bool {
    let other = pid.filter(|pid| *pid != std::process::id()).and_then(Pid::new);
    other.is_some_and(|pid| matches!(identify(pid), Ok(Some(_))))
}

/// The pid in the file. Leaves the file's position alone.
fn pid_in(file: &File) -> Option<u32> {
    let mut bytes = [0; 32];
    let length = file.read_at(&mut bytes, 0).ok()?;
    std::str::from_utf8(&bytes[..length]).ok()?.trim().parse().ok()
}

/// Takes the lock of a state and writes our pid into it. `handed` is the descriptor with which the program
/// before in this process held it, who then goes on holding it without a gap.
///
/// # Errors
/// Another supervisor has it, or the file cannot be used.
pub fn take(path: &Path, handed: Option<RawFd>) -> Result<SupervisorLock, LockError> {
    let handed = handed
        .map(sys::adopt)
        .transpose()
        .map_err(|error| LockError::Io { path: path.to_owned(), error })?
        .map(File::from);
    // First the folder: who is refused there makes no file.
    let folder = lock_folder(path)?;
    Ok(SupervisorLock { file: lock_file(path, handed)?, folder })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().unwrap_or(path)
}

/// Whether this is what is held.
fn is_at(held: &File, path: &Path) -> bool {
    match (held.metadata(), path.symlink_metadata()) {
        (Ok(held), Ok(there)) => (held.dev(), held.ino()) == (there.dev(), there.ino()),
        _ => false,
    }
}

/// Locks the folder of a lock file.
fn lock_folder(path: &Path) -> Result<Option<Flock<File>>, LockError> {
    let folder = folder_of(path);
    let mut file = File::open(folder).map_err(|error| LockError::Io { path: folder.to_owned(), error })?;
    let begin = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(folder) => return Ok(Some(folder)),
            Err((back, nix::Error::EAGAIN)) => file = back,
            // A file system that locks no folders.
            Err(_) => return Ok(None),
        }
        // Whose name is in the file, if that is still there. Who cleans up locks folders, too, for a moment.
        let pid = open_to_read(path).ok().and_then(|file| pid_in(&file));
        if is_another(pid) || begin.elapsed() > LEFT_BEHIND {
            return Err(LockError::Held { path: path.to_owned(), pid });
        }
        std::thread::sleep(PAUSE);
    }
}

/// Locks the file, and writes our pid into it.
fn lock_file(path: &Path, handed: Option<File>) -> Result<File, LockError> {
    let io_error = |error| LockError::Io { path: path.to_owned(), error };
    let file = match handed {
        Some(file) if is_at(&file, path) => file,
        _ => open(path).map_err(io_error)?,
    };
    let begin = Instant::now();
    loop {
        match fcntl(&file, FcntlArg::F_OFD_SETLK(&crate::runs::dir::write_lock())) {
            Ok(_) => break,
            Err(nix::Error::EAGAIN | nix::Error::EACCES) => {}
            Err(errno) => return Err(io_error(errno.into())),
        }
        // A supervisor that was killed in the middle of a start leaves a child that holds the lock until
        // its exec, a moment later. One that lives is not waited for.
        let pid = pid_in(&file);
        if is_another(pid) || begin.elapsed() > LEFT_BEHIND {
            return Err(LockError::Held { path: path.to_owned(), pid });
        }
        std::thread::sleep(PAUSE);
    }
    // Over what is there, which needs no room on a full disk.
    let pid = format!("{}\n", std::process::id());
    file.write_all_at(pid.as_bytes(), 0).and_then(|()| file.set_len(pid.len() as u64)).map_err(io_error)?;
    Ok(file)
}

/// The pid of the supervisor that runs on a state; `None` if none does.
#[must_use]
pub fn holder(path: &Path) -> Option<u32> {
    let file = open_to_read(path).ok()?;
    let mut lock = crate::runs::dir::write_lock();
    fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).ok()?;
    (i32::from(lock.l_type) != libc::F_UNLCK).then(|| pid_in(&file)).flatten()
}
