//! Edits of a running job in place.

use std::io;
use std::sync::Arc;

use tracing::info;

use super::Executor;
use super::verify::may_be_granted;
use crate::abort::{self, Point};
use crate::linux::clock;
use crate::model::exit::State;
use crate::model::ids::JobId;
use crate::model::job::Job;
use crate::reconcile::diff::{Change, needs_restart};
use crate::runs::record::Spec;

impl Executor {
    /// Records that the run is governed by another version of its job, then puts that in force.
    pub(super) fn update(&mut self, job: &JobId, declared: &Arc<Job>, changes: &[Change]) -> io::Result<()> {
        let why = self.host.why_without_cgroup();
        let Some(run) = self.jobs.run_mut(job) else { return Ok(()) };
        debug_assert!(!needs_restart(changes));
        let known = run.spec.job.in_force();
        let before = (known != declared.in_force()).then(|| known.clone());
        run.restore()?;
        let spec = Spec { job: Arc::clone(declared), released: false, before, ..run.spec.clone() };
        run.dir.write_spec(&spec)?;
        abort::at(Point::EditRecorded);
        let before = std::mem::replace(&mut run.spec, spec).job;
        run.seen.job = Arc::clone(declared);
        let let_go = std::mem::replace(&mut run.seen.released, false);
        let known = run.report.constraints.clone();
        if let Some(started) = &run.started
            && before.in_force() != declared.in_force()
        {
            run.report.constraints = run.enforce(started, before.in_force(), &why);
        }
        abort::at(Point::EditInForce);
        run.report.describe(declared);
        let now = clock::now().wall;
        let mut tell = |text: String| {
            info!(job = %job, run = %run.seen.id, "{text}");
            run.report.event(now, State::Running, text);
        };
        if let_go {
            tell("declared again: governed again".into());
        }
        for Change { field, from, to, .. } in changes {
            let shown = |value: &str| if value.is_empty() { "unset".to_owned() } else { value.to_owned() };
            tell(format!("changed in place: {field} {} -> {}", shown(from), shown(to)));
        }
        if run.report.constraints.iter().any(may_be_granted) {
            self.resync.verify_soon(clock::boot());
        }
        self.warn_of(job, &known);
        if let Some(run) = self.jobs.run(job) {
            self.reporter.publish(run);
            self.logs.tell(&run.spec);
        }
        Ok(())
    }
}
