//! Reports on their way to disk, and what waits for them there: a run's directory stays until its last report is on
//! disk. Also the files of jobs that are gone, which go after some time.

use std::collections::HashMap;
use std::time::Duration;

use tracing::warn;

use super::run::Run;
use super::writer::Writer;
use crate::model::ids::{JobId, RunId};
use crate::model::time::BootTime;
use crate::runs::dir::RunDir;
use crate::runs::retention::Needed;

/// Between two looks for files of jobs that are gone, and before the first one: a job may come back meanwhile.
const RETENTION: Duration = Duration::from_secs(3600);
const FIRST_RETENTION: Duration = Duration::from_secs(60);

/// So many ended runs are reason enough for another look: attached processes leave files behind, each of them.
const RETAIN_AFTER: usize = 256;

/// What hands reports over to the thread that writes them.
pub struct Reporter {
    writer: Writer,
    /// Ended runs whose report is not on disk yet: their directories stay until it is.
    unfiled: HashMap<RunId, RunDir>,
    /// When it is looked for files of jobs that are gone.
    retain_at: BootTime,
    /// Reports that were filed since.
    filed: usize,
}

impl Reporter {
    /// With the thread that writes.
    #[must_use]
    pub fn new(writer: Writer, now: BootTime) -> Self {
        Self { writer, unfiled: HashMap::new(), retain_at: now + FIRST_RETENTION, filed: 0 }
    }

    /// Hands over a run's report as it is now.
    pub fn publish(&self, run: &Run) {
        if run.is_uncertain() {
            // Nobody is told of it before it is known to be one.
        } else if run.followed {
            self.writer.file(&run.report);
        } else {
            self.writer.put(&run.report);
        }
    }

    /// Removes a run's directory, now or as soon as its report is on disk.
    pub fn discard(&mut self, run: Run) {
        let dir = run.dir.clone();
        if run.filed {
            remove(&run.spec.job.id, dir);
        } else {
            self.unfiled.insert(run.seen.id.clone(), dir);
        }
    }

    /// The last report of a run is on disk: nothing is lost any more if the run's directory goes.
    pub fn filed(&mut self, job: &JobId, run: &RunId) {
        self.filed += 1;
        if let Some(dir) = self.unfiled.remove(run) {
            remove(job, dir);
        }
    }

    /// Waits until all that was handed over is on disk, or was tried.
    pub fn flush(&self) {
        self.writer.flush();
    }

    /// Has what could not be written tried again now.
    pub fn try_again(&self) {
        self.writer.try_again();
    }

    /// Whether it is time to look for files of jobs that are gone.
    #[must_use]
    pub fn retention_is_due(&self, now: BootTime) -> bool {
        self.retain_at <= now || self.filed >= RETAIN_AFTER
    }

    /// Has the files of jobs removed that are gone for long, or too many. `needed`: who is not gone; `None` where that is
    /// not known.
    pub fn retain(&mut self, now: BootTime, needed: Option<Needed>) {
        (self.retain_at, self.filed) = (now + RETENTION, 0);
        if let Some(needed) = needed {
            self.writer.retain(needed);
        }
    }
}

/// Removes a run's directory.
pub fn remove(job: &JobId, dir: RunDir) {
    if let Err(error) = dir.remove() {
        warn!(job = %job, "a run directory cannot be removed: {error}");
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::config::paths::Layout;
    use crate::runs::retention::Bounds;
    use crate::supervisor::run::tests::starting;

    const NOW: BootTime = BootTime(1_000_000_000_000);

    #[test]
    fn a_run_directory_stays_until_the_last_report_is_on_disk() {
        let root = tempfile::tempdir().expect("a folder");
        let layout = Layout::under(root.path());
        let bounds = Bounds { gone_jobs: RETENTION, max_jobs: 1 };
        let (outcomes, _heard) = unbounded_channel();
        let writer = Writer::start(&layout, 1, bounds, outcomes).expect("a thread");
        let mut reporter = Reporter::new(writer, NOW);
        let (waits, mut filed) = (starting(&layout.runs()), starting(&layout.runs()));
        let (job, id) = (waits.spec.job.id.clone(), waits.seen.id.clone());
        let (first, second) = (waits.dir.path.clone(), filed.dir.path.clone());
        assert!(first != second && first.exists() && second.exists());
        filed.filed = true;
        reporter.discard(filed);
        assert!(!second.exists());
        reporter.discard(waits);
        assert!(first.exists(), "a crash now still finds what there is to report");
        reporter.filed(&job, &id);
        assert!(!first.exists());
    }

    #[test]
    fn files_of_gone_jobs_are_looked_for_after_some_time_or_many_runs() {
        let root = tempfile::tempdir().expect("a folder");
        let layout = Layout::under(root.path());
        let bounds = Bounds { gone_jobs: RETENTION, max_jobs: 1 };
        let (outcomes, _heard) = unbounded_channel();
        let writer = Writer::start(&layout, 1, bounds, outcomes).expect("a thread");
        let mut reporter = Reporter::new(writer, NOW);
        assert!(!reporter.retention_is_due(NOW) && reporter.retention_is_due(NOW + FIRST_RETENTION));
        reporter.retain(NOW, None);
        assert!(!reporter.retention_is_due(NOW + FIRST_RETENTION));
        let job = JobId::new("a").expect("a name");
        (0..RETAIN_AFTER).for_each(|n| reporter.filed(&job, &RunId::new(0, n as u32)));
        assert!(reporter.retention_is_due(NOW));
    }
}
