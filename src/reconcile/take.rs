//! PURE: what is to be done for an attach job, which governs a process that somebody else started.
//!
//! Such a process is never signalled. It is taken over, tuned in place, and let go; its end is reported,
//! and the job then waits for the next process that fits.

use std::sync::Arc;
use std::time::Duration;

use super::diff::diff;
use super::plan::{Action, AttachTarget, Observed, Plan, Wanted, boot_time};
use crate::model::exit::{Ended, Stage};
use crate::model::job::{Job, Target};
use crate::model::schedule::Boundary;
use crate::model::time::{BootTime, Moment};

/// Before a process is tried again that could not be taken over for a reason of ours.
const TRY_AGAIN: Duration = Duration::from_secs(5);

impl Plan {
    /// No run is known of: the process is taken over, if there is one.
    pub(super) fn take(&mut self, job: &Arc<Job>, target: &AttachTarget) {
        let job = Arc::clone(job);
        match target {
            AttachTarget::Nobody => {}
            AttachTarget::Process(process) => {
                self.actions.push(Action::Take { job, process: process.clone() })
            }
            AttachTarget::Never(why) => self.actions.push(Action::Refuse { job, why: why.clone() }),
        }
    }

    /// The process lives, and is governed.
    pub(super) fn governing(
        &mut self,
        now: Moment,
        wanted: &Wanted,
        scheduled: Option<&(Arc<Job>, Option<Boundary>)>,
        run: &Observed,
    ) {
        let stays = match wanted {
            // An edit of the rule itself is a new rule, which may mean this process, too.
            Wanted::Take(job, _) => job.attach() == run.job.attach(),
            Wanted::Undecided => true,
            Wanted::Run(_) | Wanted::Disabled(_) | Wanted::Gone => false,
        };
        // What was begun is finished: a supervisor that died half-way may have restored half of it.
        if run.released || !stays {
            self.actions.push(Action::Detach);
            return;
        }
        let Some((job, next)) = scheduled else { return };
        let changes = diff(&run.job, job);
        if !changes.is_empty() {
            self.actions.push(Action::Update { job: Arc::clone(job), changes });
        }
        next.iter().for_each(|next| self.wake_at(boot_time(next.at, now)));
    }

    /// The run is over; another process may fit.
    pub(super) fn next(
        &mut self,
        now: BootTime,
        job: &Arc<Job>,
        target: &AttachTarget,
        run: &Observed,
        (ended, how): (Option<BootTime>, &Ended),
    ) {
        let edited = job.attach() != run.job.attach();
        if edited {
            return self.take(job, target);
        }
        match target {
            // It was told.
            AttachTarget::Never(_) => {}
            AttachTarget::Process(process) if run.target.as_ref() == Some(process) => {
                // It lives, so it is its take-over that failed. Failures caused by the process itself are not retried.
                let Ended::NotStarted(error) = how else { return };
                if matches!(error.stage, Stage::Attach | Stage::Constraint) {
                    return;
                }
                let due = ended.map_or(now, |ended| ended + TRY_AGAIN);
                if now >= due {
                    self.take(job, target);
                } else {
                    self.wake_at(due);
                }
            }
            // A number means the process that had it, and not the next one.
            AttachTarget::Process(_) if names_a_pid(job) && run.target.is_some() => {}
            target => self.take(job, target),
        }
    }
}

