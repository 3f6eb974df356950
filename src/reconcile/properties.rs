//! Property tests of [`plan`] over a scriptable host: one job's file, its run with the records it
//! leaves, a clock, and a supervisor that can be away, forget, and die between any two steps.
//!
//! Random events happen to the host; after each one the supervisor plans and executes until nothing is
//! left to do. Every step is checked against what the host knows and the plan does not.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::plan::tests::job;
use super::plan::{
    self, Action, ActivitySample, Observed, Outlook, Phase, Plan, StartReason, StopAsked, Wanted,
};
use crate::model::activity::Activity;
use crate::model::exit::{Ended, LostCause, Stage, StartError, State, StopReason, Verdict, judge};
use crate::model::history::StartHistory;
use crate::model::ids::RunId;
use crate::model::job::{Job, OnRemove, RestartPolicy, StartLimit, Workload};
use crate::model::time::{BootTime, Moment, WallTime};
use crate::model::zones::Zones;

/// One line of the job's file, changed.
#[derive(Debug, Clone)]
enum Line {
    Program(u8),
    Nice(i8),
    Schedule(Option<(u8, u8)>),
    StopTimeout(u8),
    OnRemove(&'static str),
    RunTimeout(Option<u8>),
    Lifecycle(&'static str),
    Policy(&'static str),
    Delay(u8),
    Limit(Option<(u8, u8)>),
}

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    /// The file is there, whole, with these lines changed.
    Write { lines: Vec<Line>, enabled: bool },
    /// The file is broken, or missing and that is not sure yet.
    Unreadable,
    /// The file is gone for sure.
    Remove,
    /// The wrapper has started the workload.
    Started,
    /// The wrapper could not start the workload.
    NotStarted,
    /// The workload ends by itself, with this wait status.
    Exit(i32),
    /// The workload ends by itself after so many steps of the next execution.
    ExitAmidst(u8, i32),
    /// The wrapper has ended what was left, writes its record and goes.
    WrapperDone,
    /// The wrapper is killed.
    WrapperKilled,
    /// The workload will ignore the stop signal, and take so many SIGKILLs to go.
    Stubborn(u8),
    /// The workload is blocked: it ends at the second stop signal.
    Blocked,
    /// The workload does something.
    Work,
    /// What the workload does can be seen, or cannot.
    Visible(bool),
    /// The wrapper is killed, and the workload will leave something behind, which ignores the signal or not.
    Leaves(bool),
    /// The host is started anew.
    Reboot,
    /// Time passes.
    Pass(u32),
    /// Time passes up to the plan's wake.
    Wake,
    /// The wall clock is set, by so many seconds.
    ClockSet(i32),
    /// The supervisor is killed after so many steps of the next execution.
    CrashAfter(u8),
    /// There is no supervisor.
    Away,
    /// The supervisor is there again, without memory.
    Back,
    /// The supervisor plans for no reason.
    Spurious,
}

fn line() -> impl Strategy<Value = Line> {
    prop_oneof![
        4 => (0..3u8).prop_map(Line::Program),
        2 => (0..3i8).prop_map(Line::Nice),
        2 => option::weighted(0.8, (0..80u8, 0..80u8)).prop_map(Line::Schedule),
        1 => (1..6u8).prop_map(Line::StopTimeout),
        2 => prop::sample::select(vec!["stop", "leave"]).prop_map(Line::OnRemove),
        2 => option::weighted(0.8, 5..40u8).prop_map(Line::RunTimeout),
        1 => prop::sample::select(vec!["oneshot", "continuous"]).prop_map(Line::Lifecycle),
        1 => prop::sample::select(vec!["never", "on-failure", "always"]).prop_map(Line::Policy),
        1 => (1..5u8).prop_map(Line::Delay),
        1 => option::of((1..4u8, 10..60u8)).prop_map(Line::Limit),
    ]
}

/// Raw wait statuses: exit 0, 1 and 255, SIGTERM, SIGKILL, SIGSEGV with a core dump, and one that is no end.
fn status() -> impl Strategy<Value = i32> {
    prop::sample::select(vec![0, 1 << 8, 255 << 8, 15, 9, 11 | 0x80, 0x137f])
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (vec(line(), 0..3), prop::bool::weighted(0.8))
            .prop_map(|(lines, enabled)| Event::Write { lines, enabled }),
        2 => Just(Event::Unreadable),
        3 => Just(Event::Remove),
        10 => Just(Event::Started),
        1 => Just(Event::NotStarted),
        6 => status().prop_map(Event::Exit),
        2 => (0..4u8, status()).prop_map(|(steps, status)| Event::ExitAmidst(steps, status)),
        6 => Just(Event::WrapperDone),
        2 => Just(Event::WrapperKilled),
        2 => (1..4u8).prop_map(Event::Stubborn),
        2 => Just(Event::Blocked),
        3 => Just(Event::Work),
        1 => prop::bool::weighted(0.8).prop_map(Event::Visible),
        5 => any::<bool>().prop_map(Event::Leaves),
        1 => Just(Event::Reboot),
        4 => (1..20_000u32).prop_map(Event::Pass),
        11 => Just(Event::Wake),
        2 => (-4_000..4_000).prop_map(Event::ClockSet),
        4 => (0..5u8).prop_map(Event::CrashAfter),
        1 => Just(Event::Away),
        3 => Just(Event::Back),
        2 => Just(Event::Spurious),
    ]
}

/// The job's file.
#[derive(Debug, Clone, Copy, PartialEq)]
enum File {
    Enabled,
    Disabled,
    Unreadable,
    Gone,
}

/// The job's run: its records first, its processes after.
#[derive(Debug)]
struct Run {
    id: RunId,
    boot: u32,
    job: Arc<Job>,
    history: StartHistory,
    started: Option<BootTime>,
    stop: Option<(StopReason, BootTime)>,
    /// `again` in `stop.json`.
    reminded: bool,
    /// `others` in `stop.json`.
    others: bool,
    released: bool,
    exited: Option<(BootTime, Ended)>,
    reported: bool,
    wrapper: bool,
    workload: bool,
    /// It ends at this stop signal; 0: at none.
    obeys: u32,
    /// When it last did something, and how much that was by then.
    worked: (BootTime, Duration),
    /// SIGKILLs until it is gone.
    lives: u8,
    /// There is something beside the main process, in its cgroup.
    left: bool,
    /// That ignores the stop signal.
    left_deaf: bool,
    stop_signals: u32,
    reports: Vec<Verdict>,
}

impl Run {
    fn lives_in(&self, boot: u32) -> bool {
        self.boot == boot && (self.wrapper || self.workload || (self.left && !self.released))
    }
}

/// What the supervisor remembers while it lives.
#[derive(Debug, Default)]
struct Memory {
    good: Option<Wanted>,
    looks: [Option<ActivitySample>; 2],
    killed: Option<BootTime>,
    /// What was left behind got its signal, and SIGKILL.
    left: (Option<BootTime>, Option<BootTime>),
}

/// The supervisor died.
struct Crash;

type Seen = BTreeMap<String, u32>;

struct Host<'a> {
    now: BootTime,
    /// What the wall clock showed at boot, in milliseconds.
    wall: i64,
    boot: u32,
    file: File,
    lines: BTreeMap<&'static str, String>,
    program: u8,
    /// What a workload does can be seen.
    visible: bool,
    declared: Arc<Job>,
    run: Option<Run>,
    made: u32,
    supervisor: Option<Memory>,
    /// The supervisor keeps the last good version of a file in memory, and plans with it.
    remembers: bool,
    crash_after: Option<u8>,
    exit_after: Option<(u8, i32)>,
    /// The starts since the last one that was no restart, with the limit each was made under.
    chain: Vec<(BootTime, Option<StartLimit>)>,
    /// Restarts in a row that followed a short run.
    streak: u32,
    last: Option<Plan>,
    /// What was done, to know that the events reach everything.
    seen: &'a RefCell<Seen>,
}

