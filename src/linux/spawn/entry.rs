//! How a child comes into its cgroup.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::model::cgroup::Cgroup;

/// How a child comes into its cgroup.
pub(super) enum Entry {
    /// It is made there: a directory of version 2.
    Born(OwnedFd),
    /// It writes itself into these files, all of which must work.
    Joins(Vec<OwnedFd>),
    /// Not at all: an error number.
    Refused(i32),
}

impl Entry {
    pub(super) fn new(cgroup: Option<&Cgroup>) -> Self {
        match cgroup {
            None => Self::Joins(Vec::new()),
            Some(Cgroup::V2 { dir, .. }) => open(dir, libc::O_PATH | libc::O_DIRECTORY, Self::Born),
            // `tasks`, not `cgroup.procs`: a process with one thread that moves itself so need not wait for
            // all others in the kernel, which takes milliseconds.
            Some(Cgroup::V1 { dirs }) => {
                let unique: BTreeSet<_> = dirs.values().collect();
                let files = unique.into_iter().map(|dir| open_fd(&dir.join("tasks"), libc::O_WRONLY));
                files.collect::<io::Result<_>>().map_or_else(Self::refused, Self::Joins)
            }
        }
    }

    /// Where a child cannot be made in its cgroup: before Linux 5.7, or forbidden by a filter.
    pub(super) fn fallback(cgroup: Option<&Cgroup>) -> Self {
        match cgroup {
            Some(Cgroup::V2 { dir, .. }) => {
                open(&dir.join("cgroup.procs"), libc::O_WRONLY, |fd| Self::Joins(vec![fd]))
            }
            other => Self::new(other),
        }
    }

    /// The files that the child writes itself into.
    pub(super) fn files(&self) -> &[OwnedFd] {
        match self {
            Self::Joins(files) => files,
            Self::Born(_) | Self::Refused(_) => &[],
        }
    }

    fn refused(error: io::Error) -> Self {
        Self::Refused(error.raw_os_error().unwrap_or(libc::EIO))
    }
}

fn open(path: &Path, flags: i32, entry: impl FnOnce(OwnedFd) -> Entry) -> Entry {
    open_fd(path, flags).map_or_else(Entry::refused, entry)
}

fn open_fd(path: &Path, flags: i32) -> io::Result<OwnedFd> {
    let mut options = File::options();
    // One of the two is asked for by std; with O_PATH the kernel passes over it.
    let writes = flags & libc::O_ACCMODE == libc::O_WRONLY;
    options.read(!writes).write(writes).custom_flags(flags & !libc::O_ACCMODE).open(path).map(Into::into)
}
