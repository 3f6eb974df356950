//! Starting a workload: laid out before the fork, set up by the child itself, held before exec until its parent
//! gives the word.

mod child;
mod entry;
mod explain;
mod line;
mod parent;
mod plan;

pub use self::parent::{Held, Stdio, start, warm_up};
pub use self::plan::{Manner, Plan};
