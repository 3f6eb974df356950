//! Going on with a run that another supervisor left.

use tracing::error;

use super::Executor;
use crate::abort::{self, Point};
use crate::linux::clock;
use crate::model::ids::JobId;
use crate::reconcile::plan::Phase;
use crate::runs::dir::{RunDir, SPEC};
use crate::supervisor::alarms::TRY_AGAIN;
use crate::supervisor::observed::{self, LookError};
use crate::supervisor::run::Run;

impl Executor {
    /// Takes over the newest run of a job.
    pub(super) fn resume(&mut self, job: &JobId, dir: RunDir) {
        match observed::look(&dir, clock::now()) {
            Ok(snapshot) => {
                let mut run = Run::resume(self.host.layout(), dir, snapshot);
                run.detect_leftovers(&Phase::Ending);
                self.logs.tell(&run.spec);
                self.jobs.put_run(job, run);
                self.look_again(job, None, None);
                abort::at(Point::RunTakenOver);
                self.finish_edit(job);
                self.verify_constraints(job);
            }
            Err(LookError::Damaged(damage)) => {
                let aside = dir.set_aside(SPEC);
                error!(job = %job, "{damage}; set aside ({aside:?}), and treating the job as one that never ran");
            }
            Err(error) => self.leave_alone(job, &error),
        }
    }

    /// What runs of a job is not known: nothing is done for it until it is.
    pub(super) fn leave_alone(&mut self, job: &JobId, why: &LookError) {
        self.log_unobservable(job, why, "the job is left alone until that ends");
        if matches!(why, LookError::Io(_)) {
            self.resync.rescan_by(clock::boot() + TRY_AGAIN);
        }
        self.jobs.entry(job).set_opaque();
    }
}
