//! What came of an attribute that is asked for: in force or not, why not, and what would help.

use std::io;

use super::setting::{Outcome, Setting};
use crate::model::constraints::{Backend, ConstraintStatus, IoClass};

/// What came of a setting that is wanted: in force is what was read back, and nothing else.
pub(super) fn status(wanted: &Setting, requested: String, outcome: Outcome) -> ConstraintStatus {
    let reason = match (outcome.values.split_first(), outcome.error) {
        (Some((main, others)), error) => {
            let wrong =
                others.iter().filter(|value| !allows(wanted, value)).count() + usize::from(main != wanted);
            match error {
                _ if wrong == 0 => None,
                Some(error) => Some(explain(wanted, Some(main), &error)),
                None => Some(explain_other(wanted, main, wrong, outcome.values.len())),
            }
        }
        (None, Some(error)) => Some(explain(wanted, None, &error)),
        (None, None) => Some("the process has ended".into()),
    };
    ConstraintStatus {
        name: wanted.name(),
        requested,
        applied: reason.is_none(),
        actual: outcome.values.first().map(ToString::to_string),
        backend: Backend::Process,
        reason,
    }
}

/// Whether a thread beside the main one keeps to what is wanted. It may pin itself to some of the CPUs
/// that the workload may run on.
fn allows(wanted: &Setting, value: &Setting) -> bool {
    match (wanted, value) {
        (Setting::Cpus(wanted), Setting::Cpus(value)) => value.without(wanted).is_empty(),
        _ => wanted == value,
    }
}

/// Nothing was refused, and the value is another one all the same.
fn explain_other(setting: &Setting, main: &Setting, wrong: usize, all: usize) -> String {
    if let (Setting::Cpus(wanted), Setting::Cpus(main)) = (setting, main) {
        let missing = wanted.without(main);
        if !missing.is_empty() && main.without(wanted).is_empty() {
            return format!(
                "Cannot use CPU {missing}, using {main}: not online, or not in the cpuset that the \
                 workload runs in (Cpus_allowed_list in /proc/PID/status)"
            );
        }
    }
    let what = if setting.is_per_thread() { "threads" } else { "processes" };
    format!("{wrong} of {all} {what} have another value")
}

fn explain(setting: &Setting, actual: Option<&Setting>, error: &io::Error) -> String {
    let using = actual.map_or(String::new(), |value| format!(", using {value}"));
    let refused = matches!(error.raw_os_error(), Some(libc::EPERM | libc::EACCES));
    match setting {
        Setting::Nice(wanted) if refused && *wanted < 0 => format!(
            "Cannot set negative nice (requires root){using}; CAP_SYS_NICE or RLIMIT_NICE allow it too"
        ),
        Setting::Nice(wanted) if refused => format!(
            "Cannot lower nice to {wanted} (requires root){using}; CAP_SYS_NICE or RLIMIT_NICE allow it too"
        ),
        Setting::OomScoreAdj(wanted) if refused => {
            format!("Cannot lower oom_score_adj to {wanted} (requires CAP_SYS_RESOURCE){using}")
        }
        Setting::IoClass(Some(wanted @ IoClass::Realtime(_))) if refused => format!(
            "Cannot set io_class to {wanted} (requires root){using}; CAP_SYS_ADMIN, and since Linux 5.14 \
             CAP_SYS_NICE, allow it too"
        ),
        Setting::Cpus(_) | Setting::IoClass(_) if refused => format!(
            "Cannot set {} to {setting} (requires root, or to be the workload's user){using}; CAP_SYS_NICE \
             allows it too",
            setting.name()
        ),
        Setting::Cpus(wanted) if error.raw_os_error() == Some(libc::EINVAL) => format!(
            "Cannot set cpus to {wanted}{using}: none of them is online and in the cpuset that the workload \
             runs in (Cpus_allowed_list in /proc/PID/status)"
        ),
        _ => format!("Cannot set {} to {setting}: {error}{using}", setting.name()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::cpus::CpuSet;

    fn status_of(wanted: &Setting, values: &[Setting], errno: Option<i32>) -> ConstraintStatus {
        let outcome = Outcome::new(errno.map(io::Error::from_raw_os_error), Ok(values.to_vec()));
        status(wanted, wanted.to_string(), outcome)
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
        let good = status_of(&nice(5), &[nice(5), nice(5)], None);
        assert!(good.applied && good.reason.is_none() && good.actual.as_deref() == Some("5"));
        let refused = status_of(&nice(-5), &[nice(0)], Some(libc::EACCES));
        assert!(!refused.applied && refused.actual.as_deref() == Some("0"));
        assert!(reason(&refused).starts_with("Cannot set negative nice (requires root), using 0"));
        let refused =
            status_of(&Setting::OomScoreAdj(-500), &[Setting::OomScoreAdj(100)], Some(libc::EACCES));
        assert_eq!(
            reason(&refused),
            "Cannot lower oom_score_adj to -500 (requires CAP_SYS_RESOURCE), using 100"
        );
        // A call that succeeded, and a value that is another one all the same.
        let ignored = status_of(&nice(5), &[nice(0), nice(5), nice(5)], None);
        assert!(!ignored.applied);
        assert_eq!(reason(&ignored), "1 of 3 threads have another value");
        let gone = status_of(&nice(5), &[], None);
        assert_eq!((gone.applied, gone.actual.as_deref()), (false, None));
        assert_eq!(reason(&gone), "the process has ended");
    }

    #[test]
    fn a_refused_io_class_says_who_may() {
        let wanted = Setting::IoClass(Some(IoClass::Realtime(2)));
        let refused = status_of(&wanted, &[Setting::IoClass(None)], Some(libc::EPERM));
        assert_eq!((refused.applied, refused.actual.as_deref()), (false, Some("none")));
        assert!(
            reason(&refused).starts_with("Cannot set io_class to realtime:2 (requires root), using none"),
            "{refused:?}"
        );
        assert!(status_of(&wanted, std::slice::from_ref(&wanted), None).applied);
    }

    #[test]
    fn cpus_that_are_not_there_are_named() {
        let some = status_of(&cpus("0-1,5"), &[cpus("0-1")], None);
        assert!(!some.applied && some.actual.as_deref() == Some("0-1"));
        assert!(reason(&some).starts_with("Cannot use CPU 5, using 0-1: not online"), "{some:?}");
        let none = status_of(&cpus("64"), &[cpus("0-1")], Some(libc::EINVAL));
        assert!(reason(&none).starts_with("Cannot set cpus to 64, using 0-1: none of them"), "{none:?}");
        // A thread may pin itself, but not to others.
        assert!(status_of(&cpus("0-1"), &[cpus("0-1"), cpus("1")], None).applied);
        let outside = status_of(&cpus("0"), &[cpus("0"), cpus("1")], None);
        assert_eq!(reason(&outside), "1 of 2 threads have another value");
    }
}
