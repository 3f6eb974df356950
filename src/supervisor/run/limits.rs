//! The constraints of a run: put in force, and read back.

use super::Run;
use crate::linux::attach;
use crate::linux::cgroup::{self, Before};
use crate::linux::priority::{self, Attempt, Members};
use crate::model::cgroup::Cgroup;
use crate::model::constraints::{ConstraintName, ConstraintStatus, Constraints, in_force, merge};
use crate::runs::record::Started;

impl Run {
    /// Puts the job's constraints in force, after others were.
    pub(crate) fn enforce(
        &self,
        started: &Started,
        before: &Constraints,
        why: &str,
    ) -> Vec<ConstraintStatus> {
        let wanted = self.seen.job.in_force();
        if let Some(attached) = &self.spec.attached {
            return attach::enforce(attached, self.spec.cgroup.as_ref(), wanted, Some(before));
        }
        let main = &started.process;
        let Some(cgroup) = &self.spec.cgroup else {
            let mut attributes = priority::apply(Members::Family(main), wanted, Some(before), &[]);
            attributes.extend(rlimits(started));
            return merge(wanted, cgroup::not_in_force(wanted, why), attributes);
        };
        let limits = self.inside(cgroup, started, cgroup::apply(cgroup, wanted, Before::Was(before)));
        let list = || cgroup::procs(cgroup);
        let members = Members::Listed(main, &list);
        let mut attributes = priority::apply(members, wanted, Some(before), &in_force(&limits));
        attributes.extend(rlimits(started));
        merge(wanted, limits, attributes)
    }

    /// Tries to put limits in force that were refused.
    pub(crate) fn try_again(&self) -> Vec<ConstraintStatus> {
        let (wanted, cgroup) = (self.seen.job.in_force(), self.spec.cgroup.as_ref());
        match &self.spec.attached {
            Some(attached) => attach::enforce(attached, cgroup, wanted, Some(wanted)),
            None => cgroup.map_or_else(Vec::new, |cgroup| cgroup::apply(cgroup, wanted, Before::Was(wanted))),
        }
    }

    /// Reads the job's constraints back.
    pub(crate) fn read_back(&self, started: &Started, why: &str) -> Vec<ConstraintStatus> {
        let wanted = self.seen.job.in_force();
        if let Some(attached) = &self.spec.attached {
            return attach::read_back(attached, self.spec.cgroup.as_ref(), wanted);
        }
        let limits = match &self.spec.cgroup {
            Some(cgroup) => self.inside(cgroup, started, cgroup::read_back(cgroup, wanted)),
            None => cgroup::not_in_force(wanted, why),
        };
        let (members, kept) = (Members::Main(&started.process), in_force(&limits));
        let mut attributes = priority::read_back(members, wanted, &Attempt::default(), &kept);
        attributes.extend(rlimits(started));
        merge(wanted, limits, attributes)
    }

    /// A limit is in force for whom it holds: the workload may never have come into its cgroup, or
    /// somebody may have moved it.
    fn inside(
        &self,
        cgroup: &Cgroup,
        started: &Started,
        limits: Vec<ConstraintStatus>,
    ) -> Vec<ConstraintStatus> {
        match cgroup::holds(cgroup, &started.process) {
            _ if limits.is_empty() => limits,
            Ok(true) => limits,
            Ok(false) => cgroup::outside(
                limits,
                "the process is not in the job's cgroup (moved out, or never entered); restart the job",
            ),
            Err(error) => cgroup::outside(limits, &error.to_string()),
        }
    }
}

/// What became of the limits of the process, which are never changed in place: as at its start.
fn rlimits(started: &Started) -> impl Iterator<Item = ConstraintStatus> {
    let is_rlimit = |status: &&ConstraintStatus| matches!(status.name, ConstraintName::Rlimit(_));
    started.constraints.iter().filter(is_rlimit).cloned()
}
