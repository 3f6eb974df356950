//! Run directories: the records that outlive supervisor and wrapper, and how they are written.

pub mod dir;
pub mod durable;
pub mod record;
pub mod reports;
pub mod retention;
