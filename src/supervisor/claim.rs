//! The claim to the state: that the lock file is still the one that we hold. Who deletes it, or the whole state folder,
//! may let another supervisor in; two would start everything twice.

use std::io;

use tracing::warn;

use super::folders;
use super::lock::{LockError, SupervisorLock};
use crate::config::paths::Layout;

/// This supervisor's claim to its state.
#[derive(Debug)]
pub struct Claim {
    layout: Layout,
    lock: SupervisorLock,
    lost: Option<String>,
}

impl Claim {
    /// Rests on a lock that was taken.
    #[must_use]
    pub fn new(layout: Layout, lock: SupervisorLock) -> Self {
        Self { layout, lock, lost: None }
    }

    /// Makes sure that the lock file is the one that we hold. Where it was deleted it is made anew, and the folders, too.
    /// True: it was, so that more may be gone.
    ///
    /// # Errors
    /// It cannot be made anew; or another supervisor was quicker, and then the claim is lost.
    pub fn check(&mut self) -> io::Result<bool> {
        let path = self.layout.lock();
        if self.lock.is_at(&path) {
            return Ok(false);
        }
        folders::make(&self.layout)?;
        match self.lock.renew(&path) {
            Ok(()) => {
                warn!("{} was deleted; it is made anew", path.display());
                Ok(true)
            }
            Err(error @ LockError::Held { .. }) => {
                let why =
                    format!("the lock file was deleted, and {error}; this one leaves, the workloads run on");
                self.lost = Some(why.clone());
                Err(io::Error::other(why))
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Another supervisor has the state, and why: we leave, before anything is started twice.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        self.lost.as_deref()
    }

    /// The lock.
    #[must_use]
    pub fn lock(&self) -> &SupervisorLock {
        &self.lock
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::supervisor::lock;

    #[test]
    fn a_lock_file_that_was_deleted_is_made_anew_unless_another_supervisor_was_quicker() {
        let root = tempfile::tempdir().expect("a folder");
        let layout = Layout::under(root.path());
        folders::make(&layout).expect("folders");
        let mut claim = Claim::new(layout.clone(), lock::take(&layout.lock(), None).expect("free"));
        assert!(!claim.check().expect("held"));
        fs::remove_file(layout.lock()).expect("removed");
        assert!(claim.check().expect("held anew"));
        assert!(layout.lock().exists() && !claim.check().expect("held"));
        fs::remove_dir_all(&layout.state).expect("removed");
        folders::make(&layout).expect("folders");
        let _other = lock::take(&layout.lock(), None).expect("nobody holds that one");
        assert!(claim.check().is_err());
        assert!(claim.lost().is_some_and(|why| why.contains("another supervisor")), "{:?}", claim.lost());
    }
}
