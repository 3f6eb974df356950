//! What `ffrtmp run` is asked for, and the names that its runs go by.

use std::ffi::OsString;
use std::path::PathBuf;

use super::files::Files;
use crate::model::cgroup::Choice;
use crate::model::job::Job;

/// Told apart from the supervisors that share a cgroup with this.
pub const INSTANCE: &str = "ffrtmp-cli";

/// The variable that tells a workload of which job it is.
pub const JOB_VARIABLE: &str = "FFRTMP_JOB";

/// What `ffrtmp run` was asked for.
pub struct Request {
    /// All that a job file would say.
    pub job: Job,
    /// The program and its arguments.
    pub argv: Vec<OsString>,
    /// The workload's environment.
    pub environment: Vec<(OsString, OsString)>,
    /// Where it starts; where the caller is, if `None`.
    pub working_dir: Option<PathBuf>,
    /// The program's path, for people.
    pub program: String,
    /// False: it is only started and waited for.
    pub governed: bool,
    /// What keeps its limits.
    pub cgroup: Choice,
    /// What is kept of it.
    pub files: Files,
    /// A file that is to have the workload's pid while that runs.
    pub pid_file: Option<PathBuf>,
    /// One document on standard output, and nothing else there.
    pub json: bool,
    /// No messages but errors.
    pub quiet: bool,
}
