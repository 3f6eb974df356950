//! Output files of jobs, with a bound. A workload writes its own descriptor, so nobody stands between it and the
//! disk; `rotate.rs` moves the head of such a file out while it is written, `pieces.rs` knows what became of it,
//! `compress.rs` makes that smaller, `keeper.rs` says when.

pub mod compress;
pub mod keeper;
pub mod pieces;
pub mod rotate;

/// How much of a job's output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// A log of this many bytes is rotated.
    pub max_size: u64,
    /// Older pieces that are kept beside it.
    pub keep: usize,
    /// Older pieces are compressed.
    pub compress: bool,
}
