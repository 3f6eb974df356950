//! The limit on open files (RLIMIT_NOFILE, getrlimit(2)): every run takes a descriptor of the supervisor's, and
//! workloads get the limit that the supervisor was started with.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. Gives the soft limit that there was.
pub fn raise() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // If it fails, fewer jobs can be watched, which each of them says for itself.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    Some(soft)
}

/// Sets the soft limit, for a program that is executed in this process.
pub fn restore(soft: Option<u64>) {
    if let (Some(soft), Ok((_, hard))) = (soft, getrlimit(Resource::RLIMIT_NOFILE)) {
        // Lowering it cannot fail.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard);
    }
}