impl<'a> Host<'a> {
    fn new(remembers: bool, seen: &'a RefCell<Seen>) -> Self {
        Self {
            now: BootTime(1_000),
            // Five minutes before a clock change in Berlin: 29 March 2026, 00:55 UTC.
            wall: 1_774_745_700_000,
            boot: 1,
            file: File::Gone,
            lines: BTreeMap::new(),
            program: 0,
            visible: true,
            declared: Arc::new(job("a", "")),
            run: None,
            made: 0,
            supervisor: Some(Memory::default()),
            remembers,
            crash_after: None,
            exit_after: None,
            chain: Vec::new(),
            streak: 0,
            last: None,
            seen,
        }
    }

    fn note(&self, what: impl Into<String>) {
        *self.seen.borrow_mut().entry(what.into()).or_default() += 1;
    }

    // ---- what happens to it ----

    fn happen(&mut self, event: &Event) {
        let (now, boot) = (self.now, self.boot);
        let run = self.run.as_mut().filter(|run| run.lives_in(boot));
        match event {
            Event::Write { lines, enabled } => {
                lines.iter().for_each(|line| self.edit(line));
                self.declared = Arc::new(self.resolve());
                self.file = if *enabled { File::Enabled } else { File::Disabled };
            }
            Event::Unreadable => self.file = File::Unreadable,
            Event::Remove => self.file = File::Gone,
            Event::Started => self.start_workload(),
            Event::NotStarted => {
                if let Some(run) = run.filter(|run| run.started.is_none()) {
                    let error =
                        StartError { stage: Stage::Exec, errno: Some(2), detail: "no program".into() };
                    run.exited = Some((now, Ended::NotStarted(error)));
                    run.wrapper = false;
                }
            }
            Event::Exit(status) => self.exit(*status),
            Event::ExitAmidst(steps, status) => self.exit_after = Some((*steps, *status)),
            Event::WrapperDone => self.finish_wrapper(),
            Event::WrapperKilled => {
                if let Some(run) = run {
                    run.wrapper = false;
                    if !run.workload {
                        // The record it was about to write is lost with it.
                        run.exited = None;
                    }
                }
            }
            Event::Stubborn(lives) => {
                if let Some(run) = run {
                    (run.obeys, run.lives) = (0, *lives);
                }
            }
            Event::Blocked => {
                if let Some(run) = run {
                    run.obeys = 2;
                }
            }
            Event::Work => {
                if let Some(run) = run {
                    run.worked = (now, run.worked.1 + Duration::from_secs(60));
                }
            }
            Event::Visible(visible) => self.visible = *visible,
            Event::Leaves(deaf) => {
                if let Some(run) = run.filter(|run| run.workload) {
                    (run.wrapper, run.left, run.left_deaf) = (false, true, *deaf);
                }
            }
            Event::Reboot => {
                self.boot += 1;
                self.wall += self.now.0 as i64;
                self.now = BootTime(500);
                self.supervisor = Some(Memory::default());
                if let Some(run) = run {
                    // A run whose wrapper had not finished leaves no record of its exit.
                    run.exited = None;
                    (run.wrapper, run.workload, run.left) = (false, false, false);
                }
            }
            Event::Pass(ms) => self.now.0 += u64::from(*ms),
            Event::Wake => {
                if let Some(wake) = self.last.as_ref().and_then(|last| last.wake) {
                    self.now = self.now.max(wake);
                }
            }
            Event::ClockSet(seconds) => self.wall += i64::from(*seconds) * 1000,
            Event::CrashAfter(steps) => self.crash_after = Some(*steps),
            Event::Away => self.supervisor = None,
            Event::Back => self.supervisor = Some(Memory::default()),
            Event::Spurious => {}
        }
    }

