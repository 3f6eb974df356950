//! Processes: who they are, whether they live, their families, and signals that reach nobody else.

mod boot;
mod family;
mod identity;
mod pidfd;
mod stat;

pub use self::boot::boot_id;
pub use self::family::{family, kill_family};
pub use self::identity::{
    began, current, has_ended, identify, is_stopped, is_zombie, name, own_status, resident_bytes,
};
pub(super) use self::pidfd::ready;
pub use self::pidfd::{PidFd, send};
pub(super) use self::stat::{
    Stat, is_gone, read_stat, read_thread_nice, read_thread_state, split_stat, stat_of,
};
