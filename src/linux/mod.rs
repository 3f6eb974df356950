//! The kernel's side: clocks, cgroups, processes and their identity, priorities, users, spawning.

pub mod activity;
pub mod attach;
pub mod census;
pub mod cgroup;
pub mod clock;
pub mod disk;
pub mod exits;
pub mod marked;
pub mod pid_file;
pub mod priority;
pub mod proc_events;
pub mod process;
pub mod rlimits;
pub mod spawn;
pub mod sys;
pub mod user;
