//! Resource limits of the process that is started (setrlimit(2)): which there are, and what they may be.

use serde::{Deserialize, Serialize};

use super::units::{ByteSize, UnitError, format_duration, parse_duration};

/// A resource that a process's use of is limited. Its children inherit the limit, and count for themselves,
/// but where the user counts as a whole: `nproc`, `sigpending`, `msgqueue`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Address space (`RLIMIT_AS`).
    As,
    /// Size of a core dump.
    Core,
    /// CPU time.
    Cpu,
    /// Memory for data.
    Data,
    /// Size of a file that is written.
    Fsize,
    /// Memory that is locked.
    Memlock,
    /// Message queues of the user.
    Msgqueue,
    /// Open files.
    Nofile,
    /// Processes and threads of the user.
    Nproc,
    /// Real-time priority.
    Rtprio,
    /// Signals that wait for the user's processes.
    Sigpending,
    /// The stack of the main thread.
    Stack,
}

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Bytes.
    Bytes,
    /// Seconds of CPU time.
    Seconds,
}

impl Resource {
    /// All of them, by name.
    pub const ALL: [Self; 12] = [
        Self::As,
        Self::Core,
        Self::Cpu,
        Self::Data,
        Self::Fsize,
        Self::Memlock,
        Self::Msgqueue,
        Self::Nofile,
        Self::Nproc,
        Self::Rtprio,
        Self::Sigpending,
        Self::Stack,
    ];

    /// The key in a job file.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::As => "exec.rlimits.as",
            Self::Core => "exec.rlimits.core",
            Self::Cpu => "exec.rlimits.cpu",
            Self::Data => "exec.rlimits.data",
            Self::Fsize => "exec.rlimits.fsize",
            Self::Memlock => "exec.rlimits.memlock",
            Self::Msgqueue => "exec.rlimits.msgqueue",
            Self::Nofile => "exec.rlimits.nofile",
            Self::Nproc => "exec.rlimits.nproc",
            Self::Rtprio => "exec.rlimits.rtprio",
            Self::Sigpending => "exec.rlimits.sigpending",
            Self::Stack => "exec.rlimits.stack",
        }
    }

    /// As reports name it: `rlimits.nofile`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.path().trim_start_matches("exec.")
    }

    /// What it counts.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::Nofile | Self::Nproc | Self::Rtprio | Self::Sigpending => Unit::Count,
            Self::Cpu => Unit::Seconds,
            Self::As
            | Self::Core
            | Self::Data
            | Self::Fsize
            | Self::Memlock
            | Self::Msgqueue
            | Self::Stack => Unit::Bytes,
        }
    }

    /// The least and the most it may be: below, no program starts, or the kernel refuses it.
    fn range(self) -> (u64, u64) {
        match self {
            // Standard input, output and error, and what a program is made of.
            Self::Nofile => (8, 1 << 30),
            Self::Nproc => (1, MOST),
            // In the kernel, nanoseconds have to fit into 64 bits.
            Self::Cpu => (1, 1 << 32),
            // The kernel's own scale (sched(7)).
            Self::Rtprio => (0, 99),
            Self::As | Self::Data | Self::Stack => (1 << 16, MOST),
            Self::Core | Self::Fsize | Self::Memlock | Self::Msgqueue | Self::Sigpending => (0, MOST),
        }
    }

    /// Whether the kernel knows it without a limit.
    fn may_be_unlimited(self) -> bool {
        !matches!(self, Self::Nofile | Self::Rtprio)
    }

    /// Writes a value of this resource as people do.
    fn show(self, value: Value) -> String {
        match (value, self.unit()) {
            (None, _) => UNLIMITED.into(),
            (Some(0), Unit::Bytes) => "0".into(),
            (Some(value), Unit::Count) => value.to_string(),
            (Some(value), Unit::Bytes) => ByteSize(value).to_string(),
            (Some(value), Unit::Seconds) => format_duration(std::time::Duration::from_secs(value)),
        }
    }
}

