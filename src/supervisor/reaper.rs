//! Children that have ended: wrappers, and workloads that came to us because their wrapper died.

use std::collections::HashMap;

use crate::linux::process;
use crate::linux::sys::{self, Reaped};
use crate::model::process::ProcessIdentity;

/// Exit statuses of children that are kept before those that mean nothing are dropped.
const MAX_REAPED: usize = 1024;

/// Children that are reaped in one round.
const REAPED_A_ROUND: usize = 256;

/// The exits of our children.
#[derive(Debug, Default)]
pub struct Reaper {
    exits: HashMap<ProcessIdentity, Reaped>,
    /// Children have ended that were not reaped in the last round.
    behind: bool,
}

impl Reaper {
    /// Waits for the children that have ended (wait(2)): so many of them as a round may take.
    pub fn reap(&mut self) {
        for n in 0.. {
            let Ok(Some(pid)) = sys::peek_exit(false) else { break };
            if n == REAPED_A_ROUND {
                self.behind = true;
                break;
            }
            // While it is a zombie nobody else has its number; and it can wait until that can be read.
            let Ok(process) = process::identify(pid) else { break };
            let Ok(reaped) = sys::reap(pid) else { break };
            if let Some(process) = process {
                self.exits.insert(process, reaped);
            }
        }
    }

    /// Whether some are left over from the last round.
    #[must_use]
    pub fn is_behind(&self) -> bool {
        self.behind
    }

    /// The same, and they are about to be reaped.
    pub fn was_behind(&mut self) -> bool {
        std::mem::take(&mut self.behind)
    }

    /// Whether so many exits are kept that those that mean nothing should go.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.exits.len() > MAX_REAPED
    }

    /// Only the exits of orphaned workloads mean anything; those of wrappers pile up.
    pub fn keep_only(&mut self, is_known: impl Fn(&ProcessIdentity) -> bool) {
        self.exits.retain(|process, _| is_known(process));
    }

    /// Whether the exit of this process is kept.
    #[must_use]
    pub fn knows(&self, process: &ProcessIdentity) -> bool {
        self.exits.contains_key(process)
    }

    /// The exit of this process, for whoever records it.
    pub fn take(&mut self, process: &ProcessIdentity) -> Option<Reaped> {
        self.exits.remove(process)
    }
}
