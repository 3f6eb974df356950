//! Signals by name, as job files and reports write them (signal(7)).

use std::fmt;

use serde::{Deserialize, Serialize};

/// A signal of this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Signal(i32);

/// The standard signals; real-time ones are written `SIGRTMIN+n`.
const NAMES: &[(&str, i32)] = &[
    ("SIGHUP", libc::SIGHUP),
    ("SIGINT", libc::SIGINT),
    ("SIGQUIT", libc::SIGQUIT),
    ("SIGILL", libc::SIGILL),
    ("SIGTRAP", libc::SIGTRAP),
    ("SIGABRT", libc::SIGABRT),
    ("SIGBUS", libc::SIGBUS),
    ("SIGFPE", libc::SIGFPE),
    ("SIGKILL", libc::SIGKILL),
    ("SIGUSR1", libc::SIGUSR1),
    ("SIGSEGV", libc::SIGSEGV),
    ("SIGUSR2", libc::SIGUSR2),
    ("SIGPIPE", libc::SIGPIPE),
    ("SIGALRM", libc::SIGALRM),
    ("SIGTERM", libc::SIGTERM),
    ("SIGSTKFLT", libc::SIGSTKFLT),
    ("SIGCHLD", libc::SIGCHLD),
    ("SIGCONT", libc::SIGCONT),
    ("SIGSTOP", libc::SIGSTOP),
    ("SIGTSTP", libc::SIGTSTP),
    ("SIGTTIN", libc::SIGTTIN),
    ("SIGTTOU", libc::SIGTTOU),
    ("SIGURG", libc::SIGURG),
    ("SIGXCPU", libc::SIGXCPU),
    ("SIGXFSZ", libc::SIGXFSZ),
    ("SIGVTALRM", libc::SIGVTALRM),
    ("SIGPROF", libc::SIGPROF),
    ("SIGWINCH", libc::SIGWINCH),
    ("SIGIO", libc::SIGIO),
    ("SIGPWR", libc::SIGPWR),
    ("SIGSYS", libc::SIGSYS),
];

/// First real-time signal of the kernel's; libraries keep the first ones for themselves.
const FIRST_REALTIME: i32 = 34;

impl Signal {
    /// SIGINT, as from Ctrl-C.
    pub const INT: Self = Self(libc::SIGINT);
    /// SIGTERM, the default way to ask a workload to end.
    pub const TERM: Self = Self(libc::SIGTERM);
    /// SIGKILL, which no process can refuse.
    pub const KILL: Self = Self(libc::SIGKILL);

    /// The signal with this number; `None` outside 1 to 64.
    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=64).contains(&number).then_some(Self(number))
    }

    /// The signal with this name, with or without `SIG`, in capitals.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let bare = name.strip_prefix("SIG").unwrap_or(name);
        if let Some(offset) = bare.strip_prefix("RTMIN+") {
            let offset: i32 = offset.parse().ok().filter(|n| (0..=30).contains(n))?;
            return Some(Self(FIRST_REALTIME + offset));
        }
        NAMES.iter().find(|(known, _)| known.strip_prefix("SIG") == Some(bare)).map(|&(_, n)| Self(n))
    }

    /// The number, for system calls.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// The names there are, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|&(name, _)| name)
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => f.pad(name),
            None if self.0 >= FIRST_REALTIME => write!(f, "SIGRTMIN+{}", self.0 - FIRST_REALTIME),
            None => write!(f, "SIG{}", self.0),
        }
    }
}

impl From<Signal> for String {
    fn from(signal: Signal) -> Self {
        signal.to_string()
    }
}

/// No signal has this name.
#[derive(Debug, thiserror::Error)]
#[error("no signal is named {0:?}")]
pub struct UnknownSignal(String);

impl TryFrom<String> for Signal {
    type Error = UnknownSignal;

    fn try_from(name: String) -> Result<Self, UnknownSignal> {
        let by_number = name.strip_prefix("SIG").and_then(|n| n.parse().ok()).and_then(Self::from_number);
        Self::from_name(&name).or(by_number).ok_or(UnknownSignal(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_name_that_leads_back() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).expect("in range");
            assert_eq!(Signal::try_from(signal.to_string()).expect("its own name"), signal);
        }
        assert_eq!(Signal::from_name("INT"), Signal::from_name("SIGINT"));
        assert_eq!(Signal::from_name("SIGNOPE"), None);
        assert_eq!(Signal::from_number(0), None);
    }
}
