//! Configuration: files are parsed into the raw types of [`schema`], then resolved into jobs.
//!
//! Problems are collected, not thrown: a file is always read to its end, and everything that is
//! wrong with it is said at once.

pub mod load;
pub mod parse;
pub mod paths;
pub mod problem;
pub mod profiles;
pub mod resolve;
pub mod schema;
pub mod settings;
pub mod suggest;
