//! A look at everything without touching it: what is declared, what runs, what was last reported.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use super::declared::Declared;
use super::observed::{self, Sighting};
use crate::config::paths::Layout;
use crate::linux::clock;
use crate::model::ids::JobId;
use crate::model::report::Report;
use crate::runs::dir::{all_jobs, current, job_runs};

/// What the files of a layout declare at this moment.
#[must_use]
pub fn declared(layout: &Layout) -> Declared {
    Declared::snapshot(layout.clone(), clock::now())
}

/// Every job that is declared or has a run.
#[must_use]
pub fn jobs(declared: &Declared, layout: &Layout) -> BTreeSet<JobId> {
    let mut jobs: BTreeSet<JobId> = declared.jobs().cloned().collect();
    jobs.extend(all_jobs(&layout.runs()).unwrap_or_default());
    jobs
}

/// A job's live run, or else its newest.
#[must_use]
pub fn run_of(layout: &Layout, job: &JobId) -> Option<Sighting> {
    let (dir, _) = current(job_runs(&layout.runs(), job).ok()?);
    let dir = dir?;
    observed::look(&dir, clock::now()).ok()
}

/// The newest report of a job.
#[must_use]
pub fn report_of(layout: &Layout, job: &JobId) -> Option<Report> {
    let bytes = fs::read(layout.reports().join(format!("{job}.json"))).ok()?;
    serde_json::from_slice(&bytes).ok()
}

/// Whether the last report of a run is on disk.
#[must_use]
pub fn is_filed(layout: &Layout, sighting: &Sighting) -> bool {
    let spec = &sighting.spec;
    let name = format!("{}.json", spec.run_id);
    layout.history().join(Path::new(spec.job.id.as_str())).join(name).exists()
}
