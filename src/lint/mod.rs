//! The linter: what the daemon refuses, in the same words, and what it would run but should not.
//!
//! [`check`] is used by the daemon and by `validate` alike. [`rules`] has one file for each thing that
//! can be wrong; [`diagnostic`] gives a problem its line and column; [`render`] prints it.

pub mod check;
pub mod diagnostic;
mod ffmpeg;
pub mod host;
pub mod render;
mod rule;
pub mod rules;
pub mod validate;

pub use rules::explain;
