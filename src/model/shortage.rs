//! What a host can run out of, and get back: not for good, and nothing that a job is to blame for.

/// What a host can lack for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shortage {
    /// Room on a file system, or the user's quota of it.
    Disk,
    /// A file system that can be written.
    ReadOnly,
    /// Descriptors of this process, or of the host.
    Descriptors,
    /// Processes.
    Processes,
    /// Memory.
    Memory,
}

impl Shortage {
    /// What an error number (errno(3)) says is lacking.
    #[must_use]
    pub fn of(errno: i32) -> Option<Self> {
        match errno {
            libc::ENOSPC | libc::EDQUOT => Some(Self::Disk),
            libc::EROFS => Some(Self::ReadOnly),
            libc::EMFILE | libc::ENFILE => Some(Self::Descriptors),
            libc::EAGAIN => Some(Self::Processes),
            libc::ENOMEM => Some(Self::Memory),
            _ => None,
        }
    }

    /// In words.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Disk => "no space on the disk",
            Self::ReadOnly => "a read-only file system",
            Self::Descriptors => "no descriptors",
            Self::Processes => "no processes",
            Self::Memory => "no memory",
        }
    }

    /// What to do.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Disk => "free space on that file system (df, df -i, quota)",
            Self::ReadOnly => {
                "mount it read-write (mount -o remount,rw); the kernel's log says whether the disk fails (dmesg)"
            }
            Self::Descriptors => {
                "raise the supervisor's limit (LimitNOFILE= in its unit, prlimit --nofile), or the host's (fs.file-max)"
            }
            Self::Processes => {
                "end some, or raise what limits them (TasksMax= in the unit, ulimit -u, kernel.pid_max)"
            }
            Self::Memory => "free memory, or raise what limits the supervisor's (MemoryMax= in its unit)",
        }
    }
}
