//! `ffrtmp run` and `ffrtmp attach`, seen from outside: the real binary, as a shell, a script, cron or a
//! worker agent calls it, and every command of the reference's documents.
//!
//! Each test has a folder of its own (`harness.rs`), and fails if anything of it is left at the end.

mod harness;
mod terminal;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../attach/ground.rs"]
mod ground;

#[path = "../shared/rtmp.rs"]
mod rtmp;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../shared/wait.rs"]
mod wait;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../shared/cpu.rs"]
mod cpu;

mod attach;
mod examples;
mod integration;
mod run;
mod stability;
