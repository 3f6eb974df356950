//! What is measured, one scenario a file.

pub mod edit;
pub mod exit;
pub mod start;
pub mod thousand;
pub mod validate;
