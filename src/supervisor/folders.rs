//! The supervisor's own folders: made for nobody else, and refused where others may write.
//!
//! Whoever can write there can plant records that the supervisor acts on, take its locks, or put a link to
//! something precious in the place of a log.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::unistd::{getegid, geteuid};

use crate::config::load::Trust;
use crate::config::paths::Layout;
use crate::runs::reports::private_dir;

/// Makes them, and makes sure that nobody but root and us can write there.
///
/// # Errors
/// With the path, what is wrong with it, and what to do.
pub fn make(layout: &Layout) -> io::Result<()> {
    let mut trust = Trust::new(geteuid().as_raw(), getegid().as_raw());
    // The state first: what lies in it is only looked at once it is known who may change it.
    let own =
        [&layout.state, &layout.run, &layout.runs(), &layout.logs(), &layout.reports(), &layout.history()];
    for folder in own {
        private_dir(folder)?;
        check(folder, &mut trust).map_err(|what| {
            io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "{what}, so others could plant records and logs; the supervisor's own folders and all \
                     above them have to belong to root or to its user, and be writable by nobody else \
                     (chown, chmod go-w)"
                ),
            )
        })?;
    }
    Ok(())
}

fn check(folder: &Path, trust: &mut Trust) -> Result<(), String> {
    trust.check_folder(folder)?;
    // Above it, a folder with the sticky bit and one of our own group are fine. Of our own they are not.
    let meta = fs::metadata(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mode = meta.mode();
    match mode & 0o022 {
        0 => Ok(()),
        _ => Err(format!("{} is writable by others (mode {:04o})", folder.display(), mode & 0o7777)),
    }
}
