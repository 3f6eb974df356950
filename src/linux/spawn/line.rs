//! What the child tells its parent, over a socket that exec closes: two numbers a message.

use std::fs::File;
use std::io::{self, Read};

use crate::model::constraints::ConstraintName;
use crate::model::rlimit::Resource;

/// The steps that can end a start, as they travel over the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Session,
    Stdio,
    Groups,
    Gid,
    Uid,
    NoNewPrivileges,
    WorkingDir,
    Exec,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Session,
        Self::Stdio,
        Self::Groups,
        Self::Gid,
        Self::Uid,
        Self::NoNewPrivileges,
        Self::WorkingDir,
        Self::Exec,
    ];

    pub(super) fn code(self) -> i32 {
        FIRST_STEP + self as i32
    }

    pub(super) fn from_code(code: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|step| step.code() == code)
    }
}

/// A message of the child: what, and the errno.
pub(super) type Message = [i32; 2];

/// It is set up, and waits for the word.
pub(super) const READY: i32 = 0;
// It could not set this attribute, or enter its cgroup.
pub(super) const NICE: i32 = 1;
pub(super) const OOM_SCORE_ADJ: i32 = 2;
pub(super) const CGROUP: i32 = 3;
pub(super) const CPUS: i32 = 4;
pub(super) const IO_CLASS: i32 = 5;
/// The steps, in their order.
const FIRST_STEP: i32 = 16;
/// The limits that it could not set, in the order of [`Resource`].
pub(super) const FIRST_RLIMIT: i32 = 64;

/// The attribute that a message says was refused.
pub(super) fn refused(code: i32) -> Option<ConstraintName> {
    match code {
        NICE => Some(ConstraintName::Nice),
        OOM_SCORE_ADJ => Some(ConstraintName::OomScoreAdj),
        CPUS => Some(ConstraintName::Cpus),
        IO_CLASS => Some(ConstraintName::IoClass),
        code => {
            let found = Resource::ALL.into_iter().find(|resource| FIRST_RLIMIT + *resource as i32 == code);
            found.map(ConstraintName::Rlimit)
        }
    }
}

/// The next message; `None` when the child has closed its end.
pub(super) fn receive(line: &mut File) -> io::Result<Option<Message>> {
    let mut bytes = [0; size_of::<Message>()];
    match line.read_exact(&mut bytes) {
        Ok(()) => {
            let [a, b, c, d, e, f, g, h] = bytes;
            Ok(Some([i32::from_ne_bytes([a, b, c, d]), i32::from_ne_bytes([e, f, g, h])]))
        }
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        // It ended before it read the word.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
        Err(error) => Err(error),
    }
}
