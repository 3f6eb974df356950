//! Other supervisors over the same scenarios as ours: what a kill of their processes does to a job, how long
//! many jobs take to start, and what they cost while nothing happens.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::field::{FEW, Field, MANY, Standing, Survival, Telling};
use crate::peers::{self, PEERS, Peer};
use crate::process::{self, Activity, Stat, is_alive, pss_kb};
use crate::stage::Stage;
use crate::stats::{Summary, millis};
use crate::workload::{CheckIn, Life};
use crate::{Bench, interrupt};

/// How long all of them may take to start. Who needs longer gets no figure.
const START: Duration = Duration::from_secs(60);
/// How long one job may take to start, to end, or to start again.
const ONE: Duration = Duration::from_secs(20);
/// From a start until what belongs to it is done.
const SETTLE: Duration = Duration::from_secs(1);
/// How long a second copy, or word of an exit, is waited for. runsvdir looks every 5 s.
const WATCH: Duration = Duration::from_secs(7);
const IDLE: Duration = Duration::from_secs(10);

/// One that is here, and what was measured of it.
struct Contender {
    peer: Peer,
    program: PathBuf,
    standing: Standing,
    few: Vec<f64>,
    many: Vec<f64>,
    memory: Vec<f64>,
    idle: Vec<f64>,
    restart: Vec<f64>,
}

/// A manager with one job.
struct Started {
    command: Vec<OsString>,
    manager: i32,
    workload: i32,
}

impl Contender {
    fn new(peer: Peer, program: PathBuf, version: Option<String>) -> Self {
        let standing = Standing { name: peer.name, version, ..Standing::default() };
        let [few, many, memory, idle, restart] = [const { Vec::new() }; 5];
        Self { peer, program, standing, few, many, memory, idle, restart }
    }

    fn finish(self) -> Standing {
        Standing {
            few_s: Summary::of(self.few),
            many_s: Summary::of(self.many),
            memory_mib: Summary::of(self.memory),
            idle_percent: Summary::of(self.idle),
            restart_ms: Summary::of(self.restart),
            ..self.standing
        }
    }

    /// Writes down `count` jobs and starts the manager. Gives its pid and when that was.
    fn start(&self, stage: &mut Stage, life: Life, count: usize) -> anyhow::Result<(i32, i64)> {
        let command = (self.peer.prepare)(stage, &self.program, life, count)?;
        // What was just written is not to be on its way to the disk meanwhile.
        nix::unistd::sync();
        stage.daemon(&command, self.peer.stop)
    }

    /// Starts the manager with one job, which runs and has come to rest.
    fn start_one(&self, stage: &mut Stage, life: Life) -> anyhow::Result<Started> {
        let command = (self.peer.prepare)(stage, &self.program, life, 1)?;
        let (manager, _) = stage.daemon(&command, self.peer.stop)?;
        let workload = one(&stage.wait_for(1, false, ONE)?)?;
        interrupt::sleep(SETTLE)?;
        Ok(Started { command, manager, workload })
    }

    /// Takes what was measured, or notes why it was not.
    fn take<T>(&mut self, what: &str, measured: anyhow::Result<T>) -> anyhow::Result<Option<T>> {
        interrupt::check()?;
        match measured {
            Ok(value) => Ok(Some(value)),
            Err(error) => {
                let note = format!("{what}: {error:#}");
                eprintln!("bench: {}: {note}", self.peer.name);
                if !self.standing.notes.contains(&note) {
                    self.standing.notes.push(note);
                }
                Ok(None)
            }
        }
    }

    /// All that takes one job.
    fn alone(&mut self, bench: &Bench) -> anyhow::Result<()> {
        let measured = self.kill_manager(bench);
        self.standing.manager_killed = self.take("manager killed", measured)?;
        let measured = self.kill_helper(bench);
        self.standing.helper_killed = self.take("helper killed", measured)?.flatten();
        let measured = self.exit_between(bench);
        self.standing.exit_between = self.take("exit in between", measured)?;
        let measured = self.terminate(bench);
        self.standing.outlives_sigterm = self.take("SIGTERM", measured)?;
        let measured = self.restarts(bench);
        self.restart = self.take("restart", measured)?.unwrap_or_default();
        Ok(())
    }

    fn kill_manager(&self, bench: &Bench) -> anyhow::Result<Survival> {
        let mut stage = Stage::new(bench)?;
        let Started { command, workload, .. } = self.start_one(&mut stage, Life::Stay)?;
        stage.end_daemons(Signal::SIGKILL);
        stage.daemon(&command, self.peer.stop)?;
        watch(&mut stage, workload)
    }

