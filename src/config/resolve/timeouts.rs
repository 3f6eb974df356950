//! PURE: `[timeouts]`: how long a run may take.

use super::reader::Reader;
use crate::config::schema::TimeoutsTable;
use crate::model::job::Timeouts;

/// Reads the table.
pub(super) fn read(read: &mut Reader, table: &TimeoutsTable) -> Timeouts {
    Timeouts { run: read.positive("timeouts.run", table.run.as_ref()) }
}

/// Values with others laid over them.
pub(super) fn overlay(base: Timeouts, over: Timeouts) -> Timeouts {
    Timeouts { run: over.run.or(base.run) }
}
