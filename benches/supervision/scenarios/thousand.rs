//! 1,000 jobs at once: how long until all run, beside 1,000 bare spawns and runit; and what they cost
//! while they run, beside runit and supervisord.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::bail;
use nix::sys::signal::Signal;

use crate::process::{Activity, Stat, pss_kb, rss_kb};
use crate::stage::Stage;
use crate::stats::millis;
use crate::table::{Aim, Row};
use crate::workload::{CheckIn, Life};
use crate::{Bench, interrupt, peers};

const JOBS: usize = 1000;
const TIMEOUT: Duration = Duration::from_secs(120);
/// From the last start until what belongs to it is written down.
const SETTLE: Duration = Duration::from_secs(5);

/// What of it is wanted.
pub struct Wanted {
    /// How long until all run.
    pub start: bool,
    /// Memory.
    pub memory: bool,
    /// CPU and wake-ups.
    pub idle: bool,
}

impl Wanted {
    /// Whether anything is.
    pub fn any(&self) -> bool {
        self.start || self.memory || self.idle
    }
}

/// Measures what is wanted.
pub fn measure(bench: &Bench, wanted: &Wanted) -> anyhow::Result<Vec<Row>> {
    let rounds = if wanted.start { bench.samples(7, 1) } else { 1 };
    let runsvdir = peers::find("runsvdir");
    let (mut bare, mut ours, mut runit) = (Vec::new(), Vec::new(), Vec::new());
    let mut state = State::default();
    for round in 1..=rounds {
        let last = round == rounds;
        if wanted.start {
            bare.push(spawn_all(bench)?);
        }
        if bench.binaries.is_some() {
            ours.push(supervise_all(bench, wanted, last, &mut state)?);
        }
        if let Some(runsvdir) = runsvdir.as_ref().filter(|_| wanted.start || wanted.memory) {
            runit.push(runit_all(bench, runsvdir, last && wanted.memory, &mut state)?);
        }
    }
    let supervisord = peers::find("supervisord");
    let mut supervisord_start = Vec::new();
    if let Some(supervisord) = supervisord.as_ref().filter(|_| wanted.memory) {
        supervisord_start.push(supervisord_all(bench, supervisord, &mut state)?);
    }

    let missing = |found: &Option<PathBuf>, row: Row, what: &str| {
        if found.is_some() { row } else { row.note(format!("SKIPPED the reference: install {what}")) }
    };
    let runit_package = "runsvdir (Debian package runit)";
    let mut rows = Vec::new();
    if wanted.start {
        let what = "1,000 jobs present until all run";
        let row = |name| Row::new(name, what, "s").ours(&ours);
        rows.push(row("thousand_spawns").beside("posix_spawn", &bare).aim(Aim::AtMostTimes(3.0)));
        let row = row("thousand_runit").beside("runsvdir", &runit).aim(Aim::BelowReference);
        rows.push(missing(&runsvdir, row, runit_package));
    }
    if wanted.memory {
        let row = Row::new("wrapper_pss", "memory of a wrapper, PSS", "kB")
            .ours(&state.wrapper_pss)
            .beside("runsv", &state.runsv_pss)
            .aim(Aim::Below(60.0));
        rows.push(missing(&runsvdir, row, runit_package));
        let mut row = Row::new("supervisor_rss", "memory of the supervisor, 1,000 jobs, RSS", "MB")
            .ours(&state.supervisor_rss)
            .beside("supervisord", &state.supervisord_rss)
            .aim(Aim::Below(25.0));
        if let Some(&seconds) = supervisord_start.first() {
            row.details.insert("supervisord_until_all_run_s", seconds);
        }
        rows.push(missing(&supervisord, row, "supervisord (Debian package supervisor)"));
    }
    if wanted.idle {
        let mut row = Row::new("idle_cpu", "CPU of supervisor and wrappers, 1,000 idle jobs", "% of a core")
            .ours(&state.idle_percent)
            .aim(Aim::Below(0.1));
        row.details = state.idle_details.iter().copied().collect();
        rows.push(row);
        rows.push(
            Row::new("idle_wakeups", "wake-ups of the supervisor, 1,000 idle jobs", "per minute")
                .ours(&state.idle_wakeups),
        );
    }
    Ok(rows)
}

