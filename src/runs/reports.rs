//! The folder of reports: `<job>.json`, the newest of each job, and `history/<job>/<run-id>.json`, those
//! of runs that ended, as many as are kept.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::dir::{read_file, subdirectories};
use super::durable::{self, at};
use crate::model::ids::JobId;
use crate::model::report::{Report, SCHEMA};

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

    /// Replaces the newest report of a job, unless that is of a later run. It survives this process, not a power
    /// cut.
    ///
    /// # Errors
    /// With the path.
    pub fn put(&self, report: &Report) -> io::Result<()> {
        if self.is_followed(report) {
            return Ok(());
        }
        self.replace(&report.job_id, &encode(report)?)
    }

    /// Replaces the newest report of a job, whatever it was of. It survives this process, not a power cut.
    ///
    /// # Errors
    /// With the path.
    pub fn replace(&self, job: &JobId, bytes: &[u8]) -> io::Result<()> {
        let path = self.newest(job);
        let written = match durable::write(&path, bytes) {
            // Somebody may have cleaned up.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                private_dir(&self.folder)?;
                durable::write(&path, bytes)
            }
            written => written,
        };
        written.map_err(|error| at(&path, error))
    }

    /// Files the last report of a run, and replaces the newest one of its job with it, unless that is of a later
    /// run; both are on disk when this returns.
    ///
    /// # Errors
    /// With the path.
    pub fn file(&self, report: &Report) -> io::Result<()> {
        let folder = self.history(&report.job_id);
        private_dir(&folder)?;
        let bytes = encode(report)?;
        let mut files = vec![(folder.join(format!("{}.json", report.run_id)), bytes.clone())];
        if !self.is_followed(report) {
            files.push((self.newest(&report.job_id), bytes));
        }
        for ((path, _), result) in files.iter().zip(durable::write_many_durable(&files)) {
            result.map_err(|error| at(path, error))?;
        }
        prune(&folder, self.keep)
    }

    /// Whether the newest report of the job is of a later run: of one name there may be several at once.
    fn is_followed(&self, report: &Report) -> bool {
        let newest = fs::read(self.newest(&report.job_id)).ok();
        let newest = newest.and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
        newest.is_some_and(|newest| newest.run_id > report.run_id)
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
    names.iter().take(surplus).try_for_each(|name| match fs::remove_file(folder.join(name)) {
        // Somebody else was quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    })
}

/// A file that ought to be a report, and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct Unusable {
    /// The file.
    pub path: PathBuf,
    /// Why.
    pub why: String,
}

/// The reports of all ended runs that a folder of reports keeps, by job, the oldest run first; and the files
/// that cannot be used. None if the folder is not there. What is removed meanwhile is left out.
///
/// # Errors
/// A folder cannot be read.
pub fn ended(folder: &Path) -> io::Result<(Vec<Report>, Vec<Unusable>)> {
    let history = folder.join("history");
    let (mut reports, mut unusable) = (Vec::new(), Vec::new());
    let mut jobs = subdirectories(&history)?;
    jobs.sort();
    for job in jobs {
        let folder = history.join(job);
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(at(&folder, error)),
        };
        let entries: Vec<_> = entries.collect::<Result<_, _>>().map_err(|error| at(&folder, error))?;
        let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
        // The drafts of files that are being written have another ending.
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        paths.sort();
        for path in paths {
            match read(&path) {
                Ok(report) => reports.extend(report),
                Err(why) => unusable.push(Unusable { path, why }),
            }
        }
    }
    Ok((reports, unusable))
}

/// A report; `None` if it was removed.
fn read(path: &Path) -> Result<Option<Report>, String> {
    /// What every form of report has.
    #[derive(serde::Deserialize)]
    struct Named {
        schema: String,
    }
    let Some(bytes) = read_file(path).map_err(|cause| cause.to_string())? else { return Ok(None) };
    let damaged = |error: serde_json::Error| format!("is damaged: {error}");
    let Named { schema } = serde_json::from_slice(&bytes).map_err(damaged)?;
    if schema != SCHEMA {
        return Err(format!("is of the form {schema:?}, known is {SCHEMA:?}"));
    }
    serde_json::from_slice(&bytes).map(Some).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ids::RunId;
    use crate::model::time::WallTime;
    use crate::reconcile::plan::tests::job;

    #[test]
    fn a_run_that_ends_later_does_not_hide_the_one_that_followed_it() {
        let dir = tempfile::tempdir().expect("a folder");
        let reports = Reports { folder: dir.path().join("reports"), keep: 1 };
        let job = job("twice", "");
        let report =
            |ms| Report::starting(&job, RunId::new(ms, 0), 0, WallTime::from_unix_ms(ms), "begun".into());
        let (first, second) = (report(1), report(2));
        let newest = || {
            let bytes = fs::read(reports.newest(&job.id)).expect("a report");
            serde_json::from_slice::<Report>(&bytes).expect("JSON").run_id
        };
        reports.put(&first).expect("written");
        reports.put(&second).expect("written");
        reports.put(&first).expect("passed over");
        assert_eq!(newest(), second.run_id);
        reports.file(&first).expect("filed");
        assert_eq!(newest(), second.run_id);
        assert!(reports.history(&job.id).join(format!("{}.json", first.run_id)).exists());
        reports.file(&second).expect("filed");
        let kept: Vec<_> = fs::read_dir(reports.history(&job.id)).expect("read").flatten().collect();
        assert_eq!(kept.len(), 1, "the older one has gone");
    }
}
