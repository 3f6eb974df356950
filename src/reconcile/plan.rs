//! PURE: what is to be done for a job, from what is wanted and what is seen, and when to look again.
//!
//! Asked again with nothing changed, it asks for nothing that it has been given: planning twice
//! changes nothing. A run is only ever acted on if its process was shown to be the one recorded.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::diff::{Change, diff, needs_restart};
use super::restart::{self, EndedRun, Next, Why};
use crate::model::activity::Activity;
use crate::model::exit::{Ended, StopReason, judge};
use crate::model::history::StartHistory;
use crate::model::ids::RunId;
use crate::model::job::{Job, OnRemove, Restart, RestartPolicy};
use crate::model::process::ProcessIdentity;
use crate::model::schedule::Boundary;
use crate::model::time::{BootTime, Moment, WallTime};
use crate::model::zones::Zones;

/// What the files say of a job.
#[derive(Debug, Clone, PartialEq)]
pub enum Wanted {
    /// It is to run.
    Run(Arc<Job>),
    /// It is declared, and not to run.
    Disabled(Arc<Job>),
    /// Its file cannot be read, or is missing and that is not sure yet: all stays as it is.
    Undecided,
    /// It is not declared.
    Gone,
    /// It is to govern a process that runs already.
    Take(Arc<Job>, AttachTarget),
}

/// The process that an attach job is to govern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttachTarget {
    /// There is none now, or others govern those that fit.
    Nobody,
    /// This one.
    Process(ProcessIdentity),
    /// There will be none, and why.
    Never(String),
}

/// A run as it is seen. It is the job's live one, or else its last.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    /// The run.
    pub id: RunId,
    /// What it is governed by.
    pub job: Arc<Job>,
    /// What its spec remembers.
    pub history: StartHistory,
    /// Where it stands.
    pub phase: Phase,
    /// That we are ending it.
    pub stop: Option<StopAsked>,
    /// It was let go: it runs without us.
    pub released: bool,
    /// The process that it took over; `None`: it starts its own.
    pub target: Option<ProcessIdentity>,
}

/// Where a run stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Phase {
    /// Its wrapper lives, its workload does not yet.
    Starting,
    /// Its workload lives, and is shown to be the one recorded.
    Running {
        /// Since when.
        since: BootTime,
    },
    /// Its workload ended, its wrapper still ends what is left of it.
    Ending,
    /// Its workload ended and its wrapper is gone: what is left in its cgroup is ours to end.
    Leftovers {
        /// When that got the stop signal.
        asked: Option<BootTime>,
        /// When SIGKILL was last sent to it.
        killed: Option<BootTime>,
    },
    /// Nothing of it lives.
    Ended {
        /// When the workload began, if it did, in this boot.
        started: Option<BootTime>,
        /// When it ended; `None` for an earlier boot.
        at: Option<BootTime>,
        /// How.
        how: Ended,
        /// Its last report is written.
        reported: bool,
    },
}

/// That we are ending a run: the signal was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StopAsked {
    /// Why.
    pub reason: StopReason,
    /// When.
    pub at: BootTime,
    /// What it had done a quarter of its time later.
    pub first: Option<ActivitySample>,
    /// What it had done another quarter later.
    pub second: Option<ActivitySample>,
    /// The signal was sent a second time.
    pub reminded: bool,
    /// The other processes of the run got it, too.
    pub others: bool,
    /// When SIGKILL was last sent to what is left.
    pub killed: Option<BootTime>,
}

/// What a run that is being ended was seen to have done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivitySample {
    /// When.
    pub at: BootTime,
    /// What; `None` where the kernel does not let us see it.
    pub activity: Option<Activity>,
}

impl StopAsked {
    /// The signal was sent now.
    #[must_use]
    pub fn new(reason: StopReason, at: BootTime) -> Self {
        Self { reason, at, first: None, second: None, reminded: false, others: false, killed: None }
    }
}

impl ActivitySample {
    /// Whether nothing was done since `earlier`: for sure, not for want of knowledge.
    fn is_idle_since(&self, earlier: &Self) -> bool {
        match (&self.activity, &earlier.activity) {
            (Some(now), Some(before)) => !now.goes_on_since(before, self.at.since(earlier.at)),
            _ => false,
        }
    }
}

