//! The supervisor as a service, under a real systemd: what it does to the supervisor, workloads survive.
//!
//! These tests want a machine of their own, with the units installed as deployment/systemd/README.md says.
//! `make test-vm` boots two (`scripts/lane-vm`) and runs them there, one at a time. Elsewhere each says
//! `SKIPPED`.

mod machine;

mod service;
