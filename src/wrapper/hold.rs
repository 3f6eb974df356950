//! Keeps a cgroup alive that systemd has delegated, for jobs to live in: `ffrtmp-jobs.service` of
//! deployment/systemd, for versions whose units cannot keep their own process apart.

use std::process::{Command, Stdio};

use crate::linux::cgroup::v2;

/// Enters a part of the cgroup that this process was started in, and leaves a process there that does
/// nothing, which keeps the unit alive. Returns once it runs; its parent is whoever adopts it.
///
/// # Errors
/// There is no such cgroup, or it is not ours to divide; the process cannot be started.
pub fn begin() -> Result<(), String> {
    v2::enter_holder().map_err(|why| format!("{why}; it has to be a service with Delegate=yes"))?;
    // The same program again: a fork alone would not be safe code.
    Command::new("/proc/self/exe")
        .args(["hold-cgroup", "--stay"])
        .current_dir("/")
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map(drop)
        .map_err(|error| format!("cannot start the process that stays: {error}"))
}

/// Does nothing, until a signal ends it.
pub fn stay() -> ! {
    loop {
        std::thread::park();
    }
}
