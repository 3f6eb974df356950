//! Priorities: nice and oom_score_adj of a process and its descendants, put in force and read back.
//!
//! Each is attempted, and a refusal becomes the status of that one constraint. Being root says
//! nothing: root without CAP_SYS_RESOURCE may not lower oom_score_adj.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use super::process::{family, is_gone, read_thread_nice, stat_of};
use super::sys;
use crate::model::constraints::{Backend, ConstraintName, ConstraintStatus, Constraints};
use crate::model::process::{Pid, ProcessIdentity};

/// Why every constraint but nice and oom_score_adj is not in force.
pub const UNSUPPORTED: &str = "not supported by this version yet: only nice and oom_score_adj are";

/// Passes over a workload's threads after which we settle for those that are tuned.
const MAX_PASSES: usize = 16;

/// What went wrong when a process set its own priorities before exec, as error numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Attempt {
    /// Of setpriority(2).
    pub nice: Option<i32>,
    /// Of the write to `oom_score_adj`.
    pub oom_score_adj: Option<i32>,
    /// Of entering the cgroup: then no limit of that is in force for it.
    pub cgroup: Option<i32>,
}

/// Whether this version can put a constraint in force.
#[must_use]
pub fn is_supported(name: ConstraintName) -> bool {
    matches!(name, ConstraintName::Nice | ConstraintName::OomScoreAdj)
}

/// Puts the priorities in force for a running process: nice on every thread of it and of its
/// descendants, oom_score_adj on each of these processes. What `before` asked for and `wanted` does
/// not goes back to its default, 0; what neither asks for is left alone.
///
/// One status for everything that is asked for, and one for each default that could not be restored.
#[must_use]
pub fn apply(
    process: &ProcessIdentity,
    wanted: &Constraints,
    before: Option<&Constraints>,
) -> Vec<ConstraintStatus> {
    let mut list = statuses(wanted, |attribute, value| attribute.put(process, value));
    for attribute in [Attribute::Nice, Attribute::OomScoreAdj] {
        let was_set = before.and_then(|before| attribute.of(before)).is_some();
        if was_set && attribute.of(wanted).is_none() {
            let outcome = attribute.put(process, 0);
            list.extend(Some(attribute.status("default (0)".into(), 0, outcome)).filter(|s| !s.applied));
        }
    }
    list
}

/// Reads back what a process that set its own priorities came to.
#[must_use]
pub fn read_back(
    process: &ProcessIdentity,
    wanted: &Constraints,
    attempt: &Attempt,
) -> Vec<ConstraintStatus> {
    statuses(wanted, |attribute, _| {
        let errno = match attribute {
            Attribute::Nice => attempt.nice,
            Attribute::OomScoreAdj => attempt.oom_score_adj,
        };
        let values = attribute.read(process).map(|value| value.into_iter().collect());
        Outcome::new(errno.map(io::Error::from_raw_os_error), values)
    })
}

fn statuses(
    wanted: &Constraints,
    mut outcome: impl FnMut(Attribute, i32) -> Outcome,
) -> Vec<ConstraintStatus> {
    let mut list = Vec::new();
    for (name, requested) in wanted.requested() {
        let attribute = [Attribute::Nice, Attribute::OomScoreAdj].into_iter().find(|a| a.name() == name);
        let value = attribute.and_then(|attribute| Some((attribute, attribute.of(wanted)?)));
        list.push(match value {
            Some((attribute, value)) => attribute.status(requested, value, outcome(attribute, value)),
            None => ConstraintStatus {
                name,
                requested,
                applied: false,
                actual: None,
                backend: Backend::None,
                reason: Some(UNSUPPORTED.into()),
            },
        });
    }
    list
}

/// What trying came to: the values read back, the main process's first, and what failed.
struct Outcome {
    values: Vec<i32>,
    error: Option<io::Error>,
}

