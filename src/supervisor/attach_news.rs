//! What became of processes that attach jobs took over or were about to, for those who look for processes: who has
//! ended, and that one is nobody's any more.

use std::time::Duration;

use tracing::debug;

use crate::model::ids::JobId;
use crate::model::process::ProcessIdentity;
use crate::model::time::BootTime;

/// How long no process has to end too early before the next one is told of again.
const BURST: Duration = Duration::from_secs(10);

/// What those who look for processes do not know yet.
#[derive(Debug, Default)]
pub struct AttachNews {
    ended: Vec<ProcessIdentity>,
    freed: bool,
    /// When a process was last found to have ended before it was taken over.
    missed_at: Option<BootTime>,
}

impl AttachNews {
    /// A process had ended before it was taken over: the rule goes on looking.
    pub fn miss(&mut self, job: &JobId, process: &ProcessIdentity, now: BootTime) {
        self.ended.push(process.clone());
        if self.missed_at.replace(now).is_none_or(|last| now.since(last) >= BURST) {
            let pid = process.pid;
            debug!(job = %job, "process {pid} ended before it was taken over; more of them are not told of now");
        }
    }

    /// A process is nobody's any more: other jobs may wait for it.
    pub fn free(&mut self) {
        self.freed = true;
    }

    /// The processes that have ended since this was last asked.
    pub fn take_ended(&mut self) -> Vec<ProcessIdentity> {
        std::mem::take(&mut self.ended)
    }

    /// Whether a process has become nobody's since this was last asked.
    pub fn take_freed(&mut self) -> bool {
        std::mem::take(&mut self.freed)
    }
}
