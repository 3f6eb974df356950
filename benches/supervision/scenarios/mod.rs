//! What is measured, one scenario a file.

pub mod attach;
pub mod command_line;
pub mod edit;
pub mod exit;
pub mod growth;
pub mod limits_edit;
pub mod limits_many;
pub mod limits_start;
pub mod peers;
pub mod recover;
pub mod start;
pub mod thousand;
pub mod validate;