/// What was seen while they ran.
#[derive(Default)]
struct State {
    wrapper_pss: Vec<f64>,
    runsv_pss: Vec<f64>,
    supervisor_rss: Vec<f64>,
    supervisord_rss: Vec<f64>,
    idle_percent: Vec<f64>,
    idle_wakeups: Vec<f64>,
    idle_details: Vec<(&'static str, f64)>,
}

/// Seconds until all of them had begun. Each has to be another process with another number.
fn until_all(stage: &mut Stage, before: i64) -> anyhow::Result<(f64, Vec<CheckIn>)> {
    let checkins = stage.wait_for(JOBS, false, TIMEOUT)?;
    let pids: HashSet<i32> = checkins.iter().map(|checkin| checkin.pid).collect();
    let ids: HashSet<u32> = checkins.iter().map(|checkin| checkin.id).collect();
    if pids.len() != JOBS || ids.len() != JOBS {
        bail!(
            "{JOBS} workloads checked in, but {} processes of {} jobs: some began twice",
            pids.len(),
            ids.len()
        );
    }
    let last = checkins.iter().map(|checkin| checkin.at).max().unwrap_or(before);
    Ok((millis(before, last) / 1000.0, checkins))
}

fn spawn_all(bench: &Bench) -> anyhow::Result<f64> {
    let mut stage = Stage::new(bench)?;
    nix::unistd::sync();
    let before = stage.spawn(Life::Stay, 0)?;
    for id in 1..JOBS {
        stage.spawn(Life::Stay, id)?;
    }
    Ok(until_all(&mut stage, before)?.0)
}

fn supervise_all(bench: &Bench, wanted: &Wanted, last: bool, state: &mut State) -> anyhow::Result<f64> {
    let mut stage = Stage::new(bench)?;
    for id in 0..JOBS {
        stage.declare(&format!("job-{id:04}"), &stage.job(Life::Stay, id, ""))?;
    }
    // What was just written is not to be on its way to the disk while we measure; so for the others.
    nix::unistd::sync();
    let (pid, before) = stage.supervise(bench)?;
    let (seconds, checkins) = until_all(&mut stage, before)?;
    if last && (wanted.memory || wanted.idle) {
        interrupt::sleep(SETTLE)?;
        let wrappers = parents(&checkins)?;
        if wrappers.len() != JOBS {
            bail!("{} wrappers for {JOBS} workloads: they are not one each", wrappers.len());
        }
        if wanted.memory {
            state.wrapper_pss = wrappers.iter().map(|&wrapper| pss_kb(wrapper)).collect::<Result<_, _>>()?;
            state.supervisor_rss = vec![rss_kb(pid)? / 1000.0];
        }
        if wanted.idle {
            idle(bench, pid, &wrappers, state)?;
        }
    }
    Ok(seconds)
}

/// CPU and wake-ups over a minute in which nothing happens. It holds two regular rescans.
#[allow(clippy::cast_precision_loss)] // far below 2^52
fn idle(bench: &Bench, supervisor: i32, wrappers: &[i32], state: &mut State) -> anyhow::Result<()> {
    let of_wrappers = || {
        wrappers
            .iter()
            .try_fold(Activity::default(), |sum, &wrapper| anyhow::Ok(sum.plus(Activity::read(wrapper)?)))
    };
    let (wrappers_before, before, began) =
        (of_wrappers()?, Activity::read(supervisor)?, std::time::Instant::now());
    interrupt::sleep(Duration::from_secs(if bench.quick { 5 } else { 60 }))?;
    let seconds = began.elapsed().as_secs_f64();
    let (ours, theirs) = (Activity::read(supervisor)?.since(before), of_wrappers()?.since(wrappers_before));
    let both = ours.plus(theirs);
    // Ended threads are in the clock ticks alone, and a tick is coarse: whichever is more is the truth.
    // One tick of the whole may be an accident of sampling.
    let by_ticks = both.ticks.saturating_sub(1) as f64 * 0.01;
    state.idle_percent = vec![(both.nanos as f64 / 1e9).max(by_ticks) / seconds * 100.0];
    state.idle_wakeups = vec![ours.wakeups as f64 / seconds * 60.0];
    state.idle_details = vec![
        ("window_s", seconds),
        ("supervisor_ms", ours.nanos as f64 / 1e6),
        ("supervisor_ticks_ms", ours.ticks as f64 * 10.0),
        ("wrappers_ms", theirs.nanos as f64 / 1e6),
        ("wrappers_ticks_ms", theirs.ticks as f64 * 10.0),
        ("wrappers_wakeups", theirs.wakeups as f64),
    ];
    Ok(())
}

/// The processes that started the workloads.
fn parents(checkins: &[CheckIn]) -> anyhow::Result<Vec<i32>> {
    let parents: HashSet<i32> =
        checkins.iter().map(|checkin| Ok(Stat::read(checkin.pid)?.parent)).collect::<anyhow::Result<_>>()?;
    Ok(parents.into_iter().collect())
}

fn runit_all(bench: &Bench, runsvdir: &Path, memory: bool, state: &mut State) -> anyhow::Result<f64> {
    let mut stage = Stage::new(bench)?;
    let command = peers::runit(&stage, runsvdir, Life::Stay, JOBS)?;
    nix::unistd::sync();
    // By SIGHUP it ends its runsv processes, and they their services.
    let (_, before) = stage.daemon(&command, Signal::SIGHUP)?;
    let (seconds, checkins) = until_all(&mut stage, before)?;
    if memory {
        interrupt::sleep(SETTLE)?;
        state.runsv_pss = parents(&checkins)?.into_iter().map(pss_kb).collect::<Result<_, _>>()?;
    }
    Ok(seconds)
}

fn supervisord_all(bench: &Bench, supervisord: &Path, state: &mut State) -> anyhow::Result<f64> {
    let mut stage = Stage::new(bench)?;
    let command = peers::supervisord(&stage, supervisord, Life::Stay, JOBS)?;
    nix::unistd::sync();
    let (pid, before) = stage.daemon(&command, Signal::SIGTERM)?;
    let (seconds, _) = until_all(&mut stage, before)?;
    interrupt::sleep(SETTLE)?;
    state.supervisord_rss = vec![rss_kb(pid)? / 1000.0];
    Ok(seconds)
}
