//! PURE: `[exec.log]` of jobs, and `[logs]` of the supervisor: how much is kept of an output file.

use super::reader::Reader;
use crate::config::problem::{At, KeyPath};
use crate::config::schema::LogsTable;
use crate::model::job::LogBounds;

/// `[logs]` or `[exec.log]`, of which these are the paths of size and number.
pub(in crate::config) fn read(
    read: &mut Reader,
    [size, keep]: [&'static str; 2],
    table: &LogsTable,
) -> LogBounds {
    let max_size = read.size(size, table.max_size.as_ref(), 0);
    if max_size.is_some_and(|size| size < LogBounds::LEAST_SIZE) {
        read.error(
            "out-of-range",
            At::Value(KeyPath::of(size)),
            format!("{size} is less than {}", LogBounds::LEAST_SIZE),
            format!("use {} or more; the default is 64MiB", LogBounds::LEAST_SIZE),
        );
    }
    let pieces = read.integer(keep, table.keep, 0, LogBounds::MAX_PIECES.into());
    LogBounds {
        max_size: max_size.filter(|size| *size >= LogBounds::LEAST_SIZE),
        keep: pieces.and_then(|keep| u32::try_from(keep).ok()),
        compress: table.compress,
    }
}

/// Bounds with others laid over them.
pub(super) fn overlay(base: LogBounds, over: LogBounds) -> LogBounds {
    LogBounds {
        max_size: over.max_size.or(base.max_size),
        keep: over.keep.or(base.keep),
        compress: over.compress.or(base.compress),
    }
}
