//! What the commands of `ffrtmp-sup` do. They look and touch nothing, and need no running supervisor.
//!
//! `status.rs` and `plan.rs` read the same files and ask the same `plan()` as the loop, by way of `survey.rs`;
//! `sla.rs` sums up reports; `doctor.rs` tries what the host can do.

pub mod doctor;
pub mod plan;
pub mod sla;
pub mod status;
pub mod survey;
