//! ffrtmp-sup: declarative, non-owning supervision of media workloads.

pub mod config;
pub mod lint;
pub mod linux;
pub mod model;
pub mod reconcile;
pub mod runs;
pub mod supervisor;
pub mod telemetry;
pub mod wrapper;