/// A value of a limit; `None` is unlimited.
pub type Value = Option<u64>;

const UNLIMITED: &str = "unlimited";

/// Far above what any machine has, and below the kernel's own "unlimited".
const MOST: u64 = 1 << 62;

/// How much longer a process may run that was told by SIGXCPU to end. At the hard limit it gets SIGKILL,
/// without SIGXCPU where the two are the same.
const CPU_GRACE: u64 = 5;

/// A limit: the one that holds, and how far the process may raise that by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// The one that holds.
    pub soft: Value,
    /// As far as the soft one may be raised.
    pub hard: Value,
}

/// Why a text is no limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RlimitError {
    /// It is no quantity of what the resource counts.
    #[error(transparent)]
    Unit(UnitError),
    /// It is no whole number.
    #[error("{0:?} is no whole number")]
    NoCount(String),
    /// It is a duration with a part of a second.
    #[error("{0:?} is not a whole number of seconds, in which the kernel counts")]
    NotSeconds(String),
    /// It is outside of what the resource may have.
    #[error("{value} is outside {least} to {most}")]
    OutOfRange {
        /// As people write it.
        value: String,
        /// The least.
        least: String,
        /// The most.
        most: String,
    },
    /// The soft limit is above the hard one.
    #[error("the soft limit {soft} is above the hard limit {hard}")]
    SoftAboveHard {
        /// As people write it.
        soft: String,
        /// As people write it.
        hard: String,
    },
    /// There is no time between SIGXCPU and SIGKILL.
    #[error("the hard limit is the soft limit, so the kernel sends SIGKILL and no SIGXCPU before it")]
    NoGrace,
}

impl Rlimit {
    /// Reads `SOFT:HARD`, or one value for both: a number, a size or a duration, as the resource counts,
    /// or `unlimited`. One value for CPU time is the soft limit; the hard one is a few seconds above.
    ///
    /// # Errors
    /// See [`RlimitError`].
    pub fn parse(resource: Resource, text: &str) -> Result<Self, RlimitError> {
        let (soft, hard) = match text.split_once(':') {
            Some((soft, hard)) => (parse_value(resource, soft)?, parse_value(resource, hard)?),
            None => {
                let value = parse_value(resource, text)?;
                let grace = if resource == Resource::Cpu { CPU_GRACE } else { 0 };
                (value, value.map(|value| value + grace))
            }
        };
        let above = match (soft, hard) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(soft), Some(hard)) => soft > hard,
        };
        if above {
            let (soft, hard) = (resource.show(soft), resource.show(hard));
            return Err(RlimitError::SoftAboveHard { soft, hard });
        }
        if resource == Resource::Cpu && soft.is_some() && soft == hard {
            return Err(RlimitError::NoGrace);
        }
        Ok(Self { soft, hard })
    }

    /// Writes it as [`Rlimit::parse`] reads it.
    #[must_use]
    pub fn show(&self, resource: Resource) -> String {
        match resource.show(self.soft) {
            both if self.soft == self.hard => both,
            soft => format!("{soft}:{}", resource.show(self.hard)),
        }
    }
}

