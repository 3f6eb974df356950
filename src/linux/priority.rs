//! Attributes of processes: nice, oom_score_adj, the I/O class and the CPU affinity of a workload's
//! processes and threads, put in force and read back.
//!
//! Each is attempted, and a refusal becomes the status of that one constraint. Being root says
//! nothing: root without CAP_SYS_RESOURCE may not lower oom_score_adj.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};

use super::process::{current, family, identify, is_gone, read_thread_nice, stat_of};
use super::sys;
use crate::model::constraints::{Backend, ConstraintName, ConstraintStatus, Constraints, IoClass};
use crate::model::cpus::CpuSet;
use crate::model::process::{Pid, ProcessIdentity};

/// Passes over a workload's threads after which we settle for those that are tuned.
const MAX_PASSES: usize = 16;

/// The constraints that are attributes, in the order of a job file.
const ATTRIBUTES: [ConstraintName; 4] =
    [ConstraintName::Nice, ConstraintName::OomScoreAdj, ConstraintName::Cpus, ConstraintName::IoClass];

/// What went wrong when a process set itself up before exec.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attempt {
    /// The attributes that it could not set, and the error numbers.
    pub refused: Vec<(ConstraintName, i32)>,
    /// Why it could not enter its cgroup, as an error number: no limit of that is in force for it then.
    pub cgroup: Option<i32>,
}

/// Whose attributes are meant. The main process always comes first; if it is gone, there is nobody.
#[derive(Clone, Copy)]
pub enum Members<'a> {
    /// The main thread of the process: all there is before it runs its program, and a cheap look later.
    Main(&'a ProcessIdentity),
    /// The process and its descendants. Finding them takes a look at every process of the machine.
    Family(&'a ProcessIdentity),
    /// The process, and what this lists: the processes of its cgroup (`cgroup.procs`) when it is asked.
    Listed(&'a ProcessIdentity, &'a dyn Fn() -> io::Result<Vec<Pid>>),
}

impl<'a> Members<'a> {
    fn main(self) -> &'a ProcessIdentity {
        match self {
            Self::Main(main) | Self::Family(main) | Self::Listed(main, _) => main,
        }
    }

    /// All that live now; none if the main process is gone.
    fn find(self) -> io::Result<Vec<ProcessIdentity>> {
        let main = self.main();
        if stat_of(main)?.is_none_or(|stat| stat.is_zombie()) {
            return Ok(Vec::new());
        }
        let mut members = vec![main.clone()];
        match self {
            Self::Main(_) => {}
            Self::Family(main) => members.extend(family(main)?),
            Self::Listed(main, list) => {
                let mut found = Vec::new();
                for pid in list()?.into_iter().filter(|&pid| pid != main.pid) {
                    found.extend(identify(pid)?);
                }
                // A number that is still in the list was not given to a stranger before it was looked up.
                let still: HashSet<Pid> = list()?.into_iter().collect();
                members.extend(found.into_iter().filter(|process| still.contains(&process.pid)));
            }
        }
        Ok(members)
    }
}

/// Puts attributes in force in a running workload, on every thread or process of it. What `before` asked
/// for and `wanted` does not goes back to its default; what neither asks for is left alone, and so is
/// what `elsewhere` names: another mechanism keeps it.
///
/// One status for each attribute that is asked for, and one for each default that could not be restored.
#[must_use]
pub fn apply(
    members: Members<'_>,
    wanted: &Constraints,
    before: Option<&Constraints>,
    elsewhere: &[ConstraintName],
) -> Vec<ConstraintStatus> {
    let mut list = statuses(wanted, elsewhere, |setting| setting.put(members));
    for name in ATTRIBUTES.into_iter().filter(|name| !elsewhere.contains(name)) {
        if let Some(was) = before.and_then(|before| Setting::wanted(before, name))
            && Setting::wanted(wanted, name).is_none()
        {
            let default = was.default();
            let status = default.status(format!("default ({default})"), default.put(members));
            list.extend(Some(status).filter(|status| !status.applied));
        }
    }
    list
}

/// Reads back what came of the attributes that are asked for, but for what `elsewhere` names. `attempt` is
/// what the process that set its own could not.
///
/// One status for each.
#[must_use]
pub fn read_back(
    members: Members<'_>,
    wanted: &Constraints,
    attempt: &Attempt,
    elsewhere: &[ConstraintName],
) -> Vec<ConstraintStatus> {
    statuses(wanted, elsewhere, |setting| {
        let refused = attempt.refused.iter().find(|(name, _)| *name == setting.name());
        let error = refused.map(|&(_, errno)| io::Error::from_raw_os_error(errno));
        Outcome::new(error, setting.read(members))
    })
}

