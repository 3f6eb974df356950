//! A workload's exit until its report says so, beside two durable records on the same disk: the
//! wrapper's `exited.json` and the report itself.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::stage::Stage;
use crate::stats::millis;
use crate::table::{Aim, Row};
use crate::workload::{self, Life};
use crate::{Bench, interrupt};

const TIMEOUT: Duration = Duration::from_secs(10);
/// How often the report is looked at: this much at most is added to our figure.
const POLL: Duration = Duration::from_micros(100);
/// About as long as a record is.
const RECORD: usize = 700;

/// Measures it.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let samples = bench.samples(100, 10);
    let mut stage = Stage::new(bench)?;
    if bench.binaries.is_some() {
        stage.jobs()?;
        stage.supervise(bench)?;
    }
    let (mut ours, mut records) = (Vec::new(), Vec::new());
    // The first is for warming up.
    for id in 0..=samples {
        let before = workload::now();
        for name in ["exited.json", "report.json"] {
            durable_record(stage.path(), name)?;
        }
        let took = millis(before, workload::now());
        if id > 0 {
            records.push(took);
        }
        if bench.binaries.is_some() {
            let job = format!("job-{id:04}");
            stage.declare(&job, &stage.job(Life::Brief, id, ""))?;
            let ended = stage.wait_for(1, true, TIMEOUT)?[0].at;
            let reported = ended_report(&stage.path().join(format!("state/reports/{job}.json")))?;
            if id > 0 {
                ours.push(millis(ended, reported));
            }
        }
        interrupt::sleep(Duration::from_millis(50))?;
    }
    Ok(vec![
        Row::new("exit_report", "workload's exit until its report is on disk", "ms")
            .ours(&ours)
            .beside("2 durable writes", &records)
            .aim(Aim::Below(10.0)),
    ])
}

/// Waits for the report to have an end. Gives when it was seen.
fn ended_report(path: &Path) -> anyhow::Result<i64> {
    let deadline = Instant::now() + TIMEOUT;
    let mut seen = None;
    loop {
        // Each version is a new file, renamed into place: only a new one is read.
        let version = fs::metadata(path).ok().map(|meta| (meta.ino(), meta.mtime(), meta.mtime_nsec()));
        if version.is_some() && version != seen {
            let now = workload::now();
            let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            let report: serde_json::Value = serde_json::from_slice(&text).with_context(|| {
                format!("{} is not whole: it was not replaced atomically", path.display())
            })?;
            if report["ended_at"].is_string() {
                return Ok(now);
            }
            seen = version;
        }
        interrupt::check()?;
        if Instant::now() > deadline {
            bail!("{} tells of no end within {TIMEOUT:?}", path.display());
        }
        std::thread::sleep(POLL);
    }
}

/// A temporary file, fsync, rename, fsync of the folder.
fn durable_record(dir: &Path, name: &str) -> anyhow::Result<()> {
    let (temporary, path) = (dir.join(format!(".{name}.new")), dir.join(name));
    let written = (|| {
        let mut file = File::create(&temporary)?;
        file.write_all(&[b' '; RECORD])?;
        file.sync_all()?;
        fs::rename(&temporary, &path)?;
        File::open(dir)?.sync_all()
    })();
    written.with_context(|| format!("cannot write {}", path.display()))
}