fn parse_value(resource: Resource, text: &str) -> Result<Value, RlimitError> {
    let text = text.trim();
    let (least, most) = resource.range();
    if text == UNLIMITED && resource.may_be_unlimited() {
        return Ok(None);
    }
    let value = match resource.unit() {
        Unit::Count => match text.parse() {
            Ok(value) => value,
            Err(_) if text == UNLIMITED => u64::MAX,
            Err(_) => return Err(RlimitError::NoCount(text.into())),
        },
        // Each of ulimit(1), systemd and the sizes of a job file has another unit for a bare number.
        Unit::Bytes if text == "0" => 0,
        Unit::Bytes => ByteSize::parse(text).map_err(RlimitError::Unit)?.0,
        Unit::Seconds => {
            let duration = parse_duration(text).map_err(RlimitError::Unit)?;
            if duration.subsec_nanos() > 0 {
                return Err(RlimitError::NotSeconds(text.into()));
            }
            duration.as_secs()
        }
    };
    if !(least..=most).contains(&value) {
        let show = |value| resource.show(Some(value));
        let most = if resource.may_be_unlimited() { UNLIMITED.into() } else { show(most) };
        return Err(RlimitError::OutOfRange { value: text.into(), least: show(least), most });
    }
    Ok(Some(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_read_and_written() {
        use Resource::{As, Core, Cpu, Nofile, Nproc, Stack};
        let limit = |soft, hard| Rlimit { soft, hard };
        for (resource, text, expected, shown) in [
            (Nofile, "1024", limit(Some(1024), Some(1024)), "1024"),
            (Nofile, "1024:4096", limit(Some(1024), Some(4096)), "1024:4096"),
            (Nproc, "unlimited", limit(None, None), "unlimited"),
            (Core, "0", limit(Some(0), Some(0)), "0"),
            (Core, "0:unlimited", limit(Some(0), None), "0:unlimited"),
            (As, "4GiB", limit(Some(4 << 30), Some(4 << 30)), "4GiB"),
            (Stack, " 8MiB : 1GiB ", limit(Some(8 << 20), Some(1 << 30)), "8MiB:1GiB"),
            (Cpu, "10m", limit(Some(600), Some(605)), "10m:10m5s"),
            (Cpu, "1m:unlimited", limit(Some(60), None), "1m:unlimited"),
            (Cpu, "unlimited", limit(None, None), "unlimited"),
        ] {
            let read = Rlimit::parse(resource, text).expect(text);
            assert_eq!((read, read.show(resource).as_str()), (expected, shown), "{text}");
            assert_eq!(Rlimit::parse(resource, shown), Ok(read), "{shown} is read again");
        }
    }

    #[test]
    fn what_is_no_limit_is_told() {
        use Resource::{As, Cpu, Fsize, Nofile, Rtprio};
        use RlimitError as E;
        let error = |resource, text| Rlimit::parse(resource, text).expect_err(text);
        assert!(matches!(error(Nofile, "1k"), E::NoCount(_)));
        assert!(matches!(error(Nofile, ""), E::NoCount(_)));
        assert!(matches!(error(Nofile, "-1"), E::NoCount(_)));
        assert!(matches!(error(Nofile, "3"), E::OutOfRange { .. }));
        // The kernel has no such thing: fs.nr_open is always below.
        assert!(matches!(error(Nofile, "unlimited"), E::OutOfRange { .. }));
        assert!(matches!(error(Rtprio, "100"), E::OutOfRange { .. }));
        assert!(matches!(error(Fsize, "1000"), E::Unit(UnitError::NoUnit(_))));
        assert!(matches!(error(As, "0"), E::OutOfRange { .. }));
        assert!(matches!(error(Cpu, "60"), E::Unit(UnitError::NoUnit(_))));
        assert!(matches!(error(Cpu, "0s"), E::OutOfRange { .. }));
        assert!(matches!(error(Cpu, "1500ms"), E::NotSeconds(_)));
        assert_eq!(error(Cpu, "1m:1m"), E::NoGrace);
        assert!(matches!(error(Nofile, "10:9"), E::SoftAboveHard { .. }));
        assert!(matches!(error(Fsize, "unlimited:1GiB"), E::SoftAboveHard { .. }));
        assert!(matches!(error(Nofile, "10:20:30"), E::NoCount(_)));
    }

    #[test]
    fn the_names_in_records_are_those_of_job_files() {
        for resource in Resource::ALL {
            let name = serde_json::to_value(resource).expect("a name");
            assert_eq!(resource.as_str(), format!("rlimits.{}", name.as_str().expect("a text")));
        }
    }
}
