//! `make chaos`: tens of jobs that live, fail, and are edited at random, while their supervisor is killed
//! at random instants, and a wrapper now and then. The seed decides everything but the clock.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant};

use ffrtmp::abort::Point;
use ffrtmp::model::signal::Signal as Named;
use nix::sys::signal::Signal;
use serde_json::json;

use super::harness::{names, nice_of_threads, send};
use super::stage::{Declared, Stage};
use super::witness::{Asked, Verdict, judge, records};
use super::workload::Life;

const JOBS: u32 = 32;

/// Kills of the supervisor in two minutes, at least; it goes on until there were as many.
const KILLS: u64 = 200;

/// Of so many kills of the supervisor one comes with the kill of a wrapper.
const WRAPPER: u64 = 15;

/// One of so many supervisors, or one of its wrappers, ends at an abort point, if it comes to that.
const POINT: u64 = 4;

/// Complaints that are told with all that is known of them.
const TOLD: usize = 8;

/// What the first start leaves open: the nursery's socket, and its pidfd.
const OF_NURSERY: usize = 2;

/// SplitMix64, which needs no more than a number: the same decisions for the same seed for ever.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `least` up to, and without, `end`.
    fn within(&mut self, least: u64, end: u64) -> u64 {
        least + self.next() % (end - least)
    }

    fn number(&mut self, least: u32, end: u32) -> u32 {
        u32::try_from(self.within(least.into(), end.into())).unwrap_or(least)
    }
}

/// What a job is.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Completes,
    Fails,
    FailsUntilItWorks,
    Loops,
    DiesByASignal,
    Lives,
    LivesWithChildren,
    Stubborn,
}

const KINDS: [Kind; 8] = [
    Kind::Completes,
    Kind::Fails,
    Kind::FailsUntilItWorks,
    Kind::Loops,
    Kind::DiesByASignal,
    Kind::Lives,
    Kind::LivesWithChildren,
    Kind::Stubborn,
];

/// A job as its file is meant to be.
struct Job {
    name: String,
    kind: Kind,
    declared: Declared,
    present: bool,
    /// The file cannot be read as TOML; what it said before stays in force.
    broken: bool,
}

struct Chaos {
    stage: Stage,
    random: Random,
    asked: Asked,
    jobs: Vec<Job>,
    /// What the profile of all jobs asks for.
    weight: u32,
    changes: BTreeMap<&'static str, u64>,
    kills: u64,
    wrappers: u64,
    /// Ended at an abort point, of both.
    aborted: usize,
}

/// `--seconds N`, `--seed N`, `--json FILE`.
pub fn main(arguments: &[String]) -> ExitCode {
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).filter(|value| !value.is_empty())
    };
    let seconds = value("--seconds").map_or(120, |text| text.parse().expect("--seconds N"));
    let seed: u64 =
        value("--seed").map_or_else(|| std::process::id().into(), |text| text.parse().expect("--seed N"));
    let cgroups = !seed.is_multiple_of(3);
    println!("chaos: seed {seed}, {seconds} s, {}", if cgroups { "in cgroups" } else { "without cgroups" });
    let mut chaos = Chaos::new(seed);
    if !cgroups {
        chaos.stage.settings("[cgroup]\nbackend = \"none\"\n");
    }
    let idle = chaos.descriptors_when_idle();
    let begin = Instant::now();
    // As many for each second, however slow the machine is.
    while begin.elapsed() < Duration::from_secs(seconds) || chaos.kills * 120 < KILLS * seconds {
        chaos.round();
    }
    let took = begin.elapsed().as_secs();
    let late = chaos.settle();
    let (verdict, left, descriptors) = chaos.end(idle);
    chaos.tell(&Outcome { seed, took, idle, descriptors, late, left, verdict }, value("--json"))
}