    fn edit(&mut self, line: &Line) {
        let (key, text) = match line {
            Line::Program(program) => return self.program = *program,
            Line::Nice(nice) => ("constraints.nice", nice.to_string()),
            Line::Schedule(None) => return drop(self.lines.remove("schedule")),
            Line::Schedule(Some((from, to))) => {
                // From ten minutes before the clock change in Berlin to ten minutes after it.
                let time = |n: u8| format!("{:02}:{:02}", (110 + n) / 60, (110 + n) % 60);
                let window = |from: u8, to: u8, nice: i8| {
                    format!(
                        "{{ from = \"{}\", to = \"{}\", timezone = \"Europe/Berlin\", \
                         constraints = {{ nice = {nice} }} }}",
                        time(from),
                        time(to)
                    )
                };
                let (from, to) = (*from.min(to), *from.max(to));
                let windows = match to - from {
                    0 => vec![window(from, to + 1, 5)],
                    1 => vec![window(from, to, 6)],
                    _ => vec![window(from, from + 1, 7), window(from + 1, to, 8)],
                };
                ("schedule", format!("[{}]", windows.join(", ")))
            }
            Line::StopTimeout(s) => ("stop.timeout", format!("\"{s}s\"")),
            Line::OnRemove(rule) => ("stop.on_remove", format!("{rule:?}")),
            Line::RunTimeout(Some(s)) => ("timeouts.run", format!("\"{s}s\"")),
            Line::Lifecycle(lifecycle) => ("lifecycle", format!("{lifecycle:?}")),
            Line::Policy(policy) => ("restart.policy", format!("{policy:?}")),
            Line::Delay(s) => ("restart.delay", format!("\"{s}s\"")),
            Line::Limit(Some((starts, within))) => {
                ("restart.limit", format!("{{ starts = {starts}, within = \"{within}s\" }}"))
            }
            Line::RunTimeout(None) => return drop(self.lines.remove("timeouts.run")),
            Line::Limit(None) => return drop(self.lines.remove("restart.limit")),
        };
        self.lines.insert(key, text);
    }

