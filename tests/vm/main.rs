//! The supervisor under a real systemd, as a service and started by hand: what systemd does to it,
//! workloads and their limits survive.
//!
//! These tests want a machine of their own, with the units installed as deployment/systemd/README.md says.
//! `make test-vm` boots two (`scripts/lane-vm`) and runs them there, one at a time. Elsewhere each says
//! `SKIPPED`.

mod machine;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../shared/wait.rs"]
mod wait;

// Named as the lane, so that `cargo test -- --skip vm::` leaves out what runs there.
#[path = "."]
mod vm {
    mod attached;
    mod command;
    mod ends;
    mod journal;
    mod limits;
    mod reboot;
    mod scope;
    mod service;
    mod users;
}
