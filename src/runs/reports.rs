//! The folder of reports: `<job>.json`, the newest of each job, and `history/<job>/<run-id>.json`, those
//! of runs that ended, as many as are kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::durable::{self, at};
use crate::model::ids::JobId;
use crate::model::report::Report;

/// A folder of reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reports {
    /// `<state>/reports`.
    pub folder: PathBuf,
    /// How many reports of ended runs each job keeps.
    pub keep: usize,
}

impl Reports {
    /// Where the newest report of a job is.
    #[must_use]
    pub fn newest(&self, job: &JobId) -> PathBuf {
        self.folder.join(format!("{job}.json"))
    }

    /// Where the reports of a job's ended runs are.
    #[must_use]
    pub fn history(&self, job: &JobId) -> PathBuf {
        self.folder.join("history").join(job.as_str())
    }

    /// Replaces the newest report of a job. It survives this process, not a power cut.
    ///
    /// # Errors
    /// With the path.
    pub fn put(&self, report: &Report) -> io::Result<()> {
        private_dir(&self.folder)?;
        let path = self.newest(&report.job_id);
        durable::write(&path, &encode(report)?).map_err(|error| at(&path, error))
    }

    /// Files the last report of a run, and replaces the newest one of its job with it; both are on disk when
    /// this returns.
    ///
    /// # Errors
    /// With the path.
    pub fn file(&self, report: &Report) -> io::Result<()> {
        let folder = self.history(&report.job_id);
        private_dir(&folder)?;
        let bytes = encode(report)?;
        let files = [
            (folder.join(format!("{}.json", report.run_id)), bytes.clone()),
            (self.newest(&report.job_id), bytes),
        ];
        for ((path, _), result) in files.iter().zip(durable::write_many_durable(&files)) {
            result.map_err(|error| at(path, error))?;
        }
        prune(&folder, self.keep)
    }
}

/// A report as it is written.
///
/// # Errors
/// None that a report gives.
pub fn encode(report: &Report) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(report)?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// Makes a folder, and those above it, for nobody but us.
///
/// # Errors
/// With the path.
pub fn private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).recursive(true).create(path).map_err(|error| at(path, error))
}

/// Removes all but the newest `keep` reports. Their names sort by time.
///
/// # Errors
/// The folder cannot be read, or a file not be removed.
pub fn prune(folder: &Path, keep: usize) -> io::Result<()> {
    let entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    let mut names: Vec<_> = entries.into_iter().map(|entry| entry.file_name()).collect();
    names.retain(|name| name.to_string_lossy().ends_with(".json"));
    names.sort();
    let surplus = names.len().saturating_sub(keep);
    names.iter().take(surplus).try_for_each(|name| fs::remove_file(folder.join(name)))
}