fn statuses(
    wanted: &Constraints,
    elsewhere: &[ConstraintName],
    mut outcome: impl FnMut(&Setting) -> Outcome,
) -> Vec<ConstraintStatus> {
    let ours = wanted.requested().into_iter().filter(|(name, _)| !elsewhere.contains(name));
    ours.filter_map(|(name, requested)| {
        let setting = Setting::wanted(wanted, name)?;
        let outcome = outcome(&setting);
        Some(setting.status(requested, outcome))
    })
    .collect()
}

/// What trying came to: the values read back, the main process's first, and what failed.
struct Outcome {
    values: Vec<Setting>,
    error: Option<io::Error>,
}

impl Outcome {
    fn new(error: Option<io::Error>, values: io::Result<Vec<Setting>>) -> Self {
        match values {
            Ok(values) => Self { values, error },
            Err(unreadable) => Self { values: Vec::new(), error: error.or(Some(unreadable)) },
        }
    }
}

/// An attribute with a value of it: one that is wanted, or one that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Setting {
    /// Of every thread (setpriority(2)).
    Nice(i8),
    /// Of every process (`/proc/PID/oom_score_adj`, proc_pid_oom_score_adj(5)).
    OomScoreAdj(i16),
    /// Of every thread (sched_setaffinity(2)).
    Cpus(CpuSet),
    /// Of every thread (ioprio_set(2)). `None` is no class: best-effort, with a level that follows nice.
    IoClass(Option<IoClass>),
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

impl Setting {
    /// What is asked for; `None` for nothing, and for what is no attribute.
    fn wanted(constraints: &Constraints, name: ConstraintName) -> Option<Self> {
        match name {
            ConstraintName::Nice => constraints.nice.map(Self::Nice),
            ConstraintName::OomScoreAdj => constraints.oom_score_adj.map(Self::OomScoreAdj),
            ConstraintName::Cpus => constraints.cpus.clone().map(Self::Cpus),
            ConstraintName::IoClass => constraints.io_class.map(|class| Self::IoClass(Some(class))),
            _ => None,
        }
    }

    fn name(&self) -> ConstraintName {
        match self {
            Self::Nice(_) => ConstraintName::Nice,
            Self::OomScoreAdj(_) => ConstraintName::OomScoreAdj,
            Self::Cpus(_) => ConstraintName::Cpus,
            Self::IoClass(_) => ConstraintName::IoClass,
        }
    }