    fn resolve(&self) -> Job {
        let mut text = String::from("restart.max_delay = \"8s\"\nrestart.reset_after = \"30s\"\n");
        for (key, value) in &self.lines {
            text += &format!("{key} = {value}\n");
        }
        let mut job = job("a", &text);
        if let Workload::Exec(exec) = &mut job.workload {
            exec.command.push(self.program.to_string());
        }
        job
    }

    fn start_workload(&mut self) {
        let (now, boot) = (self.now, self.boot);
        let starting = |run: &&mut Run| run.lives_in(boot) && run.started.is_none();
        if let Some(run) = self.run.as_mut().filter(starting) {
            (run.started, run.workload) = (Some(now), true);
        }
    }

    fn exit(&mut self, status: i32) {
        let now = self.now;
        if let Some(run) = self.run.as_mut().filter(|run| run.workload) {
            run.workload = false;
            if run.wrapper {
                // Seen by the wrapper; a record only once the wrapper is done.
                run.exited = Some((now, Ended::Waited { status }));
            }
        }
    }

    fn finish_wrapper(&mut self) {
        if let Some(run) =
            self.run.as_mut().filter(|run| run.started.is_some() && !run.workload && run.wrapper)
        {
            (run.wrapper, run.left) = (false, false);
        }
    }

    // ---- what the supervisor sees ----

    fn moment(&self, boot: BootTime) -> Moment {
        Moment { wall: WallTime::from_unix_ms(self.wall + boot.0 as i64), boot }
    }

    /// The plan at a time since boot.
    fn plan(&self, now: BootTime, wanted: &Wanted, observed: Option<&Observed>) -> Plan {
        plan::plan(self.moment(now), &Zones::BUILT_IN, wanted, observed)
    }

    /// The job as its schedule has it now.
    fn scheduled(&self, job: &Arc<Job>) -> Arc<Job> {
        job.at(self.moment(self.now).wall, &Zones::BUILT_IN).0
    }

    fn wanted(&mut self) -> Wanted {
        let memory = self.supervisor.as_mut().expect("only a supervisor asks");
        let good = match self.file {
            File::Enabled => Wanted::Run(Arc::clone(&self.declared)),
            File::Disabled => Wanted::Disabled(Arc::clone(&self.declared)),
            File::Gone => Wanted::Gone,
            File::Unreadable => {
                return memory.good.clone().filter(|_| self.remembers).unwrap_or(Wanted::Undecided);
            }
        };
        memory.good = Some(good.clone());
        good
    }

    fn observed(&mut self) -> Option<Observed> {
        let (now, boot) = (self.now, self.boot);
        let memory = self.supervisor.as_ref();
        let killed = memory.and_then(|memory| memory.killed);
        let (asked, last) = memory.map_or((None, None), |memory| memory.left);
        let [first, second] = memory.map_or([None; 2], |memory| memory.looks);
        let run = self.run.as_mut()?;
        let phase = if run.boot == boot && run.workload {
            Phase::Running { since: run.started.expect("recorded before its first instruction") }
        } else if run.boot == boot && run.wrapper {
            if run.started.is_some() { Phase::Ending } else { Phase::Starting }
        } else if run.boot == boot && run.left && !run.released {
            Phase::Leftovers { asked, killed: last }
        } else {
            let lost = if run.boot == boot { LostCause::WrapperLost } else { LostCause::HostRebooted };
            let (at, how) = run.exited.get_or_insert((now, Ended::Lost(lost))).clone();
            let this_boot = run.boot == boot;
            Phase::Ended {
                started: run.started.filter(|_| this_boot),
                at: this_boot.then_some(at),
                how,
                reported: run.reported,
            }
        };
        Some(Observed {
            id: run.id.clone(),
            job: Arc::clone(&run.job),
            history: run.history.clone(),
            phase,
            stop: run.stop.map(|(reason, at)| {
                let (reminded, others) = (run.reminded, run.others);
                StopAsked { reason, at, first, second, reminded, others, killed }
            }),
            released: run.released,
            target: None,
        })
    }

