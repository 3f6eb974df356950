//! A supervisor that is killed with 1,000 running jobs: how long until its successor has all of them under
//! watch again, beside a bare read of the same records.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;

use crate::stage::Stage;
use crate::stats::millis;
use crate::table::{Aim, Row};
use crate::workload::{self, Life};
use crate::{Bench, interrupt};

const TIMEOUT: Duration = Duration::from_secs(120);
/// From the last start until what belongs to it is written down.
const SETTLE: Duration = Duration::from_secs(5);
/// How often the log is looked at: this much at most is added to our figure.
const POLL: Duration = Duration::from_millis(1);

/// Measures it.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let jobs = bench.jobs;
    let what = format!("SIGKILL of the supervisor until {jobs} jobs are watched again");
    let row = Row::new("recover", what, "s").aim(Aim::Below(1.0));
    if bench.binaries.is_none() {
        return Ok(vec![row]);
    }
    let mut stage = Stage::new(bench)?;
    for id in 0..jobs {
        stage.declare(&format!("job-{id:04}"), &stage.job(Life::Stay, id, ""))?;
    }
    stage.supervise(bench)?;
    let began: HashSet<i32> = stage.wait_for(jobs, false, TIMEOUT)?.iter().map(|begun| begun.pid).collect();
    interrupt::sleep(SETTLE)?;
    let (mut ours, mut reads) = (Vec::new(), Vec::new());
    // The first is for warming up.
    for round in 0..=bench.samples(7, 1) {
        let before = workload::now();
        read_all(&stage.path().join("state/runs"))?;
        let read = millis(before, workload::now()) / 1000.0;
        let before = workload::now();
        stage.end_daemons(Signal::SIGKILL);
        stage.supervise(bench)?;
        wait_for_line(stage.log()?, &format!("took over {jobs} "))?;
        let took = millis(before, workload::now()) / 1000.0;
        if round > 0 {
            ours.push(took);
            reads.push(read);
        }
        interrupt::sleep(Duration::from_secs(1))?;
    }
    let alive = began.iter().filter(|pid| Path::new(&format!("/proc/{pid}")).exists()).count();
    if alive != jobs {
        bail!("{alive} of {jobs} workloads live after the kills");
    }
    Ok(vec![row.ours(&ours).beside("a read of the records", &reads)])
}

fn read_all(folder: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            read_all(&path)?;
        } else {
            fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        }
    }
    Ok(())
}

fn wait_for_line(log: &Path, line: &str) -> anyhow::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while !fs::read_to_string(log).unwrap_or_default().contains(line) {
        interrupt::check()?;
        if Instant::now() > deadline {
            bail!("the supervisor does not say {line:?} within {TIMEOUT:?}");
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}
