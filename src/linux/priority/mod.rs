//! Attributes of processes: nice, oom_score_adj, the I/O class and the CPU affinity of a workload's
//! processes and threads, put in force and read back.
//!
//! Each is attempted, and a refusal becomes the status of that one constraint. Being root says
//! nothing: root without CAP_SYS_RESOURCE may not lower oom_score_adj.

mod io_class;
mod members;
mod setting;
mod verdict;

use std::io;

pub(super) use self::io_class::{io_class_of, io_priority_of};
pub use self::members::Members;
pub(super) use self::members::threads_of;
pub(super) use self::setting::write_oom_score_adj;
use self::setting::{Outcome, Setting};
use self::verdict::status;
use crate::model::constraints::{ConstraintName, ConstraintStatus, Constraints};

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
            let status = status(&default, format!("default ({default})"), default.put(members));
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
        Some(status(&setting, requested, outcome))
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::process::current;
    use crate::model::constraints::IoClass;
    use crate::model::cpus::CpuSet;
    use crate::model::process::ProcessIdentity;

    #[test]
    fn nothing_is_done_to_whoever_has_the_number_now() {
        let me = current().expect("proc");
        let values = |me| {
            let all = [
                Setting::Nice(0),
                Setting::OomScoreAdj(0),
                Setting::Cpus(CpuSet::parse("0").expect("a list")),
                Setting::IoClass(None),
            ];
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
}
