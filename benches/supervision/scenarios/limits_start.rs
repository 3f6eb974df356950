//! What six constraints add to the time from a job file until its workload's first instruction, beside
//! the same writes and reads by the bench itself. Both kinds of job have a cgroup, and take turns.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use ffrtmp::linux::sys;
use ffrtmp::model::constraints::ConstraintName;
use ffrtmp::model::process::Pid;

use crate::limits::{self, Host};
use crate::process::Stat;
use crate::stage::Stage;
use crate::stats::{Summary, millis};
use crate::table::{Aim, Row};
use crate::workload::{self, Life};
use crate::{Bench, interrupt};

/// Long enough for the last run to be over and done with, also where a fork takes 30 ms.
const PAUSE: Duration = Duration::from_millis(150);
const TIMEOUT: Duration = Duration::from_secs(20);

/// Measures it.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let row = Row::new("limits_start", "extra time to start with six constraints", "ms").aim(Aim::Below(1.0));
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
    let row = if host.count() == 6 {
        row
    } else {
        row.of(format!("extra time to start with {} constraints", host.count()))
    };
    stage.declare("reference", &stage.job(Life::Stay, 0, ""))?;
    let pid = stage.wait_for(1, false, TIMEOUT)?[0].pid;
    let reference = Reference::new(&host, &stage, pid)?;
    interrupt::sleep(Duration::from_secs(1))?;

    let constraints = limits::kept(&host);
    let (mut free, mut limited, mut extra, mut bare) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The first pair is for warming up.
    for pair in 0..=bench.samples(150, 10) {
        let mut took = [0.0; 2];
        // What one leaves for the next to suffer is shared fairly.
        for kind in if pair % 2 == 0 { [0, 1] } else { [1, 0] } {
            let more = ["", &constraints][kind];
            let job = format!("job-{pair:04}-{kind}");
            let before = stage.declare(&job, &stage.job(Life::Once, pair, more))?;
            took[kind] = millis(before, stage.wait_for(1, false, TIMEOUT)?[0].at);
            interrupt::sleep(PAUSE)?;
        }
        let direct = reference.measure()?;
        interrupt::sleep(PAUSE)?;
        if pair > 0 {
            free.push(took[0]);
            limited.push(took[1]);
            extra.push(took[1] - took[0]);
            bare.push(direct);
        }
    }
    let mut row = host.named_in(row).ours(&extra).beside("writes and reads", &bare);
    for (name, samples) in [("without_median_ms", free), ("with_median_ms", limited)] {
        row.details.extend(Summary::of(samples).map(|summary| (name, summary.median)));
    }
    Ok(vec![row])
}

/// The same values, written and read back by the bench: limits into the cgroup of a job that has none,
/// and to its process the attributes that it has.
struct Reference {
    /// File, value, and the value it had.
    files: Vec<(PathBuf, String, String)>,
    nice: Option<(Pid, i8)>,
}

impl Reference {
    fn new(host: &Host, stage: &Stage, pid: i32) -> anyhow::Result<Self> {
        let cgroup = limits::cgroup_of(stage, "reference")?;
        let mut files = Vec::new();
        for limit in &host.limits {
            let file = limit.file(&cgroup).context("a limit that is kept has a file")?;
            let before = limits::read(&file)?;
            files.push((file, limit.text(&cgroup, 50), before));
        }
        if host.attributes.contains(&ConstraintName::OomScoreAdj) {
            let file = PathBuf::from(format!("/proc/{pid}/oom_score_adj"));
            let value = limits::read(&file)?;
            files.push((file, value.clone(), value));
        }
        let nice = if host.attributes.contains(&ConstraintName::Nice) {
            let process = Pid::new(pid.cast_unsigned()).context("a pid is above 0")?;
            Some((process, i8::try_from(Stat::read(pid)?.nice)?))
        } else {
            None
        };
        Ok(Self { files, nice })
    }

    /// Gives how long it took, and puts everything back.
    fn measure(&self) -> anyhow::Result<f64> {
        let before = workload::now();
        for (file, value, _) in &self.files {
            limits::write_and_read(file, value)?;
        }
        if let Some((pid, nice)) = self.nice {
            sys::set_nice(pid, nice).context("cannot set the nice value that a process has")?;
            Stat::read(pid.as_raw())?;
        }
        let took = millis(before, workload::now());
        for (file, _, value) in &self.files {
            fs::write(file, value).with_context(|| format!("cannot write {}", file.display()))?;
        }
        Ok(took)
    }
}
