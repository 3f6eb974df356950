//! The results: a table for people, JSON for programs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use ffrtmp::model::constraints::Backend;
use serde::Serialize;

use crate::field::Field;
use crate::stats::Summary;
use crate::{Bench, Binaries};

/// Which value of a series is compared.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Statistic {
    /// The middle one.
    Median,
    /// The 99th percentile.
    P99,
}

impl Statistic {
    fn of(self, summary: &Summary) -> f64 {
        match self {
            Self::Median => summary.median,
            Self::P99 => summary.p99,
        }
    }
}

/// What we want to reach.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Aim {
    /// Less than this, in the row's unit.
    Below(f64),
    /// At most so many times the reference.
    AtMostTimes(f64),
    /// Less than the reference.
    BelowReference,
}

/// One figure and what it is compared with.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Short and stable, for programs.
    pub name: &'static str,
    /// In words.
    pub what: String,
    /// What keeps the limits that were measured, in a row about limits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<Backend>,
    /// Of all figures of the row.
    pub unit: &'static str,
    /// Which value is compared.
    pub statistic: Statistic,
    /// Measured of our programs.
    pub ours: Option<Summary>,
    /// What the reference is.
    pub reference_name: &'static str,
    /// Measured of the reference.
    pub reference: Option<Summary>,
    /// What we want to reach; none where the figure is only told.
    pub aim: Option<Aim>,
    /// Why a figure is missing, or what else to know.
    pub note: Option<String>,
    /// More figures, with their units in their names.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<&'static str, f64>,
}

impl Row {
    /// A row without figures.
    pub fn new(name: &'static str, what: impl Into<String>, unit: &'static str) -> Self {
        Self {
            name,
            what: what.into(),
            backend: None,
            unit,
            statistic: Statistic::Median,
            ours: None,
            reference_name: "",
            reference: None,
            aim: None,
            note: None,
            details: BTreeMap::new(),
        }
    }

    /// Compares the 99th percentile instead of the median.
    pub fn p99(mut self) -> Self {
        self.statistic = Statistic::P99;
        self
    }

    /// Something else than what it was made for was measured.
    pub fn of(mut self, what: String) -> Self {
        self.what = what;
        self
    }

    /// Measured of limits that this keeps.
    pub fn by(mut self, backend: Backend) -> Self {
        self.backend = Some(backend);
        self
    }

    /// Our samples.
    pub fn ours(mut self, samples: &[f64]) -> Self {
        self.ours = Summary::of(samples.to_vec());
        self
    }

    /// The reference's samples.
    pub fn beside(mut self, name: &'static str, samples: &[f64]) -> Self {
        self.reference_name = name;
        self.reference = Summary::of(samples.to_vec());
        self
    }

    /// What we want to reach.
    pub fn aim(mut self, aim: Aim) -> Self {
        self.aim = Some(aim);
        self
    }

    /// Why a figure is missing, or what else to know.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    fn figure(&self, summary: Option<&Summary>) -> Option<f64> {
        summary.map(|summary| self.statistic.of(summary))
    }

    fn ratio(&self) -> Option<f64> {
        let reference = self.figure(self.reference.as_ref()).filter(|reference| *reference > 0.0)?;
        Some(self.figure(self.ours.as_ref())? / reference)
    }

    fn met(&self) -> Option<bool> {
        match self.aim? {
            Aim::Below(limit) => Some(self.figure(self.ours.as_ref())? < limit),
            Aim::AtMostTimes(limit) => Some(self.ratio()? <= limit),
            Aim::BelowReference => Some(self.ratio()? < 1.0),
        }
    }

    /// What was measured, of what.
    fn title(&self) -> String {
        self.backend.map_or_else(|| self.what.clone(), |backend| format!("{}, {backend}", self.what))
    }

    fn cells(&self) -> [String; 6] {
        let dash = || DASH.to_string();
        let with_unit = |value: f64| format!("{} {}", short(value), self.unit);
        let reference = match (self.figure(self.reference.as_ref()), self.reference_name) {
            (Some(value), name) => format!("{} ({name})", with_unit(value)),
            (None, "") => dash(),
            (None, name) => format!("SKIPPED ({name})"),
        };
        [
            self.title(),
            self.figure(self.ours.as_ref()).map_or_else(dash, with_unit),
            reference,
            self.ratio().map_or_else(dash, |ratio| format!("{} x", short(ratio))),
            match self.aim {
                None => dash(),
                Some(Aim::Below(limit)) => format!("< {}", with_unit(limit)),
                Some(Aim::AtMostTimes(limit)) => format!("<= {} x", short(limit)),
                Some(Aim::BelowReference) => "< 1 x".into(),
            },
            self.met().map_or_else(dash, |met| if met { "yes" } else { "NO" }.into()),
        ]
    }
}

/// Prints rows of cells below each other.
pub fn print_table<const N: usize>(head: &[String; N], rows: impl Iterator<Item = [String; N]>) {
    let cells: Vec<_> = std::iter::once(head.clone()).chain(rows).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    for (index, row) in cells.iter().enumerate() {
        let padded: Vec<String> =
            row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        println!("| {} |", padded.join(" | "));
        if index == 0 {
            println!("|{}|", widths.map(|width| "-".repeat(width + 2)).join("|"));
        }
    }
}

/// In a cell without a figure.
pub const DASH: &str = "–";

/// The median with its unit.
pub fn figure(summary: Option<&Summary>, unit: &str) -> String {
    summary.map_or_else(|| DASH.into(), |summary| format!("{} {unit}", short(summary.median)))
}

