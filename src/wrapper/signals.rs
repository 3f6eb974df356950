//! Signals to whoever was called from a command line: those that it answers itself, those that are ignored.

use std::io;

use nix::sys::signal::{SigSet, Signal as Raw};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::linux::process;

/// The signals that the one that was called has its own answer to. One that is ignored (nohup(1)) stays so.
pub(super) fn caught() -> io::Result<SignalFd> {
    let (mut set, ignored) = (SigSet::empty(), ignored());
    for signal in [Raw::SIGTERM, Raw::SIGHUP, Raw::SIGINT, Raw::SIGQUIT] {
        if !ignored.contains(&(signal as i32)) {
            set.add(signal);
        }
    }
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC)?)
}

/// The signals that whoever called us has ignored (`SigIgn` in `/proc/PID/status`). Without SIGPIPE, which
/// Rust's runtime ignores itself.
pub(super) fn ignored() -> Vec<i32> {
    let mask = process::own_status("SigIgn");
    let mask = mask.and_then(|hex| u64::from_str_radix(&hex, 16).ok()).unwrap_or(0);
    (1..=64).filter(|n| mask & (1 << (n - 1)) != 0 && *n != libc::SIGPIPE).collect()
}
