//! The actions of the plan, and who does each.

use std::io;

use super::Executor;
use super::{report, stop};
use crate::model::ids::JobId;
use crate::reconcile::plan::{Action, Outlook, Phase};
use crate::supervisor::reporter::Reporter;
use crate::supervisor::run::Run;

impl Executor {
    /// Executes one action for a job. False: it failed, and is tried again later.
    pub fn execute(&mut self, job: &JobId, action: Action, outlook: Outlook) -> bool {
        // Two that send a signal send it twice, and two that report hide each other's reports. A full disk keeps
        // nothing but a start.
        let claimed = self.check_claim();
        if self.usurped().is_some() {
            return false;
        }
        let done = match action {
            Action::Start { job: declared, history, why } => {
                claimed.and_then(|()| self.start(&declared, history, why))
            }
            Action::Take { job: declared, process } => self.take(&declared, &process),
            Action::Refuse { job: declared, why } => self.refuse(&declared, why),
            Action::Update { job: declared, changes } => self.update(job, &declared, &changes),
            Action::Stop { reason } => self.on_run(job, |run, to| stop::stop(run, reason, to)),
            Action::SampleActivity => self.on_run(job, |run, _| stop::sample_activity(run)),
            Action::Remind => self.on_run(job, stop::remind),
            Action::StopOthers => self.on_run(job, stop::stop_others),
            Action::StopLeftovers => self.on_run(job, stop::stop_leftovers),
            Action::Kill => self.on_run(job, stop::kill),
            Action::Abandon => self.on_run(job, stop::abandon),
            Action::Detach => self.detach(job),
            Action::Report => self.on_run(job, |run, to| report::end(run, outlook, to)),
            Action::Forget => self.forget(job),
        };
        match &done {
            // Whether a start succeeds is not known yet.
            Ok(()) if self.jobs.run(job).is_some_and(|run| run.seen.phase == Phase::Starting) => {}
            Ok(()) => self.acted(job),
            Err(error) => self.failed(job, error),
        }
        done.is_ok()
    }

    /// Does something with a job's run, if there is one, which may have its report handed over.
    fn on_run(
        &mut self,
        job: &JobId,
        act: impl FnOnce(&mut Run, &Reporter) -> io::Result<()>,
    ) -> io::Result<()> {
        self.jobs.run_mut(job).map_or(Ok(()), |run| act(run, &self.reporter))
    }
}
