//! Planning jobs, and having the plans executed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::Daemon;
use crate::linux::clock;
use crate::model::ids::JobId;
use crate::model::job::Lifecycle;
use crate::model::process::ProcessIdentity;
use crate::model::space::{NoSpace, Space};
use crate::model::time::BootTime;
use crate::reconcile::gates::space;
use crate::reconcile::plan::{Action, Wanted, plan};
use crate::supervisor::alarms::TRY_AGAIN;
use crate::supervisor::declared::CONFIRM_DELETION;
use crate::supervisor::run::Run;
use crate::supervisor::targets::Targets;

/// How long jobs are planned in one round, and how long starts are made.
const A_ROUND: Duration = Duration::from_millis(25);

/// Rounds after which a job's plan has to have settled; it takes two.
const MAX_ROUNDS: usize = 8;

/// Before a run is looked at again that gives no event.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

impl Daemon {
    /// Plans jobs, for as long as a round may take: at least one.
    pub(super) fn settle_some(&mut self) {
        let until = Instant::now() + A_ROUND;
        while let Some(job) = self.executor.jobs_mut().pop() {
            self.settle(&job);
            if Instant::now() >= until {
                break;
            }
        }
    }

    /// Makes starts that wait, for as long as a round may take: at least one.
    pub(super) fn start_some(&mut self) {
        let until = Instant::now() + A_ROUND;
        while let Some(job) = self.executor.starts_mut().next(clock::boot()) {
            self.settle(&job);
            self.executor.starts_mut().planned(&job);
            if Instant::now() >= until {
                break;
            }
        }
    }

    /// Plans a job and executes the plan, until there is nothing left to do now.
    pub(super) fn settle(&mut self, job: &JobId) {
        self.planned = true;
        let mut wake = None;
        for round in 0.. {
            let moment = clock::now();
            let now = moment.boot;
            let wanted = self.wanted(job);
            let tracked = self.executor.jobs_mut().entry(job);
            if let Some(until) = tracked.retry_pending(now) {
                wake = Some(until);
                break;
            }
            if tracked.is_opaque() {
                break;
            }
            let owes = tracked.run().is_some_and(Run::owes_record) && !self.executor.record_end(job);
            let run = self.executor.jobs().run(job);
            let mut plan = plan(moment, &clock::ZONES, &wanted, run.map(|run| &run.seen));
            if self.declared.is_undecided(job) && plan.actions.iter().any(Action::is_start) {
                plan.actions.retain(|action| !action.is_start());
                plan.wake = Some(now + CONFIRM_DELETION / 5);
            }
            wake = plan.wake;
            if owes {
                wake = Some(wake.map_or(now + TRY_AGAIN, |wake| wake.min(now + TRY_AGAIN)));
            }
            if run.is_some_and(Run::gives_no_event) {
                wake = Some(now + LOOK_AGAIN);
            }
            if self.waits_for_space(job, &plan.actions, now) {
                plan.actions.retain(|action| !action.is_start());
                wake = Some(wake.map_or(now + TRY_AGAIN, |wake| wake.min(now + TRY_AGAIN)));
            }
            if plan.actions.is_empty() {
                self.executor.update_next_start(job, plan.outlook);
                break;
            }
            if round == MAX_ROUNDS {
                error!(job = %job, "planning did not converge after 8 rounds (a bug; please report it): {:?}; tried again later", plan.actions);
                wake = Some(now + TRY_AGAIN);
                break;
            }
            if let Some(why) = plan.actions.iter().find_map(Action::starts)
                && !self.executor.starts_mut().may_start(job, why)
            {
                plan.actions.retain(|action| !action.is_start());
                if plan.actions.is_empty() {
                    break;
                }
            }
            // What follows an action that failed may rest on it.
            let _ = plan.actions.into_iter().all(|action| self.executor.execute(job, action, plan.outlook));
        }
        let jobs = self.executor.jobs_mut();
        jobs.set_wake(job, wake);
        let idle = jobs.get_mut(job).is_some_and(|tracked| tracked.run().is_none() && !tracked.is_opaque());
        if wake.is_none() && idle && self.wanted(job) == Wanted::Gone {
            self.executor.forget_job(job);
        }
    }

    /// Whether a job that is about to start waits for free space, which is told once.
    fn waits_for_space(&mut self, job: &JobId, actions: &[Action], now: BootTime) -> bool {
        let starts = |action: &Action| match action {
            Action::Start { job, .. } => Some(Arc::clone(job)),
            _ => None,
        };
        let Some(declared) = actions.iter().find_map(starts) else { return false };
        let space = if declared.lifecycle == Lifecycle::Oneshot { self.look_at_disk() } else { None };
        let state = (self.reserve.state(), space);
        let why = space::shut(&declared, self.reserve.kept(), state, |path| self.spaces.read(path, job, now));
        if let Some(NoSpace::Silent { since, .. }) = &why
            && *since < TRY_AGAIN
        {
            // It is being asked, which takes no time where all is well.
            return true;
        }
        let is_new = self.executor.jobs_mut().entry(job).is_new_lack(why.as_ref());
        if let Some(why) = why.as_ref().filter(|_| is_new) {
            warn!(job = %job, "waits {why}");
        }
        why.is_some()
    }

    /// What the state's file system has. Where it is low, older pieces of logs have to go.
    pub(super) fn look_at_disk(&mut self) -> Option<Space> {
        let space = self.reserve.look()?;
        if self.reserve.is_low() {
            self.executor.look_at_logs();
        }
        Some(space)
    }

    /// What is wanted of a job. Why it waits for its process is said once.
    fn wanted(&mut self, id: &JobId) -> Wanted {
        self.heed_attach_news();
        let jobs = self.executor.jobs();
        let live = jobs.run(id).is_some_and(Run::is_live);
        let governor = |process: &ProcessIdentity, but: &JobId| jobs.governor(process, but).cloned();
        let targets = Targets { declared: &self.declared, seeker: &self.seeker, governor: &governor };
        let (wanted, waits) = targets.wanted(id, live);
        if let Some(why) = waits.filter(|_| !live) {
            let text = format!("{id} waits: {why}");
            if self.executor.jobs_mut().entry(id).is_new_wait(&text) {
                warn!(job = %id, "{text}");
            }
        }
        wanted
    }
}