fn names_a_pid(job: &Job) -> bool {
    matches!(job.attach().map(|attach| &attach.target), Some(Target::Pid(_)))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::model::exit::{LostCause, StartError};
    use crate::model::history::StartHistory;
    use crate::model::ids::RunId;
    use crate::model::job::{Attach, Workload};
    use crate::model::process::{BootId, Pid, ProcessIdentity};
    use crate::model::time::WallTime;
    use crate::model::zones::Zones;
    use crate::reconcile::plan::{Phase, plan, tests::job};

    fn process(pid: u32) -> ProcessIdentity {
        ProcessIdentity { pid: Pid::new(pid).expect("a pid"), start_time: 5, boot_id: BootId("b".into()) }
    }

    fn attach_job(target: Target, nice: i8) -> Arc<Job> {
        let workload = Workload::Attach(Attach { target, all: false, relocate: false });
        Arc::new(Job { workload, ..job("a", &format!("constraints.nice = {nice}\ntimeouts.run = \"1s\"\n")) })
    }

    fn by_pid(pid: u32) -> Target {
        Target::Pid(Pid::new(pid).expect("a pid"))
    }

    /// What happens to the host, its file, or its supervisor.
    #[derive(Debug, Clone)]
    enum Event {
        /// The file says this: which rule, and which nice value.
        Write(u8, i8),
        Disable,
        Unreadable,
        Remove,
        /// It starts something of its own now.
        Exec,
        /// A process appears that fits.
        Appear,
        /// The process that fits ends, and whether its exit was told.
        End(bool),
        /// The wrapper has taken it over, or failed to: for want of something, or for good.
        Begun,
        Failed(bool),
        Pass(u16),
    }

    fn event() -> impl Strategy<Value = Event> {
        prop_oneof![
            4 => (0..3u8, 0..3i8).prop_map(|(rule, nice)| Event::Write(rule, nice)),
            1 => Just(Event::Disable),
            1 => Just(Event::Unreadable),
            1 => Just(Event::Remove),
            1 => Just(Event::Exec),
            4 => Just(Event::Appear),
            2 => any::<bool>().prop_map(Event::End),
            6 => Just(Event::Begun),
            1 => any::<bool>().prop_map(Event::Failed),
            1 => (0..7_000u16).prop_map(Event::Pass),
        ]
    }

    struct Host {
        now: u64,
        wanted: Wanted,
        /// The process that fits, if there is one, and how many there were.
        living: Option<ProcessIdentity>,
        born: u32,
        run: Option<Observed>,
        /// What was governed, and not let go or seen to its end.
        changed: Option<ProcessIdentity>,
    }

    impl Host {
        fn happen(&mut self, event: &Event) {
            let rule = |rule: u8| match rule {
                0 => by_pid(7),
                1 => Target::PidFile("/run/a.pid".into()),
                _ => Target::Match(Box::new(crate::model::job::Match {
                    name: Some("obs".into()),
                    ..Default::default()
                })),
            };
            let target = AttachTarget::Nobody;
            let now = BootTime(self.now);
            let run = self.run.as_mut();
            match event {
                Event::Write(which, nice) => {
                    self.wanted = Wanted::Take(attach_job(rule(*which), *nice), target)
                }
                Event::Disable => self.wanted = Wanted::Disabled(attach_job(rule(2), 0)),
                Event::Unreadable => self.wanted = Wanted::Undecided,
                Event::Remove => self.wanted = Wanted::Gone,
                Event::Exec => self.wanted = Wanted::Run(Arc::new(job("a", ""))),
                Event::Appear if self.living.is_none() => {
                    self.born += 1;
                    self.living = Some(process(self.born));
                }
                Event::Appear => {}
                Event::End(told) => {
                    let gone = self.living.take();
                    if let Some(run) = run
                        && run.target == gone
                        && matches!(run.phase, Phase::Running { .. })
                    {
                        let how = match told {
                            true => Ended::Waited { status: 7 << 8 },
                            false => Ended::Lost(LostCause::NotTold),
                        };
                        run.phase = Phase::Ended { started: Some(now), at: Some(now), how, reported: false };
                    }
                }
                Event::Begun => {
                    if let Some(run) = run
                        && matches!(run.phase, Phase::Starting)
                    {
                        run.phase = match run.target == self.living {
                            true => Phase::Running { since: now },
                            // It was no run.
                            false => {
                                (self.run, self.changed) = (None, None);
                                return;
                            }
                        };
                    }
                }
                Event::Failed(for_good) => {
                    if let Some(run) = run
                        && matches!(run.phase, Phase::Starting)
                    {
                        let stage = if *for_good { Stage::Constraint } else { Stage::Wrapper };
                        let how = Ended::NotStarted(StartError { stage, errno: None, detail: "no".into() });
                        run.phase = Phase::Ended { started: None, at: Some(now), how, reported: false };
                    }
                }
                Event::Pass(ms) => self.now += u64::from(*ms),
            }
            if let Wanted::Take(job, target) = &mut self.wanted {
                let missing = matches!(job.attach().map(|attach| &attach.target), Some(Target::Pid(_)));
                *target = match &self.living {
                    Some(process) => AttachTarget::Process(process.clone()),
                    None if missing => AttachTarget::Never("process 7 does not exist".into()),
                    None => AttachTarget::Nobody,
                };
            }
        }

        fn plan(&self) -> Plan {
            let moment = Moment { wall: WallTime::from_unix_ms(0), boot: BootTime(self.now) };
            plan(moment, &Zones::BUILT_IN, &self.wanted, self.run.as_ref())
        }

        fn supervise(&mut self) {
            for _ in 0..5 {
                let plan = self.plan();
                assert_eq!(plan, self.plan(), "another plan for the same");
                if plan.actions.is_empty() {
                    return;
                }
                for action in plan.actions {
                    self.execute(action);
                }
            }
            panic!("does not settle: {:?}", self.plan());
        }

        fn execute(&mut self, action: Action) {
            let over = |run: &Option<Observed>| {
                run.as_ref().is_none_or(|run| matches!(run.phase, Phase::Ended { reported: true, .. }))
            };
            let now = BootTime(self.now);
            let begun = |job: Arc<Job>, target, phase| Observed {
                id: RunId::new(1, 1),
                job,
                history: StartHistory::default(),
                phase,
                stop: None,
                released: false,
                target,
            };
            match action {
                Action::Take { job, process } => {
                    assert!(over(&self.run), "a second run beside {:?}", self.run);
                    assert_eq!(self.living.as_ref(), Some(&process), "taken over, but not there");
                    assert_eq!(self.changed, None, "taken over before the last was let go");
                    self.changed = Some(process.clone());
                    self.run = Some(begun(job, Some(process), Phase::Starting));
                }
                Action::Refuse { job, why } => {
                    assert!(over(&self.run));
                    let error = StartError { stage: Stage::Attach, errno: None, detail: why };
                    let how = Ended::NotStarted(error);
                    let phase = Phase::Ended { started: None, at: Some(now), how, reported: false };
                    self.run = Some(begun(job, None, phase));
                }
                Action::Update { job, changes } => {
                    assert!(!changes.is_empty());
                    let run = self.run.as_mut().expect("a run");
                    assert!(matches!(run.phase, Phase::Running { .. }));
                    assert_eq!(run.job.attach(), job.attach(), "another rule in place");
                    run.job = job;
                }
                Action::Detach => {
                    assert!(!matches!(self.wanted, Wanted::Undecided), "a broken file lets nothing go");
                    let run = self.run.take().expect("a run");
                    assert!(matches!(run.phase, Phase::Running { .. }), "let go while {:?}", run.phase);
                    self.changed = None;
                }
                Action::Report => {
                    let run = self.run.as_mut().expect("a run");
                    let Phase::Ended { reported, .. } = &mut run.phase else { panic!("not over: {run:?}") };
                    assert!(!*reported, "told twice");
                    *reported = true;
                    self.changed = None;
                }
                Action::Forget => {
                    assert!(self.wanted == Wanted::Gone && over(&self.run));
                    self.run = None;
                }
                // The job is another one now, which is tested elsewhere.
                Action::Start { job, .. } => {
                    assert!(over(&self.run) && job.exec().is_some(), "started by an attach job");
                    self.run = None;
                    self.wanted = Wanted::Gone;
                }
                Action::Stop { .. }
                | Action::SampleActivity
                | Action::Remind
                | Action::StopOthers
                | Action::StopLeftovers
                | Action::Kill
                | Action::Abandon => {
                    panic!("{action:?} of what we did not start")
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_we_did_not_start_is_taken_over_told_and_let_go_and_never_ended(events in vec(event(), 1..60)) {
            let mut host = Host {
                now: 1_000,
                wanted: Wanted::Gone,
                living: None,
                born: 6,
                run: None,
                changed: None,
            };
            for event in &events {
                host.happen(event);
                host.supervise();
            }
            // Nothing more happens, and what is wanted comes to be.
            host.happen(&Event::Begun);
            host.happen(&Event::Pass(6_000));
            host.supervise();
            host.happen(&Event::Begun);
            host.supervise();
            let governed = host.run.as_ref().filter(|run| matches!(run.phase, Phase::Running { .. }));
            match &host.wanted {
                Wanted::Take(job, AttachTarget::Process(process)) => match governed {
                    Some(run) => {
                        prop_assert_eq!(run.target.as_ref(), Some(process));
                        prop_assert_eq!(&run.job, job);
                    }
                    None => {
                        let run = host.run.as_ref().expect("it was tried");
                        let Phase::Ended { how, .. } = &run.phase else { panic!("{run:?}") };
                        let failed = matches!(how, Ended::NotStarted(_));
                        prop_assert!(failed || names_a_pid(job), "not taken over: {:?}", run);
                    }
                },
                Wanted::Undecided => {}
                _ => prop_assert!(governed.is_none() && host.changed.is_none(), "not let go: {:?}", host.run),
            }
        }
    }

    #[test]
    fn a_number_means_one_process_and_a_rule_the_next_one_too() {
        let ended = |job: &Arc<Job>, target| Observed {
            id: RunId::new(1, 1),
            job: Arc::clone(job),
            history: StartHistory::default(),
            phase: Phase::Ended {
                started: Some(BootTime(1)),
                at: Some(BootTime(2)),
                how: Ended::Waited { status: 0 },
                reported: true,
            },
            stop: None,
            released: false,
            target: Some(target),
        };
        let now = Moment { wall: WallTime::from_unix_ms(0), boot: BootTime(9_000) };
        let next = |target: Target| {
            let job = attach_job(target, 0);
            let wanted = Wanted::Take(Arc::clone(&job), AttachTarget::Process(process(8)));
            plan(now, &Zones::BUILT_IN, &wanted, Some(&ended(&job, process(7)))).actions
        };
        assert_eq!(next(by_pid(7)), []);
        assert!(
            matches!(&next(Target::PidFile("/run/a".into()))[..], [Action::Take { process: p, .. }] if *p == process(8))
        );
    }
}