impl Outcome {
    fn new(error: Option<io::Error>, values: io::Result<Vec<i32>>) -> Self {
        match values {
            Ok(values) => Self { values, error },
            Err(unreadable) => Self { values: Vec::new(), error: error.or(Some(unreadable)) },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attribute {
    /// Of every thread (setpriority(2)).
    Nice,
    /// Of every process (`/proc/PID/oom_score_adj`, proc_pid_oom_score_adj(5)).
    OomScoreAdj,
}

impl Attribute {
    fn name(self) -> ConstraintName {
        match self {
            Self::Nice => ConstraintName::Nice,
            Self::OomScoreAdj => ConstraintName::OomScoreAdj,
        }
    }

    fn of(self, constraints: &Constraints) -> Option<i32> {
        match self {
            Self::Nice => constraints.nice.map(i32::from),
            Self::OomScoreAdj => constraints.oom_score_adj.map(i32::from),
        }
    }

    /// The value of the main process itself; `None` if it is gone.
    fn read(self, process: &ProcessIdentity) -> io::Result<Option<i32>> {
        match self {
            Self::Nice => Ok(stat_of(process)?.map(|stat| stat.nice.into())),
            Self::OomScoreAdj => read_oom_score_adj(process),
        }
    }

    fn put(self, process: &ProcessIdentity, value: i32) -> Outcome {
        let mut error = None;
        let values = match self {
            Self::Nice => set_nice(process, value, &mut error),
            Self::OomScoreAdj => set_oom_score_adj(process, value, &mut error),
        };
        Outcome::new(error, values)
    }

    fn status(self, requested: String, wanted: i32, outcome: Outcome) -> ConstraintStatus {
        let actual = outcome.values.first().copied();
        let others = outcome.values.iter().filter(|&&value| value != wanted).count();
        let reason = match (actual, outcome.error) {
            (Some(_), _) if others == 0 => None,
            (None, None) => Some("the process has ended".into()),
            (Some(_), None) => Some(format!(
                "{others} of {} {} have another value",
                outcome.values.len(),
                if self == Self::Nice { "threads" } else { "processes" }
            )),
            (_, Some(error)) => Some(self.explain(wanted, actual, &error)),
        };
        ConstraintStatus {
            name: self.name(),
            requested,
            applied: reason.is_none(),
            actual: actual.map(|value| value.to_string()),
            backend: Backend::Process,
            reason,
        }
    }

    fn explain(self, wanted: i32, actual: Option<i32>, error: &io::Error) -> String {
        let using = actual.map_or(String::new(), |value| format!(", using {value}"));
        match (self, error.raw_os_error()) {
            (Self::Nice, Some(libc::EPERM | libc::EACCES)) if wanted < 0 => {
                format!(
                    "Cannot set negative nice (requires root){using}; CAP_SYS_NICE or RLIMIT_NICE allow it too"
                )
            }
            (Self::Nice, Some(libc::EPERM | libc::EACCES)) => {
                format!(
                    "Cannot lower nice to {wanted} (requires root){using}; CAP_SYS_NICE or RLIMIT_NICE allow it too"
                )
            }
            (Self::OomScoreAdj, Some(libc::EPERM | libc::EACCES)) => {
                format!("Cannot lower oom_score_adj to {wanted} (requires CAP_SYS_RESOURCE){using}")
            }
            _ => format!("Cannot set {} to {wanted}: {error}{using}", self.name()),
        }
    }
}

/// The process and its descendants; none if it is gone.
fn members(process: &ProcessIdentity) -> io::Result<Vec<ProcessIdentity>> {
    if stat_of(process)?.is_none_or(|stat| stat.is_zombie()) {
        return Ok(Vec::new());
    }
    let mut members = vec![process.clone()];
    members.extend(family(process)?);
    Ok(members)
}

/// Sets nice on every thread, until a pass finds no new one: a thread that a tuned one makes inherits
/// the value. Returns what each has then.
fn set_nice(process: &ProcessIdentity, nice: i32, error: &mut Option<io::Error>) -> io::Result<Vec<i32>> {
    let nice = i8::try_from(nice).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let mut tuned: HashSet<Pid> = HashSet::new();
    let mut threads = Vec::new();
    for _ in 0..MAX_PASSES {
        threads.clear();
        for member in members(process)? {
            // There is no call that takes a pidfd: the number is used right after it was verified.
            threads.extend(threads_of(&member)?.into_iter().map(|thread| (member.pid, thread)));
        }
        let mut fresh = false;
        for &(_, thread) in &threads {
            if !tuned.insert(thread) {
                continue;
            }
            fresh = true;
            match sys::set_nice(thread, nice) {
                Err(failed) if !is_gone(&failed) => *error = Some(failed),
                _ => {}
            }
        }
        if !fresh {
            break;
        }
    }
    let mut values = Vec::new();
    for (member, thread) in threads {
        values.extend(read_thread_nice(member, thread)?.map(i32::from));
    }
    Ok(values)
}

/// The numbers of a process's threads (`/proc/PID/task`), the main one first; none if it is gone.
fn threads_of(process: &ProcessIdentity) -> io::Result<Vec<Pid>> {
    let entries = match fs::read_dir(format!("/proc/{}/task", process.pid)) {
        Err(error) if is_gone(&error) => return Ok(Vec::new()),
        other => other?,
    };
    let mut threads: Vec<Pid> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok().and_then(Pid::new))
        .collect();
    threads.sort_by_key(|&thread| (thread != process.pid, thread));
    // If the process is still the one we mean, then the list was its own.
    Ok(if stat_of(process)?.is_some() { threads } else { Vec::new() })
}

fn set_oom_score_adj(
    process: &ProcessIdentity,
    value: i32,
    error: &mut Option<io::Error>,
) -> io::Result<Vec<i32>> {
    let mut tuned: HashSet<ProcessIdentity> = HashSet::new();
    for _ in 0..MAX_PASSES {
        let mut fresh = false;
        for member in members(process)? {
            if !tuned.insert(member.clone()) {
                continue;
            }
            fresh = true;
            match write_oom_score_adj(&member, value) {
                Err(failed) if !is_gone(&failed) => *error = Some(failed),
                _ => {}
            }
        }
        if !fresh {
            break;
        }
    }
    let mut values = Vec::new();
    for member in members(process)? {
        values.extend(read_oom_score_adj(&member)?);
    }
    Ok(values)
}

fn write_oom_score_adj(process: &ProcessIdentity, value: i32) -> io::Result<()> {
    // The open file stays with the process it was opened for; then it is made sure which one that was.
    let mut file = OpenOptions::new().write(true).open(format!("/proc/{}/oom_score_adj", process.pid))?;
    if stat_of(process)?.is_some() { file.write_all(value.to_string().as_bytes()) } else { Ok(()) }
}

fn read_oom_score_adj(process: &ProcessIdentity) -> io::Result<Option<i32>> {
    let text = match fs::read_to_string(format!("/proc/{}/oom_score_adj", process.pid)) {
        Err(error) if is_gone(&error) => return Ok(None),
        other => other?,
    };
    Ok(text.trim().parse().ok().filter(|_| matches!(stat_of(process), Ok(Some(_)))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::process;

    fn status(attribute: Attribute, wanted: i32, values: &[i32], errno: Option<i32>) -> ConstraintStatus {
        let outcome = Outcome::new(errno.map(io::Error::from_raw_os_error), Ok(values.to_vec()));
        attribute.status(wanted.to_string(), wanted, outcome)
    }

    #[test]
    fn applied_is_what_was_read_back_and_nothing_else() {
        let reason = |status: &ConstraintStatus| status.reason.clone().unwrap_or_default();
        let good = status(Attribute::Nice, 5, &[5, 5], None);
        assert!(good.applied && good.reason.is_none() && good.actual.as_deref() == Some("5"));
        let refused = status(Attribute::Nice, -5, &[0], Some(libc::EACCES));
        assert!(!refused.applied && refused.actual.as_deref() == Some("0"));
        assert!(reason(&refused).starts_with("Cannot set negative nice (requires root), using 0"));
        let refused = status(Attribute::OomScoreAdj, -500, &[100], Some(libc::EACCES));
        assert_eq!(
            reason(&refused),
            "Cannot lower oom_score_adj to -500 (requires CAP_SYS_RESOURCE), using 100"
        );
        // A call that succeeded, and a value that is another one all the same.
        let ignored = status(Attribute::Nice, 5, &[0, 5, 5], None);
        assert!(!ignored.applied);
        assert_eq!(reason(&ignored), "1 of 3 threads have another value");
        let gone = status(Attribute::Nice, 5, &[], None);
        assert_eq!((gone.applied, gone.actual.as_deref()), (false, None));
        assert_eq!(reason(&gone), "the process has ended");
    }

    #[test]
    fn nothing_is_done_to_whoever_has_the_number_now() {
        let me = process::current().expect("proc");
        let before = Attribute::Nice.read(&me).expect("proc");
        let stranger = ProcessIdentity { start_time: me.start_time + 1, ..me.clone() };
        let wanted = Constraints { nice: Some(19), oom_score_adj: Some(900), ..Default::default() };
        let statuses = apply(&stranger, &wanted, None);
        assert!(statuses.iter().all(|status| status.reason.as_deref() == Some("the process has ended")));
        assert_eq!(Attribute::Nice.read(&me).expect("proc"), before);
        assert_ne!(Attribute::OomScoreAdj.read(&me).expect("proc"), Some(900));
    }
}