/// Something to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Start a run.
    Start {
        /// Of this job.
        job: Arc<Job>,
        /// What its spec is to remember; the executor adds the start itself.
        history: StartHistory,
        /// Why.
        why: StartReason,
    },
    /// Take over a process that runs already.
    Take {
        /// For this job.
        job: Arc<Job>,
        /// The process.
        process: ProcessIdentity,
    },
    /// Report that there is nothing to take over.
    Refuse {
        /// The job.
        job: Arc<Job>,
        /// Why.
        why: String,
    },
    /// Change a live run in place.
    Update {
        /// To be governed by this.
        job: Arc<Job>,
        /// What differs.
        changes: Vec<Change>,
    },
    /// Record that the run is being ended, and send its stop signal to the main process, once.
    Stop {
        /// Why.
        reason: StopReason,
    },
    /// See what a run that is being ended has done so far.
    SampleActivity,
    /// Record that the stop signal is sent a second time, and send it.
    Remind,
    /// Record that the other processes of the run get the stop signal, and send it to them: the main process
    /// had it, and did not end them.
    StopOthers,
    /// Send the stop signal to all that the main process left in the run's cgroup.
    StopLeftovers,
    /// SIGKILL to every process of the run.
    Kill,
    /// Let the workload run on without us.
    Abandon,
    /// Let a process go that was taken over: restore what it had, report that, and forget the run.
    Detach,
    /// Write the run's last report.
    Report,
    /// Remove what is recorded of a run that is reported, of a job that is gone.
    Forget,
}

impl Action {
    /// Whether it starts a workload.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.starts().is_some()
    }

    /// Why it starts a workload, if it does.
    #[must_use]
    pub fn starts(&self) -> Option<StartReason> {
        match self {
            Self::Start { why, .. } => Some(*why),
            _ => None,
        }
    }
}

/// Why a run is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartReason {
    /// The job is new, or enabled.
    Declared,
    /// Its last run was ended for an edit, or an edit came after its end.
    Edited,
    /// Its last run ended and the restart policy asks for another.
    Restart,
}

impl StartReason {
    /// In words, for events.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Declared => "starting",
            Self::Edited => "starting after an edit",
            Self::Restart => "starting again after an exit",
        }
    }
}

/// What is to come of a job if nothing else happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outlook {
    /// Nothing.
    Settled,
    /// It starts again at this time.
    StartsAt(BootTime),
    /// It stays down.
    Down(Why),
}

/// What is to be done for a job.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Now, in this order.
    pub actions: Vec<Action>,
    /// When to plan again if nothing happens before.
    pub wake: Option<BootTime>,
    /// What is to come.
    pub outlook: Outlook,
}

/// Between two rounds of SIGKILL to what is left of a run: a killed process can take a moment to go.
const KILL_AGAIN: Duration = Duration::from_secs(1);

/// A run that has less than four times this to end gets no second signal: in so short a time nobody can
/// tell whether it makes progress.
const LEAST_LOOK: Duration = Duration::from_millis(250);

/// Plans one job. Jobs do not depend on each other, so this is the whole plan.
#[must_use]
pub fn plan(now: Moment, zones: &Zones, wanted: &Wanted, observed: Option<&Observed>) -> Plan {
    let mut plan = Plan { actions: Vec::new(), wake: None, outlook: Outlook::Settled };
    let scheduled = match (wanted, observed) {
        (Wanted::Run(job) | Wanted::Take(job, _), _) => Some(job.at(now.wall, zones)),
        // With a file that cannot be read, the last good version stays in force.
        (Wanted::Undecided, Some(run)) if !run.released => Some(run.job.at(now.wall, zones)),
        _ => None,
    };
    match observed {
        None => match (wanted, scheduled) {
            (Wanted::Take(_, target), Some((job, _))) => plan.take(&job, target),
            (_, Some((job, _))) => plan.start(&job, StartHistory::default(), StartReason::Declared),
            (_, None) => {}
        },
        Some(run) => match &run.phase {
            // Nothing to act on before there is a process whose identity is recorded.
            Phase::Starting | Phase::Ending => {}
            Phase::Leftovers { asked, killed } => plan.left(now.boot, run, *asked, *killed),
            Phase::Running { .. } if run.target.is_some() => {
                plan.governing(now, wanted, scheduled.as_ref(), run);
            }
            Phase::Running { since } => plan.running(now, wanted, scheduled.as_ref(), run, *since),
            Phase::Ended { started, at, how, reported } => {
                if !reported {
                    plan.actions.push(Action::Report);
                }
                let job = scheduled.as_ref().map(|(job, _)| job);
                match (wanted, job) {
                    (Wanted::Take(_, target), Some(job)) => plan.next(now.boot, job, target, run, (*at, how)),
                    // With a file that cannot be read nothing new is taken over.
                    (Wanted::Undecided, _) if run.target.is_some() => {}
                    _ => plan.ended(now.boot, wanted, job, run, (*started, *at, how)),
                }
            }
        },
    }
    plan
}

