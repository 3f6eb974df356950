//! One attribute with a value: put on every thread or process that has one, and read from them.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use super::io_class::{io_class_of, io_priority_of};
use super::members::{Members, threads_of};
use crate::linux::process::{current, is_gone, read_thread_nice, stat_of};
use crate::linux::sys;
use crate::model::constraints::{ConstraintName, Constraints, IoClass};
use crate::model::cpus::CpuSet;
use crate::model::process::{Pid, ProcessIdentity};

/// Passes over a workload's threads after which we settle for those that are tuned.
const MAX_PASSES: usize = 16;

/// An attribute with a value of it: one that is wanted, or one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Setting {
    /// Of every thread (setpriority(2)).
    Nice(i8),
    /// Of every process (`/proc/PID/oom_score_adj`, proc_pid_oom_score_adj(5)).
    OomScoreAdj(i16),
    /// Of every thread (sched_setaffinity(2)).
    Cpus(CpuSet),
    /// Of every thread (ioprio_set(2)). `None` is no class: best-effort, with a level that follows nice.
    IoClass(Option<IoClass>),
}

impl Setting {
    /// What is asked for; `None` for nothing, and for what is no attribute.
    pub(super) fn wanted(constraints: &Constraints, name: ConstraintName) -> Option<Self> {
        match name {
            ConstraintName::Nice => constraints.nice.map(Self::Nice),
            ConstraintName::OomScoreAdj => constraints.oom_score_adj.map(Self::OomScoreAdj),
            ConstraintName::Cpus => constraints.cpus.clone().map(Self::Cpus),
            ConstraintName::IoClass => constraints.io_class.map(|class| Self::IoClass(Some(class))),
            _ => None,
        }
    }

    pub(super) fn name(&self) -> ConstraintName {
        match self {
            Self::Nice(_) => ConstraintName::Nice,
            Self::OomScoreAdj(_) => ConstraintName::OomScoreAdj,
            Self::Cpus(_) => ConstraintName::Cpus,
            Self::IoClass(_) => ConstraintName::IoClass,
        }
    }

    /// What a process has that asks for nothing.
    pub(super) fn default(&self) -> Self {
        match self {
            Self::Nice(_) => Self::Nice(0),
            Self::OomScoreAdj(_) => Self::OomScoreAdj(0),
            // What a workload inherits: all CPUs but those that the administrator keeps us off. Were it
            // not known, the empty set would be refused, and that be told.
            Self::Cpus(_) => {
                Self::Cpus(current().and_then(|ourselves| sys::affinity(ourselves.pid)).unwrap_or_default())
            }
            Self::IoClass(_) => Self::IoClass(None),
        }
    }

    /// Whether each thread has a value of its own, and not the process one for all.
    pub(super) fn is_per_thread(&self) -> bool {
        !matches!(self, Self::OomScoreAdj(_))
    }

    /// The threads (or the one process) of a member that have a value, the main one first.
    fn holders(&self, members: Members<'_>, member: &ProcessIdentity) -> io::Result<Vec<Pid>> {
        match members {
            Members::Main(_) => Ok(vec![member.pid]),
            _ if self.is_per_thread() => threads_of(member),
            _ => Ok(vec![member.pid]),
        }
    }

    /// Puts it in force until a pass finds nobody new: what a tuned thread or process makes inherits the
    /// value. Then reads back what each has.
    pub(super) fn put(&self, members: Members<'_>) -> Outcome {
        let mut error = None;
        let spread = self.spread(members, &mut error);
        Outcome::new(error, spread.and_then(|()| self.read(members)))
    }

    fn spread(&self, members: Members<'_>, error: &mut Option<io::Error>) -> io::Result<()> {
        let mut tuned: HashSet<Pid> = HashSet::new();
        for _ in 0..MAX_PASSES {
            let mut fresh = false;
            for member in members.find()? {
                for holder in self.holders(members, &member)? {
                    if tuned.insert(holder) {
                        fresh = true;
                        match self.put_on(&member, holder) {
                            Err(failed) if !is_gone(&failed) => *error = Some(failed),
                            _ => {}
                        }
                    }
                }
            }
            if !fresh {
                break;
            }
        }
        Ok(())
    }

    /// There are no calls that take a pidfd: the number is used right after it was verified.
    fn put_on(&self, process: &ProcessIdentity, thread: Pid) -> io::Result<()> {
        match self {
            Self::Nice(value) => sys::set_nice(thread, *value),
            Self::OomScoreAdj(value) => write_oom_score_adj(process, *value),
            Self::Cpus(cpus) => sys::set_affinity(thread, cpus),
            Self::IoClass(class) => sys::set_io_priority(thread, io_priority_of(*class)),
        }
    }

    /// The values of this attribute that there are, the main process's first.
    pub(super) fn read(&self, members: Members<'_>) -> io::Result<Vec<Self>> {
        let mut values = Vec::new();
        for member in members.find()? {
            let mut of_member = Vec::new();
            for holder in self.holders(members, &member)? {
                match self.read_from(member.pid, holder) {
                    Err(error) if is_gone(&error) => {}
                    value => of_member.extend(value?),
                }
            }
            // If the process is still the one we mean, then the values were its own.
            if stat_of(&member)?.is_some() {
                values.extend(of_member);
            }
        }
        Ok(values)
    }

    fn read_from(&self, process: Pid, thread: Pid) -> io::Result<Option<Self>> {
        Ok(match self {
            Self::Nice(_) => read_thread_nice(process, thread)?.map(Self::Nice),
            Self::OomScoreAdj(_) => {
                let text = fs::read_to_string(format!("/proc/{process}/oom_score_adj"))?;
                text.trim().parse().ok().map(Self::OomScoreAdj)
            }
            Self::Cpus(_) => Some(Self::Cpus(sys::affinity(thread)?)),
            Self::IoClass(_) => Some(Self::IoClass(io_class_of(sys::io_priority(thread)?))),
        })
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nice(value) => value.fmt(f),
            Self::OomScoreAdj(value) => value.fmt(f),
            Self::Cpus(cpus) => cpus.fmt(f),
            Self::IoClass(Some(class)) => class.fmt(f),
            Self::IoClass(None) => f.write_str("none"),
        }
    }
}

/// What trying came to: the values read back, the main process's first, and what failed.
pub(super) struct Outcome {
    pub(super) values: Vec<Setting>,
    pub(super) error: Option<io::Error>,
}

impl Outcome {
    pub(super) fn new(error: Option<io::Error>, values: io::Result<Vec<Setting>>) -> Self {
        match values {
            Ok(values) => Self { values, error },
            Err(unreadable) => Self { values: Vec::new(), error: error.or(Some(unreadable)) },
        }
    }
}

pub(in crate::linux) fn write_oom_score_adj(process: &ProcessIdentity, value: i16) -> io::Result<()> {
    // The open file stays with the process it was opened for; then it is made sure which one that was.
    let mut file = OpenOptions::new().write(true).open(format!("/proc/{}/oom_score_adj", process.pid))?;
    if stat_of(process)?.is_some() { file.write_all(value.to_string().as_bytes()) } else { Ok(()) }
}
