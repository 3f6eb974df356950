//! Constraints on this machine's own hierarchies of cgroup version 1: what is asked for is what the
//! kernel does. Where there are none, or they may not be written to, each test says `SKIPPED`.

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../supervise/harness.rs"]
mod harness;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../attach/ground.rs"]
mod observing;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../shared/wait.rs"]
mod wait;

// Named as the lane, so that `cargo test -- --skip cgroup1::` leaves it out.
#[path = "."]
mod cgroup1 {
    mod attached;
    mod backend;
    #[path = "../shared/cpu.rs"]
    mod cpu;
    mod ground;
    mod jobs;
    mod leftovers;
}
