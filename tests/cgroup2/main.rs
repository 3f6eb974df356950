//! Constraints on a kernel with cgroup v2, measured: what a job declares is what the kernel does.
//!
//! These tests want a machine of their own, root on it, and all of its cgroups. `make test-cgroup2` boots
//! one (`scripts/lane-cgroup2`) and runs them there, one at a time. Elsewhere each says `SKIPPED`.

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../supervise/harness.rs"]
mod harness;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../attach/ground.rs"]
mod observing;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../shared/wait.rs"]
mod wait;

// Named as the lane, so that `cargo test -- --skip cgroup2::` leaves out what runs there.
#[path = "."]
mod cgroup2 {
    mod attached;
    mod clock;
    mod command;
    #[path = "../shared/cpu.rs"]
    mod cpu;
    mod edits;
    mod ends;
    mod exits;
    mod ground;
    mod hosts;
    mod kernel;
    mod leftovers;
    mod limits;
    mod oom;
    mod survives;
}
