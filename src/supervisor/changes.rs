//! What tells that a run changed: a descriptor becomes readable, because a process has ended or a pipe was closed.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::AbortHandle;

use crate::model::ids::{JobId, RunId};

/// Something happened to a run: its wrapper is ready, or one of its processes has ended.
#[derive(Debug, Clone)]
pub struct RunChanged {
    /// The job.
    pub job: JobId,
    /// The run.
    pub run: RunId,
    /// Why no wrapper could be forked for it (errno(3)).
    pub refused: Option<i32>,
}

/// Sends `change` when a descriptor becomes readable: a process has ended, or a pipe was closed. Has to be called
/// within a tokio runtime, as the others here.
///
/// # Errors
/// The kernel cannot watch the descriptor (epoll_ctl(2)).
pub fn when_readable<T: AsRawFd + AsFd + Send + Sync + 'static>(
    source: T,
    change: RunChanged,
    changes: &UnboundedSender<RunChanged>,
) -> io::Result<AbortHandle> {
    let source = readable(source)?;
    let changes = changes.clone();
    let task = tokio::spawn(async move {
        // An error is as good as an event: the run is looked at.
        let _ = source.readable().await.map(|mut ready| ready.clear_ready());
        let _ = changes.send(change);
    });
    Ok(task.abort_handle())
}

/// The same for the pipe of a start: it is closed when that has come to its end. The nursery writes into it why it could
/// not fork.
///
/// # Errors
/// As [`when_readable`].
pub fn when_begun(
    ready: PipeReader,
    change: RunChanged,
    changes: &UnboundedSender<RunChanged>,
) -> io::Result<AbortHandle> {
    let source = readable(ready)?;
    let changes = changes.clone();
    let task = tokio::spawn(async move {
        let _ = source.readable().await.map(|mut ready| ready.clear_ready());
        let mut errno = [0; size_of::<i32>()];
        let told = source.get_ref().read_exact(&mut errno).is_ok();
        let _ = changes.send(RunChanged { refused: told.then(|| i32::from_ne_bytes(errno)), ..change });
    });
    Ok(task.abort_handle())
}

/// The same, each time that there is something new to it: a process has ended, and then was reaped.
///
/// # Errors
/// As [`when_readable`].
pub fn each_time<T: AsRawFd + AsFd + Send + Sync + 'static>(
    source: T,
    change: RunChanged,
    changes: &UnboundedSender<RunChanged>,
) -> io::Result<AbortHandle> {
    let source = readable(source)?;
    let changes = changes.clone();
    let task = tokio::spawn(async move {
        while let Ok(mut ready) = source.readable().await {
            // What hung up stays readable for ever, and has nothing new to tell.
            let last = ready.ready().is_read_closed();
            ready.clear_ready();
            if changes.send(change.clone()).is_err() || last {
                break;
            }
        }
    });
    Ok(task.abort_handle())
}

/// A descriptor of which one can wait until there is something to read.
///
/// # Errors
/// As [`when_readable`].
pub fn readable<T: AsRawFd + AsFd>(source: T) -> io::Result<AsyncFd<T>> {
    #[allow(
        deprecated,
        reason = "it trusts the source to keep its descriptor open, which those that own theirs do"
    )]
    AsyncFd::with_interest(source, Interest::READABLE)
}

#[cfg(test)]
mod tests {
    use std::io::{Write, pipe};

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    /// What is told of a start into whose pipe this was written before it was closed.
    fn told(written: &[u8]) -> Option<i32> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        runtime.block_on(async {
            let (changes, mut told) = unbounded_channel();
            let (ready, mut begun) = pipe().expect("a pipe");
            let job = JobId::new("job").expect("an id");
            let change = RunChanged { job, run: RunId::new(0, 1), refused: None };
            when_begun(ready, change, &changes).expect("epoll");
            begun.write_all(written).expect("room");
            drop(begun);
            told.recv().await.expect("a change").refused
        })
    }

    #[test]
    fn a_start_tells_its_end_and_why_there_was_no_fork() {
        assert_eq!(told(&[]), None, "the workload runs, or a record says why not");
        assert_eq!(told(&libc::EAGAIN.to_ne_bytes()), Some(libc::EAGAIN));
    }
}
