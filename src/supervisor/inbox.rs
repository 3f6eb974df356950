//! What came in. In each round every source is asked once and gives no more than its budget, so none can
//! keep another one waiting, however much it has to say.

use std::future::{Future, poll_fn};
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use anyhow::Context;
use tokio::io::unix::AsyncFd;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender, channel, unbounded_channel};

use super::changes::{self, RunChanged};
use super::spaces::Answer;
use super::watch::Notice;
use super::writer::Outcome;
use crate::linux::clock;

/// How many messages a source gives in one round. What it holds beyond that waits for the next round.
const BUDGET: usize = 64;

/// The same for hints, which are merged: many cost little more than one. No more are kept, either: where more come,
/// everything is looked at.
const MAX_HINTS: usize = 4096;

/// One thing that came in.
#[derive(Debug)]
pub enum Message {
    /// SIGTERM or SIGINT: leave.
    Leave,
    /// SIGHUP: read everything again.
    Reload,
    /// SIGUSR2: let a new version take this one's place.
    Upgrade,
    /// SIGCHLD: some child has ended.
    Children,
    /// A run changed.
    Run(RunChanged),
    /// What became of a report.
    Written(Outcome),
    /// A file system has told what it has free.
    Space(Answer),
    /// Files may have changed.
    Files(Vec<Notice>),
    /// Processes came or went that an attach job may want.
    Processes,
    /// Somebody set the wall clock.
    ClockSet,
}

/// The supervisor's sources, but for timers, which the loop serves itself in every round.
pub struct Inbox {
    terminate: Signal,
    interrupt: Signal,
    reload: Signal,
    upgrade: Signal,
    child: Signal,
    clock_set: AsyncFd<OwnedFd>,
    runs: UnboundedReceiver<RunChanged>,
    written: UnboundedReceiver<Outcome>,
    spaces: UnboundedReceiver<Answer>,
    files: Receiver<Notice>,
}

/// Where the parts of the supervisor, its tasks and threads, put what they have to say.
#[derive(Debug, Clone)]
pub struct Senders {
    /// Of runs.
    pub runs: UnboundedSender<RunChanged>,
    /// Of the thread that writes reports.
    pub written: UnboundedSender<Outcome>,
    /// Of threads that ask file systems. No more than one for each path is under way.
    pub spaces: UnboundedSender<Answer>,
    /// Of inotify. Where it is full, one hint more says nothing new.
    pub files: Sender<Notice>,
}

