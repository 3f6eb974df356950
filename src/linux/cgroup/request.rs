//! What a supervisor asks for, and why a mechanism is not there.

use std::io;
use std::path::Path;

use crate::model::cgroup::Choice;

/// Where an operator reads on. Part of every reason that a host, not a value, is to blame for.
pub const READ_ON: &str = "see docs/constraints.md";

/// What a supervisor asks for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// `[cgroup] backend`.
    pub choice: Choice,
    /// A cgroup that was delegated to us, by its path in the hierarchy: `--cgroup-parent`.
    pub parent: Option<&'a Path>,
    /// Told apart from other supervisors that share a cgroup with this one; a name for a directory.
    pub instance: &'a str,
}

/// Why a mechanism is not there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// It is there, for others.
    #[error("permission denied: {0}")]
    Permission(String),
    /// This host lacks it.
    #[error("{0}")]
    Missing(String),
}

impl Unavailable {
    /// From an error on a path.
    pub(super) fn new(what: &str, path: &Path, error: &io::Error) -> Self {
        let text = format!("{what} {}: {error}", path.display());
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM | libc::EROFS) => Self::Permission(text),
            _ => Self::Missing(text),
        }
    }
}