/// Three significant digits.
pub fn short(value: f64) -> String {
    let decimals = match value.abs() {
        v if v >= 100.0 || v == 0.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        v if v >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

/// Where and with what was measured.
#[derive(Debug, Serialize)]
struct Host {
    at: String,
    kernel: String,
    cpu: String,
    cpus: usize,
    /// Of the last minute, when the bench began: other work makes the figures worse.
    load: f64,
    dir: String,
    filesystem: String,
    /// Bytes of each measured program.
    binaries: BTreeMap<String, u64>,
    /// How the bench, which is the workload and the TOML reference too, was built.
    bench_libc: &'static str,
}

impl Host {
    fn new(bench: &Bench) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let size =
            |path: &Path| (path.display().to_string(), fs::metadata(path).map_or(0, |meta| meta.len()));
        Self {
            at: jiff::Timestamp::now().to_string(),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().into(),
            cpu: model.map_or("unknown", |(_, model)| model).into(),
            cpus: std::thread::available_parallelism().map_or(0, Into::into),
            load: load.split(' ').next().and_then(|load| load.parse().ok()).unwrap_or(0.0),
            dir: bench.dir.display().to_string(),
            filesystem: filesystem(&bench.dir).unwrap_or_else(|| "unknown".into()),
            binaries: bench.binaries.iter().flat_map(Binaries::paths).map(size).collect(),
            bench_libc: if cfg!(target_env = "musl") { "musl" } else { "glibc" },
        }
    }
}

/// The file system that holds the folder, by the longest mount point above it (proc_pid_mounts(5)).
fn filesystem(dir: &Path) -> Option<String> {
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = |line: &str| {
        let mut fields = line.split(' ');
        let (device, point, kind) = (fields.next()?, fields.next()?, fields.next()?);
        dir.starts_with(point).then(|| (point.len(), format!("{kind} on {device}")))
    };
    mounts.lines().filter_map(mount).max_by_key(|(length, _)| *length).map(|(_, name)| name)
}

/// All that was measured.
#[derive(Debug, Serialize)]
pub struct Results {
    schema: &'static str,
    quick: bool,
    host: Host,
    rows: Vec<Row>,
    /// Other supervisors, and ours among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    peers: Option<Field>,
    /// Scenario and reason.
    failures: BTreeMap<&'static str, String>,
}

impl Results {
    /// None yet.
    pub fn new(bench: &Bench) -> Self {
        Self {
            schema: "ffrtmp.bench/1",
            quick: bench.quick,
            host: Host::new(bench),
            rows: Vec::new(),
            peers: None,
            failures: BTreeMap::new(),
        }
    }

    /// Takes a scenario's rows, or why there are none.
    pub fn add(&mut self, scenario: &'static str, rows: anyhow::Result<Vec<Row>>) {
        match rows {
            Ok(rows) => self.rows.extend(rows),
            Err(error) => self.fail(scenario, &error),
        }
    }

    /// Takes what was measured of other supervisors.
    pub fn add_peers(&mut self, peers: anyhow::Result<Field>) {
        match peers {
            Ok(peers) => self.peers = Some(peers),
            Err(error) => self.fail("peers", &error),
        }
    }

    fn fail(&mut self, scenario: &'static str, error: &anyhow::Error) {
        eprintln!("bench: {scenario} could not be measured: {error:#}");
        self.failures.insert(scenario, format!("{error:#}"));
    }

    /// Whether every scenario could be measured.
    pub fn complete(&self) -> bool {
        self.failures.is_empty()
    }

    /// Prints where we are.
    pub fn print_host(&self) {
        let Host { kernel, cpu, cpus, load, dir, filesystem, binaries, bench_libc, .. } = &self.host;
        println!("Linux {kernel}, {cpus} x {cpu}; temporary files in {dir} ({filesystem})");
        for (path, bytes) in binaries {
            println!("{path}: {} kB", bytes / 1000);
        }
        #[allow(clippy::cast_precision_loss)] // few CPUs
        if *load > 0.3 * *cpus as f64 {
            println!("the load average is {load}: other work will show in the figures");
        }
        if *bench_libc != "musl" {
            println!(
                "the bench is built for glibc: its workload starts slower, and its TOML parse runs faster,"
            );
            println!("than with the libc of the binaries it measures");
        }
        println!("measuring; this takes some minutes\n");
    }

    /// Prints the tables, in Markdown.
    pub fn print(&self) {
        if !self.rows.is_empty() {
            let head = ["what", "ours", "reference", "ratio", "aim", "met"].map(String::from);
            print_table(&head, self.rows.iter().map(Row::cells));
        }
        for row in &self.rows {
            if let Some(note) = &row.note {
                println!("{}: {note}", row.title());
            }
        }
        if let Some(peers) = &self.peers {
            println!();
            peers.print();
        }
        for (scenario, reason) in &self.failures {
            println!("NOT MEASURED: {scenario}: {reason}");
        }
        if self.quick {
            println!("a quick run: too few samples for a statement");
        }
    }

    /// Writes everything as JSON.
    pub fn write(&self, path: &Path) -> anyhow::Result<()> {
        let mut value = serde_json::to_value(self).context("cannot encode the results")?;
        if let Some(rows) = value["rows"].as_array_mut() {
            for (row, figures) in rows.iter_mut().zip(&self.rows) {
                row["ratio"] = figures.ratio().into();
                row["met"] = figures.met().into();
            }
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        }
        let text = serde_json::to_string_pretty(&value).context("cannot encode the results")?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        println!("\nall figures: {}", path.display());
        Ok(())
    }
}
