//! What is kept of jobs that nobody declares any more: their reports, histories and logs go after some time, or where
//! there are too many of them. Attached processes, instances and renamed jobs leave such files behind, too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::reports::Reports;
use crate::model::ids::{JobId, RunId};
use crate::model::report::Report;
use crate::model::time::WallTime;

/// How long, and how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// After the end of the last run.
    pub gone_jobs: Duration,
    /// So many jobs; of more, those that ended first go.
    pub max_jobs: usize,
}

/// The jobs of which nothing may go: those that are declared, and those that have a run.
#[derive(Debug, Clone, Default)]
pub struct Needed {
    /// By name.
    pub jobs: BTreeSet<JobId>,
    /// Every job of these files: it is not known what they declare.
    pub stems: BTreeSet<String>,
}

impl Needed {
    fn has(&self, job: &JobId) -> bool {
        self.jobs.contains(job) || self.stems.contains(job.stem())
    }
}

/// A job that nobody declares.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Gone {
    job: JobId,
    /// Its last run, as far as it is known.
    run: Option<RunId>,
    /// When that ended.
    ended: Option<WallTime>,
}

/// PURE: which of them go. The order goes by runs, which a clock that was set does not change; a run that ended in the
/// future has just ended.
fn choose(mut gone: Vec<Gone>, now: WallTime, bounds: Bounds) -> Vec<JobId> {
    // The newest first; of whom nothing is known, last.
    gone.sort_by(|a, b| (&b.run, &b.job).cmp(&(&a.run, &a.job)));
    let limit = i64::try_from(bounds.gone_jobs.as_millis()).unwrap_or(i64::MAX);
    let too_old =
        |gone: &Gone| gone.ended.is_some_and(|ended| now.unix_ms().saturating_sub(ended.unix_ms()) >= limit);
    let goes = gone.into_iter().enumerate().filter(|(n, gone)| *n >= bounds.max_jobs || too_old(gone));
    goes.map(|(_, gone)| gone.job).collect()
}

/// Removes what has been kept long enough. Gives the jobs of which nothing is left.
///
/// # Errors
/// The folder of reports cannot be read. What cannot be removed is tried again the next time.
pub fn apply(
    reports: &Reports,
    logs: &Path,
    needed: &Needed,
    now: WallTime,
    bounds: Bounds,
) -> io::Result<Vec<JobId>> {
    let gone = known(reports)?.into_iter().filter(|job| !needed.has(job));
    let gone = gone.map(|job| look(reports, job)).collect();
    let going = choose(gone, now, bounds);
    if going.is_empty() {
        return Ok(going);
    }
    let mut pieces = log_files(logs);
    for job in &going {
        // The newest report last: as long as it is there, the job is known and looked at again.
        let _ = fs::remove_dir_all(reports.history(job));
        for piece in pieces.remove(job).unwrap_or_default() {
            let _ = fs::remove_file(piece);
        }
        let _ = fs::remove_file(reports.newest(job));
    }
    Ok(going)
}

/// Every job that has a report or a history.
fn known(reports: &Reports) -> io::Result<BTreeSet<JobId>> {
    let mut jobs = BTreeSet::new();
    for (folder, suffix) in [(reports.folder.clone(), ".json"), (reports.folder.join("history"), "")] {
        for entry in fs::read_dir(folder)? {
            let name = entry?.file_name();
            let stem = name.to_str().and_then(|name| name.strip_suffix(suffix));
            jobs.extend(stem.and_then(|stem| JobId::try_from(stem.to_owned()).ok()));
        }
    }
    Ok(jobs)
}

fn look(reports: &Reports, job: JobId) -> Gone {
    let report = fs::read(reports.newest(&job)).ok();
    let report = report.and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok());
    let (run, ended) = report.map_or((None, None), |report| (Some(report.run_id), report.ended_at));
    Gone { job, run, ended }
}

/// The log of each job, with its older pieces: `<job>.log`, `<job>.log.1`, `<job>.log.1.zst`.
fn log_files(logs: &Path) -> BTreeMap<JobId, Vec<PathBuf>> {
    let mut files: BTreeMap<JobId, Vec<PathBuf>> = BTreeMap::new();
    for entry in fs::read_dir(logs).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some((job, rest)) = name.to_str().and_then(|name| name.rsplit_once(".log")) else { continue };
        let number = rest.strip_suffix(".zst").unwrap_or(rest);
        let is_piece =
            number.strip_prefix('.').is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        if let (true, Ok(job)) = (rest.is_empty() || is_piece, JobId::try_from(job.to_owned())) {
            files.entry(job).or_default().push(entry.path());
        }
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400_000;

    fn job(name: &str) -> JobId {
        JobId::try_from(name.to_owned()).expect("an id")
    }

    fn gone(name: &str, run: i64, ended: Option<i64>) -> Gone {
        let ended = ended.map(WallTime::from_unix_ms);
        Gone { job: job(name), run: Some(RunId::new(run, 1)), ended }
    }

    #[test]
    fn the_oldest_go_first_and_a_clock_in_the_future_removes_nothing_early() {
        let bounds = |max_jobs| Bounds { gone_jobs: Duration::from_secs(30 * 86_400), max_jobs };
        let now = WallTime::from_unix_ms(1000 * DAY);
        let all = vec![
            gone("old", 10, Some(900 * DAY)),
            gone("young", 30, Some(999 * DAY)),
            gone("future", 20, Some(3000 * DAY)),
            gone("lives", 40, None),
        ];
        assert_eq!(choose(all.clone(), now, bounds(10)), [job("old")]);
        assert_eq!(choose(all.clone(), now, bounds(2)), [job("future"), job("old")]);
        assert_eq!(choose(all, now, bounds(0)).len(), 4);
    }

    #[test]
    fn all_of_a_job_goes_and_nothing_of_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let reports = Reports { folder: folder.path().join("reports"), keep: 5 };
        let logs = folder.path().join("logs");
        fs::create_dir_all(&logs).expect("made");
        for name in ["gone", "gone@7", "needed", "broken@a", "gone.log"] {
            fs::create_dir_all(reports.history(&job(name))).expect("made");
            fs::write(reports.newest(&job(name)), "{}").expect("written");
            for suffix in ["", ".1", ".2.zst", ".mine"] {
                fs::write(logs.join(format!("{name}.log{suffix}")), "x").expect("written");
            }
        }
        let needed = Needed { jobs: [job("needed")].into(), stems: ["broken".to_owned()].into() };
        let bounds = Bounds { gone_jobs: Duration::from_secs(1), max_jobs: 0 };
        let now = WallTime::from_unix_ms(0);
        let mut went = apply(&reports, &logs, &needed, now, bounds).expect("readable");
        went.sort();
        assert_eq!(went, [job("gone"), job("gone.log"), job("gone@7")]);
        let mut left: Vec<String> = [reports.folder.clone(), reports.folder.join("history"), logs]
            .iter()
            .flat_map(|folder| fs::read_dir(folder).expect("there"))
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        left.sort();
        let kept = |name: &str| left.iter().filter(|file| file.starts_with(name)).count();
        assert_eq!((kept("needed"), kept("broken@a")), (6, 6), "{left:?}");
        assert_eq!((kept("gone"), left.len()), (3, 16), "only what is no piece of ours: {left:?}");
    }
}
