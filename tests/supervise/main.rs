//! `ffrtmp-sup supervise`, seen from outside: the real binaries, real files, real processes.
//!
//! Each test has a folder, a supervisor and workloads of its own (`harness.rs`), and leaves nothing.

mod harness;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../shared/wait.rs"]
mod wait;

mod attach;
mod attributes;
mod calls;
mod commands;
mod copies;
mod edits;
mod exits;
mod faults;
mod files;
mod folders;
mod killed;
mod logs;
mod media;
mod notify;
mod nursery;
mod orphans;
mod ps;
mod restarts;
mod rlimits;
mod schedule;
mod security;
mod space;
mod stops;
mod storm;
mod takeover;
mod upgrade;
