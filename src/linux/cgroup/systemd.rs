//! A subtree of the unified hierarchy that systemd delegates when asked over D-Bus: one scope that
//! holds all jobs of a supervisor.

use super::mounts::Mounts;
use super::{Request, Unavailable, v2};

/// Asks systemd for a scope with `Delegate=yes`, or finds the one that an earlier supervisor asked for.
///
/// # Errors
/// systemd does not run here, or refuses.
pub fn open(_mounts: &Mounts, _request: &Request<'_>, _booted: bool) -> Result<v2::Tree, Unavailable> {
    Err(Unavailable::Missing("not part of this version yet".into()))
}
