//! Attach jobs: which process each of them is to govern. Two never govern the same one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::declared::Declared;
use super::seek::{Found, Seeker};
use crate::model::ids::JobId;
use crate::model::job::{Attach, Job};
use crate::model::process::ProcessIdentity;
use crate::reconcile::plan::{AttachTarget, Wanted};

/// The rules that the files declare now.
#[must_use]
pub fn rules(declared: &Declared) -> BTreeMap<JobId, Attach> {
    let rule = |id: &JobId| match declared.wanted(id) {
        Wanted::Run(job) => Some((id.clone(), job.attach()?.clone())),
        _ => None,
    };
    declared.jobs().filter_map(rule).collect()
}

/// The runs that a rule for all has, or is about to have: one for each process that fits.
#[must_use]
pub fn matches(seeker: &Seeker, rule: &JobId) -> Vec<JobId> {
    let Found::Processes(processes) = seeker.found(rule) else { return Vec::new() };
    // A pid is a valid instance name.
    processes.iter().filter_map(|p| JobId::instance(rule.stem(), &p.pid.to_string()).ok()).collect()
}

/// Who knows which process is whose.
pub struct Targets<'a> {
    /// What the files declare.
    pub declared: &'a Declared,
    /// Which processes fit.
    pub seeker: &'a Seeker,
    /// The job that governs a process, other than this one.
    pub governor: &'a dyn Fn(&ProcessIdentity, &JobId) -> Option<JobId>,
}

impl Targets<'_> {
    /// What is wanted of a job, and why it waits for its process, if it does. `live`: it has a live run.
    #[must_use]
    pub fn wanted(&self, id: &JobId, live: bool) -> (Wanted, Option<String>) {
        match self.declared.wanted(id) {
            Wanted::Run(job) => match job.attach() {
                None => (Wanted::Run(job), None),
                // Its processes are runs of their own.
                Some(attach) if attach.all => (Wanted::Take(job, AttachTarget::Nobody), None),
                Some(_) => {
                    let (target, waits) = self.target(id, id);
                    (Wanted::Take(job, target), waits)
                }
            },
            Wanted::Gone if id.entry().is_some() => self.wanted_of_match(id, live),
            wanted => (wanted, None),
        }
    }

    /// What is wanted of `<job>@<pid>`: one process of a rule for all that fit.
    fn wanted_of_match(&self, id: &JobId, live: bool) -> (Wanted, Option<String>) {
        let rule = JobId::new(id.stem()).map(|stem| self.declared.wanted(&stem));
        match rule {
            Ok(Wanted::Run(rule)) if rule.attach().is_some_and(|attach| attach.all) => {
                let (target, waits) = self.target(&rule.id, id);
                if target == AttachTarget::Nobody && !live {
                    return (Wanted::Gone, waits);
                }
                (Wanted::Take(Arc::new(Job { id: id.clone(), ..(*rule).clone() }), target), waits)
            }
            Ok(Wanted::Undecided) => (Wanted::Undecided, None),
            _ => (Wanted::Gone, None),
        }
    }

    /// The process that a job is to govern, by the rule that is declared as `rule`.
    fn target(&self, rule: &JobId, id: &JobId) -> (AttachTarget, Option<String>) {
        let processes = match self.seeker.found(rule) {
            Found::Processes(processes) => processes,
            Found::NoSuchProcess(why) | Found::Refused(why) => return (AttachTarget::Never(why), None),
            Found::Unreadable(why) => return (AttachTarget::Nobody, Some(why)),
        };
        let meant = |process: &&ProcessIdentity| rule == id || id.entry() == Some(&process.pid.to_string());
        let mut waits = None;
        for process in processes.iter().filter(meant) {
            match (self.governor)(process, id) {
                None => return (AttachTarget::Process(process.clone()), None),
                Some(other) => {
                    let pid = process.pid;
                    let why =
                        format!("process {pid} fits, and job {other} governs it already, which keeps it");
                    waits.get_or_insert(why);
                }
            }
        }
        (AttachTarget::Nobody, waits)
    }
}