impl Inbox {
    /// Opens all sources.
    ///
    /// # Errors
    /// A signal handler or the timer that tells of a changed clock cannot be had.
    pub fn open() -> anyhow::Result<(Self, Senders)> {
        let (runs, of_runs) = unbounded_channel();
        let (written, of_writer) = unbounded_channel();
        let (spaces, of_disks) = unbounded_channel();
        let (files, of_files) = channel(MAX_HINTS);
        let clock_set = clock::tells_when_set().and_then(changes::readable);
        let inbox = Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
            upgrade: signal(SignalKind::user_defined2())?,
            child: signal(SignalKind::child())?,
            clock_set: clock_set.context("cannot have the kernel tell when the wall clock is set")?,
            runs: of_runs,
            written: of_writer,
            spaces: of_disks,
            files: of_files,
        };
        Ok((inbox, Senders { runs, written, spaces, files }))
    }

    /// Waits until a source has something, for `patience` at most. Gives what all of them have, up to
    /// their budgets. `processes` is ready when an attach job should look around.
    pub async fn next(&mut self, patience: Duration, processes: impl Future<Output = ()>) -> Vec<Message> {
        // Even where there is work left: what watches descriptors and signals runs only when the loop yields.
        tokio::task::yield_now().await;
        let mut sleep = pin!(tokio::time::sleep(patience));
        let mut processes = pin!(processes);
        let mut clock_set = pin!(was_set(&self.clock_set));
        let mut messages = Vec::new();
        let (mut runs, mut written, mut spaces, mut files) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        poll_fn(|cx| {
            let signals = [
                (&mut self.terminate, Message::Leave),
                (&mut self.interrupt, Message::Leave),
                (&mut self.reload, Message::Reload),
                (&mut self.upgrade, Message::Upgrade),
                (&mut self.child, Message::Children),
            ];
            for (signal, message) in signals {
                if signal.poll_recv(cx).is_ready() {
                    messages.push(message);
                }
            }
            if clock_set.as_mut().poll(cx).is_ready() {
                messages.push(Message::ClockSet);
            }
            if processes.as_mut().poll(cx).is_ready() {
                messages.push(Message::Processes);
            }
            // A sender is kept by whoever calls this, so none of these is ever closed.
            let _ = self.runs.poll_recv_many(cx, &mut runs, BUDGET);
            let _ = self.written.poll_recv_many(cx, &mut written, BUDGET);
            let _ = self.spaces.poll_recv_many(cx, &mut spaces, BUDGET);
            let _ = self.files.poll_recv_many(cx, &mut files, MAX_HINTS);
            let late = sleep.as_mut().poll(cx).is_ready();
            let none = messages.is_empty()
                && runs.is_empty()
                && written.is_empty()
                && spaces.is_empty()
                && files.is_empty();
            if none && !late { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        messages.extend(runs.into_iter().map(Message::Run));
        messages.extend(written.into_iter().map(Message::Written));
        messages.extend(spaces.into_iter().map(Message::Space));
        if files.len() == MAX_HINTS {
            // There may have been more, for which there was no room.
            files = vec![Notice::Everything];
        }
        if !files.is_empty() {
            messages.push(Message::Files(files));
        }
        messages
    }
}

/// Waits until the wall clock is set.
async fn was_set(clock: &AsyncFd<OwnedFd>) {
    match clock.readable().await {
        Ok(mut ready) => {
            // The read fails with ECANCELED: that is how timerfd_settime(2) tells of it.
            let _: Result<usize, nix::Error> = nix::unistd::read(clock.get_ref(), &mut [0; 8]);
            ready.clear_ready();
        }
        // The runtime is going.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::{JobId, RunId};
    use crate::supervisor::declared::Hint;

    fn in_a_runtime<T>(test: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(test)
    }

    fn changed(n: usize) -> RunChanged {
        let job = JobId::new(&format!("job-{n}")).expect("an id");
        RunChanged { job, run: RunId::new(0, 1), refused: None }
    }

    #[test]
    fn a_flood_of_one_source_takes_nothing_from_the_others() {
        in_a_runtime(async {
            let (mut inbox, senders) = Inbox::open().expect("signals");
            for n in 0..10 * BUDGET {
                senders.runs.send(changed(n)).expect("open");
            }
            senders.files.try_send(Notice::Everything).expect("open");
            senders.written.send(Outcome::Mended).expect("open");
            let first = inbox.next(Duration::ZERO, std::future::ready(())).await;
            let count = |is: fn(&Message) -> bool| first.iter().filter(|message| is(message)).count();
            assert_eq!(count(|message| matches!(message, Message::Run(_))), BUDGET);
            assert_eq!(count(|message| matches!(message, Message::Files(_))), 1);
            assert_eq!(count(|message| matches!(message, Message::Written(_))), 1);
            assert_eq!(count(|message| matches!(message, Message::Processes)), 1);
            // Nothing is lost, either.
            let mut left = 9 * BUDGET;
            while left > 0 {
                left -= inbox.next(Duration::ZERO, std::future::pending()).await.len();
            }
        });
    }

    #[test]
    fn more_hints_than_are_kept_mean_everything() {
        in_a_runtime(async {
            let (mut inbox, senders) = Inbox::open().expect("signals");
            let hint = |n: &usize| Notice::File(Hint { stem: format!("job-{n}"), complete: true });
            let kept = (0..3 * MAX_HINTS).filter(|n| senders.files.try_send(hint(n)).is_ok()).count();
            assert_eq!(kept, MAX_HINTS);
            let messages = inbox.next(Duration::ZERO, std::future::pending()).await;
            assert!(
                matches!(&messages[..], [Message::Files(hints)] if hints == &[Notice::Everything]),
                "one look at everything instead"
            );
        });
    }

    #[test]
    fn it_waits_no_longer_than_it_may() {
        in_a_runtime(async {
            let (mut inbox, _senders) = Inbox::open().expect("signals");
            assert!(inbox.next(Duration::from_millis(5), std::future::pending()).await.is_empty());
        });
    }
}
