//! What is remembered of a job from one run to the next.

use serde::{Deserialize, Serialize};

use super::time::BootTime;

/// What is remembered of a job's starts. It travels from the spec of one run to that of the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartHistory {
    /// Times the job was started again.
    pub restarts: u32,
    /// Restarts in a row that were not followed by a long run: the exponent of the pause.
    pub backoff: u32,
    /// When the latest starts of this boot were made, oldest first, this one included.
    pub recent: Vec<BootTime>,
}