/// When a time on the wall will be; at once, if it is over.
pub(super) fn boot_time(at: WallTime, now: Moment) -> BootTime {
    let wait = at.unix_ms().saturating_sub(now.wall.unix_ms());
    now.boot + Duration::from_millis(u64::try_from(wait).unwrap_or(0))
}

impl Plan {
    fn start(&mut self, job: &Arc<Job>, history: StartHistory, why: StartReason) {
        self.actions.push(Action::Start { job: Arc::clone(job), history, why });
    }

    /// Has it planned again at this time, if it is not before.
    pub(super) fn wake_at(&mut self, at: BootTime) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }

    fn running(
        &mut self,
        now: Moment,
        wanted: &Wanted,
        scheduled: Option<&(Arc<Job>, Option<Boundary>)>,
        run: &Observed,
        since: BootTime,
    ) {
        let mut governing = &run.job;
        let mut reason = None;
        match wanted {
            Wanted::Run(_) | Wanted::Undecided | Wanted::Take(..) => {
                // There is nothing to go by but what was let go.
                let Some((job, next)) = scheduled else { return };
                let changes = diff(&run.job, job);
                if needs_restart(&changes) {
                    reason = Some(StopReason::Changed);
                } else {
                    if !changes.is_empty() || run.released {
                        self.actions.push(Action::Update { job: Arc::clone(job), changes });
                        governing = job;
                    }
                    next.iter().for_each(|next| self.wake_at(boot_time(next.at, now)));
                }
            }
            // What was let go is no longer ours, whatever was asked of it before.
            _ if run.released => return,
            Wanted::Disabled(job) if job.stop.on_remove == OnRemove::Leave => {
                return self.actions.push(Action::Abandon);
            }
            Wanted::Disabled(_) => reason = Some(StopReason::Disabled),
            Wanted::Gone if run.job.stop.on_remove == OnRemove::Leave => {
                return self.actions.push(Action::Abandon);
            }
            Wanted::Gone => reason = Some(StopReason::Removed),
        }
        let now = now.boot;
        if let Some(stop) = run.stop {
            let due = stop.killed.map_or(stop.at + governing.stop.timeout, |last| last + KILL_AGAIN);
            if now >= due {
                self.actions.push(Action::Kill);
                self.wake_at(now + KILL_AGAIN);
            } else {
                self.wake_at(due);
                self.remind(now, &stop, governing.stop.timeout);
                self.stop_others(now, &stop, governing.stop.timeout);
            }
            return;
        }
        if reason.is_none()
            && let Some(limit) = governing.timeouts.run
        {
            let deadline = since + limit;
            if now >= deadline {
                reason = Some(StopReason::Timeout);
            } else {
                self.wake_at(deadline);
            }
        }
        if let Some(reason) = reason {
            self.actions.push(Action::Stop { reason });
            self.wake_at(now + governing.stop.timeout);
        }
    }

    /// What a wrapper does for its run, where there is none any more.
    fn left(&mut self, now: BootTime, run: &Observed, asked: Option<BootTime>, killed: Option<BootTime>) {
        let Some(asked) = asked else { return self.actions.push(Action::StopLeftovers) };
        let due = killed.map_or(asked + run.job.stop.timeout, |last| last + KILL_AGAIN);
        if now >= due {
            self.actions.push(Action::Kill);
        } else {
            self.wake_at(due);
        }
    }

    /// The signal for those that never had it, a third of the time-out before SIGKILL. A shell that waits for its
    /// ffmpeg hears a signal and does nothing; nor does ffmpeg, which never heard it. Not sooner: whoever forwards
    /// the signal has this long, and a second one can destroy what ffmpeg is finishing.
    fn stop_others(&mut self, now: BootTime, stop: &StopAsked, timeout: Duration) {
        if stop.others || stop.killed.is_some() {
            return;
        }
        let due = stop.at + (timeout - timeout / 3);
        if now >= due {
            self.actions.push(Action::StopOthers);
        } else {
            self.wake_at(due);
        }
    }

    /// A second signal, after half of the time-out, for a run that does nothing about the first. ffmpeg that is
    /// blocked in a network read needs it, and then ends at once; one that still writes its output loses it
    /// at a second signal. So it is measured: no CPU time to speak of, not a byte written and no wait for a
    /// disk in the quarter before. Not since the signal: one that still drained its encoders then, and is
    /// blocked now, is blocked.
    fn remind(&mut self, now: BootTime, stop: &StopAsked, timeout: Duration) {
        let quarter = timeout / 4;
        if stop.reminded || stop.killed.is_some() || quarter < LEAST_LOOK {
            return;
        }
        let due = match (&stop.first, &stop.second) {
            (None, _) => stop.at + quarter,
            (Some(first), None) => (first.at + quarter).max(stop.at + timeout / 2),
            (Some(first), Some(second)) => {
                if second.is_idle_since(first) {
                    self.actions.push(Action::Remind);
                }
                return;
            }
        };
        if now >= due {
            self.actions.push(Action::SampleActivity);
        } else {
            self.wake_at(due);
        }
    }

    fn ended(
        &mut self,
        now: BootTime,
        wanted: &Wanted,
        job: Option<&Arc<Job>>,
        run: &Observed,
        (started, ended, how): (Option<BootTime>, Option<BootTime>, &Ended),
    ) {
        let Some(job) = job else {
            if *wanted == Wanted::Gone {
                self.actions.push(Action::Forget);
            }
            return;
        };
        let asked = run.stop.map(|stop| stop.reason);
        let on_request =
            matches!(asked, Some(StopReason::Removed | StopReason::Disabled | StopReason::Changed));
        let edited = needs_restart(&diff(&run.job, job));
        if edited || (on_request && matches!(wanted, Wanted::Run(_))) {
            self.start(job, StartHistory::default(), StartReason::Edited);
            return;
        }
        if on_request {
            return;
        }
        // What the kernel counted changes what is told, not what follows.
        let verdict = judge(job, how, asked, None);
        let run = EndedRun { id: &run.id, history: &run.history, started, ended, verdict: &verdict };
        let owed = matches!(how, Ended::NotStarted(error) if error.is_owed());
        // What the host had no room for, or lost its wrapper first, never ran: that is no exit that a policy
        // could be about.
        let until_it_runs = || Restart { policy: RestartPolicy::Always, limit: None, ..job.restart.clone() };
        let rules = if owed { Cow::Owned(until_it_runs()) } else { Cow::Borrowed(&job.restart) };
        match restart::next(&rules, run) {
            Next::Start { at, history } if now >= at => self.start(job, history, StartReason::Restart),
            Next::Start { at, .. } => {
                self.wake = Some(at);
                self.outlook = Outlook::StartsAt(at);
            }
            Next::Done => {}
            Next::Down(why) => self.outlook = Outlook::Down(why),
        }
    }
}

