//! What limits of both versions go by: which there are, what they were before, and that the kernel may take
//! its time over one.

use std::io;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::model::constraints::{ConstraintName as Name, Constraints};

/// Every limit, in the order of a job file.
pub(super) const ALL: [Name; 10] = [
    Name::CpuQuota,
    Name::CpuMax,
    Name::CpuWeight,
    Name::MemoryLimit,
    Name::MemoryHigh,
    Name::MemorySwap,
    Name::IoWeight,
    Name::IoMax,
    Name::TasksMax,
    Name::Cpus,
];

/// The kernel counts memory in pages, and rounds a limit down to whole ones; no page is larger.
pub(super) const LARGEST_PAGE: u64 = 64 << 10;

/// How long the supervisor waits for the kernel to take memory back. It has other jobs, and gigabytes of
/// cache take seconds (2 GB/s were measured), memory that has to be swapped out longer.
const PATIENCE: Duration = Duration::from_millis(100);

/// What a cgroup's limits were before, so that what is no longer asked for goes back to the default.
#[derive(Debug, Clone, Copy)]
pub enum Before<'a> {
    /// It was just made: everything is at its default.
    Fresh,
    /// It was governed by these.
    Was(&'a Constraints),
    /// It is not known, so everything that is not asked for is reset.
    Unknown,
}

/// Does what may take the kernel long, and waits a moment for it. `None`: it goes on by itself.
///
/// # Errors
/// There is no thread to do it.
pub(super) fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> io::Result<Option<T>> {
    let (tell, told) = mpsc::sync_channel(1);
    thread::Builder::new().spawn(move || {
        // Nobody may be waiting any more.
        let _ = tell.send(work());
    })?;
    Ok(told.recv_timeout(PATIENCE).ok())
}
