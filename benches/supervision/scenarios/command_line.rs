//! `ffrtmp run` and `ffrtmp attach`: what the command line adds to a start, beside other programs that run
//! a command, and what it costs while it waits.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use crate::process::{Activity, Stat};
use crate::stage::Stage;
use crate::table::{Aim, Row};
use crate::workload::Life;
use crate::{Bench, interrupt};

const TIMEOUT: Duration = Duration::from_secs(20);
const NICE: i32 = 5;
const POLL: Duration = Duration::from_micros(100);

/// All of it.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let Some(binaries) = &bench.binaries else {
        return Ok(vec![Row::new("run", "ffrtmp run -- true", "ms")]);
    };
    let mut rows = starts(bench, &binaries.wrapper)?;
    rows.push(idle(bench, &binaries.wrapper)?);
    #[allow(clippy::cast_precision_loss)] // far below 2^52
    let megabytes = std::fs::metadata(&binaries.wrapper)?.len() as f64 / 1e6;
    rows.push(Row::new("wrapper_bytes", "size of ffrtmp", "MB").aim(Aim::Below(2.0)).ours(&[megabytes]));
    rows.push(attach(bench, &binaries.wrapper)?);
    Ok(rows)
}

/// A command line to be timed from its spawn until it was waited for.
struct Contender {
    name: &'static str,
    words: Vec<String>,
}

impl Contender {
    fn run(&self, root: &Path) -> anyhow::Result<f64> {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env("FFRTMP_ROOT", root).stdin(Stdio::null()).stdout(Stdio::null());
        let begin = Instant::now();
        let status = command.status().with_context(|| format!("cannot run {}", self.name))?;
        let took = begin.elapsed().as_secs_f64() * 1e3;
        ensure!(status.success(), "{} ended with {status}", self.name);
        Ok(took)
    }
}

/// They take turns; what is told is how much longer each takes than the bare program.
fn starts(bench: &Bench, wrapper: &Path) -> anyhow::Result<Vec<Row>> {
    let wrapper = wrapper.display().to_string();
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let contender = |name, list: &[&str]| Contender { name, words: words(list) };
    let mut all = vec![
        contender("true", &["/bin/true"]),
        contender("env", &["/usr/bin/env", "/bin/true"]),
        contender("none", &[&wrapper, "run", "-q", "--cgroup", "none", "--", "/bin/true"]),
        contender("cgroup", &[&wrapper, "run", "-q", "--", "/bin/true"]),
    ];
    let tini = Path::new("/usr/bin/tini");
    if tini.exists() {
        all.push(contender("tini", &["/usr/bin/tini", "-s", "--", "/bin/true"]));
    }
    let root = bench.dir.join("command-line");
    let mut extra: Vec<Vec<f64>> = all.iter().map(|_| Vec::new()).collect();
    let mut bare = Vec::new();
    for round in 0..=bench.samples(300, 30) {
        interrupt::check()?;
        let mut base = 0.0;
        for (contender, extra) in all.iter().zip(&mut extra) {
            let took = contender.run(&root)?;
            if contender.name == "true" {
                base = took;
            }
            // The first is for warming up.
            if round > 0 {
                extra.push(took - base);
            }
        }
        if round > 0 {
            bare.push(base);
        }
    }
    let of = |name| all.iter().position(|contender| contender.name == name).map(|at| extra[at].clone());
    let (env, tini) = (of("env").unwrap_or_default(), of("tini").unwrap_or_default());
    let row = |name, what, samples: Option<Vec<f64>>, aim| {
        let row = Row::new(name, what, "ms").aim(Aim::Below(aim)).ours(&samples.unwrap_or_default());
        let mut row = row.beside("tini -s", &tini);
        for (name, samples) in [("bare_true_ms", &bare), ("env_ms", &env)] {
            row.details.extend(crate::stats::Summary::of(samples.clone()).map(|found| (name, found.median)));
        }
        if tini.is_empty() { row.note("SKIPPED tini: not installed; apt-get install tini") } else { row }
    };
    Ok(vec![
        row("run_bare", "ffrtmp run -- true without a cgroup, more than true", of("none"), 1.0),
        row("run_cgroup", "ffrtmp run -- true in a cgroup, more than true", of("cgroup"), 2.0),
        Row::new("run_env", "env true, more than true", "ms").ours(&env),
    ])
}

