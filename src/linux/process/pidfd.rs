//! Descriptors of processes (pidfd_open(2)): a signal reaches the process that is meant and nobody else.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::boot::boot_id;
use super::stat::{Stat, stat_of};
use crate::linux::sys;
use crate::model::process::ProcessIdentity;
use crate::model::signal::Signal;

/// A process that stays the same one while this is held, whoever gets its number next.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process and makes sure that it is the one meant; `None` if that one is gone.
    ///
    /// # Errors
    /// `/proc` cannot be read, or pidfd_open(2) fails for another reason than that.
    pub fn open(process: &ProcessIdentity) -> io::Result<Option<Self>> {
        Ok(Self::open_with_stat(process)?.map(|(fd, _)| fd))
    }

    /// The same; `None`, too, for a process that has ended and only waits to be reaped.
    ///
    /// # Errors
    /// Those of [`PidFd::open`].
    pub fn open_living(process: &ProcessIdentity) -> io::Result<Option<Self>> {
        match Self::open_with_stat(process)? {
            // The main thread may be over, and others go on.
            Some((fd, stat)) if !stat.is_zombie() || !fd.has_exited()? => Ok(Some(fd)),
            _ => Ok(None),
        }
    }

    fn open_with_stat(process: &ProcessIdentity) -> io::Result<Option<(Self, Stat)>> {
        if process.boot_id != boot_id()? {
            return Ok(None);
        }
        let fd = match sys::pidfd_open(process.pid) {
            Ok(fd) => fd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // In this order: if the number names the process now, it did when the descriptor was made.
        Ok(stat_of(process)?.map(|stat| (Self(fd), stat)))
    }

    /// Sends a signal; false if the process is gone already.
    ///
    /// # Errors
    /// `EPERM`: it is not ours to signal.
    pub fn send(&self, signal: Signal) -> io::Result<bool> {
        match sys::pidfd_send_signal(self.0.as_fd(), signal) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the process has ended, reaped or not. Does not block.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn has_exited(&self) -> io::Result<bool> {
        self.await_exit(Duration::ZERO)
    }

    /// Whether the process has ended within this time, reaped or not. A signal may start the time anew.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn await_exit(&self, within: Duration) -> io::Result<bool> {
        let within = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
        Ok(!ready(self.0.as_fd(), PollFlags::POLLIN, within)?.is_empty())
    }

    /// The raw wait status, if the process was reaped, by whomever, and this kernel keeps it (Linux 6.15).
    #[must_use]
    pub fn exit_status(&self) -> Option<i32> {
        sys::pidfd_exit_status(self.0.as_fd()).ok().flatten()
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Sends a signal to a process, if it is the one meant; false if that one is gone.
///
/// # Errors
/// Those of [`PidFd::open`] and [`PidFd::send`].
pub fn send(process: &ProcessIdentity, signal: Signal) -> io::Result<bool> {
    PidFd::open(process)?.map_or(Ok(false), |pidfd| pidfd.send(signal))
}

/// Waits until a descriptor is ready for this, or has hung up (poll(2)); empty if the time is over.
pub(in crate::linux) fn ready(
    fd: BorrowedFd<'_>,
    interest: PollFlags,
    timeout: PollTimeout,
) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(fd, interest)];
    loop {
        match poll(&mut fds, timeout) {
            Ok(_) => return Ok(fds[0].revents().unwrap_or(PollFlags::empty())),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::process::current;
    use crate::model::process::BootId;

    #[test]
    fn a_recycled_number_is_another_process() {
        let me = current().expect("proc");
        assert!(PidFd::open(&me).expect("pidfd").is_some_and(|fd| !fd.has_exited().expect("poll")));
        let stranger = ProcessIdentity { start_time: me.start_time + 1, ..me.clone() };
        assert!(PidFd::open(&stranger).expect("pidfd").is_none());
        let earlier = ProcessIdentity { boot_id: BootId("another".into()), ..me };
        assert!(PidFd::open(&earlier).expect("pidfd").is_none());
    }
}
