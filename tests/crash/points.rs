//! A supervisor or a wrapper ends at a point between an intent and its effect; the next supervisor knows
//! of nothing but what is on disk and in the kernel.
//!
//! Each test is the same story of six jobs, told until a process has ended at the point of the test, and
//! then to its end.

use std::fs;

use ffrtmp::abort::Point;
use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;
use serde_json::Value;

use super::harness::{names, nice_of_threads, send};
use super::stage::{Declared, Stage};
use super::witness::{Asked, judge, records};
use super::workload::{ASK, ASKED, Life};
use super::{Test, attached};

/// The jobs of the story, in the order in which they are started.
const JOBS: [&str; 6] = ["edited", "leave", "loop", "once", "orphan", "stubborn"];

/// All six are started; the supervisor that follows takes them over.
const LAUNCHED: &str = "wrapper-launched:6";

/// A job was started again; its run before is still there.
const FOLLOWED: &str = "start-reported:7";

/// When to end a process at a point: at the how manieth pass.
#[derive(Debug, Clone, Copy)]
enum Occasion {
    /// As soon as it comes to that.
    First(u32),
    /// After another has ended at this point.
    After(&'static str, u32),
    /// And the jobs are removed before the next supervisor starts.
    AndGone(u32),
    /// When the jobs are removed.
    AtTheEnd(u32),
    /// Of a job that is to run once, whatever comes of it.
    Once(u32),
    /// Of a process that somebody else started, see `attached.rs`.
    Attached,
}

use Occasion::{After, AndGone, AtTheEnd, Attached, First, Once};

/// The occasions for each point. Every point has one: the compiler sees to that.
fn occasions(point: Point) -> &'static [Occasion] {
    match point {
        // Of the first supervisor, and of one that finds runs.
        Point::FoldersMade
        | Point::StateLocked
        | Point::CgroupsDrafted
        | Point::CgroupsOpened
        | Point::TakenOver => &[First(1), After(LAUNCHED, 1)],
        Point::RunTakenOver => &[After(LAUNCHED, 1), After(LAUNCHED, 4)],
        Point::BookClosed => &[After(FOLLOWED, 1)],
        // The first start of a job, the last one, and one that follows another run of its job.
        Point::RunDirMade | Point::RunLocked | Point::SpecDrafted | Point::StartReported => {
            &[First(1), First(6), First(7)]
        }
        Point::JobDirMade | Point::SpecWritten | Point::WrapperLaunched => &[First(1), First(7), AndGone(6)],
        Point::CgroupMade | Point::LimitsSet => &[First(7), AndGone(1)],
        Point::SpecRemoved | Point::RunDirRemoved => &[First(1), AtTheEnd(3)],
        Point::WrapperForked => &[First(1), First(3), Once(1)],
        // Nothing ran.
        Point::NurseryBegun
        | Point::WrapperBegun
        | Point::WrapperDetached
        | Point::SpecRead
        | Point::WorkloadForked
        | Point::StartedDrafted => &[First(1), Once(1)],
        Point::StartedWritten
        | Point::WorkloadReleased
        | Point::OthersRecorded
        | Point::CgroupKilled
        | Point::RunKilled
        | Point::EditRecorded
        | Point::EditInForce
        | Point::ReleaseRecorded
        | Point::EndConcluded => &[First(1)],
        // Told by another story.
        Point::ProcessSurveyed
        | Point::ProcessTaken
        | Point::LetGoRecorded
        | Point::ObserverEnded
        | Point::ProcessRestored
        | Point::LetGoReported => &[Attached],
        Point::WorkloadReaped
        | Point::ExitedDrafted
        | Point::ExitedWritten
        | Point::LeftoversEnded
        | Point::CgroupRemoved
        | Point::StopDrafted
        | Point::StopRecorded
        | Point::StopSent
        | Point::EndReported
        | Point::ReportsWritten
        | Point::NewestDrafted => &[First(1), AtTheEnd(1)],
        Point::HistoryDrafted | Point::HistoryWritten => &[First(1), First(2), First(3), AtTheEnd(2)],
    }
}

/// One test for each occasion at each point.
pub fn tests() -> Vec<Test> {
    let of = |point: &Point| {
        let point = *point;
        occasions(point).iter().map(move |&occasion| {
            if let Attached = occasion {
                let test = Box::new(move || attached::tell(point)) as Box<dyn Fn() + Send>;
                return (format!("points::{}, of an attached process", point.name()), test);
            }
            let name = match occasion {
                First(pass) => format!("{}:{pass}", point.name()),
                After(before, pass) => format!("{}:{pass} after {before}", point.name()),
                AndGone(pass) => format!("{}:{pass}, and its job is removed", point.name()),
                AtTheEnd(pass) => format!("{}:{pass}, while all jobs are removed", point.name()),
                Once(pass) => format!("{}:{pass}, of a job that runs once", point.name()),
                Attached => point.name().into(),
            };
            let test = move || Story::new(point, occasion).tell();
            (format!("points::{name}"), Box::new(test) as Box<dyn Fn() + Send>)
        })
    };
    Point::ALL.iter().flat_map(of).collect()
}

