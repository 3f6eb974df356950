//! Taking in what was seen of a run: how it began, and how it ended. An end that its wrapper did not record is ours to
//! record.

use std::sync::Arc;

use super::{Run, Watched};
use crate::abort::{self, Point};
use crate::config::paths::Layout;
use crate::linux::cgroup::counters;
use crate::linux::clock;
use crate::linux::exits::Seen;
use crate::linux::sys::Reaped;
use crate::model::exit::{Ended, LostCause, ObservedBy, State};
use crate::model::report::{Report, Usage};
use crate::model::time::Moment;
use crate::model::units::format_duration;
use crate::reconcile::plan::Phase;
use crate::runs::dir::RunDir;
use crate::runs::record::{Exited, Started};
use crate::supervisor::observed::{self, RunStatus, Snapshot};

impl Run {
    /// A run that another supervisor left.
    pub fn resume(layout: &Layout, dir: RunDir, snapshot: Snapshot) -> Self {
        let spec = snapshot.spec.clone();
        let filed = observed::is_filed(layout, &snapshot);
        let mut report = observed::report_of(layout, &spec.job.id)
            .filter(|report| report.run_id == spec.run_id)
            .unwrap_or_else(|| {
                let (id, restarts) = (spec.run_id.clone(), spec.history.restarts);
                Report::starting(&spec.job, id, restarts, spec.created.wall, "starting".into())
            });
        // An edit may have been recorded, and not been reported any more.
        report.describe(&spec.job);
        let mut run = Self::new(snapshot.observed(filed), dir, spec, report);
        run.filed = filed;
        run.absorb(snapshot);
        run
    }

    /// Takes in what was seen. Gives what to watch from now on.
    pub(crate) fn absorb(&mut self, snapshot: Snapshot) -> Option<Watched> {
        let reported = self.is_reported();
        let seen = snapshot.observed(reported);
        let was = std::mem::replace(&mut self.seen.phase, seen.phase);
        let began = snapshot.began();
        if let Some(started) = snapshot.started
            && self.started.is_none()
        {
            // It was held, and then could not execute its program: it never ran.
            let ran = !matches!(&snapshot.status, RunStatus::Ended { exited, .. }
                if matches!(exited.ended, Ended::NotStarted(_)));
            self.note_start(&started, ran.then_some(began).flatten());
            self.started = Some(started);
        }
        match snapshot.status {
            RunStatus::Starting => None,
            RunStatus::Running { wrapper, workload } => {
                self.workload = Some(workload);
                Some(Watched::Wrapper(wrapper))
            }
            RunStatus::Orphaned { workload } => {
                let now = clock::now().wall;
                if matches!(was, Phase::Running { .. }) && self.report.state == State::Running {
                    let text = "the wrapper was lost; the workload runs on, watched by the supervisor";
                    self.report.event(now, State::Running, text.into());
                }
                // The first one: it has seen the most.
                Some(Watched::Orphan(Arc::clone(self.orphan.get_or_insert_with(|| Arc::new(workload)))))
            }
            RunStatus::Ending { wrapper } => wrapper.map(Watched::Wrapper),
            RunStatus::NeverBegan => {
                let now = clock::now();
                self.conclude(Exited::unmeasured(self.seen.id.clone(), now, observed::never_began()));
                None
            }
            RunStatus::Ended { exited, recorded, .. } => {
                if recorded || self.unrecorded {
                    self.ended = Some(*exited);
                } else {
                    self.conclude(*exited);
                }
                (self.workload, self.orphan) = (None, None);
                None
            }
        }
    }

    /// How the workload ended, from those who may know where no record tells: `reaped` is what we reaped
    /// of it ourselves.
    pub(crate) fn told(&self, reaped: Option<Reaped>, at: Moment) -> Option<Exited> {
        if let Some(reaped) = reaped {
            // Its wrapper died, so it became our child.
            let exited = Exited::waited(self.seen.id.clone(), at, reaped.status, ObservedBy::Parent);
            let (cpu_sec, memory) = (Some(reaped.cpu_sec), Some(reaped.memory_peak_bytes));
            let usage = Usage { cpu_sec, memory_peak_bytes: memory, ..Usage::default() };
            return Some(Exited { usage, ..exited });
        }
        let seen = match (&self.orphan, &self.workload) {
            (Some(orphan), _) => orphan.look().ok().flatten()?,
            (None, Some(workload)) => {
                let status = workload.exit_status();
                Seen { status, by: status.map(|_| ObservedBy::Pidfd), cpu_sec: None }
            }
            (None, None) => return None,
        };
        Some(observed::orphans_end(self.seen.id.clone(), at, seen))
    }

    /// Records an end that the wrapper did not, so that it is told the same way for ever.
    fn conclude(&mut self, mut exited: Exited) {
        if self.spec.attached.is_some() {
            // It counts from its beginning, and not from where it was taken over.
            exited.usage = Usage::default();
        }
        // In its cgroup the kernel went on counting without the wrapper, but not over a restart of the host.
        if !matches!(exited.ended, Ended::Lost(LostCause::HostRebooted))
            && let Some(baseline) = self.started.as_ref().and_then(|started| started.baseline.as_ref())
        {
            let (evidence, usage) = counters::read(self.spec.cgroup.as_ref()).since(baseline);
            (exited.evidence, exited.usage) = (Some(evidence), usage.or(&exited.usage));
        }
        self.unrecorded = self.dir.write_exited(&exited).is_err();
        abort::at(Point::EndConcluded);
        self.ended = Some(exited);
    }

    /// `began`: when the workload did, if it did.
    fn note_start(&mut self, started: &Started, began: Option<Moment>) {
        let pid = started.process.pid;
        self.report.pid = Some(pid);
        // A report that tells of the start was written after it, and edits may have followed.
        if self.report.started_at.is_some() {
            return;
        }
        self.report.constraints.clone_from(&started.constraints);
        if let Some(began) = began {
            self.report.started_at = Some(began.wall);
            let text = match &self.spec.attached {
                Some(_) => {
                    format!(
                        "taken over, pid {pid}, running for {}",
                        format_duration(started.at.boot.since(began.boot))
                    )
                }
                None => format!("running, pid {pid}"),
            };
            self.report.event(started.at.wall, State::Running, text);
            for note in &started.notes {
                self.report.event(started.at.wall, State::Running, note.clone());
            }
        }
    }
}
