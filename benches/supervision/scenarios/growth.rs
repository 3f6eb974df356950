//! What is left of 10,000 runs: memory and descriptors of the supervisor, and files on disk, each as the
//! growth over all but the first tenth of them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;

use crate::process::rss_kb;
use crate::stage::Stage;
use crate::table::{Aim, Row};
use crate::workload::Life;
use crate::{Bench, interrupt};

/// Jobs that start again as soon as they end.
const JOBS: usize = 20;
const TIMEOUT: Duration = Duration::from_secs(900);

/// What there is at a time.
struct Size {
    rss_kb: f64,
    descriptors: f64,
    files: f64,
}

/// Measures it.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let runs = bench.samples(10_000, 1_000);
    let row = |name, what: &str, unit| Row::new(name, format!("{what}, growth over {runs} runs"), unit);
    let rows = [
        row("growth_memory", "supervisor's RSS", "kB").aim(Aim::Below(1000.0)),
        row("growth_descriptors", "supervisor's descriptors", "").aim(Aim::Below(1.0)),
        row("growth_files", "files in the state folder", "").aim(Aim::Below(1.0)),
    ];
    if bench.binaries.is_none() {
        return Ok(rows.into());
    }
    let mut stage = Stage::new(bench)?;
    // Few reports are kept, so that all of them are there after a tenth of the runs.
    fs::write(stage.path().join("supervisor.toml"), "[reports]\nkeep = 3\n")
        .context("cannot write the settings")?;
    let restart = "[restart]\npolicy = \"always\"\ndelay = \"1ms\"\nmax_delay = \"1ms\"\n";
    for id in 0..JOBS {
        stage.declare(&format!("job-{id:02}"), &stage.job(Life::Once, id, restart))?;
    }
    let (pid, _) = stage.supervise(bench)?;
    stage.wait_for(runs / 10, false, TIMEOUT)?;
    let before = size(pid, stage.path())?;
    stage.wait_for(runs, false, TIMEOUT)?;
    let after = size(pid, stage.path())?;
    let growth =
        [after.rss_kb - before.rss_kb, after.descriptors - before.descriptors, after.files - before.files];
    Ok(rows.into_iter().zip(growth).map(|(row, growth)| row.ours(&[growth])).collect())
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn size(pid: i32, root: &Path) -> anyhow::Result<Size> {
    // They go up and down with each run: the least of some looks is what stays.
    let mut least: Option<Size> = None;
    for _ in 0..50 {
        let descriptors =
            fs::read_dir(format!("/proc/{pid}/fd")).context("cannot count descriptors")?.count();
        let now = Size {
            rss_kb: rss_kb(pid)?,
            descriptors: descriptors as f64,
            files: files(&root.join("state")) as f64,
        };
        least = Some(match least {
            None => now,
            Some(least) => Size {
                rss_kb: least.rss_kb.min(now.rss_kb),
                descriptors: least.descriptors.min(now.descriptors),
                files: least.files.min(now.files),
            },
        });
        interrupt::sleep(Duration::from_millis(20))?;
    }
    least.context("looked at least once")
}

/// What is below a folder. It changes while it is counted: what is gone does not count.
fn files(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| 1 + if entry.path().is_dir() { files(&entry.path()) } else { 0 }).sum()
}