struct Story {
    stage: Stage,
    asked: Asked,
    occasion: Occasion,
    /// Where processes end: `NAME:N`.
    points: Vec<String>,
}

impl Story {
    fn new(point: Point, occasion: Occasion) -> Self {
        let pass = match occasion {
            First(pass) | After(_, pass) | AndGone(pass) | AtTheEnd(pass) | Once(pass) => pass,
            Attached => 1,
        };
        let before = if let After(before, _) = occasion { Some(before.to_owned()) } else { None };
        let points = before.into_iter().chain([format!("{}:{pass}", point.name())]).collect();
        Self { stage: Stage::new(), asked: Asked::default(), occasion, points }
    }

    fn tell(mut self) {
        let last = self.points.last().cloned().unwrap_or_default();
        match self.occasion {
            First(_) | After(..) => {
                self.stage.arm(&self.points);
                self.start();
                for chapter in
                    [Self::edit_in_place, Self::edit_with_restart, Self::let_go, Self::lose_a_wrapper]
                {
                    if self.stage.aborted(&last).is_none() {
                        chapter(&mut self);
                    }
                }
            }
            AndGone(_) => {
                self.stage.arm(&self.points);
                // What is let go is not removed.
                let jobs = JOBS.into_iter().filter(|job| *job != "leave").chain(["another"]);
                jobs.for_each(|job| self.stage.put(job, &self.declared(job)));
                self.stage.spawn();
                self.stage.until_ended("it ends at the point");
            }
            AtTheEnd(_) => {
                self.start();
                self.edit_with_restart();
                self.stage.kill();
                self.stage.arm(&self.points);
                self.stage.spawn();
            }
            Once(_) => {
                self.stage.arm(&self.points);
                self.asked.once.insert("once".into());
                let keys = String::new();
                self.stage.put("once", &Declared { keys, ..self.declared("once") });
                self.stage.spawn();
                self.stage.until("it completes all the same", |stage| {
                    stage.history("once").iter().any(|report| report["exit_code"] == 0)
                });
            }
            Attached => {}
        }
        self.end();
    }

    fn declared(&self, job: &str) -> Declared {
        let (life, children, keys) = match job {
            "once" => (Life::Exits(100, Some(0)), 1, "[restart]\npolicy = \"on-failure\"\n"),
            "loop" => (Life::Exits(60, Some(5)), 0, "lifecycle = \"continuous\"\n[restart]\n"),
            "stubborn" => {
                (Life::Stubborn, 1, "lifecycle = \"continuous\"\n[stop]\ntimeout = \"150ms\"\n[restart]\n")
            }
            "leave" => {
                (Life::Waits, 0, "lifecycle = \"continuous\"\n[stop]\non_remove = \"leave\"\n[restart]\n")
            }
            _ => (Life::Waits, 0, "lifecycle = \"continuous\"\n[restart]\n"),
        };
        let keys = format!("{keys}delay = \"30ms\"\nmax_delay = \"60ms\"");
        Declared { generation: 0, life, children, enabled: true, nice: 1, keys }
    }

    /// Notes that a job's runs of a generation are to end from now on.
    fn ask(&mut self, job: &str, generation: u32) {
        let now = self.stage.wall();
        self.asked.ended.entry((job.into(), generation)).or_insert(now);
    }

    fn await_live(&mut self, job: &str, generation: u32) {
        let what = format!("{job} lives, generation {generation}");
        self.stage.until(&what, |stage| {
            let report = stage.report(job);
            let witness = stage.witness();
            let live = witness.live(job, generation).and_then(|life| life.process.clone());
            report["state"] == "running" && live.is_some_and(|process| report["pid"] == process.pid.as_raw())
        });
    }

    fn start(&mut self) {
        JOBS.iter().for_each(|job| self.stage.put(job, &self.declared(job)));
        self.stage.spawn();
        for job in ["edited", "leave", "orphan", "stubborn"] {
            self.await_live(job, 0);
        }
        self.stage.until("one completes, another is started again", |stage| {
            let completed = stage.history("once").iter().any(|report| report["exit_code"] == 0);
            completed && stage.history("loop").len() > 1
        });
    }

