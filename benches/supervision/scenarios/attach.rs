//! Rules that take over processes: how long from the start of one that fits until its constraints are in
//! force, and what 100 rules cost on a machine with 1,000 processes, beside a supervisor without any.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::process::{Activity, Stat};
use crate::stage::Stage;
use crate::stats::millis;
use crate::table::{Aim, Row};
use crate::workload::{self, Life};
use crate::{Bench, interrupt};

const RULES: usize = 100;
const TIMEOUT: Duration = Duration::from_secs(20);
const NICE: i32 = 5;
/// How often the process is looked at: this much at most is added to our figure.
const POLL: Duration = Duration::from_micros(200);

/// How long it takes.
pub fn measure_latency(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let what = "a process starts that a rule fits, until constrained";
    let row = Row::new("attach", what, "ms").aim(Aim::Below(50.0));
    if bench.binaries.is_none() {
        return Ok(vec![row]);
    }
    let mut stage = Stage::new(bench)?;
    let program = stage.path().join("fitting");
    fs::copy(stage.program(), &program).context("cannot copy the bench's own program")?;
    let rule = format!(
        "[constraints]\nnice = {NICE}\ncpu_weight = 50\nmemory_limit = \"1GiB\"\n\
         [attach]\nmatch = {{ exe = {:?} }}\nmove = true\nall = true\n",
        program.display().to_string()
    );
    stage.declare("rule", &rule)?;
    stage.supervise(bench)?;
    interrupt::sleep(Duration::from_secs(2))?;
    let mut ours = Vec::new();
    // The first is for warming up.
    for id in 0..=bench.samples(100, 10) {
        let arguments = stage.workload(Life::Stay, id);
        let mut command = Command::new(&program);
        command.args(&arguments[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Reaped with all others at the end.
        let child = command.spawn().context("cannot start the workload")?;
        let begun = stage.wait_for(1, false, TIMEOUT)?[0];
        // The last of what is done before it is recorded.
        wait_for_nice(i32::try_from(child.id())?)?;
        let took = millis(begun.at, workload::now());
        if id > 0 {
            ours.push(took);
        }
        interrupt::sleep(Duration::from_millis(100))?;
    }
    Ok(vec![row.ours(&ours)])
}

fn wait_for_nice(pid: i32) -> anyhow::Result<()> {
    let deadline = Instant::now() + TIMEOUT;
    while Stat::read(pid)?.nice != NICE {
        interrupt::check()?;
        if Instant::now() > deadline {
            bail!("process {pid} is not taken over within {TIMEOUT:?}");
        }
        std::thread::sleep(POLL);
    }
    Ok(())
}

/// What they cost.
pub fn measure_cost(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let processes = bench.jobs;
    let what = format!("CPU of {RULES} attach rules, {processes} processes");
    let row = Row::new("attach_idle", what, "% of a core").aim(Aim::Below(0.1));
    if bench.binaries.is_none() {
        return Ok(vec![row]);
    }
    let without = cost(bench, processes, 0)?;
    let with = cost(bench, processes, RULES)?;
    Ok(vec![row.ours(&[with]).beside("no rules", &[without])])
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn cost(bench: &Bench, processes: usize, rules: usize) -> anyhow::Result<f64> {
    let mut stage = Stage::new(bench)?;
    stage.jobs()?;
    for id in 0..processes {
        stage.spawn(Life::Stay, id)?;
    }
    stage.wait_for(processes, false, Duration::from_secs(60))?;
    for n in 0..rules {
        let absent = Path::new("/nowhere").join(n.to_string());
        let rule = format!(
            "[constraints]\nnice = 1\n[attach]\nmatch = {{ name = \"absent-{n}\", args = \"-i .*{n}\", exe = {:?} }}\n",
            absent.display().to_string()
        );
        stage.declare(&format!("rule-{n:03}"), &rule)?;
    }
    let (pid, _) = stage.supervise(bench)?;
    interrupt::sleep(Duration::from_secs(5))?;
    let (before, began) = (Activity::read(pid)?, Instant::now());
    // It holds two regular looks at everybody.
    interrupt::sleep(Duration::from_secs(if bench.quick { 5 } else { 60 }))?;
    let used = Activity::read(pid)?.since(before);
    Ok(used.nanos as f64 / 1e9 / began.elapsed().as_secs_f64() * 100.0)
}
