//! Cgroups in this machine's hierarchies, programs in them, and the proof that nothing stays.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

use ffrtmp::linux::cgroup::mounts::Mounts;
use ffrtmp::linux::cgroup::{self, Request, v1};
use ffrtmp::model::cgroup::{Cgroup, Choice, Controller};
use ffrtmp::model::constraints::{ConstraintName, ConstraintStatus, Constraints};

use super::cpu::Counted;
use crate::harness::{DEADLINE, Site, await_true, names};

/// The hierarchies that these tests want, all of them.
const WANTED: [Controller; 6] = [
    Controller::Cpu,
    Controller::Cpuacct,
    Controller::Cpuset,
    Controller::Io,
    Controller::Memory,
    Controller::Pids,
];

/// Whether this machine lets us; says `SKIPPED` where it does not.
pub fn is_here(test: &str) -> bool {
    let instance = format!("ffrtmp-look-{}-{test}", std::process::id());
    let opened = cgroup::open(&Request { choice: Choice::Auto, parent: None, instance: &instance });
    let why = match opened.map(|survey| survey.tree) {
        Ok(cgroup::Tree::V1(tree)) => {
            let there = tree.controllers();
            let missing: Vec<&str> =
                WANTED.into_iter().filter(|c| !there.contains(c)).map(Controller::as_str_v1).collect();
            if missing.is_empty() {
                return true;
            }
            format!("no hierarchy to write to for {}", missing.join(", "))
        }
        Ok(cgroup::Tree::V2(_)) => "this machine uses version 2".into(),
        Ok(cgroup::Tree::None(why)) | Err(why) => why,
    };
    println!("SKIPPED cgroup1: {test}: {why}");
    false
}

/// A test's own base in each hierarchy.
///
/// At the end of the test it and all below it is gone, or the test fails.
pub struct Ground {
    tree: Option<v1::Tree>,
}

impl Deref for Ground {
    type Target = v1::Tree;

    fn deref(&self) -> &v1::Tree {
        self.tree.as_ref().expect("there until the end")
    }
}

impl Ground {
    pub fn new(test: &str) -> Self {
        let instance = format!("ffrtmp-test-{}-{test}", std::process::id());
        let request = Request { choice: Choice::CgroupV1, parent: None, instance: &instance };
        let tree = v1::Tree::open(&Mounts::read().expect("proc"), &request).expect("is_here() said so");
        Self { tree: Some(tree) }
    }

    /// Makes a job's cgroup.
    pub fn job(&self, name: &str) -> Job {
        let Cgroup::V1 { dirs } = self.create(name).expect("a cgroup") else { panic!("version 1") };
        Job { cgroup: Cgroup::V1 { dirs: dirs.clone() }, dirs }
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let bases: Vec<PathBuf> = self.bases().into_iter().map(Path::to_owned).collect();
        self.sweep(&[]);
        drop(self.tree.take());
        if !panicking() {
            assert!(!bases.iter().any(|base| base.exists()), "of {bases:?} some are left");
        }
    }
}

/// The cgroup of a job.
pub struct Job {
    pub cgroup: Cgroup,
    dirs: BTreeMap<Controller, PathBuf>,
}

impl Job {
    /// That of a run, from its record.
    pub fn of_record(spec: &serde_json::Value) -> Self {
        let cgroup: Cgroup = serde_json::from_value(spec["cgroup"].clone()).expect("a cgroup");
        let Cgroup::V1 { dirs } = &cgroup else { panic!("not of version 1: {spec:#}") };
        Self { dirs: dirs.clone(), cgroup }
    }

    pub fn dir(&self, controller: Controller) -> &Path {
        &self.dirs[&controller]
    }

    /// What a file says, without the newline. The name of a file begins with that of its controller.
    pub fn read(&self, file: &str) -> String {
        let path = self.path(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim_end().to_owned()
    }

    pub fn number(&self, file: &str) -> u64 {
        self.read(file).parse().unwrap_or_else(|error| panic!("{file}: {error}"))
    }

    /// A number of a file with a key in each line (`cpu.stat`).
    pub fn count(&self, file: &str, key: &str) -> u64 {
        let text = self.read(file);
        cgroup::files::keyed(&text, key).unwrap_or_else(|| panic!("{file} has no {key}:\n{text}"))
    }

    pub fn path(&self, file: &str) -> PathBuf {
        let name = file.split('.').next().expect("a name");
        let controller = WANTED.into_iter().find(|c| c.as_str_v1() == name).expect("a controller");
        self.dir(controller).join(file)
    }

    /// What the files of all limits say.
    pub fn limits(&self) -> Vec<(&'static str, String)> {
        const FILES: [&str; 12] = [
            "cpu.cfs_quota_us",
            "cpu.cfs_period_us",
            "cpu.shares",
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "blkio.bfq.weight",
            "blkio.throttle.read_bps_device",
            "blkio.throttle.write_bps_device",
            "blkio.throttle.read_iops_device",
            "blkio.throttle.write_iops_device",
            "pids.max",
            "cpuset.cpus",
        ];
        let there = FILES.into_iter().filter(|file| self.path(file).exists());
        there.map(|file| (file, self.read(file))).collect()
    }

    /// Starts a program in it.
    pub fn spawn(&self, command: &[&str]) -> Inhabitant {
        let mut entering = Command::new("/bin/sh");
        let dirs: Vec<&str> = self.dirs.values().map(|dir| dir.to_str().expect("a path")).collect();
        let script =
            format!("for d in {}; do echo 0 > $d/tasks || exit 9; done; exec \"$@\"", dirs.join(" "));
        entering.args(["-c", &script, "sh"]).args(command).stdin(Stdio::null());
        entering.stdout(Stdio::piped()).stderr(Stdio::null());
        let child = entering.spawn().expect("it starts");
        Inhabitant { child, cgroup: self.cgroup.clone() }
    }

    /// Lets all jobs of this base together have what they want of the CPUs, whatever else runs here.
    pub fn put_first(&self) {
        let base = self.dir(Controller::Cpu).parent().expect("a base");
        fs::write(base.join("cpu.shares"), "262144").expect("written");
    }
}

impl Counted for Job {
    fn used(&self) -> Duration {
        Duration::from_nanos(self.number("cpuacct.usage"))
    }

