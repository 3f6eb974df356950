//! `validate` of 10,000 job files, beside a bare TOML parse of the same files: one process each, from
//! its start to its end, with warm caches.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, bail};

use crate::stage::Stage;
use crate::stats::millis;
use crate::table::{Aim, Row};
use crate::workload;
use crate::{Bench, interrupt};

/// The hidden command: `__parse DIR`.
pub const PARSE_COMMAND: &str = "__parse";

/// Measures it.
pub fn measure(bench: &Bench) -> anyhow::Result<Vec<Row>> {
    let files = bench.samples(10_000, 1000);
    let stage = Stage::new(bench)?;
    let jobs = stage.jobs()?;
    for id in 0..files {
        let path = jobs.join(format!("job-{id:05}.toml"));
        fs::write(&path, job(id)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let mut note = None;
    // The first round is for warming up.
    for round in 0..=bench.samples(9, 3) {
        interrupt::check()?;
        let mut parse = Command::new(stage.program());
        parse.arg(PARSE_COMMAND).arg(&jobs);
        let (parsed, code) = time(&stage, &mut parse)?;
        if code != Some(0) {
            bail!("the reference failed: {}", first_line(&stage));
        }
        let validated = match &bench.binaries {
            Some(binaries) => {
                let mut validate = Command::new(&binaries.supervisor);
                validate.arg("--root").arg(stage.path()).arg("validate");
                let (validated, code) = time(&stage, &mut validate)?;
                if code != Some(0) {
                    bail!("validate ended with {code:?} on good files: {}", first_line(&stage));
                }
                let printed = fs::metadata(stage.path().join("output")).map_or(0, |meta| meta.len());
                if printed > 1000 {
                    note = Some(format!("it printed {printed} bytes, such as: {}", first_line(&stage)));
                }
                Some(validated)
            }
            None => None,
        };
        if round > 0 {
            bare.push(parsed);
            ours.extend(validated);
        }
    }
    let what = format!("validate {files} files");
    let row = |name| Row::new(name, &what, "s").ours(&ours).beside("bare TOML parse", &bare);
    let mut absolute = row("validate").aim(Aim::Below(1.0));
    absolute.note = note;
    Ok(vec![row("validate_ratio").aim(Aim::AtMostTimes(3.0)), absolute])
}

/// Seconds that a command took, and its exit code. Its output is in the stage's `output`.
fn time(stage: &Stage, command: &mut Command) -> anyhow::Result<(f64, Option<i32>)> {
    let output = File::create(stage.path().join("output")).context("cannot create the output file")?;
    command
        .stdin(Stdio::null())
        .stdout(output.try_clone().context("cannot share the output file")?)
        .stderr(output);
    let before = workload::now();
    let status =
        command.status().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    Ok((millis(before, workload::now()) / 1000.0, status.code()))
}

fn first_line(stage: &Stage) -> String {
    let output = fs::read(stage.path().join("output")).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("it printed nothing").into()
}

/// The reference: reads every file and parses it to a table.
pub fn parse_all(arguments: &[OsString]) -> anyhow::Result<()> {
    let [dir] = arguments else { bail!("usage: {PARSE_COMMAND} DIR") };
    for entry in fs::read_dir(Path::new(dir)).with_context(|| format!("cannot read {}", dir.display()))? {
        let path = entry?.path();
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str::<toml::Table>(&text).with_context(|| format!("cannot parse {}", path.display()))?;
    }
    Ok(())
}

/// A job as people write them, in which nothing is to be found fault with.
fn job(id: usize) -> String {
    format!(
        r#"description = "Transcode {id} for the archive"
profiles = ["low-priority"]
lifecycle = "oneshot"
intent = "production"
tags = {{ customer = "acme", batch = "{batch}" }}

[exec]
command = [
    "/usr/bin/ffmpeg", "-hide_banner", "-nostdin", "-y",
    "-i", "/srv/media/in/{id:05}.mkv",
    "-c:v", "libx264", "-preset", "medium", "-crf", "21",
    "-c:a", "aac", "-b:a", "160k",
    "/srv/media/out/{id:05}.mp4",
]
output = "file"

[constraints]
cpu_weight = 50
memory_limit = "2GiB"
nice = 10
oom_score_adj = 500

[restart]
policy = "on-failure"
delay = "5s"
max_delay = "2m"
limit = {{ starts = 5, within = "30m" }}

[stop]
signal = "SIGINT"
timeout = "20s"

[timeouts]
run = "6h"
"#,
        batch = id / 100
    )
}
