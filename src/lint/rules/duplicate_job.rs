//! Two files that declare one job.

use std::path::Path;

use crate::lint::diagnostic::escape_path;
use crate::lint::rule::{At, Problem, rule};
use crate::model::ids::JobId;

rule! {
    "duplicate-job" Error "Two files of one run declare the same job"
    because "\
A job's name is the name of its file, and its reports, logs and runs are kept under that name. Two folders \
that are to be brought together into one `jobs.d` must not both hold a file of this name: one would \
replace the other.

Rename one of the two. Files under different roots (folders with a `jobs.d`) are not compared."
    bad Words "team-a/encoder.toml and team-b/encoder.toml"
    good Words "team-a/encoder-a.toml and team-b/encoder-b.toml"
    check Files
}

/// The problem of the second file.
pub fn problem(id: &JobId, first: &Path) -> Problem {
    RULE.problem(At::File, format!("job `{id}` is declared in {} already", escape_path(first)))
        .help("a job's name is its file's name: rename one of the two")
}
