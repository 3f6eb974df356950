//! Reports on disk. A thread of its own writes them, so that planning never waits for a disk.
//!
//! What comes while it writes is written together: the newest report of each job once, and all
//! reports of ended runs in one group commit. What cannot be written is kept and tried again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info, warn};

use crate::abort::{self, Point};
use crate::config::paths::Layout;
use crate::linux::clock;
use crate::model::exit::State;
use crate::model::ids::{JobId, RunId};
use crate::model::report::Report;
use crate::model::units::count;
use crate::runs::durable::{self, at};
use crate::runs::reports::{Reports, encode, private_dir, prune};
use crate::runs::retention::{self, Bounds, Needed};

/// How often it is tried again to write what could not be written.
const RETRY: Duration = Duration::from_secs(5);

/// How long a report that a run is starting waits for the next one: most begin within this time, and then one file is
/// written instead of two. (What is to survive a crash stands in the run's own records.)
const STARTING: Duration = Duration::from_millis(20);

/// What becomes of the reports that were handed over.
#[derive(Debug)]
pub enum Outcome {
    /// The report of an ended run is on disk, for good.
    Filed {
        /// The job.
        job: JobId,
        /// The run.
        run: RunId,
    },
    /// Reports cannot be written any more. They are kept, and tried again.
    Failing(io::Error),
    /// All that was kept is written.
    Mended,
}

/// What the thread is asked for.
enum Order {
    Write(Write),
    /// To remove what was kept long enough of jobs that nobody declares.
    Retain(Needed),
    /// To tell when all that came before was written, or tried.
    Flush(Sender<()>),
}

struct Write {
    job: JobId,
    /// The run, if it has ended.
    ended: Option<RunId>,
    /// No later run of the job has a report.
    newest: bool,
    bytes: Vec<u8>,
    due: Option<Instant>,
}

/// The writing thread's other end.
pub struct Writer {
    sender: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. `keep` is how many reports of ended runs each job keeps, `bounds` what is kept of jobs that
    /// are gone.
    ///
    /// # Errors
    /// The report folders cannot be made, or no thread can be had.
    pub fn start(
        layout: &Layout,
        keep: usize,
        bounds: Bounds,
        outcomes: UnboundedSender<Outcome>,
    ) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel();
        private_dir(&layout.history())?;
        let reports = Reports { folder: layout.reports(), keep };
        let (newest, ended) = (BTreeMap::new(), BTreeMap::new());
        let writer = WriterThread { reports, logs: layout.logs(), bounds, outcomes, newest, ended };
        let thread = thread::Builder::new().name("reports".into()).spawn(move || writer.work(&receiver))?;
        Ok(Self { sender: Some(sender), thread: Some(thread) })
    }

    /// Hands over the newest report of a job.
    pub fn put(&self, report: &Report) {
        self.send(report, true);
    }

    /// Hands over the last report of a run that another one of its job has followed.
    pub fn file(&self, report: &Report) {
        self.send(report, false);
    }

    fn send(&self, report: &Report, newest: bool) {
        let ended = report.is_last().then(|| report.run_id.clone());
        match (encode(report), &self.sender) {
            (Ok(bytes), Some(sender)) => {
                let due = (report.state == State::Starting).then(|| Instant::now() + STARTING);
                let job = report.job_id.clone();
                // The thread ends only when this end is dropped.
                let _ = sender.send(Order::Write(Write { job, ended, newest, bytes, due }));
            }
            (Err(error), _) => error!(job = %report.job_id, "report cannot be written as JSON: {error}"),
            (Ok(_), None) => {}
        }
    }
}

impl Writer {
    /// Has files of jobs removed that nobody needs any more.
    pub fn retain(&self, needed: Needed) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(Order::Retain(needed));
        }
    }

    /// Has what could not be written tried again now.
    pub fn try_again(&self) {
        if let Some(sender) = &self.sender {
            let _ = sender.send(Order::Flush(mpsc::channel().0));
        }
    }

    /// Waits until all that was handed over is on disk, or was tried.
    pub fn flush(&self) {
        let (done, wait) = mpsc::channel();
        if let Some(sender) = &self.sender {
            // Either end goes away only where the thread has failed, and then there is nothing to wait for.
            let _ = sender.send(Order::Flush(done));
            let _ = wait.recv();
        }
    }
}

impl Drop for Writer {
    /// Waits until all is written that can be.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            error!("the thread that writes reports failed; the next supervisor writes what is missing");
        }
    }
}

/// The newest report of a job.
struct Newest {
    /// It is of an ended run.
    ended: bool,
    bytes: Vec<u8>,
    /// It is not written before this.
    due: Option<Instant>,
}

/// What the thread that writes has: what it is to write, and where.
struct WriterThread {
    reports: Reports,
    logs: PathBuf,
    bounds: Bounds,
    outcomes: UnboundedSender<Outcome>,
    newest: BTreeMap<JobId, Newest>,
    /// Reports of ended runs.
    ended: BTreeMap<(JobId, RunId), Vec<u8>>,
}

