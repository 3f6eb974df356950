//! The wrapper: one small process per run, which starts the workload, waits for it and records its end.
//! It has no policy. If it dies, the workload lives on.

pub mod attach;
mod child;
pub mod detached;
pub mod files;
pub mod hold;
mod keeper;
pub mod launch;
mod lost;
mod messages;
pub mod nursery;
mod observe;
pub mod ps;
pub mod request;
pub mod run;
mod signals;