    /// What a process has that asks for nothing.
    fn default(&self) -> Self {
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
    fn is_per_thread(&self) -> bool {
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
    fn put(&self, members: Members<'_>) -> Outcome {
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
    fn read(&self, members: Members<'_>) -> io::Result<Vec<Self>> {
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

    /// Whether a thread beside the main one keeps to what is wanted. It may pin itself to some of the CPUs
    /// that the workload may run on.
    fn allows(&self, value: &Self) -> bool {
        match (self, value) {
            (Self::Cpus(wanted), Self::Cpus(value)) => value.without(wanted).is_empty(),
            _ => self == value,
        }
    }

    fn status(&self, requested: String, outcome: Outcome) -> ConstraintStatus {
        let reason = match (outcome.values.split_first(), outcome.error) {
            (Some((main, others)), error) => {
                let wrong =
                    others.iter().filter(|value| !self.allows(value)).count() + usize::from(main != self);
                match error {
                    _ if wrong == 0 => None,
                    Some(error) => Some(self.explain(Some(main), &error)),
                    None => Some(self.explain_other(main, wrong, outcome.values.len())),
                }
            }
            (None, Some(error)) => Some(self.explain(None, &error)),
            (None, None) => Some("the process has ended".into()),
        };
        ConstraintStatus {
            name: self.name(),
            requested,
            applied: reason.is_none(),
            actual: outcome.values.first().map(Self::to_string),
            backend: Backend::Process,
            reason,
        }
    }

    /// Nothing was refused, and the value is another one all the same.
    fn explain_other(&self, main: &Self, wrong: usize, all: usize) -> String {
        if let (Self::Cpus(wanted), Self::Cpus(main)) = (self, main) {
            let missing = wanted.without(main);
            if !missing.is_empty() && main.without(wanted).is_empty() {
                return format!(
                    "Cannot use CPU {missing}, using {main}: not online, or not in the cpuset that the \
                     workload runs in (Cpus_allowed_list in /proc/PID/status)"
                );
            }
        }
        let what = if self.is_per_thread() { "threads" } else { "processes" };
        format!("{wrong} of {all} {what} have another value")
    }

    fn explain(&self, actual: Option<&Self>, error: &io::Error) -> String {
        let using = actual.map_or(String::new(), |value| format!(", using {value}"));
        let refused = matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES));
        match self {
            Self::Nice(wanted) if refused && *wanted < 0 => format!(
                "Cannot set negative nice (requires root){using}; CAP_SYS_NICE or RLIMIT_NICE allow it too"
            ),
            Self::Nice(wanted) if refused => format!(
                "Cannot lower nice to {wanted} (requires root){using}; CAP_SYS_NICE or RLIMIT_NICE allow it too"
            ),
            Self::OomScoreAdj(wanted) if refused => {
                format!("Cannot lower oom_score_adj to {wanted} (requires CAP_SYS_RESOURCE){using}")
            }
            Self::IoClass(Some(wanted @ IoClass::Realtime(_))) if refused => format!(
                "Cannot set io_class to {wanted} (requires root){using}; CAP_SYS_ADMIN, and since Linux 5.14 \
                 CAP_SYS_NICE, allow it too"
            ),
            Self::Cpus(_) | Self::IoClass(_) if refused => format!(
                "Cannot set {} to {self} (requires root, or to be the workload's user){using}; CAP_SYS_NICE \
                 allows it too",
                self.name()
            ),
            Self::Cpus(wanted) if error.raw_os_error() == Some(libc::EINVAL) => format!(
                "Cannot set cpus to {wanted}{using}: none of them is online and in the cpuset that the workload \
                 runs in (Cpus_allowed_list in /proc/PID/status)"
            ),
            _ => format!("Cannot set {} to {self}: {error}{using}", self.name()),
        }
    }
}

/// Where the class stands in the kernel's I/O priorities (ioprio_set(2)); the level is in the lowest three bits.
const IO_CLASS_SHIFT: u32 = 13;

/// An I/O class and level as ioprio_set(2) takes them.
pub(super) fn io_priority_of(class: Option<IoClass>) -> i32 {
    let (class, level) = match class {
        None => (0, 0),
        Some(IoClass::Realtime(level)) => (1, level),
        Some(IoClass::BestEffort(level)) => (2, level),
        Some(IoClass::Idle) => (3, 0),
    };
    class << IO_CLASS_SHIFT | i32::from(level)
}

/// What ioprio_get(2) gave. Without a class the level means nothing; older kernels tell one all the same.
pub(super) fn io_class_of(value: i32) -> Option<IoClass> {
    let level = (value & 7) as u8;
    match value >> IO_CLASS_SHIFT & 7 {
        1 => Some(IoClass::Realtime(level)),
        2 => Some(IoClass::BestEffort(level)),
        3 => Some(IoClass::Idle),
        _ => None,
    }
}

/// The numbers of a process's threads (`/proc/PID/task`), the main one first; none if it is gone.
pub(super) fn threads_of(process: &ProcessIdentity) -> io::Result<Vec<Pid>> {
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

pub(super) fn write_oom_score_adj(process: &ProcessIdentity, value: i16) -> io::Result<()> {
    // The open file stays with the process it was opened for; then it is made sure which one that was.
    let mut file = OpenOptions::new().write(true).open(format!("/proc/{}/oom_score_adj", process.pid))?;
    if stat_of(process)?.is_some() { file.write_all(value.to_string().as_bytes()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(wanted: &Setting, values: &[Setting], errno: Option<i32>) -> ConstraintStatus {
        let outcome = Outcome::new(errno.map(io::Error::from_raw_os_error), Ok(values.to_vec()));
        wanted.status(wanted.to_string(), outcome)
    }

    fn cpus(list: &str) -> Setting {
        Setting::Cpus(CpuSet::parse(list).expect("a list"))
    }

    fn reason(status: &ConstraintStatus) -> String {
        status.reason.clone().unwrap_or_default()
    }

    #[test]
    fn applied_is_what_was_read_back_and_nothing_else() {
        let nice = Setting::Nice;
        let good = status(&nice(5), &[nice(5), nice(5)], None);
        assert!(good.applied && good.reason.is_none() && good.actual.as_deref() == Some("5"));
        let refused = status(&nice(-5), &[nice(0)], Some(libc::EACCES));
        assert!(!refused.applied && refused.actual.as_deref() == Some("0"));
        assert!(reason(&refused).starts_with("Cannot set negative nice (requires root), using 0"));
        let refused = status(&Setting::OomScoreAdj(-500), &[Setting::OomScoreAdj(100)], Some(libc::EACCES));
        assert_eq!(
            reason(&refused),
            "Cannot lower oom_score_adj to -500 (requires CAP_SYS_RESOURCE), using 100"
        );
        // A call that succeeded, and a value that is another one all the same.
        let ignored = status(&nice(5), &[nice(0), nice(5), nice(5)], None);
        assert!(!ignored.applied);
        assert_eq!(reason(&ignored), "1 of 3 threads have another value");
        let gone = status(&nice(5), &[], None);
        assert_eq!((gone.applied, gone.actual.as_deref()), (false, None));
        assert_eq!(reason(&gone), "the process has ended");
    }

    #[test]
    fn a_refused_io_class_says_who_may() {
        let wanted = Setting::IoClass(Some(IoClass::Realtime(2)));
        let refused = status(&wanted, &[Setting::IoClass(None)], Some(libc::EPERM));
        assert_eq!((refused.applied, refused.actual.as_deref()), (false, Some("none")));
        assert!(
            reason(&refused).starts_with("Cannot set io_class to realtime:2 (requires root), using none"),
            "{refused:?}"
        );
        assert!(status(&wanted, std::slice::from_ref(&wanted), None).applied);
    }

    #[test]
    fn cpus_that_are_not_there_are_named() {
        let some = status(&cpus("0-1,5"), &[cpus("0-1")], None);
        assert!(!some.applied && some.actual.as_deref() == Some("0-1"));
        assert!(reason(&some).starts_with("Cannot use CPU 5, using 0-1: not online"), "{some:?}");
        let none = status(&cpus("64"), &[cpus("0-1")], Some(libc::EINVAL));
        assert!(reason(&none).starts_with("Cannot set cpus to 64, using 0-1: none of them"), "{none:?}");
        // A thread may pin itself, but not to others.
        assert!(status(&cpus("0-1"), &[cpus("0-1"), cpus("1")], None).applied);
        let outside = status(&cpus("0"), &[cpus("0"), cpus("1")], None);
        assert_eq!(reason(&outside), "1 of 2 threads have another value");
    }

    #[test]
    fn io_priorities_are_as_the_kernel_writes_them() {
        for class in [None, Some(IoClass::Idle), Some(IoClass::BestEffort(7)), Some(IoClass::Realtime(0))] {
            assert_eq!(io_class_of(io_priority_of(class)), class);
        }
        assert_eq!(io_priority_of(Some(IoClass::BestEffort(4))), 0x4004);
        // What kernels before 5.18 say of a process without a class; idle with a level; and hints.
        assert_eq!(
            [0x0004, 0x6005, 0x400c].map(io_class_of),
            [None, Some(IoClass::Idle), Some(IoClass::BestEffort(4))]
        );
    }

    #[test]
    fn nothing_is_done_to_whoever_has_the_number_now() {
        let me = current().expect("proc");
        let values = |me| {
            let all = [Setting::Nice(0), Setting::OomScoreAdj(0), cpus("0"), Setting::IoClass(None)];
            all.map(|setting| setting.read(Members::Main(me)).expect("proc"))
        };
        let before = values(&me);
        let stranger = ProcessIdentity { start_time: me.start_time + 1, ..me.clone() };
        let wanted = Constraints {
            nice: Some(19),
            oom_score_adj: Some(900),
            cpus: Some(CpuSet::parse("0").expect("a list")),
            io_class: Some(IoClass::Idle),
            ..Default::default()
        };
        let statuses = apply(Members::Family(&stranger), &wanted, None, &[]);
        assert_eq!(statuses.len(), 4);
        assert!(statuses.iter().all(|status| status.reason.as_deref() == Some("the process has ended")));
        assert_eq!(values(&me), before);
    }

    #[test]
    fn what_is_kept_elsewhere_is_not_touched() {
        let me = current().expect("proc");
        let wanted = Constraints { cpus: Some(CpuSet::parse("0").expect("a list")), ..Default::default() };
        let elsewhere = [ConstraintName::Cpus];
        assert_eq!(apply(Members::Main(&me), &wanted, None, &elsewhere), []);
        assert_eq!(apply(Members::Main(&me), &Constraints::default(), Some(&wanted), &elsewhere), []);
        assert_eq!(read_back(Members::Main(&me), &wanted, &Attempt::default(), &elsewhere), []);
    }

    /// A list that changes while it is read, as `cgroup.procs` does.
    #[test]
    fn who_left_the_list_while_it_was_looked_up_is_no_member() {
        let me = current().expect("proc");
        let init = Pid::new(1).expect("a pid");
        let calls = std::cell::Cell::new(0);
        let list = || {
            calls.set(calls.get() + 1);
            Ok(if calls.get() == 1 { vec![me.pid, init] } else { vec![me.pid] })
        };
        assert_eq!(Members::Listed(&me, &list).find().expect("proc"), std::slice::from_ref(&me));
        let both = || Ok(vec![me.pid, init]);
        assert_eq!(Members::Listed(&me, &both).find().expect("proc").len(), 2);
    }
}
