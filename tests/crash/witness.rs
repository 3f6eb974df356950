//! What the workloads said, held against what was reported of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use ffrtmp::model::process::ProcessIdentity;
use serde_json::Value;

use super::harness::{identify, lives, names};

/// A run, as its workload told of it.
#[derive(Debug, Clone)]
pub struct Life {
    pub job: String,
    pub generation: u32,
    /// The main process; `None` if that is gone.
    pub process: Option<ProcessIdentity>,
    /// When it was asked to end, in milliseconds of the wall clock.
    pub term: Option<i64>,
    /// How it was about to end: a code, or a signal's name.
    pub end: Option<String>,
}

impl Life {
    pub fn lives(&self) -> bool {
        self.process.as_ref().is_some_and(lives)
    }
}

/// All that was said.
#[derive(Debug, Default)]
pub struct Witness {
    /// By run id, so by time.
    pub lives: BTreeMap<String, Life>,
    /// The processes that live: workloads and their children.
    pub living: Vec<ProcessIdentity>,
    /// What contradicts by itself.
    pub doubled: Vec<String>,
    pub lines: Vec<String>,
}

impl Witness {
    pub fn read(file: &Path) -> Self {
        let text = fs::read_to_string(file).expect("the witness");
        let mut witness = Self::default();
        for line in text.lines() {
            let mut words = line.splitn(7, ' ');
            let mut word = || words.next().expect("seven words");
            let (wall, job, run, generation) = (word(), word(), word(), word());
            let (pid, begun, what) = (word(), word(), word());
            let number = |text: &str| text.parse::<u64>().expect("a number");
            let wall = wall.parse().expect("a time");
            let process = identify(pid.parse().expect("a pid"))
                .filter(|found| found.start_time == number(begun))
                .filter(lives);
            witness.lines.push(line.into());
            witness.living.extend(process.clone().filter(|_| matches!(what, "start" | "overlap" | "child")));
            match what {
                "start" | "overlap" => {
                    let life = Life {
                        job: job.into(),
                        generation: u32::try_from(number(generation)).expect("small"),
                        process,
                        term: None,
                        end: None,
                    };
                    if what == "overlap" {
                        witness
                            .doubled
                            .push(format!("{job} {run}: began while another run of the job lived"));
                    }
                    if witness.lives.insert(run.into(), life).is_some() {
                        witness.doubled.push(format!("{job} {run}: began twice"));
                    }
                }
                "child" => {}
                _ => {
                    let life = witness.lives.get_mut(run).expect("it began");
                    if what == "term" && life.term.is_some() {
                        witness.doubled.push(format!("{job} {run}: was asked to end twice"));
                    }
                    match what.strip_prefix("end ") {
                        Some(end) => life.end = Some(end.into()),
                        None => life.term = life.term.or(Some(wall)),
                    }
                }
            }
        }
        witness
    }

    /// The newest run of a job, if it lives, and is of this generation.
    pub fn live(&self, job: &str, generation: u32) -> Option<&Life> {
        let newest = self.lives.values().rev().find(|life| life.job == job)?;
        Some(newest).filter(|life| life.generation == generation && life.lives())
    }

    /// Whether a run of this generation began.
    pub fn began(&self, job: &str, generation: u32) -> bool {
        self.lives.values().any(|life| life.job == job && life.generation == generation)
    }
}

/// What whoever tests has done.
#[derive(Debug, Default)]
pub struct Asked {
    /// From when on a generation of a job was to end, in milliseconds of the wall clock.
    pub ended: BTreeMap<(String, u32), i64>,
    /// The runs whose wrapper was killed.
    pub wrappers: BTreeSet<String>,
    /// The jobs whose runs are not followed by another, but for an edit.
    pub once: BTreeSet<String>,
}

/// What came of it all.
#[derive(Debug, Default)]
pub struct Verdict {
    pub starts: usize,
    pub exits: usize,
    pub reported: usize,
    pub unknown: usize,
    pub lost: Vec<String>,
    pub doubled: Vec<String>,
    pub interrupted: Vec<String>,
    pub wrong: Vec<String>,
}

impl Verdict {
    pub fn complaints(&self) -> impl Iterator<Item = (&'static str, &String)> {
        let lists = [
            ("lost", &self.lost),
            ("doubled", &self.doubled),
            ("interrupted", &self.interrupted),
            ("wrong", &self.wrong),
        ];
        lists.into_iter().flat_map(|(name, list)| list.iter().map(move |text| (name, text)))
    }
}

/// Every last report, by run id, and each job's newest.
fn reports(root: &Path) -> (BTreeMap<String, Value>, BTreeMap<String, Value>) {
    let folder = root.join("state/reports");
    let read = |path: &Path| {
        let bytes = fs::read(path).expect("a report");
        serde_json::from_slice::<Value>(&bytes).expect("a report is whole at every moment")
    };
    let mut history = BTreeMap::new();
    for job in names(&folder.join("history")) {
        for name in names(&folder.join("history").join(&job)) {
            let report = read(&folder.join("history").join(&job).join(&name));
            history.insert(name.trim_end_matches(".json").to_owned(), report);
        }
    }
    let newest = names(&folder).into_iter().filter(|name| name.ends_with(".json"));
    let newest = newest.map(|name| (name.trim_end_matches(".json").to_owned(), read(&folder.join(&name))));
    (history, newest.collect())
}

