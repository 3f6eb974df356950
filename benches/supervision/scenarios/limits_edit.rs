//! A limit changed in a job file until the kernel has it, beside writing it into the same file of the
//! cgroup and reading it back.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::limits::{self, Writes};
use crate::stage::Stage;
use crate::stats::millis;
use crate::table::{Aim, Row};
use crate::workload::{self, Life};
use crate::{Bench, interrupt};

/// The supervisor is found idle, as in life.
const PAUSE: Duration = Duration::from_millis(300);
const TIMEOUT: Duration = Duration::from_secs(20);
/// The value before the first edit.
const FIRST: u32 = 50;

/// Measures it.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let row = Row::new("limits_edit", "one limit edited until in the kernel", "ms").aim(Aim::Below(10.0));
    if bench.binaries.is_none() {
        return Ok(vec![row]);
    }
    let mut stage = Stage::new(bench)?;
    stage.jobs()?;
    stage.supervise(bench)?;
    let host = match limits::survey(&mut stage)? {
        Ok(host) => host,
        Err(why) => return Ok(vec![limits::skipped(row, &why)]),
    };
    let limit = host.limit();
    let text =
        |stage: &Stage, value| stage.job(Life::Stay, 0, &format!("[constraints]\n{}", limit.line(value)));
    stage.declare("job", &text(&stage, FIRST))?;
    let pid = stage.wait_for(1, false, TIMEOUT)?[0].pid;
    let cgroup = limits::cgroup_of(&stage, "job")?;
    let file = limit.file(&cgroup).context("a limit that is kept has a file")?;
    let writes = Writes::to(std::slice::from_ref(&file))?;
    interrupt::sleep(Duration::from_secs(1))?;

    let (mut ours, mut direct) = (Vec::new(), Vec::new());
    // The first is for warming up.
    for value in FIRST + 1..=FIRST + 1 + u32::try_from(bench.samples(100, 10))? {
        let before = stage.declare("job", &text(&stage, value))?;
        let took = millis(before, writes.until_all_are(&limit.text(&cgroup, value), TIMEOUT)?);
        let within = ffrtmp::linux::cgroup::procs(&cgroup).context("cannot read who is in the cgroup")?;
        if !within.iter().any(|process| process.as_raw() == pid) {
            bail!("after an edit of {} process {pid} is gone: the job was started again", limit.name());
        }
        interrupt::sleep(PAUSE)?;
        // The value that is in force, so that nothing changes behind the supervisor's back.
        let before = workload::now();
        limits::write_and_read(&file, &limit.text(&cgroup, value))?;
        let reference = millis(before, workload::now());
        writes.until_all_are(&limit.text(&cgroup, value), TIMEOUT)?;
        interrupt::sleep(PAUSE)?;
        if value > FIRST + 1 {
            ours.push(took);
            direct.push(reference);
        }
    }
    Ok(vec![host.named_in(row).ours(&ours).beside("a write and a read", &direct)])
}