/// What its two processes use while a workload runs.
#[allow(clippy::cast_precision_loss)] // far below 2^52
fn idle(bench: &Bench, wrapper: &Path) -> anyhow::Result<Row> {
    let row =
        Row::new("run_cpu", "CPU of ffrtmp run over 60 s of ffmpeg", "% of a core").aim(Aim::Below(0.001));
    if Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
        return Ok(row.note("SKIPPED: ffmpeg is not installed; apt-get install ffmpeg"));
    }
    let seconds = if bench.quick { 5 } else { 60 };
    let mut caller = Command::new(wrapper)
        .args(["run", "-q", "--", "ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-f", "lavfi", "-i"])
        .args(["testsrc2=size=320x180:rate=25", "-t", &(seconds + 4).to_string(), "-f", "null", "-"])
        .env("FFRTMP_ROOT", bench.dir.join("command-line"))
        .spawn()
        .context("cannot start ffrtmp")?;
    interrupt::sleep(Duration::from_secs(2))?;
    let pid = i32::try_from(caller.id())?;
    let children = format!("/proc/{pid}/task/{pid}/children");
    let keeper = std::fs::read_to_string(&children).with_context(|| children.clone())?;
    let keeper: i32 = keeper.trim().parse().with_context(|| format!("{children}: {keeper:?}"))?;
    let both = || anyhow::Ok([Activity::read(pid)?, Activity::read(keeper)?]);
    let (before, began) = (both()?, Instant::now());
    interrupt::sleep(Duration::from_secs(seconds))?;
    let after = both()?;
    let elapsed = began.elapsed().as_secs_f64();
    let nanos: u64 = after.iter().zip(before).map(|(after, before)| after.since(before).nanos).sum();
    caller.wait().context("cannot wait for ffrtmp")?;
    Ok(row.ours(&[nanos as f64 / 1e9 / elapsed * 100.0]))
}

/// From the start of the program until the process has its limits and, last, its nice value.
fn attach(bench: &Bench, wrapper: &Path) -> anyhow::Result<Row> {
    let mut stage = Stage::new(bench)?;
    let mut ours = Vec::new();
    for id in 0..=bench.samples(100, 10) {
        stage.spawn(Life::Stay, id)?;
        let begun = stage.wait_for(1, false, TIMEOUT)?[0];
        let options =
            ["--cpu-weight", "50", "--memory-limit", "1024", "--nice", &NICE.to_string()].map(str::to_owned);
        let begin = Instant::now();
        let mut attached = Command::new(wrapper)
            .args(["attach", "-q", "--pid", &begun.pid.to_string()].map(OsStr::new))
            .args(&options)
            .env("FFRTMP_ROOT", bench.dir.join("command-line"))
            .spawn()
            .context("cannot start ffrtmp")?;
        while Stat::read(begun.pid)?.nice != NICE {
            interrupt::check()?;
            ensure!(begin.elapsed() < TIMEOUT, "process {} is not constrained within {TIMEOUT:?}", begun.pid);
            std::thread::sleep(POLL);
        }
        let took = begin.elapsed().as_secs_f64() * 1e3;
        if id > 0 {
            ours.push(took);
        }
        let pid = nix::unistd::Pid::from_raw(i32::try_from(attached.id())?);
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM)?;
        attached.wait().context("cannot wait for ffrtmp")?;
    }
    Ok(Row::new("attach_cli", "ffrtmp attach until constraints are in force", "ms")
        .aim(Aim::Below(5.0))
        .ours(&ours))
}
