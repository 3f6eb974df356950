//! What file systems have free.

use std::io;
use std::path::Path;

use nix::sys::statvfs::statvfs;

use crate::model::space::Space;

/// What the file system of a path has (statvfs(3)). Where that is a network file system, it may not return for long.
///
/// # Errors
/// There is no such path, or it cannot be reached.
pub fn space(path: &Path) -> io::Result<Space> {
    let disk = statvfs(path)?;
    let block = disk.fragment_size() as u64;
    let bytes = |blocks: u64| blocks.saturating_mul(block);
    Ok(Space { free: bytes(disk.blocks_available() as u64), size: bytes(disk.blocks() as u64) })
}
