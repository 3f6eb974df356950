//! Free space on file systems: what is kept in reserve, what jobs need before they start, and why one waits for it.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, UnitError, format_duration};

/// What a file system has (statvfs(3)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Bytes that we may use (`f_bavail`).
    pub free: u64,
    /// Bytes in all.
    pub size: u64,
}

/// `[disk] reserve`: the free space that the state's file system keeps for records and reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reserve {
    /// 2 % of the file system, but no more than 512 MiB: small disks have little to spare, large ones need no more.
    #[default]
    Usual,
    /// So many percent of the file system.
    Percent(u8),
    /// So many bytes; 0 for none.
    Bytes(u64),
}

impl Reserve {
    /// Reads `"2%"`, or a size.
    ///
    /// # Errors
    /// It is neither.
    pub fn parse(text: &str) -> Result<Self, UnitError> {
        match text.strip_suffix('%') {
            Some(number) => match number.trim().parse() {
                Ok(percent @ 0..=90) => Ok(Self::Percent(percent)),
                Ok(_) => Err(UnitError::TooLarge(text.into())),
                Err(_) => Err(UnitError::NoNumber(text.into())),
            },
            None => ByteSize::parse(text).map(|size| Self::Bytes(size.0)),
        }
    }

    /// How many bytes that is.
    #[must_use]
    pub fn of(self, space: Space) -> u64 {
        let percent = |percent: u8| space.size / 100 * u64::from(percent);
        match self {
            Self::Usual => percent(2).min(512 << 20),
            Self::Percent(number) => percent(number),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// How much is missing; `None`: nothing.
    #[must_use]
    pub fn missing(self, space: Space) -> Option<u64> {
        self.of(space).checked_sub(space.free).filter(|missing| *missing > 0)
    }
}

/// `[[needs]] free`: a job starts only where a file system has so much free space.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeSpace {
    /// A path on it.
    pub path: PathBuf,
    /// Bytes.
    pub at_least: u64,
}

/// Why a start waits for space. Its words follow "waits".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NoSpace {
    /// The state's file system has less free space than its reserve.
    Reserve {
        /// The state folder.
        path: PathBuf,
        /// Bytes.
        free: u64,
        /// Bytes.
        reserve: u64,
    },
    /// A file system has less than the job needs.
    Free {
        /// What it needs, and where.
        need: FreeSpace,
        /// Bytes.
        free: u64,
    },
    /// It cannot be known: there is no such path, or it cannot be read.
    Unknown {
        /// The path.
        path: PathBuf,
        /// Why.
        error: String,
    },
    /// It does not answer, as a network file system whose server is gone.
    Silent {
        /// The path.
        path: PathBuf,
        /// For how long.
        since: Duration,
    },
}

impl NoSpace {
    /// Whether it is the same one, whatever the figures are by now.
    #[must_use]
    pub fn is_as(&self, other: &Self) -> bool {
        let path = |it: &Self| match it {
            Self::Reserve { path, .. } | Self::Unknown { path, .. } | Self::Silent { path, .. } => {
                path.clone()
            }
            Self::Free { need, .. } => need.path.clone(),
        };
        std::mem::discriminant(self) == std::mem::discriminant(other) && path(self) == path(other)
    }
}

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reserve { path, free, reserve } => write!(
                f,
                "for free space on {}: {} are free, and [disk] reserve keeps {}",
                path.display(),
                rounded(*free),
                rounded(*reserve)
            ),
            Self::Free { need, free } => write!(
                f,
                "for {} of free space on {} ({} are free)",
                rounded(need.at_least),
                need.path.display(),
                rounded(*free)
            ),
            Self::Unknown { path, error } => write!(f, "for {}: {error}", path.display()),
            Self::Silent { path, since } => {
                write!(f, "for {} (no answer for {})", path.display(), format_duration(whole_seconds(*since)))
            }
        }
    }
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}

/// A size for people: `3.2 GiB`, `512 MiB`.
#[must_use]
pub fn rounded(bytes: u64) -> String {
    let units = [(1_u64 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let Some((factor, unit)) = units.into_iter().find(|(factor, _)| bytes >= *factor) else {
        return format!("{bytes} B");
    };
    // Rounded down: what is shown as free is.
    let (whole, tenth) = (bytes / factor, bytes % factor * 10 / factor);
    if tenth == 0 || whole >= 100 { format!("{whole} {unit}") } else { format!("{whole}.{tenth} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_reserve_is_small_on_small_disks_and_no_more_than_half_a_gibibyte() {
        let of = |reserve: Reserve, gib: u64| reserve.of(Space { free: 0, size: gib << 30 });
        assert_eq!(of(Reserve::Usual, 1000), 512 << 20);
        assert_eq!(of(Reserve::Usual, 4), (4 << 30) / 100 * 2);
        assert_eq!(of(Reserve::Percent(5), 100), (100 << 30) / 100 * 5);
        assert_eq!(of(Reserve::Bytes(7), 100), 7);
        let space = Space { free: 5, size: 1000 };
        assert_eq!(Reserve::Bytes(7).missing(space), Some(2));
        assert_eq!((Reserve::Bytes(5).missing(space), Reserve::Bytes(0).missing(space)), (None, None));
    }

    #[test]
    fn a_reserve_is_a_share_or_a_size() {
        assert_eq!(Reserve::parse("2%"), Ok(Reserve::Percent(2)));
        assert_eq!(Reserve::parse("1GiB"), Ok(Reserve::Bytes(1 << 30)));
        for wrong in ["", "%", "x%", "91%", "-1%", "5", "5XB"] {
            assert!(Reserve::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn figures_are_short_and_never_too_good() {
        let words =
            [0, 1023, 1 << 10, (3 << 30) + (1 << 28) - 1, 5 << 30, (123 << 20) + 999_999].map(rounded);
        assert_eq!(words, ["0 B", "1023 B", "1 KiB", "3.2 GiB", "5 GiB", "123 MiB"]);
    }
}
