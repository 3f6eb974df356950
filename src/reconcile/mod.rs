//! PURE decisions: from what is declared and what is seen to what is to be done, and when to look again.

pub mod diff;
pub mod gates;
pub mod plan;
#[cfg(test)]
mod properties;
pub mod restart;
mod take;