    /// None where the workload's parent is the manager.
    fn kill_helper(&self, bench: &Bench) -> anyhow::Result<Option<Survival>> {
        let mut stage = Stage::new(bench)?;
        let Started { manager, workload, .. } = self.start_one(&mut stage, Life::Stay)?;
        let helper = Stat::read(workload)?.parent;
        if helper == manager {
            return Ok(None);
        }
        if !process::descendants().contains(&helper) {
            bail!("process {helper}, the parent of its workload, is none that the bench started");
        }
        kill(Pid::from_raw(helper), Signal::SIGKILL).context("cannot kill the helper")?;
        watch(&mut stage, workload).map(Some)
    }

    fn exit_between(&self, bench: &Bench) -> anyhow::Result<Telling> {
        let mut stage = Stage::new(bench)?;
        let Started { workload, .. } = self.start_one(&mut stage, Life::Fail)?;
        stage.let_fail(workload, ONE)?;
        if !self.tells(stage.path())? {
            return Ok(Telling::NeverTold);
        }
        drop(stage);
        let mut stage = Stage::new(bench)?;
        let Started { command, workload, .. } = self.start_one(&mut stage, Life::Fail)?;
        stage.end_daemons(Signal::SIGKILL);
        stage.let_fail(workload, ONE)?;
        stage.daemon(&command, self.peer.stop)?;
        Ok(if self.tells(stage.path())? { Telling::Told } else { Telling::Lost })
    }

    /// Whether some file of the folder says soon how the workload ended.
    fn tells(&self, dir: &Path) -> anyhow::Result<bool> {
        let deadline = Instant::now() + WATCH;
        loop {
            if says(dir, self.peer.failure) {
                return Ok(true);
            }
            if Instant::now() > deadline {
                return Ok(false);
            }
            interrupt::sleep(Duration::from_millis(100))?;
        }
    }

    fn terminate(&self, bench: &Bench) -> anyhow::Result<bool> {
        let mut stage = Stage::new(bench)?;
        let Started { workload, .. } = self.start_one(&mut stage, Life::Stay)?;
        stage.end_daemons(Signal::SIGTERM);
        interrupt::sleep(SETTLE)?;
        Ok(is_alive(workload))
    }

    fn few(&mut self, bench: &Bench) -> anyhow::Result<()> {
        let first = self.few.is_empty();
        let measured = self.crowd(bench, first);
        if let Some((seconds, memory, idle)) = self.take("200 jobs", measured)? {
            self.few.push(seconds);
            self.memory.push(memory);
            self.idle.extend(idle);
        }
        Ok(())
    }

    /// Seconds until all run; then memory, and CPU if it is wanted, of all processes that are no workloads.
    fn crowd(&self, bench: &Bench, idle: bool) -> anyhow::Result<(f64, f64, Option<f64>)> {
        let mut stage = Stage::new(bench)?;
        let (_, before) = self.start(&mut stage, Life::Stay, FEW)?;
        let checkins = stage.wait_for(FEW, false, START)?;
        let seconds = until_last(before, &checkins)?;
        interrupt::sleep(SETTLE)?;
        let workloads: HashSet<i32> = checkins.iter().map(|checkin| checkin.pid).collect();
        let theirs: Vec<i32> =
            process::descendants().into_iter().filter(|pid| !workloads.contains(pid)).collect();
        let memory: f64 = theirs.iter().map(|&pid| pss_kb(pid)).sum::<Result<_, _>>()?;
        if !idle {
            return Ok((seconds, memory / 1024.0, None));
        }
        let activity = || {
            theirs
                .iter()
                .try_fold(Activity::default(), |sum, &pid| anyhow::Ok(sum.plus(Activity::read(pid)?)))
        };
        let (earlier, began) = (activity()?, Instant::now());
        interrupt::sleep(if bench.quick { SETTLE } else { IDLE })?;
        #[allow(clippy::cast_precision_loss)] // far below 2^52
        let busy = activity()?.since(earlier).nanos as f64 / 1e9;
        Ok((seconds, memory / 1024.0, Some(busy / began.elapsed().as_secs_f64() * 100.0)))
    }

    fn restarts(&self, bench: &Bench) -> anyhow::Result<Vec<f64>> {
        let mut stage = Stage::new(bench)?;
        self.start(&mut stage, Life::Crash, 1)?;
        let (mut ended, mut restarts) = (None, Vec::new());
        let deadline = Instant::now() + START;
        while restarts.len() < bench.samples(3, 1) {
            for checkin in stage.checkins()? {
                match (checkin.ending, ended.take()) {
                    (true, _) => ended = Some(checkin.at),
                    (false, Some(end)) => restarts.push(millis(end, checkin.at)),
                    (false, None) => {}
                }
            }
            if Instant::now() > deadline {
                bail!("{} restarts within {START:?}", restarts.len());
            }
            interrupt::sleep(Duration::from_millis(10))?;
        }
        Ok(restarts)
    }