/// What came of it.
struct Outcome {
    seed: u64,
    took: u64,
    /// Open descriptors of a supervisor without a job, and with a nursery.
    idle: usize,
    /// And of the last one, after all jobs were removed.
    descriptors: usize,
    /// What was not as declared when nothing changed any more.
    late: Vec<String>,
    left: Vec<String>,
    verdict: Verdict,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        let mut chaos = Self {
            stage: Stage::new(),
            random: Random(seed),
            asked: Asked::default(),
            jobs: Vec::new(),
            weight: 100,
            changes: BTreeMap::new(),
            kills: 0,
            wrappers: 0,
            aborted: 0,
        };
        for number in 0..JOBS {
            let kind = KINDS[number as usize % KINDS.len()];
            let name = format!("job-{number:02}");
            if matches!(kind, Kind::Completes | Kind::Fails) {
                chaos.asked.once.insert(name.clone());
            }
            let declared = chaos.declared(kind);
            chaos.jobs.push(Job { name, kind, declared, present: true, broken: false });
        }
        chaos
    }

    fn declared(&mut self, kind: Kind) -> Declared {
        let random = &mut self.random;
        let (life, children, keys) = match kind {
            Kind::Completes => (Life::Exits(random.within(0, 400), Some(0)), random.number(0, 2), ""),
            Kind::Fails => (Life::Exits(random.within(0, 400), Some(3)), 0, ""),
            Kind::FailsUntilItWorks => {
                (Life::Exits(random.within(0, 200), None), 0, "[restart]\npolicy = \"on-failure\"\n")
            }
            Kind::Loops => {
                (Life::Exits(random.within(0, 300), None), 0, "lifecycle = \"continuous\"\n[restart]\n")
            }
            Kind::DiesByASignal => {
                let signals = [Signal::SIGKILL, Signal::SIGHUP, Signal::SIGALRM, Signal::SIGUSR2];
                let signal = signals[random.number(0, 4) as usize];
                (Life::Raises(random.within(0, 300), signal), 0, "lifecycle = \"continuous\"\n[restart]\n")
            }
            Kind::Lives => (Life::Waits, 0, "lifecycle = \"continuous\"\n[restart]\n"),
            Kind::LivesWithChildren => (Life::Waits, 2, "lifecycle = \"continuous\"\n[restart]\n"),
            Kind::Stubborn => (
                Life::Stubborn,
                random.number(0, 2),
                "lifecycle = \"continuous\"\n[stop]\ntimeout = \"300ms\"\n[restart]\n",
            ),
        };
        let delays = if keys.is_empty() { "" } else { "delay = \"50ms\"\nmax_delay = \"1s\"\n" };
        let keys = format!("profiles = [\"chaos\"]\n{keys}{delays}");
        Declared { generation: 0, life, children, enabled: true, nice: 1, keys }
    }

    fn descriptors_when_idle(&mut self) -> usize {
        self.put_profile();
        self.stage.spawn();
        // It has looked at all there is when it tells of this.
        let barrier = self.stage.job_file("barrier");
        self.stage.put_text(&barrier, "not TOML at all");
        self.stage.until("the first supervisor", |stage| stage.said("barrier.toml:1:") > 0);
        fs::remove_file(barrier).expect("removed");
        let idle = descriptors(self.stage.pid().unwrap_or(0)) + OF_NURSERY;
        self.stage.kill();
        for at in 0..self.jobs.len() {
            self.put(at);
        }
        idle
    }

    fn put_profile(&self) {
        let text = format!("[constraints]\ncpu_weight = {}\n", self.weight);
        self.stage.put_text(&self.stage.root.join("profiles.d/chaos.toml"), &text);
    }

    fn put(&self, at: usize) {
        let job = &self.jobs[at];
        self.stage.put(&job.name, &job.declared);
    }

    /// Notes that what runs of a job now is to end.
    fn ask(&mut self, at: usize) {
        let job = &self.jobs[at];
        let now = self.stage.wall();
        self.asked.ended.entry((job.name.clone(), job.declared.generation)).or_insert(now);
    }

    /// Changes something. Which, depends on what was drawn and done before, never on what runs.
    fn change(&mut self) {
        let (at, what, number) =
            (self.random.number(0, JOBS) as usize, self.random.number(0, 100), self.random.number(1, 6));
        let job = &mut self.jobs[at];
        let done = match what {
            _ if !job.present => {
                (job.present, job.broken, job.declared.enabled) = (true, false, true);
                job.declared.generation += 1;
                self.put(at);
                "added again"
            }
            0..5 => {
                self.weight = 100 + 10 * number;
                self.put_profile();
                "profile edited"
            }
            _ if job.broken => {
                job.broken = false;
                self.put(at);
                "mended"
            }
            5..15 => {
                job.broken = true;
                self.stage.put_text(&self.stage.job_file(&job.name), "[exec\ncommand = ");
                "broken"
            }
            15..30 => {
                job.present = false;
                self.ask(at);
                self.stage.remove(&self.jobs[at].name);
                "removed"
            }
            _ if !job.declared.enabled => {
                job.declared.enabled = true;
                job.declared.generation += 1;
                self.put(at);
                "enabled"
            }
            30..45 => {
                self.ask(at);
                self.jobs[at].declared.enabled = false;
                self.put(at);
                "disabled"
            }
            45..65 => {
                self.ask(at);
                self.jobs[at].declared.generation += 1;
                self.put(at);
                "edited with restart"
            }
            _ => {
                job.declared.nice = number.cast_signed();
                self.put(at);
                "edited in place"
            }
        };
        *self.changes.entry(done).or_default() += 1;
    }

    fn pause(&mut self) -> Duration {
        let (share, within) = (self.random.within(0, 100), self.random.within(0, 1000));
        Duration::from_millis(match share {
            // While it takes over, and starts.
            0..60 => within / 10,
            60..92 => 100 + within / 2,
            // Long enough to confirm a deletion.
            _ => 1800 + within,
        })
    }

    /// A supervisor comes, files change, and it is killed.
    fn round(&mut self) {
        let (before, during) = (self.random.within(0, 2), self.random.within(0, 3));
        (0..before).for_each(|_| self.change());
        let (points, pass) = (Point::ALL, self.random.number(1, 4));
        let point = points[self.random.number(0, points.len() as u32) as usize];
        match self.random.within(0, POINT) {
            0 => self.stage.arm(&[format!("{}:{pass}", point.name())]),
            _ => self.stage.arm(&[]),
        }
        self.stage.spawn();
        let (one, other) = (self.pause() / 2, self.pause() / 2);
        sleep(one);
        (0..during).for_each(|_| self.change());
        sleep(other);
        let (wrapper, first, which) =
            (self.random.within(0, WRAPPER) == 0, self.random.within(0, 2) == 0, self.random.next());
        if wrapper && first {
            self.kill_wrapper(which);
        }
        if self.stage.runs() {
            self.stage.kill();
            self.kills += 1;
        }
        if wrapper && !first {
            self.kill_wrapper(which);
        }
    }

    fn kill_wrapper(&mut self, which: u64) {
        let mut wrappers = self.stage.wrappers();
        // Every other time one of the youngest, which may be in the middle of its start.
        wrappers.sort_by_key(|(wrapper, _)| std::cmp::Reverse(wrapper.start_time));
        wrappers.truncate(if which.is_multiple_of(2) { 2 } else { usize::MAX });
        let Some(at) = usize::try_from(which / 2).ok().and_then(|at| at.checked_rem(wrappers.len())) else {
            return;
        };
        let (wrapper, run) = &wrappers[at];
        // Before the act: its report may come at once.
        self.asked.wrappers.insert(run.clone());
        send(wrapper, Named::KILL);
        self.wrappers += 1;
    }

    /// Nothing changes any more: all has to become as it is declared. Gives what does not.
    fn settle(&mut self) -> Vec<String> {
        self.stage.arm(&[]);
        for at in 0..self.jobs.len() {
            if std::mem::take(&mut self.jobs[at].broken) && self.jobs[at].present {
                self.put(at);
            }
        }
        let (jobs, weight) = (&self.jobs, self.weight);
        self.stage.eventually(|stage| {
            let witness = stage.witness();
            let is_root = nix::unistd::geteuid().is_root();
            let mut late = Vec::new();
            for Job { name, kind, declared, present, .. } in jobs {
                let newest = witness.lives.values().rev().find(|life| life.job == *name);
                let is_live = newest.is_some_and(|life| life.lives());
                if !*present || !declared.enabled {
                    if is_live {
                        late.push(format!("{name} runs, and is not to"));
                    }
                    continue;
                }
                if !witness.began(name, declared.generation) {
                    late.push(format!("{name}: generation {} never began", declared.generation));
                }
                if !matches!(kind, Kind::Lives | Kind::LivesWithChildren | Kind::Stubborn) {
                    continue;
                }
                let Some(live) = witness.live(name, declared.generation) else {
                    late.push(format!("{name}: generation {} does not run", declared.generation));
                    continue;
                };
                let pid = live.process.as_ref().map_or(0, |process| process.pid.as_raw().unsigned_abs());
                if is_root && nice_of_threads(pid) != [i64::from(declared.nice)] {
                    late.push(format!("{name}: nice {:?}, not {}", nice_of_threads(pid), declared.nice));
                }
                let report = stage.report(name);
                let asked = |name: &str, value: String| {
                    let list = report["constraints"].as_array().into_iter().flatten();
                    list.into_iter().any(|found| found["name"] == name && found["requested"] == value)
                };
                if report["pid"] != pid
                    || !asked("nice", declared.nice.to_string())
                    || !asked("cpu_weight", weight.to_string())
                {
                    late.push(format!("{name}: nice {}, weight {weight}, told: {report}", declared.nice));
                }
            }
            late
        })
    }

    /// Everything is removed. Gives the verdict, what is left, and the descriptors of the last supervisor.
    fn end(&mut self, idle: usize) -> (Verdict, Vec<String>, usize) {
        for at in 0..self.jobs.len() {
            self.ask(at);
            self.stage.remove(&self.jobs[at].name);
        }
        let mut left = self.stage.eventually(|stage| {
            let mut left: Vec<String> = names(&stage.root.join("state/runs"));
            left.extend(stage.witness().living.iter().map(|process| format!("pid {}", process.pid)));
            left
        });
        let mut open = 0;
        self.stage.eventually(|stage| {
            open = descriptors(stage.pid().unwrap_or(0));
            if open > idle { vec![format!("{open} descriptors")] } else { Vec::new() }
        });
        self.stage.term();
        left.extend(self.stage.left());
        let aborted = self.stage.all_aborted();
        self.aborted = aborted.len();
        self.asked.wrappers.extend(aborted.into_iter().flatten());
        (judge(&self.stage.root, &self.stage.witness(), &self.asked), left, open)
    }

    fn tell(&mut self, outcome: &Outcome, file: Option<&String>) -> ExitCode {
        let Outcome { seed, took, idle, descriptors, late, left, verdict } = outcome;
        let rows = [
            ("supervisors killed", self.kills),
            ("wrappers killed", self.wrappers),
            ("ended at an abort point", self.aborted as u64),
            ("changes", self.changes.values().sum()),
            ("starts", verdict.starts as u64),
            ("exits", verdict.exits as u64),
            ("reported", verdict.reported as u64),
            ("unknown, its wrapper was killed", verdict.unknown as u64),
            ("lost", verdict.lost.len() as u64),
            ("doubled", verdict.doubled.len() as u64),
            ("interrupted", verdict.interrupted.len() as u64),
            ("wrong", verdict.wrong.len() as u64),
            ("not as declared in the end", late.len() as u64),
            ("left behind", left.len() as u64),
            ("descriptors, with no job", *idle as u64),
            ("descriptors, in the end", *descriptors as u64),
        ];
        println!("| chaos, seed {seed} | {took} s |\n|---|---|");
        rows.iter().for_each(|(name, count)| println!("| {name} | {count} |"));
        let changes: Vec<String> =
            self.changes.iter().map(|(what, count)| format!("{what} {count}")).collect();
        println!("changes: {}", changes.join(", "));
        if let Some(file) = file {
            let rows: serde_json::Map<_, _> =
                rows.iter().map(|(name, count)| ((*name).to_owned(), json!(count))).collect();
            let text = json!({ "seed": seed, "seconds": took, "counts": rows, "changes": self.changes });
            fs::write(PathBuf::from(file), format!("{text:#}\n")).expect("the JSON file is written");
        }
        let complaints: Vec<_> = verdict.complaints().collect();
        if complaints.is_empty() && late.is_empty() && left.is_empty() && descriptors <= idle {
            println!("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured");
            return ExitCode::SUCCESS;
        }
        let witness = self.stage.witness();
        for (kind, complaint) in complaints.iter().take(TOLD) {
            println!("{kind}: {complaint}\n{}", records(&self.stage.root, &witness, complaint));
        }
        for (kind, complaint) in complaints.iter().skip(TOLD) {
            println!("{kind}: {complaint}");
        }
        late.iter().for_each(|text| println!("not as declared: {text}"));
        left.iter().for_each(|text| println!("left behind: {text}"));
        println!("all of it is kept in {}; replay with SEED={seed}", self.stage.keep().display());
        println!("test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured");
        ExitCode::FAILURE
    }
}

/// The open descriptors of a process.
fn descriptors(pid: u32) -> usize {
    names(Path::new(&format!("/proc/{pid}/fd"))).len()
}