    fn throttled(&self) -> u64 {
        self.count("cpu.stat", "nr_throttled")
    }
}

/// A program that was started in a cgroup. What it started there ends with it.
pub struct Inhabitant {
    child: Child,
    cgroup: Cgroup,
}

impl Inhabitant {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }

    /// Waits until it has printed something.
    pub fn await_output(&mut self) -> u8 {
        let mut byte = [0];
        self.child.stdout.as_mut().expect("piped").read_exact(&mut byte).expect("it prints");
        byte[0]
    }

    /// Kills all that is in the cgroup.
    pub fn end(&mut self) {
        cgroup::kill(&self.cgroup).expect("killed");
        self.child.wait().expect("our child");
        await_true("nobody is in the cgroup", || cgroup::procs(&self.cgroup).expect("read").is_empty());
    }
}

impl Drop for Inhabitant {
    fn drop(&mut self) {
        if self.lives() {
            self.end();
        }
    }
}

pub fn wanted(json: serde_json::Value) -> Constraints {
    serde_json::from_value(json).expect("constraints")
}

pub fn of(list: &[ConstraintStatus], name: ConstraintName) -> &ConstraintStatus {
    list.iter().find(|status| status.name == name).unwrap_or_else(|| panic!("no {name} in {list:#?}"))
}

pub fn reason(list: &[ConstraintStatus], name: ConstraintName) -> &str {
    of(list, name).reason.as_deref().unwrap_or_default()
}

/// That all of these are in force, as far as the machine has what they need.
pub fn assert_in_force(list: &[ConstraintStatus]) {
    for status in list {
        let expected = status.name != ConstraintName::IoWeight || a_disk_weighs();
        assert_eq!(status.applied, expected, "{status:#?}");
    }
}

/// Whether a disk of this machine has a scheduler for which weights mean anything.
pub fn a_disk_weighs() -> bool {
    let disks = names(Path::new("/sys/block"));
    let scheduler = |name| fs::read_to_string(Path::new("/sys/block").join(name).join("queue/scheduler"));
    disks.into_iter().filter_map(|name| scheduler(name).ok()).any(|all| all.contains("[bfq]"))
}

/// A disk of this machine, as `MAJOR:MINOR`.
pub fn disk() -> Option<String> {
    let block = Path::new("/sys/block");
    let is_used = |name: &String| {
        let size = fs::read_to_string(block.join(name).join("size")).unwrap_or_default();
        size.trim().parse::<u64>().is_ok_and(|sectors| sectors > 0)
    };
    let name = names(block).into_iter().find(is_used)?;
    Some(fs::read_to_string(block.join(name).join("dev")).ok()?.trim().to_owned())
}

/// A supervisor with jobs, none of whose cgroups is left at the end.
pub struct Supervised(Site);

impl Deref for Supervised {
    type Target = Site;

    fn deref(&self) -> &Site {
        &self.0
    }
}

impl Supervised {
    pub fn new() -> Self {
        Self(Site::started())
    }

    /// The cgroup of a job's run.
    pub fn cgroup(&self, job: &str, live: &crate::harness::Live) -> Job {
        Job::of_record(&self.record(job, live, "spec.json"))
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        if panicking() || !self.is_supervised() {
            return;
        }
        // It is asked to end all jobs, and to end itself: then nothing of it may be there.
        for file in names(&self.path("jobs.d")) {
            let path = self.path("jobs.d").join(file);
            let text = fs::read_to_string(&path).expect("a job file");
            self.replace(&path, &format!("enabled = false\n{text}"));
        }
        let jobs = || {
            let bases = self.cgroup_bases();
            let is_dir = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
            bases.iter().flat_map(fs::read_dir).flatten().flatten().filter(is_dir).count()
        };
        let begin = Instant::now();
        while jobs() > 0 && begin.elapsed() < DEADLINE {
            sleep(Duration::from_millis(5));
        }
        self.term();
        let left = self.cgroup_bases();
        assert!(left.is_empty(), "cgroups are left: {left:?}\n{}", self.log());
    }
}
