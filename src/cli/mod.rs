//! The command lines: their options, and the job that those of `ffrtmp` come to.
//!
//! Help texts, man pages and completions are made from the same definitions.

pub mod ffrtmp;
pub mod ffrtmp_sup;
mod help;
pub mod options;
pub mod ps;
pub mod request;
pub mod usage;

use std::path::PathBuf;

use crate::config::paths::{Layout, UserDirs};

/// Why it is not known where a user's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HOME is not set: set it, or give --root")]
pub struct NoHomeDirectory;

/// Where everything lies: below `root`, else where it is for root or for another user.
///
/// # Errors
/// Another user without a home folder.
pub fn layout(root: Option<PathBuf>) -> Result<Layout, NoHomeDirectory> {
    if let Some(root) = root {
        return Ok(Layout::under(&root));
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(Layout::of_root());
    }
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let dirs = UserDirs {
        home: var("HOME"),
        config: var("XDG_CONFIG_HOME"),
        state: var("XDG_STATE_HOME"),
        runtime: var("XDG_RUNTIME_DIR"),
    };
    Layout::of_user(&dirs).ok_or(NoHomeDirectory)
}
