//! Many jobs whose limits come from one profile: an edit of it until the kernel has the last of them,
//! beside as many direct writes and reads; and what it costs to sample their usage, beside reading the
//! same files.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ffrtmp::linux::cgroup::counters;
use ffrtmp::model::cgroup::{Cgroup, Controller};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};

use crate::limits::{self, Limit, Writes};
use crate::stage::Stage;
use crate::stats::millis;
use crate::table::{Aim, Row};
use crate::workload::{self, Life};
use crate::{Bench, interrupt};

/// For slow machines.
const START: Duration = Duration::from_secs(300);
const EFFECT: Duration = Duration::from_secs(60);
/// How often usage is sampled in life.
const INTERVAL: Duration = Duration::from_secs(10);
/// The value before the first edit.
const FIRST: u32 = 50;

/// What of it is wanted.
pub struct Wanted {
    /// How long an edit of the profile takes.
    pub profile: bool,
    /// What sampling costs.
    pub usage: bool,
}

impl Wanted {
    /// Whether anything is.
    pub fn any(&self) -> bool {
        self.profile || self.usage
    }
}

/// Measures what is wanted.
pub fn measure(bench: &Bench, wanted: &Wanted) -> anyhow::Result<Vec<Row>> {
    let jobs = bench.jobs;
    let profile = Row::new("limits_profile", format!("one profile edited until {jobs} jobs have it"), "s")
        .aim(Aim::Below(1.0));
    let usage = Row::new("limits_usage", format!("usage of {jobs} jobs every 10 s"), "% of a core")
        .aim(Aim::Below(0.1));
    let rows = |profile, usage| {
        [(wanted.profile, profile), (wanted.usage, usage)]
            .into_iter()
            .filter(|(wanted, _)| *wanted)
            .map(|(_, row)| row)
            .collect()
    };
    if bench.binaries.is_none() {
        return Ok(rows(profile, usage));
    }
    let mut stage = Stage::new(bench)?;
    stage.jobs()?;
    stage.profiles()?;
    stage.supervise(bench)?;
    let host = match limits::survey(&mut stage)? {
        Ok(host) => host,
        Err(why) => return Ok(rows(limits::skipped(profile, &why), limits::skipped(usage, &why))),
    };
    let (profile, usage) = (host.named_in(profile), host.named_in(usage));
    let limit = host.limit();
    stage.declare_profile("tuned", &tuned(limit, FIRST))?;
    // Until it is known; a job that names one that is not is told to be wrong.
    interrupt::sleep(Duration::from_secs(1))?;
    let names: Vec<String> = (0..jobs).map(|id| format!("job-{id:04}")).collect();
    for (id, name) in names.iter().enumerate() {
        stage.declare(name, &format!("profiles = [\"tuned\"]\n{}", stage.job(Life::Stay, id, "")))?;
    }
    stage.wait_for(jobs, false, START)?;
    interrupt::sleep(Duration::from_secs(if bench.quick { 2 } else { 5 }))?;
    let cgroups: Vec<Cgroup> =
        names.iter().map(|name| limits::cgroup_of(&stage, name)).collect::<Result<_, _>>()?;

    let profile = if wanted.profile { retune(bench, &stage, limit, &cgroups, profile)? } else { profile };
    let usage = if wanted.usage { sample(bench, &cgroups, usage)? } else { usage };
    Ok(rows(profile, usage))
}

fn tuned(limit: Limit, value: u32) -> String {
    format!("[constraints]\n{}", limit.line(value))
}

fn retune(bench: &Bench, stage: &Stage, limit: Limit, cgroups: &[Cgroup], row: Row) -> anyhow::Result<Row> {
    let files: Vec<PathBuf> = cgroups
        .iter()
        .map(|cgroup| limit.file(cgroup).context("a limit that is kept has a file"))
        .collect::<Result<_, _>>()?;
    let (mut ours, mut direct) = (Vec::new(), Vec::new());
    for value in FIRST + 1..=FIRST + u32::try_from(bench.samples(9, 2))? {
        let text = limit.text(&cgroups[0], value);
        let writes = Writes::to(&files)?;
        let before = stage.declare_profile("tuned", &tuned(limit, value))?;
        ours.push(millis(before, writes.until_all_are(&text, EFFECT)?) / 1000.0);
        drop(writes);
        // The reports follow; then the supervisor is idle again.
        interrupt::sleep(Duration::from_secs(if bench.quick { 1 } else { 5 }))?;
        // The value that is in force, so that nothing changes behind the supervisor's back.
        let before = workload::now();
        files.iter().try_for_each(|file| limits::write_and_read(file, &text))?;
        direct.push(millis(before, workload::now()) / 1000.0);
        interrupt::sleep(Duration::from_secs(1))?;
    }
    Ok(row.ours(&ours).beside("writes and reads", &direct))
}

fn sample(bench: &Bench, cgroups: &[Cgroup], row: Row) -> anyhow::Result<Row> {
    let files: Vec<PathBuf> = cgroups.iter().flat_map(sampled).filter(|file| file.exists()).collect();
    let all = || {
        for cgroup in cgroups {
            std::hint::black_box(counters::sample(cgroup));
        }
    };
    let bare = || {
        for file in &files {
            // One that says that it cannot be read has cost as much.
            let _ = std::hint::black_box(fs::read(file));
        }
    };
    let (mut ours, mut plain) = (Vec::new(), Vec::new());
    // The first is for warming up.
    for pass in 0..=bench.samples(20, 3) {
        let (sampled, read) = (share_of(all)?, share_of(bare)?);
        if pass > 0 {
            ours.push(sampled);
            plain.push(read);
        }
    }
    let mut row = row.ours(&ours).beside("plain reads", &plain);
    #[allow(clippy::cast_precision_loss)] // some thousand
    row.details.insert("files_read_by_reference", files.len() as f64);
    Ok(row)
}

/// The share of a core that it takes once in each interval, in percent: CPU time of this thread. Done
/// several times, because some kernels count it in ticks of 10 ms.
#[allow(clippy::cast_precision_loss)] // far below 2^52
fn share_of(what: impl Fn()) -> anyhow::Result<f64> {
    const TIMES: u32 = 10;
    // The clock always exists (clock_gettime(2)).
    let used = || clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(0, |time| time.num_nanoseconds());
    interrupt::sleep(Duration::from_millis(500))?;
    let before = used();
    for _ in 0..TIMES {
        what();
    }
    Ok((used() - before) as f64 / f64::from(TIMES) / INTERVAL.as_nanos() as f64 * 100.0)
}

/// The files that a sample is made of.
fn sampled(cgroup: &Cgroup) -> Vec<PathBuf> {
    match cgroup {
        Cgroup::V2 { dir, .. } => ["cpu.stat", "io.stat", "memory.current", "memory.events", "memory.peak"]
            .iter()
            .map(|file| dir.join(file))
            .collect(),
        Cgroup::V1 { dirs } => [
            (Controller::Cpu, "cpu.stat"),
            (Controller::Cpuacct, "cpuacct.usage"),
            (Controller::Io, "blkio.throttle.io_service_bytes_recursive"),
            (Controller::Memory, "memory.failcnt"),
            (Controller::Memory, "memory.max_usage_in_bytes"),
            (Controller::Memory, "memory.oom_control"),
            (Controller::Memory, "memory.usage_in_bytes"),
        ]
        .iter()
        .filter_map(|(controller, file)| Some(dirs.get(controller)?.join(file)))
        .collect(),
    }
}