    fn edit_in_place(&mut self) {
        let before = self.stage.witness().live("edited", 0).and_then(|life| life.process.clone());
        let keys = format!("description = \"edited\"\nintent = \"soak\"\n{}", self.declared("edited").keys);
        self.stage.put("edited", &Declared { nice: 2, keys, ..self.declared("edited") });
        self.stage.until("the edit is in force, and told", |stage| {
            let report = stage.report("edited");
            let constraint = &report["constraints"][0];
            constraint["requested"] == "2" && constraint["applied"] == true && report["intent"] == "soak"
        });
        let told = self.stage.report("edited").to_string();
        assert!(!told.contains("behind our back"), "nobody did that: {told}");
        let after = self.stage.witness().live("edited", 0).and_then(|life| life.process.clone());
        assert_eq!(before, after, "it runs on");
        let pid = after.map_or(0, |process| process.pid.as_raw().unsigned_abs());
        assert_eq!(nice_of_threads(pid), [2]);
    }

    fn edit_with_restart(&mut self) {
        for job in ["edited", "stubborn"] {
            self.ask(job, 0);
            self.stage.put(job, &Declared { generation: 1, ..self.declared(job) });
        }
        for job in ["edited", "stubborn"] {
            self.await_live(job, 1);
        }
    }

    /// What the newest spec of a job says.
    fn spec(stage: &Stage, job: &str) -> Value {
        let runs = stage.root.join("state/runs").join(job);
        let newest = names(&runs).pop().unwrap_or_default();
        let text = fs::read(runs.join(newest).join("spec.json")).unwrap_or_default();
        serde_json::from_slice(&text).unwrap_or_default()
    }

    fn let_go(&mut self) {
        let before = self.stage.witness().live("leave", 0).and_then(|life| life.process.clone());
        self.stage.put("leave", &Declared { enabled: false, ..self.declared("leave") });
        self.stage.until("it is let go", |stage| Self::spec(stage, "leave")["released"] == true);
        self.stage.put("leave", &self.declared("leave"));
        self.stage.until("it is governed again", |stage| Self::spec(stage, "leave")["released"] == false);
        self.await_live("leave", 0);
        let after = self.stage.witness().live("leave", 0).and_then(|life| life.process.clone());
        assert_eq!(before, after, "it runs on");
    }

    /// The wrapper is lost first, then the workload ends by itself.
    fn lose_a_wrapper(&mut self) {
        let witness = self.stage.witness();
        let (run, life) = witness.lives.iter().rfind(|(_, life)| life.job == "orphan").expect("it began");
        let workload = life.process.clone().expect("it lives");
        let mut wrappers = self.stage.wrappers();
        wrappers.retain(|(_, of)| of == run);
        self.asked.wrappers.insert(run.clone());
        wrappers.iter().for_each(|(wrapper, _)| send(wrapper, Signal::KILL));
        self.stage.until("the loss is noticed", |stage| {
            let report = stage.report("orphan").to_string();
            report.contains("watched by the supervisor")
        });
        ask(&workload);
        self.stage.until("its end is told", |stage| {
            stage.history("orphan").iter().any(|report| {
                let ended = report["run_id"] == run.as_str();
                ended && (report["exit_code"] == ASKED || report["state"] == "unknown")
            })
        });
        self.await_live("orphan", 0);
    }

    /// Everything is removed, and nothing may be left of it.
    fn end(mut self) {
        if self.stage.job_file("leave").exists() {
            let stop = self.declared("leave").keys.replace("\"leave\"", "\"stop\"");
            self.stage.put("leave", &Declared { keys: stop, ..self.declared("leave") });
            self.stage.until("it is to be stopped", |stage| {
                Self::spec(stage, "leave")["job"]["stop"]["on_remove"] == "stop"
            });
        }
        for job in JOBS.into_iter().chain(["another"]) {
            self.ask(job, 0);
            self.ask(job, 1);
            self.stage.remove(job);
        }
        self.stage.until("all runs are reported and gone", |stage| {
            names(&stage.root.join("state/runs")).is_empty() && stage.witness().living.is_empty()
        });
        loop {
            self.stage.until("a supervisor runs", |stage| {
                stage.pid().is_some_and(|pid| stage.said(&format!("supervising, pid {pid}")) > 0)
            });
            if self.stage.term() {
                break;
            }
        }
        for point in &self.points {
            assert!(self.stage.aborted(point).is_some(), "nothing ever came to {point}");
        }
        self.asked.wrappers.extend(self.stage.all_aborted().into_iter().flatten());
        let witness = self.stage.witness();
        let verdict = judge(&self.stage.root, &witness, &self.asked);
        let mut complaints = String::new();
        for (kind, complaint) in verdict.complaints() {
            complaints += &format!("{kind}: {complaint}\n{}", records(&self.stage.root, &witness, complaint));
        }
        let left = self.stage.left();
        let root = self.stage.root.display().to_string();
        assert!(complaints.is_empty() && left.is_empty(), "{root}: {complaints}left: {left:#?}");
    }
}

fn ask(process: &ProcessIdentity) {
    send(process, Signal::from_number(ASK as i32).expect("a signal"));
}
