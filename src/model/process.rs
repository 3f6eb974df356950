//! What identifies a process. A bare pid does not: the kernel gives it to the next one.

use std::fmt;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

/// A process id as the kernel counts it; never 0. Alone it identifies nothing: see [`ProcessIdentity`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Pid(NonZeroU32);

impl Pid {
    /// `None` for 0 and for numbers no process can have.
    #[must_use]
    pub fn new(number: u32) -> Option<Self> {
        if number > i32::MAX as u32 {
            return None;
        }
        NonZeroU32::new(number).map(Self)
    }

    /// The pid as system calls take it.
    #[must_use]
    pub fn as_raw(self) -> i32 {
        self.0.get().cast_signed()
    }
}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One boot of one machine (`/proc/sys/kernel/random/boot_id`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub std::sync::Arc<str>);

/// A process that is told from every other one of this and of any earlier boot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: Pid,
    /// Clock ticks since boot at which it began (`/proc/PID/stat`, field 22; proc_pid_stat(5)).
    pub start_time: u64,
    /// The boot it belongs to.
    pub boot_id: BootId,
}
