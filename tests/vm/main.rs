//! The supervisor under a real systemd, as a service and started by hand: what systemd does to it,
//! workloads survive.
//!
//! These tests want a machine of their own, with the units installed as deployment/systemd/README.md says.
//! `make test-vm` boots two (`scripts/lane-vm`) and runs them there, one at a time. Elsewhere each says
//! `SKIPPED`.

mod machine;

mod scope;
mod service;