impl WriterThread {
    fn work(mut self, receiver: &Receiver<Order>) {
        self.sweep();
        let mut failing = false;
        loop {
            let idle = self.newest.is_empty() && self.ended.is_empty();
            let first = if idle {
                receiver.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                let due = self.newest.values().filter_map(|newest| newest.due).min();
                let pause = due.map_or(RETRY, |due| due.saturating_duration_since(Instant::now()));
                receiver.recv_timeout(if failing { RETRY } else { pause.min(RETRY) })
            };
            let last = matches!(first, Err(RecvTimeoutError::Disconnected));
            let (mut waiting, mut needed) = (Vec::new(), None);
            for order in first.into_iter().chain(receiver.try_iter()) {
                match order {
                    Order::Write(write) => self.take(write),
                    Order::Flush(done) => waiting.push(done),
                    Order::Retain(jobs) => needed = Some(jobs),
                }
            }
            let written = self.write(last || !waiting.is_empty());
            if written.is_err() != failing {
                failing = !failing;
                self.tell(written.map_or_else(Outcome::Failing, |()| Outcome::Mended));
            }
            if let Some(needed) = needed {
                self.retain(needed);
            }
            for done in waiting {
                // Who asked waits for it.
                let _ = done.send(());
            }
            if last {
                return;
            }
        }
    }

    /// What came meanwhile of a job makes it one that is needed.
    fn retain(&self, mut needed: Needed) {
        needed.jobs.extend(self.newest.keys().cloned());
        needed.jobs.extend(self.ended.keys().map(|(job, _)| job.clone()));
        match retention::apply(&self.reports, &self.logs, &needed, clock::now().wall, self.bounds) {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => info!(
                "removed reports and logs of {}, which nobody declares any more",
                count(gone.len(), "job")
            ),
            Err(error) => warn!("cannot look for reports of jobs that are gone: {error}"),
        }
    }

    /// The receiver goes away only when the supervisor ends.
    fn tell(&self, outcome: Outcome) {
        let _ = self.outcomes.send(outcome);
    }

    /// Removes what a supervisor that was killed in the middle of writing left. Nobody else writes here.
    fn sweep(&self) {
        let folders = fs::read_dir(self.reports.folder.join("history"))
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        for folder in folders.chain([self.reports.folder.clone()]) {
            durable::sweep(&folder);
        }
    }

    fn take(&mut self, write: Write) {
        if let Some(run) = &write.ended {
            self.ended.insert((write.job.clone(), run.clone()), write.bytes.clone());
        }
        if write.newest {
            let ended = write.ended.is_some();
            self.newest.insert(write.job, Newest { ended, bytes: write.bytes, due: write.due });
        }
    }

    /// Writes what is due, or all there is. What is written goes, what fails stays.
    fn write(&mut self, all: bool) -> io::Result<()> {
        let mut outcome = Ok(());
        // History first: a run directory is removed only when its report is there.
        let mut runs = Vec::new();
        let mut files = Vec::new();
        for ((job, run), bytes) in &self.ended {
            let folder = self.reports.history(job);
            match private_dir(&folder) {
                Ok(()) => {
                    files.push((folder.join(format!("{run}.json")), bytes.clone()));
                    runs.push((job.clone(), run.clone()));
                }
                Err(error) => outcome = Err(error),
            }
        }
        let mut newest = Vec::new();
        let now = Instant::now();
        for (job, Newest { ended, bytes, due }) in &self.newest {
            if due.is_some_and(|due| due > now) && !all {
                continue;
            }
            if *ended {
                files.push((self.reports.newest(job), bytes.clone()));
                newest.push(job.clone());
            } else if let Err(error) = self.reports.replace(job, bytes) {
                outcome = Err(error);
            } else {
                newest.push(job.clone());
            }
        }
        if files.iter().any(|(path, _)| path.parent() == Some(&self.reports.folder)) {
            // Somebody may have cleaned up.
            outcome = outcome.and(private_dir(&self.reports.folder));
        }
        let results = durable::write_many_durable(&files);
        abort::at(Point::ReportsWritten);
        let mut failed: Vec<&Path> = Vec::new();
        for ((path, _), result) in files.iter().zip(results) {
            if let Err(error) = result {
                failed.push(path);
                outcome = Err(at(path, error));
            }
        }
        for job in newest {
            if !failed.contains(&self.reports.newest(&job).as_path()) {
                self.newest.remove(&job);
            }
        }
        for (job, run) in runs {
            let folder = self.reports.history(&job);
            if failed.contains(&folder.join(format!("{run}.json")).as_path()) {
                continue;
            }
            self.ended.remove(&(job.clone(), run.clone()));
            if let Err(error) = prune(&folder, self.reports.keep) {
                warn!(job = %job, "old reports cannot be removed: {error}");
            }
            self.tell(Outcome::Filed { job, run });
        }
        outcome
    }
}
