//! The free space that the state's file system keeps in reserve: what runs already must always be able to record its end.

use std::path::{Path, PathBuf};

use tracing::{info, warn};

use crate::linux::disk;
use crate::model::space::{self, Space, rounded};

/// The state's file system.
#[derive(Debug)]
pub struct Reserve {
    state: PathBuf,
    reserve: space::Reserve,
    /// It has less free space than its reserve, which was told.
    is_low: bool,
}

impl Reserve {
    /// Of the file system of this folder.
    #[must_use]
    pub fn new(state: PathBuf, reserve: space::Reserve) -> Self {
        Self { state, reserve, is_low: false }
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// How much is to stay free.
    #[must_use]
    pub fn kept(&self) -> space::Reserve {
        self.reserve
    }

    /// Whether it had less than that when it was looked at last.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.is_low
    }

    /// What it has; `None` where that cannot be known. That it is less than its reserve is told once, and once that this
    /// is over.
    pub fn look(&mut self) -> Option<Space> {
        let space = disk::space(&self.state).ok()?;
        let is_low = self.reserve.missing(space).is_some();
        let (path, free, kept) = (self.state.display(), rounded(space.free), rounded(self.reserve.of(space)));
        match (std::mem::replace(&mut self.is_low, is_low), is_low) {
            (false, true) => warn!(
                "{path}: {free} are free, less than [disk] reserve ({kept}): oneshots wait, and older pieces of logs are \
                 removed; make room there, or lower [disk] reserve in supervisor.toml"
            ),
            (true, false) => info!("{path}: {free} are free again, [disk] reserve ({kept}) is kept"),
            _ => {}
        }
        Some(space)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_low_while_it_has_less_than_its_reserve() {
        let mut reserve = Reserve::new("/".into(), space::Reserve::Bytes(u64::MAX));
        assert!(!reserve.is_low(), "it was not looked at");
        assert!(reserve.look().is_some() && reserve.is_low());
        reserve.reserve = space::Reserve::Bytes(0);
        assert!(reserve.look().is_some() && !reserve.is_low());
        reserve.state = "/no/such/folder".into();
        assert!(reserve.look().is_none() && !reserve.is_low());
    }
}