/// Holds what was said against what was reported, once all has ended.
pub fn judge(root: &Path, witness: &Witness, asked: &Asked) -> Verdict {
    let (history, newest) = reports(root);
    let mut verdict = Verdict {
        starts: witness.lives.len(),
        exits: witness.lives.values().filter(|life| !life.lives()).count(),
        reported: history.len(),
        doubled: witness.doubled.clone(),
        ..Verdict::default()
    };
    let mut begun: BTreeMap<(&str, u32), u32> = BTreeMap::new();
    for (run, life) in &witness.lives {
        let of_generation = begun.entry((&life.job, life.generation)).or_default();
        *of_generation += 1;
        if *of_generation == 2 && asked.once.contains(&life.job) {
            verdict.doubled.push(format!("{} {run}: it is to run once", life.job));
        }
        let report = history.get(run);
        if report.is_none() {
            verdict.lost.push(format!("{} {run}: it began, and no report tells how it ended", life.job));
        }
        // What did not come to its own end was ended by somebody: whoever tests, or nobody.
        let ended_at = report.and_then(|report| wall(&report["ended_at"]));
        let disturbed = if life.end.is_none() { life.term.or(ended_at) } else { life.term };
        let allowed = asked.ended.get(&(life.job.clone(), life.generation)).copied();
        if life.end.is_none() || life.term.is_some() {
            let in_time = disturbed.is_some_and(|at| allowed.is_some_and(|from| from <= at));
            if !in_time {
                let text = format!("{} {run}: {disturbed:?}, to end from {allowed:?} on", life.job);
                verdict.interrupted.push(text);
            }
        }
        if let Some(report) = report {
            let told = told(report);
            let killed = told == Told::Signal("SIGKILL".into()) && allowed.is_some();
            let right = match &life.end {
                Some(end) => told == Told::of(end) || killed,
                // It said nothing: SIGKILL, or SIGTERM before it listened.
                None => killed || (told == Told::Signal("SIGTERM".into()) && allowed.is_some()),
            };
            if told == Told::Unknown && asked.wrappers.contains(run) {
                verdict.unknown += 1;
            } else if !right {
                verdict.wrong.push(format!("{} {run}: {told:?}, it said {:?}", life.job, life.end));
            }
        }
    }
    for (run, report) in &history {
        let job = report["job_id"].as_str().unwrap_or_default();
        let generation = report["tags"]["generation"].as_str().and_then(|text| text.parse().ok());
        let excused = asked.wrappers.contains(run)
            || generation.is_some_and(|number| asked.ended.contains_key(&(job.to_owned(), number)))
                && !report["started_at"].is_null();
        if !witness.lives.contains_key(run) && !excused {
            verdict.wrong.push(format!("{job} {run}: reported as {:?}, and it never began", told(report)));
        }
        if told(report) == Told::Unknown && report["platform_sla_reason"].is_null() {
            verdict.wrong.push(format!("{job} {run}: unknown without a cause"));
        }
        if !witness.lives.contains_key(run) && told(report) == Told::Unknown {
            verdict.unknown += 1;
        }
    }
    // How often a job was started before is not forgotten in between.
    let mut counted: BTreeMap<(&str, &str), i64> = BTreeMap::new();
    for (run, report) in &history {
        let job = report["job_id"].as_str().unwrap_or_default();
        let generation = report["tags"]["generation"].as_str().unwrap_or_default();
        let restarts = report["restarts"].as_i64().unwrap_or(-1);
        let before = counted.insert((job, generation), restarts);
        if restarts != before.map_or(0, |before| before + 1) {
            verdict.wrong.push(format!("{job} {run}: told as restart {restarts} after {before:?}"));
        }
    }
    for (job, report) in &newest {
        let filed = report["run_id"].as_str().and_then(|run| history.get(run));
        if filed.is_none_or(|filed| (told(filed), &filed["pid"]) != (told(report), &report["pid"])) {
            verdict.wrong.push(format!("reports/{job}.json is not what the history tells: {report:#}"));
        }
    }
    verdict
}

fn wall(time: &Value) -> Option<i64> {
    let time: ffrtmp::model::time::WallTime = serde_json::from_value(time.clone()).ok()?;
    Some(time.unix_ms())
}

/// How a run ended, by its report.
#[derive(Debug, Clone, PartialEq)]
enum Told {
    Code(i64),
    Signal(String),
    Unknown,
    Never(String),
}

impl Told {
    fn of(end: &str) -> Self {
        end.parse().map_or_else(|_| Self::Signal(end.into()), Self::Code)
    }
}

fn told(report: &Value) -> Told {
    if let Some(code) = report["exit_code"].as_i64() {
        return Told::Code(code);
    }
    if let Some(signal) = report["signal"].as_str() {
        return Told::Signal(signal.into());
    }
    if report["state"] == "unknown" {
        return Told::Unknown;
    }
    Told::Never(format!("{} {}", report["state"], report["platform_sla_reason"]))
}

/// All that is known of a run, for whoever has to find out what went wrong.
pub fn records(root: &Path, witness: &Witness, complaint: &str) -> String {
    let mut text = String::new();
    let mut words = complaint.split([' ', ':']);
    let (Some(job), Some(run)) = (words.next(), words.next()) else { return text };
    for line in witness.lines.iter().filter(|line| line.contains(run)) {
        let _ = writeln!(text, "  witness: {line}");
    }
    let report = root.join(format!("state/reports/history/{job}/{run}.json"));
    let _ = writeln!(text, "  report: {}", fs::read_to_string(report).unwrap_or_else(|_| "none".into()));
    let log = fs::read_to_string(root.join("supervisor.log")).unwrap_or_default();
    for line in log.lines().filter(|line| line.contains(run)) {
        let _ = writeln!(text, "  log: {line}");
    }
    text
}
