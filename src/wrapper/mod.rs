//! The wrapper: one small process per run, which starts the workload, waits for it and records its end.
//! It has no policy. If it dies, the workload lives on.

pub mod attach;
mod child;
pub mod detached;
pub mod files;
pub mod hold;
mod keeper;
mod lost;
mod messages;
mod observe;
pub mod ps;
pub mod request;
pub mod run;
mod signals;

use std::io::{self, PipeReader};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::abort;
use crate::runs::dir::{LockFile, RunDir};

/// Starts the wrapper of a run and hands it the lock. The pipe is closed when the workload's program
/// runs, or when `exited.json` says why it does not.
///
/// Lock and pipe travel as standard input and output, which needs no code between fork and exec and
/// leaks them to nobody else. The wrapper gets no environment; it needs none. `program` may be
/// `/proc/self/fd/N`.
///
/// # Errors
/// The program cannot be executed; the lock is free again then.
pub fn launch(program: &Path, run: &RunDir, lock: LockFile) -> io::Result<(Child, PipeReader)> {
    let (ready, writer) = io::pipe()?;
    let mut command = Command::new(program);
    command
        .arg("detached")
        .arg("--run-dir")
        .arg(&run.path)
        .args(["--lock-fd", "0", "--ready-fd", "1"])
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(lock)))
        .stdout(Stdio::from(OwnedFd::from(writer)))
        .stderr(Stdio::null());
    abort::hand_on(&mut command);
    Ok((command.spawn()?, ready))
}
