//! One file changed among 10,000, beside one among 100: from the rename until the process has its new
//! nice value. Nearly all jobs are disabled, so that what grows is the number of files alone.

use std::time::{Duration, Instant};

use anyhow::bail;

use crate::process::Stat;
use crate::stage::Stage;
use crate::stats::millis;
use crate::table::{Aim, Row};
use crate::workload::{self, Life};
use crate::{Bench, interrupt};

/// A start may read all files and report on each.
const START: Duration = Duration::from_secs(120);
const EFFECT: Duration = Duration::from_secs(20);
/// How often the process is looked at: this much at most is added to both figures.
const POLL: Duration = Duration::from_micros(100);
/// Nice values only go up, which needs no privilege; so there are 19 edits in a job.
const EDITS: i32 = 19;

/// Measures it.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let row =
        Row::new("edit", "one file changed among 10,000 until in force", "ms").aim(Aim::AtMostTimes(2.0));
    if bench.binaries.is_none() {
        return Ok(vec![row]);
    }
    let few = among(bench, 100)?;
    let many = among(bench, 10_000)?;
    Ok(vec![row.ours(&many).beside("among 100", &few)])
}

fn among(bench: &Bench, files: usize) -> anyhow::Result<Vec<f64>> {
    let jobs = bench.samples(3, 1);
    let mut stage = Stage::new(bench)?;
    for id in jobs..files {
        let disabled = format!("enabled = false\n{}", stage.job(Life::Stay, id, ""));
        stage.declare(&format!("idle-{id:05}"), &disabled)?;
    }
    let text =
        |stage: &Stage, id, nice| stage.job(Life::Stay, id, &format!("[constraints]\nnice = {nice}\n"));
    for id in 0..jobs {
        stage.declare(&format!("job-{id}"), &text(&stage, id, 0))?;
    }
    stage.supervise(bench)?;
    let checkins = stage.wait_for(jobs, false, START)?;
    interrupt::sleep(Duration::from_secs(if bench.quick { 2 } else { 5 }))?;

    let mut samples = Vec::new();
    for checkin in checkins {
        for nice in 1..=EDITS {
            let id = usize::try_from(checkin.id)?;
            let before = stage.declare(&format!("job-{id}"), &text(&stage, id, nice))?;
            samples.push(millis(before, niced(checkin.pid, nice)?));
            interrupt::sleep(Duration::from_millis(300))?;
        }
    }
    Ok(samples)
}

/// Waits for the process to have the nice value. Gives when it was seen.
fn niced(pid: i32, nice: i32) -> anyhow::Result<i64> {
    let deadline = Instant::now() + EFFECT;
    loop {
        let stat = Stat::read(pid)?;
        if stat.nice == nice {
            return Ok(workload::now());
        }
        interrupt::check()?;
        if stat.state == 'Z' || Instant::now() > deadline {
            bail!(
                "process {pid} did not get nice {nice} within {EFFECT:?}: state {}, nice {}",
                stat.state,
                stat.nice
            );
        }
        std::thread::sleep(POLL);
    }
}
