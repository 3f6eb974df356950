//! Which boot of the machine this is: numbers of processes mean nothing in another.

use std::fs;
use std::io;
use std::sync::OnceLock;

use crate::model::process::BootId;

/// This boot of this machine (`/proc/sys/kernel/random/boot_id`); read once.
///
/// # Errors
/// `/proc` is not mounted.
pub fn boot_id() -> io::Result<BootId> {
    static BOOT: OnceLock<BootId> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot.clone());
    }
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT.get_or_init(|| BootId(text.trim().into())).clone())
}
