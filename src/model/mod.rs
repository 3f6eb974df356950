//! PURE nouns: what a job, a run, a constraint, an exit and a report are. No input, no output, no clock.

pub mod activity;
pub mod attached;
pub mod cgroup;
pub mod constraints;
pub mod cpus;
pub mod drift;
pub mod evidence;
pub mod exit;
pub mod history;
pub mod ids;
pub mod job;
pub mod matching;
pub mod process;
pub mod report;
pub mod rlimit;
pub mod schedule;
pub mod shortage;
pub mod signal;
pub mod sla;
pub mod space;
pub mod time;
pub mod units;
pub mod usage;
pub mod zones;
