//! Worker agents: the job documents that a master sends them, and the result documents that it gets back.
//! Pure.

pub mod document;
mod json;
pub mod result;