/// Helpers for the tests of this layer.
#[cfg(test)]
pub mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::parse::parse;
    use crate::config::profiles::Profiles;
    use crate::config::resolve::resolve;
    use crate::config::schema::JobFile;
    use crate::model::exit::{Stage, StartError};

    /// A job from the text of its file; `[exec]` is added.
    pub fn job(stem: &str, toml: &str) -> Job {
        let text = format!("{toml}\n[exec]\ncommand = [\"/bin/true\"]\n");
        let file = parse::<JobFile>(&text);
        assert_eq!(file.problems, [], "{text}");
        let resolved = resolve(stem, &file.value, &Profiles::build(&BTreeMap::new()).0);
        assert_eq!(resolved.problems, [], "{text}");
        resolved.jobs.into_iter().next().expect("one job").job
    }

    fn wanted(toml: &str) -> Wanted {
        Wanted::Run(Arc::new(job("a", toml)))
    }

    fn running(toml: &str) -> Observed {
        Observed {
            id: RunId::new(1, 1),
            job: Arc::new(job("a", toml)),
            history: StartHistory::default(),
            phase: Phase::Running { since: BootTime(1000) },
            stop: None,
            released: false,
            target: None,
        }
    }

    fn ended(toml: &str, status: i32, reported: bool) -> Observed {
        let how = Ended::Waited { status };
        let phase = Phase::Ended { started: Some(BootTime(1000)), at: Some(BootTime(2000)), how, reported };
        Observed { phase, ..running(toml) }
    }

    /// The plan at a time since boot, which was on Saturday, 29 March 2025, at 00:00 UTC.
    fn plan(now: BootTime, wanted: &Wanted, observed: Option<&Observed>) -> Plan {
        let wall = WallTime::from_unix_ms(1_743_206_400_000 + now.0 as i64);
        super::plan(Moment { wall, boot: now }, &Zones::BUILT_IN, wanted, observed)
    }

    fn actions(now: u64, wanted: &Wanted, observed: Option<&Observed>) -> Vec<Action> {
        plan(BootTime(now), wanted, observed).actions
    }

    #[test]
    fn a_declared_job_starts_once() {
        assert!(matches!(actions(0, &wanted(""), None)[..], [Action::Start { .. }]));
        assert_eq!(actions(0, &wanted(""), Some(&running(""))), []);
        let starting = Observed { phase: Phase::Starting, ..running("") };
        assert_eq!(actions(0, &wanted(""), Some(&starting)), []);
        assert_eq!(actions(0, &Wanted::Undecided, None), []);
        assert_eq!(actions(0, &Wanted::Disabled(Arc::new(job("a", ""))), None), []);
    }

    #[test]
    fn an_edit_is_done_in_place_or_by_a_restart() {
        let nicer = wanted("[constraints]\nnice = 5\n");
        assert!(matches!(&actions(0, &nicer, Some(&running("")))[..],
            [Action::Update { changes, .. }] if changes[0].field == "constraints.nice"));
        let mut other = job("a", "");
        if let crate::model::job::Workload::Exec(exec) = &mut other.workload {
            exec.command.push("-x".into());
        }
        let other = Wanted::Run(Arc::new(other));
        assert_eq!(actions(5000, &other, Some(&running(""))), [Action::Stop { reason: StopReason::Changed }]);
        let stopped = Observed {
            stop: Some(StopAsked::new(StopReason::Changed, BootTime(1500))),
            ..ended("", 15, true)
        };
        assert!(matches!(
            actions(5000, &other, Some(&stopped))[..],
            [Action::Start { why: StartReason::Edited, .. }]
        ));
    }

    #[test]
    fn a_run_that_does_nothing_about_the_signal_gets_it_again() {
        let due = |timeout: &str, at: u64, stop: StopAsked| {
            let run = Observed { stop: Some(stop), ..running(&format!("[stop]\ntimeout = \"{timeout}\"\n")) };
            let plan = plan(BootTime(at), &Wanted::Gone, Some(&run));
            (plan.actions, plan.wake.map(|wake| wake.0))
        };
        let asked = StopAsked::new(StopReason::Removed, BootTime(5000));
        let look = |at, cpu| {
            let activity = Activity { processes: 1, cpu: Duration::from_millis(cpu), ..Activity::default() };
            Some(ActivitySample { at: BootTime(at), activity: Some(activity) })
        };
        assert_eq!(due("10s", 5100, asked), (vec![], Some(7500)));
        assert_eq!(due("10s", 7500, asked), (vec![Action::SampleActivity], Some(11_666)));
        let once = StopAsked { first: look(7500, 800), ..asked };
        assert_eq!(due("10s", 7501, once), (vec![], Some(10_000)));
        assert_eq!(due("10s", 10_000, once), (vec![Action::SampleActivity], Some(11_666)));
        // The time-out was made longer meanwhile: not before half of it is over.
        assert_eq!(due("40s", 17_501, once), (vec![], Some(25_000)));
        // The first look came late: a supervisor that has just taken over.
        let late = StopAsked { first: look(11_000, 800), ..asked };
        assert_eq!(due("10s", 11_001, late), (vec![], Some(11_666)));
        let idle = StopAsked { second: look(10_000, 800), ..once };
        assert_eq!(due("10s", 10_000, idle), (vec![Action::Remind], Some(11_666)));
        let unknown = Some(ActivitySample { at: BootTime(10_000), activity: None });
        for no in [
            StopAsked { second: look(10_000, 900), ..once },
            StopAsked { second: unknown, ..once },
            StopAsked { first: unknown, second: unknown, ..asked },
            StopAsked { reminded: true, ..idle },
            StopAsked { reminded: true, ..asked },
        ] {
            assert_eq!(due("10s", 10_000, no), (vec![], Some(11_666)), "{no:?}");
        }
        // A third of its time before SIGKILL the others of the run get it, once.
        let seen = StopAsked { second: look(10_000, 900), ..once };
        assert_eq!(due("10s", 11_665, seen), (vec![], Some(11_666)));
        assert_eq!(due("10s", 11_666, seen), (vec![Action::StopOthers], Some(15_000)));
        assert_eq!(due("10s", 11_667, StopAsked { others: true, ..seen }), (vec![], Some(15_000)));
        assert_eq!(due("10s", 15_000, idle).0, [Action::Kill]);
        assert_eq!(due("900ms", 5_500, asked), (vec![], Some(5_600)), "too short to tell");
    }

    #[test]
    fn what_a_run_without_a_wrapper_left_behind_gets_its_time() {
        let left = |asked: Option<u64>, killed: Option<u64>| Observed {
            phase: Phase::Leftovers { asked: asked.map(BootTime), killed: killed.map(BootTime) },
            ..running("restart.policy = \"always\"\n[stop]\ntimeout = \"2s\"\n")
        };
        let due = |now, run: Observed| {
            let plan = plan(BootTime(now), &Wanted::Gone, Some(&run));
            (plan.actions, plan.wake.map(|wake| wake.0))
        };
        assert_eq!(due(5000, left(None, None)), (vec![Action::StopLeftovers], None));
        assert_eq!(due(5000, left(Some(5000), None)), (vec![], Some(7000)));
        assert_eq!(due(7000, left(Some(5000), None)).0, [Action::Kill]);
        assert_eq!(due(7000, left(Some(5000), Some(7000))), (vec![], Some(8000)));
        assert_eq!(due(8000, left(Some(5000), Some(7000))).0, [Action::Kill]);
    }

    #[test]
    fn the_signal_is_sent_once_and_then_everything_is_killed() {
        let stopping = |killed| Observed {
            stop: Some(StopAsked { killed, ..StopAsked::new(StopReason::Removed, BootTime(5000)) }),
            ..running("[stop]\ntimeout = \"2s\"\n")
        };
        let first = plan(BootTime(5100), &Wanted::Gone, Some(&stopping(None)));
        assert_eq!((first.actions.len(), first.wake), (0, Some(BootTime(5500))));
        assert_eq!(actions(7000, &Wanted::Gone, Some(&stopping(None))), [Action::Kill]);
        assert_eq!(actions(7500, &Wanted::Gone, Some(&stopping(Some(BootTime(7000))))), []);
        assert_eq!(actions(8000, &Wanted::Gone, Some(&stopping(Some(BootTime(7000))))), [Action::Kill]);
    }

    #[test]
    fn a_removed_job_is_ended_or_let_go() {
        assert_eq!(
            actions(0, &Wanted::Gone, Some(&running(""))),
            [Action::Stop { reason: StopReason::Removed }]
        );
        let leave = "[stop]\non_remove = \"leave\"\n";
        assert_eq!(actions(0, &Wanted::Gone, Some(&running(leave))), [Action::Abandon]);
        let released = Observed { released: true, ..running(leave) };
        assert_eq!(actions(0, &Wanted::Gone, Some(&released)), []);
        assert!(matches!(actions(0, &wanted(leave), Some(&released))[..], [Action::Update { .. }]));
        assert_eq!(actions(0, &Wanted::Gone, Some(&ended("", 0, false))), [Action::Report, Action::Forget]);
    }

    #[test]
    fn what_was_let_go_gets_no_signal() {
        // Let go by an edit that also disabled it, so its own record still says `stop`.
        let released = Observed { released: true, ..running("") };
        assert_eq!(actions(0, &Wanted::Gone, Some(&released)), []);
        // Its stop had begun before.
        let leave = "[stop]\non_remove = \"leave\"\n";
        let stop = Some(StopAsked::new(StopReason::Changed, BootTime(1000)));
        let stopping = Observed { stop, ..running(leave) };
        assert_eq!(actions(90_000, &Wanted::Gone, Some(&stopping)), [Action::Abandon]);
        let released = Observed { released: true, ..stopping };
        for wanted in [Wanted::Gone, Wanted::Undecided, Wanted::Disabled(Arc::new(job("a", "")))] {
            assert_eq!(actions(90_000, &wanted, Some(&released)), [], "{wanted:?}");
        }
        // It ended, and a file that cannot be read is no reason to start it again.
        let always = Observed { released: true, ..ended("[restart]\npolicy = \"always\"\n", 0, true) };
        assert_eq!(actions(90_000, &Wanted::Undecided, Some(&always)), []);
    }

    #[test]
    fn a_file_that_cannot_be_read_changes_nothing() {
        assert_eq!(actions(0, &Wanted::Undecided, Some(&running(""))), []);
        let always = "[restart]\npolicy = \"always\"\n";
        assert!(matches!(
            actions(9000, &Wanted::Undecided, Some(&ended(always, 0, true)))[..],
            [Action::Start { .. }]
        ));
    }

    #[test]
    fn a_run_that_takes_too_long_is_stopped() {
        let text = "[timeouts]\nrun = \"1m\"\n";
        let early = plan(BootTime(60_999), &wanted(text), Some(&running(text)));
        assert_eq!((early.actions.len(), early.wake), (0, Some(BootTime(61_000))));
        assert_eq!(
            actions(61_000, &wanted(text), Some(&running(text))),
            [Action::Stop { reason: StopReason::Timeout }]
        );
    }

    #[test]
    fn a_schedule_changes_the_running_job_at_its_boundaries() {
        let text = "[constraints]\nnice = 5\n[[schedule]]\nfrom = \"00:01\"\nto = \"00:02\"\ntimezone = \"UTC\"\n\
                    constraints = { nice = 10 }\n";
        let (declared, minute) = (wanted(text), 60_000);
        let before = plan(BootTime(minute - 1), &declared, Some(&running(text)));
        assert_eq!((before.actions.len(), before.wake), (0, Some(BootTime(minute))));
        // Also where the file cannot be read any more.
        for wanted in [&declared, &Wanted::Undecided] {
            let begun = plan(BootTime(minute), wanted, Some(&running(text)));
            let [Action::Update { job, changes }] = &begun.actions[..] else { panic!("{begun:?}") };
            let told: Vec<_> = changes.iter().map(|c| (c.field, c.from.as_str(), c.to.as_str())).collect();
            let window = "daily 00:01-00:02 UTC";
            assert_eq!(told, [("schedule.active", "", window), ("constraints.nice", "5", "10")]);
            assert_eq!(begun.wake, Some(BootTime(2 * minute)));
            let inside = Observed { job: Arc::clone(job), ..running(text) };
            assert_eq!(actions(minute + 1, wanted, Some(&inside)), []);
            let ended = plan(BootTime(2 * minute), wanted, Some(&inside));
            assert!(
                matches!(&ended.actions[..], [Action::Update { job, .. }] if job.in_force().nice == Some(5))
            );
            let tomorrow = BootTime(minute + 24 * 60 * minute);
            assert_eq!(ended.wake, Some(tomorrow));
            // A supervisor that was down at the boundary.
            assert_eq!(actions(5 * minute, wanted, Some(&inside)), ended.actions);
        }
        // What starts in a window starts with what is in force there.
        assert!(matches!(&actions(minute, &declared, None)[..],
            [Action::Start { job, .. }] if job.in_force().nice == Some(10)));
        let released = Observed { released: true, ..running(text) };
        assert_eq!(actions(minute, &Wanted::Undecided, Some(&released)), []);
        let limited = format!("{text}[timeouts]\nrun = \"30s\"\n");
        let early = plan(BootTime(1000), &wanted(&limited), Some(&running(&limited)));
        assert_eq!(early.wake, Some(BootTime(31_000)), "the earlier of the two");
    }

    #[test]
    fn an_edit_of_a_window_that_is_not_in_force_is_in_place_too() {
        let text = |nice: i8| format!("[[schedule]]\nto = \"00:01\"\nconstraints = {{ nice = {nice} }}\n");
        let update = actions(3_600_000, &wanted(&text(7)), Some(&running(&text(6))));
        let [Action::Update { changes, .. }] = &update[..] else { panic!("{update:?}") };
        assert_eq!((changes.len(), changes[0].to.as_str()), (1, "daily 00:00-00:01 nice=7; otherwise"));
    }

    #[test]
    fn an_edit_of_what_comes_after_a_window_is_recorded_in_it() {
        let text = |nice: i8| {
            format!(
                "constraints.nice = {nice}\n[[schedule]]\nto = \"01:00\"\ntimezone = \"UTC\"\nconstraints = {{ nice = 9 }}\n"
            )
        };
        let inside = |nice: i8| match wanted(&text(nice)) {
            Wanted::Run(job) => {
                Observed { job: Arc::new(Job { active: Some(0), ..(*job).clone() }), ..running("") }
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(actions(0, &wanted(&text(3)), Some(&inside(3))), []);
        assert!(matches!(&actions(0, &wanted(&text(4)), Some(&inside(3)))[..],
            [Action::Update { job, .. }] if job.constraints.nice == Some(4) && job.in_force().nice == Some(9)));
    }

    #[test]
    fn a_oneshot_that_completed_is_left_alone() {
        assert_eq!(actions(9000, &wanted(""), Some(&ended("", 0, false))), [Action::Report]);
        assert_eq!(actions(9000, &wanted(""), Some(&ended("", 0, true))), []);
        assert_eq!(actions(9000, &wanted("description = \"new\"\n"), Some(&ended("", 0, true))), []);
    }

    #[test]
    fn a_start_that_the_host_had_no_room_for_is_owed_whatever_the_policy() {
        let failed = |stage, errno| Observed {
            phase: Phase::Ended {
                started: None,
                at: Some(BootTime(2000)),
                how: Ended::NotStarted(StartError { stage, errno, detail: String::new() }),
                reported: true,
            },
            ..running("")
        };
        let planned = |run: &Observed| plan(BootTime(60_000), &wanted(""), Some(run));
        // The second: the wrapper was lost.
        for (stage, errno) in [(Stage::Record, Some(libc::ENOSPC)), (Stage::Wrapper, None)] {
            let owed = planned(&failed(stage, errno));
            assert!(
                matches!(owed.actions[..], [Action::Start { why: StartReason::Restart, .. }]),
                "{owed:?}"
            );
        }
        for (stage, errno) in
            [(Stage::Exec, libc::EAGAIN), (Stage::Exec, libc::ENOENT), (Stage::Output, libc::EACCES)]
        {
            let plan = planned(&failed(stage, Some(errno)));
            assert_eq!((&plan.actions[..], plan.outlook), (&[][..], Outlook::Down(Why::Policy)));
        }
    }

    #[test]
    fn a_restart_waits_for_its_time() {
        let always = "[restart]\npolicy = \"always\"\ndelay = \"1s\"\n";
        let waiting = plan(BootTime(2500), &wanted(always), Some(&ended(always, 256, true)));
        assert!(waiting.actions.is_empty());
        let Outlook::StartsAt(at) = waiting.outlook else { panic!("{waiting:?}") };
        assert_eq!(waiting.wake, Some(at));
        assert!(matches!(
            actions(at.0, &wanted(always), Some(&ended(always, 256, true)))[..],
            [Action::Start { why: StartReason::Restart, .. }]
        ));
    }
}