    // ---- what the supervisor does ----

    /// Plans and executes until there is nothing to do at this instant.
    fn supervise(&mut self) {
        // At most: two looks, a second signal, what that left behind, the report, and what follows it.
        for _ in 0..7 {
            if self.supervisor.is_none() {
                return;
            }
            let (wanted, observed) = (self.wanted(), self.observed());
            let plan = self.plan(self.now, &wanted, observed.as_ref());
            if plan.actions.is_empty() {
                self.quiet(&wanted, observed.as_ref(), &plan);
                self.last = Some(plan);
                return;
            }
            self.last = None;
            for action in &plan.actions {
                if self.execute(action, &wanted, observed.as_ref()).is_err() {
                    self.note("crash");
                    self.supervisor = Some(Memory::default());
                    break;
                }
            }
        }
        let (wanted, observed) = (self.wanted(), self.observed());
        panic!("does not settle: {:?}", self.plan(self.now, &wanted, observed.as_ref()));
    }

    /// One step that is done whole or not at all.
    fn step(&mut self) -> Result<(), Crash> {
        if let Some((steps, status)) = self.exit_after {
            self.exit_after = steps.checked_sub(1).map(|steps| (steps, status));
            if steps == 0 {
                self.exit(status);
            }
        }
        match self.crash_after {
            Some(0) => {
                self.crash_after = None;
                Err(Crash)
            }
            Some(steps) => {
                self.crash_after = Some(steps - 1);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn current(&mut self) -> &mut Run {
        self.run.as_mut().expect("an action on a run needs a run")
    }

    fn execute(
        &mut self,
        action: &Action,
        wanted: &Wanted,
        observed: Option<&Observed>,
    ) -> Result<(), Crash> {
        self.step()?;
        match action {
            Action::Start { job, history, why } => {
                self.note(format!("start {why:?}"));
                self.check_start(job, *why, wanted);
                let mut history = history.clone();
                history.recent.push(self.now);
                self.made += 1;
                self.run = Some(Run {
                    id: RunId::new(1, self.made),
                    boot: self.boot,
                    job: Arc::clone(job),
                    history,
                    started: None,
                    stop: None,
                    reminded: false,
                    others: false,
                    released: false,
                    exited: None,
                    reported: false,
                    wrapper: false,
                    workload: false,
                    obeys: 1,
                    worked: (BootTime(0), Duration::ZERO),
                    lives: 1,
                    left: false,
                    left_deaf: false,
                    stop_signals: 0,
                    reports: Vec::new(),
                });
                if let Some(memory) = &mut self.supervisor {
                    (memory.looks, memory.killed, memory.left) = ([None; 2], None, (None, None));
                }
                self.step()?;
                self.current().wrapper = true;
            }
            Action::Update { job, .. } => {
                self.note("update");
                let declared = match wanted {
                    Wanted::Run(declared) => declared.clone(),
                    Wanted::Undecided => self.current().job.clone(),
                    other => panic!("updated, but wanted is {other:?}"),
                };
                assert_eq!(self.scheduled(&declared), *job, "updated to something else than the file says");
                if job.window().is_some() {
                    self.note("update into a window");
                }
                let run = self.current();
                assert_eq!(run.job.workload, job.workload, "a new workload in place");
                run.job = Arc::clone(job);
                self.step()?;
                self.current().released = false;
            }
            Action::Stop { reason } => {
                self.note(format!("stop {reason:?}"));
                self.check_signal(wanted, observed);
                self.check_stop(*reason, wanted);
                let now = self.now;
                let run = self.current();
                assert_eq!(run.stop, None, "asked to stop twice");
                run.stop = Some((*reason, now));
                self.step()?;
                let run = self.current();
                run.stop_signals += 1;
                assert_eq!(run.stop_signals, 1, "the stop signal came twice");
                if run.obeys == 1 {
                    self.exit(15);
                }
            }
            Action::SampleActivity => {
                self.note("look");
                self.check_signal(wanted, observed);
                let activity =
                    self.visible.then(|| Activity { cpu: self.current().worked.1, ..Activity::default() });
                let look = Some(ActivitySample { at: self.now, activity });
                let memory = self.supervisor.as_mut().expect("it looks");
                match &mut memory.looks {
                    [first @ None, _] => *first = look,
                    [_, second @ None] => *second = look,
                    _ => panic!("a third look"),
                }
                self.step()?;
            }
            Action::Remind => {
                self.note("remind");
                self.check_signal(wanted, observed);
                let (now, looks) = (self.now, self.supervisor.as_ref().expect("it reminds").looks);
                let run = self.current();
                let (_, asked) = run.stop.expect("a second signal without a first");
                let timeout = run.job.stop.timeout;
                assert!(!run.reminded, "reminded twice");
                assert!(now >= asked + timeout / 2, "the second signal on the heels of the first");
                assert!(now < asked + timeout, "a second signal where SIGKILL is due");
                assert!(now - timeout / 4 >= run.worked.0, "a second signal to what makes progress");
                assert!(looks.iter().all(|look| look.is_some_and(|l| l.activity.is_some())), "a guess");
                run.reminded = true;
                self.step()?;
                let run = self.current();
                run.stop_signals += 1;
                assert!(run.stop_signals <= 2, "a third signal");
                if run.obeys == 2 {
                    self.exit(255 << 8);
                }
            }
            Action::StopOthers => {
                self.note("stop the others");
                self.check_signal(wanted, observed);
                let now = self.now;
                let run = self.current();
                let (_, asked) = run.stop.expect("the others, and not the main process");
                let timeout = run.job.stop.timeout;
                assert!(!run.others, "the others got it twice");
                assert!(now >= asked + timeout / 2, "no time to forward the signal");
                assert!(now < asked + timeout, "a signal where SIGKILL is due");
                run.others = true;
                self.step()?;
            }
            Action::StopLeftovers => {
                self.note("stop what is left");
                let now = self.now;
                let memory = self.supervisor.as_mut().expect("it stops");
                assert_eq!(memory.left, (None, None), "asked twice");
                memory.left.0 = Some(now);
                let run = self.current();
                assert!(run.left && !run.workload && !run.wrapper && !run.released, "not ours to end");
                self.step()?;
                let run = self.current();
                run.left &= run.left_deaf;
            }
            Action::Kill if observed.is_some_and(|seen| matches!(seen.phase, Phase::Leftovers { .. })) => {
                self.note("kill what is left");
                let now = self.now;
                let memory = self.supervisor.as_mut().expect("it kills");
                let (asked, last) = memory.left;
                memory.left.1 = Some(now);
                let run = self.current();
                assert!(!run.wrapper && !run.released, "not ours to end");
                let asked = asked.expect("a SIGKILL without a signal");
                assert!(now >= asked + run.job.stop.timeout, "a SIGKILL before stop.timeout");
                assert!(
                    last.is_none_or(|last| now >= last + Duration::from_secs(1)),
                    "on each other's heels"
                );
                run.lives = run.lives.saturating_sub(1);
                run.left &= run.lives > 0;
            }
            Action::Kill => {
                self.note("kill");
                self.check_signal(wanted, observed);
                let now = self.now;
                let run = self.current();
                let (_, asked) = run.stop.expect("a SIGKILL without a stop");
                assert!(now >= asked + run.job.stop.timeout, "a SIGKILL before stop.timeout");
                run.lives = run.lives.saturating_sub(1);
                if run.lives == 0 {
                    self.exit(9);
                }
                if let Some(memory) = &mut self.supervisor {
                    let again = memory.killed.is_none_or(|last| now >= last + Duration::from_secs(1));
                    assert!(again, "SIGKILLs on each other's heels");
                    memory.killed = Some(now);
                }
            }
            Action::Abandon => {
                self.note("release");
                let run = self.current();
                assert!(!run.released, "let go twice");
                run.released = true;
            }
            Action::Take { .. } | Action::Refuse { .. } | Action::Detach => {
                panic!("{action:?} of an exec job")
            }
            Action::Report => {
                let boot = self.boot;
                let run = self.current();
                assert!(!run.lives_in(boot) && !run.reported, "a last report that is none");
                let (_, how) = run.exited.clone().expect("seen before it was planned");
                let verdict = judge(&run.job, &how, run.stop.map(|(reason, _)| reason), None);
                if matches!(how, Ended::Lost(_)) {
                    assert_eq!((verdict.state, verdict.platform_sla), (State::Unknown, false), "{verdict:?}");
                }
                assert!(run.reports.iter().all(|old| *old == verdict), "two last reports that differ");
                run.reports.push(verdict.clone());
                self.step()?;
                self.current().reported = true;
                self.note(format!("report {:?}", verdict.state));
            }
            Action::Forget => {
                self.note("forget");
                assert_eq!(*wanted, Wanted::Gone, "forgotten, but not gone");
                self.check_over("forgotten");
                self.run = None;
            }
        }
        Ok(())
    }

    // ---- what must hold ----

    /// A run is over only when nothing of it lives and its end was told.
    fn check_over(&self, what: &str) {
        if let Some(run) = &self.run {
            assert!(!run.lives_in(self.boot), "{what} while it lives");
            assert!(run.reported && !run.reports.is_empty(), "{what} before its report");
        }
    }

    fn check_start(&mut self, job: &Arc<Job>, why: StartReason, wanted: &Wanted) {
        self.check_over("succeeded");
        match wanted {
            Wanted::Run(declared) => {
                assert_eq!(self.scheduled(declared), *job, "started something else than the file says");
            }
            Wanted::Undecided => {
                let last = self.run.as_ref().expect("a broken file started a job");
                let last_good = self.scheduled(&last.job);
                assert_eq!((&last_good, why), (job, StartReason::Restart), "a broken file is no edit");
                assert!(!last.released, "a broken file took back what was let go");
            }
            other => panic!("started, but wanted is {other:?}"),
        }
        if why == StartReason::Restart {
            let last = self.run.as_ref().expect("a restart of nothing");
            let (ended, how) = last.exited.clone().expect("it is over");
            let verdict = judge(job, &how, last.stop.map(|(reason, _)| reason), None);
            assert!(job.restart.policy != RestartPolicy::Never, "the policy is never");
            if job.restart.policy == RestartPolicy::OnFailure {
                assert!(verdict.state != State::Completed, "a success was restarted on failure");
            }
            if last.boot == self.boot {
                let lasted = last.started.map_or(Duration::ZERO, |started| ended.since(started));
                let streak = if lasted >= job.restart.reset_after { 0 } else { self.streak };
                let rules = &job.restart;
                let pause = (rules.delay * 2u32.pow(streak.min(20))).min(rules.max_delay.max(rules.delay));
                assert!(self.now >= ended + pause, "a restart before its pause is over");
                self.streak = streak + 1;
                self.check_limit(job.restart.limit);
                self.chain.push((self.now, job.restart.limit));
                return;
            }
        }
        self.streak = 0;
        self.chain = vec![(self.now, job.restart.limit)];
    }

    /// The limit counts the starts made under it, and the one that was current when it was edited in.
    fn check_limit(&self, limit: Option<StartLimit>) {
        let Some(rule) = limit else { return };
        let mut count = 1;
        for (at, under) in self.chain.iter().rev() {
            if *at + rule.within > self.now {
                count += 1;
            }
            if *under != limit {
                break;
            }
        }
        assert!(count <= rule.starts, "{count} starts within the window of {rule:?}");
    }

    fn check_signal(&self, wanted: &Wanted, observed: Option<&Observed>) {
        let seen = observed.expect("a signal to nothing");
        let run = self.run.as_ref().expect("a signal to nothing");
        assert!(matches!(seen.phase, Phase::Running { .. }), "a signal in phase {:?}", seen.phase);
        assert_eq!(seen.id, run.id, "a signal to another run");
        let left = match wanted {
            Wanted::Run(_) => false,
            Wanted::Undecided => run.released,
            Wanted::Disabled(job) => run.released || job.stop.on_remove == OnRemove::Leave,
            Wanted::Gone => run.released || run.job.stop.on_remove == OnRemove::Leave,
            Wanted::Take(..) => unreachable!("an exec job"),
        };
        assert!(!left, "a signal to what is left alone");
    }

    fn check_stop(&self, reason: StopReason, wanted: &Wanted) {
        let run = self.run.as_ref().expect("a stop of nothing");
        let sound = match (reason, wanted) {
            (StopReason::Removed, Wanted::Gone) | (StopReason::Disabled, Wanted::Disabled(_)) => true,
            (StopReason::Changed, Wanted::Run(job)) => job.workload != run.job.workload,
            (StopReason::Timeout, Wanted::Run(_) | Wanted::Undecided) => {
                let limit = run.job.timeouts.run.expect("a time-out without a limit");
                self.now >= run.started.expect("it runs") + limit
            }
            _ => false,
        };
        assert!(sound, "stopped for {reason:?}, but wanted is {wanted:?}");
    }

    /// Holds whenever there is nothing to do.
    fn quiet(&self, wanted: &Wanted, observed: Option<&Observed>, quiet: &Plan) {
        let at = |now| self.plan(now, wanted, observed);
        assert_eq!(*quiet, at(self.now), "another plan for the same");
        match quiet.wake {
            Some(wake) => {
                assert!(wake > self.now, "wakes in the past");
                assert_eq!(at(BootTime(wake.0 - 1)).actions, [], "due before its wake");
                assert_ne!(at(wake).actions, [], "wakes for nothing");
            }
            None => assert_eq!(at(self.now + Duration::from_secs(1 << 20)).actions, [], "wakes never"),
        }
        let Some(seen) = observed else { return };
        match (&seen.phase, wanted) {
            (Phase::Ended { how, reported, .. }, _) => {
                assert!(reported, "an end that nobody is told of");
                if let (Ended::Lost(_), Wanted::Run(_)) = (how, wanted) {
                    assert_ne!(quiet.outlook, Outlook::Settled, "an unknown exit became a success");
                }
            }
            (Phase::Running { .. }, Wanted::Run(job)) if seen.job.workload == job.workload => {
                let job = self.scheduled(job);
                assert_eq!((&seen.job, seen.released), (&job, false), "not governed by the newest version");
            }
            (Phase::Running { .. }, Wanted::Undecided) if !seen.released => {
                assert_eq!(seen.job, self.scheduled(&seen.job), "a broken file stops the schedule");
            }
            _ => {}
        }
    }

    /// Nothing happens any more, and all behave: the state reached is the one wanted.
    fn converge(&mut self) {
        if self.supervisor.is_none() {
            self.supervisor = Some(Memory::default());
        }
        (self.crash_after, self.exit_after) = (None, None);
        for _ in 0..60 {
            self.supervise();
            let Some(run) = &self.run else { break };
            if run.lives_in(self.boot) && run.started.is_none() {
                self.start_workload();
            } else if run.wrapper && run.boot == self.boot && !run.workload {
                self.finish_wrapper();
            } else if run.workload && run.stop.is_none() {
                break;
            } else if let Some(wake) = self.last.as_ref().and_then(|last| last.wake) {
                self.now = wake;
            } else {
                break;
            }
        }
        let wanted = self.wanted();
        let (boot, run) = (self.boot, self.run.as_ref());
        let live = run.filter(|run| run.lives_in(boot));
        match &wanted {
            Wanted::Undecided | Wanted::Take(..) => {}
            Wanted::Gone => assert!(run.is_none_or(|run| run.workload && run.released), "not gone: {run:?}"),
            Wanted::Disabled(_) => assert!(live.is_none_or(|run| run.released), "not down: {live:?}"),
            Wanted::Run(job) => match live {
                Some(run) => {
                    assert!(run.workload && !run.released && run.stop.is_none(), "not running: {run:?}");
                    assert_eq!(run.job, self.scheduled(job), "not governed by the newest version");
                }
                None => {
                    let run = run.expect("a declared job was never started");
                    let verdict = run.reports.last().expect("its end was not told");
                    let good = verdict.state == State::Completed;
                    let stays = match job.restart.policy {
                        RestartPolicy::Never => true,
                        RestartPolicy::OnFailure => good || job.restart.limit.is_some(),
                        RestartPolicy::Always => job.restart.limit.is_some(),
                    };
                    assert!(stays, "down without a reason: {run:?}");
                    assert_eq!(run.job.workload, job.workload, "an edit that is ignored");
                }
            },
        }
        self.note(format!("end {}", if live.is_some() { "live" } else { "down" }));
    }
}

#[test]
fn the_plan_keeps_its_promises() {
    let seen = RefCell::new(Seen::new());
    let config = Config { failure_persistence: None, ..Config::default() };
    let enough = config.cases >= 200;
    let script = (any::<bool>(), vec(event(), 1..80));
    let outcome = TestRunner::new(config).run(&script, |(remembers, events)| {
        let mut host = Host::new(remembers, &seen);
        for event in &events {
            host.happen(event);
            host.supervise();
        }
        host.converge();
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let everything = [
        "start Declared",
        "start Edited",
        "start Restart",
        "update",
        "update into a window",
        "stop Removed",
        "stop Disabled",
        "stop Changed",
        "stop Timeout",
        "look",
        "remind",
        "stop what is left",
        "kill what is left",
        "kill",
        "release",
        "report Completed",
        "report Failed",
        "report Killed",
        "report Unknown",
        "forget",
        "crash",
        "end live",
        "end down",
    ];
    let seen = seen.into_inner();
    for what in everything.into_iter().filter(|_| enough) {
        assert!(seen.contains_key(what), "the events never lead to {what:?}: {seen:?}");
    }
}
