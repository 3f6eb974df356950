//! `ffrtmp nursery`: the process that wrappers are forked from.
//!
//! A wrapper that is forked is there at once and shares its memory with all others; one that is executed has to be
//! loaded each time. The supervisor starts one nursery, for its first run, and asks it over a socket. It ends with the
//! supervisor; the wrappers live on. It knows nothing and decides nothing: killed at any instant, nothing is lost.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;

use super::detached;
use super::launch::{MAX_PATH, TITLE};
use crate::abort::{self, Point};
use crate::linux::sys::{self, SingleThreaded, Title};
use crate::linux::{process, spawn};
use crate::runs::dir::RunDir;

/// Forks a wrapper for each run that is asked for at the other end of the socket `socket_fd`, until that is closed.
#[must_use]
pub fn main(socket_fd: RawFd) -> ExitCode {
    match serve(socket_fd) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ffrtmp nursery: --socket-fd {socket_fd}: {error}");
            ExitCode::from(2)
        }
    }
}

fn serve(socket_fd: RawFd) -> io::Result<()> {
    let socket = sys::inherited(socket_fd)?;
    let null = detached::detach(&mut [socket.as_raw_fd(), socket.as_raw_fd()])?;
    // What is sent to the supervisor's session and group is not for us. (Fails only for a process that leads one.)
    let _ = nix::unistd::setsid();
    let alone = SingleThreaded::prove()?;
    let mut title = Title::of_this_process()?;
    // Read once, for all.
    process::boot_id()?;
    // Rust's own handlers say on standard error that the stack is full; there is nobody to hear it.
    sys::forget_handlers()?;
    spawn::warm_up();
    // How a wrapper ends is told by its records.
    sys::leave_children_to_the_kernel(true)?;
    abort::at(Point::NurseryBegun);
    let mut path = [0; MAX_PATH];
    while let Some((length, [lock, ready])) = sys::receive_with(socket.as_fd(), &mut path)? {
        let path = OsStr::from_bytes(path.get(..length).unwrap_or_default());
        match alone.fork() {
            Ok(None) => {
                drop(socket);
                sys::leave_children_to_the_kernel(false)?;
                title.set(&[TITLE, &[path.as_bytes()]].concat(), &alone);
                detached::forked(&RunDir::open(Path::new(path)), lock, ready, null);
                return Ok(());
            }
            Ok(Some(_)) => {}
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                // Who does not hear this sees that there is no wrapper.
                let _ = nix::unistd::write(&ready, &errno.to_ne_bytes());
            }
        }
        abort::at(Point::WrapperForked);
    }
    Ok(())
}