    fn many(&mut self, bench: &Bench) -> anyhow::Result<()> {
        let what = "1,000 jobs";
        // Who does not do it in time would only cost the same time again.
        if self.standing.notes.iter().any(|note| note.starts_with(what)) {
            return Ok(());
        }
        let run = || {
            let mut stage = Stage::new(bench)?;
            let (_, before) = self.start(&mut stage, Life::Stay, MANY)?;
            until_last(before, &stage.wait_for(MANY, false, START)?)
        };
        let measured = run();
        if let Some(seconds) = self.take(what, measured)? {
            self.many.push(seconds);
        }
        Ok(())
    }
}

/// Measures those that are here.
pub fn measure(bench: &Bench) -> anyhow::Result<Field> {
    let mut contenders: Vec<Contender> = [false, true]
        .into_iter()
        .filter_map(|cgroups| peers::ours(bench, cgroups))
        .map(|(peer, program)| Contender::new(peer, program, Some(env!("CARGO_PKG_VERSION").into())))
        .collect();
    let mut missing = Vec::new();
    for peer in PEERS {
        match peer.find() {
            Ok(program) => {
                let version = peer.version();
                contenders.push(Contender::new(peer, program, version));
            }
            Err(why) => missing.push(Standing { name: peer.name, missing: Some(why), ..Standing::default() }),
        }
    }
    for contender in &mut contenders {
        contender.alone(bench)?;
    }
    let (mut spawn_few, mut spawn_many) = (Vec::new(), Vec::new());
    // They take turns, so that other work on the machine is not all at the expense of one.
    for _ in 0..bench.samples(3, 1) {
        spawn_few.push(spawn(bench, FEW)?);
        for contender in &mut contenders {
            contender.few(bench)?;
        }
        spawn_many.push(spawn(bench, MANY)?);
        for contender in &mut contenders {
            contender.many(bench)?;
        }
    }
    Ok(Field {
        spawn_few_s: Summary::of(spawn_few),
        spawn_many_s: Summary::of(spawn_many),
        supervisors: contenders.into_iter().map(Contender::finish).chain(missing).collect(),
    })
}

/// Seconds that `count` bare posix_spawn take until the last workload runs.
fn spawn(bench: &Bench, count: usize) -> anyhow::Result<f64> {
    let mut stage = Stage::new(bench)?;
    let before = stage.spawn(Life::Stay, 0)?;
    for id in 1..count {
        stage.spawn(Life::Stay, id)?;
    }
    until_last(before, &stage.wait_for(count, false, START)?)
}

/// Seconds until the last one began. Each has to have begun once.
fn until_last(before: i64, checkins: &[CheckIn]) -> anyhow::Result<f64> {
    let ids: HashSet<u32> = checkins.iter().map(|checkin| checkin.id).collect();
    if ids.len() != checkins.len() {
        bail!("{} workloads of {} jobs: some began twice", checkins.len(), ids.len());
    }
    let last = checkins.iter().map(|checkin| checkin.at).max().context("no workload began")?;
    Ok(millis(before, last) / 1000.0)
}

fn one(checkins: &[CheckIn]) -> anyhow::Result<i32> {
    match checkins {
        [checkin] => Ok(checkin.pid),
        _ => bail!("{} workloads of one job", checkins.len()),
    }
}

/// Sees which workloads of the one job run after a while, or once there are two, `first` being the one that ran before.
fn watch(stage: &mut Stage, first: i32) -> anyhow::Result<Survival> {
    let mut pids = HashSet::from([first]);
    let deadline = Instant::now() + WATCH;
    while Instant::now() < deadline && pids.iter().filter(|&&pid| is_alive(pid)).count() < 2 {
        pids.extend(stage.checkins()?.iter().map(|checkin| checkin.pid));
        interrupt::sleep(Duration::from_millis(20))?;
    }
    Ok(Survival { copies: pids.into_iter().filter(|&pid| is_alive(pid)).count(), same_pid: is_alive(first) })
}

/// Whether a file in the folder, or below it, holds the text.
fn says(dir: &Path, text: &str) -> bool {
    fs::read_dir(dir).into_iter().flatten().flatten().any(|entry| match entry.file_type() {
        Ok(kind) if kind.is_dir() => says(&entry.path(), text),
        Ok(kind) if kind.is_file() => {
            fs::read(entry.path()).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).contains(text))
        }
        _ => false,
    })
}
