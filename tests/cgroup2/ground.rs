//! A cgroup as systemd delegates it to a service, a supervisor in it, and the proof that nothing stays.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{panicking, sleep};
use std::time::{Duration, Instant};

use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;

use serde_json::Value;

use super::cpu::Counted;
use crate::harness::{DEADLINE, Live, Site, await_true, identify, lives, names};

/// Where cgroup v2 is mounted.
const MOUNT: &str = "/sys/fs/cgroup";

/// The folder of the machine below that the lane may write to.
const HOST: &str = "/run/lane";

/// The controllers of the lane's kernel.
pub const ALL: &[&str] = &["cpu", "io", "memory", "pids"];

/// Cgroups without a process that may be there after the last job: the frame of what was delegated.
const FRAME: &[&str] = &["jobs", "supervisor", "wrappers"];

/// An encoder that takes all the CPU it can get, until it is ended.
pub const ENCODER: &[&str] = &[
    "ffmpeg",
    "-nostdin",
    "-v",
    "error",
    "-f",
    "lavfi",
    "-i",
    "testsrc2=size=320x240:rate=25",
    "-c:v",
    "libx264",
    "-preset",
    "ultrafast",
    "-f",
    "null",
    "-",
];

/// Whether this is the lane's machine; says `SKIPPED` where it is not.
pub fn in_lane(test: &str) -> bool {
    let here = std::env::var_os("FFRTMP_TEST_LANE").is_some_and(|lane| lane == "cgroup2");
    if !here {
        println!("SKIPPED cgroup2: {test}: needs a machine of its own: make test-cgroup2");
    }
    here
}

/// A cgroup, as its files show it.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes a child.
    pub fn make(&self, name: &str) -> Self {
        let child = self.child(name);
        fs::create_dir(&child.0).unwrap_or_else(|error| panic!("{}: {error}", child.0.display()));
        child
    }

    /// A child, whether it is there or not.
    pub fn child(&self, name: &str) -> Self {
        Self(self.0.join(name))
    }

    pub fn exists(&self) -> bool {
        self.0.exists()
    }

    /// The processes in it, not those below.
    pub fn procs(&self) -> Vec<u32> {
        self.read("cgroup.procs").lines().map(|line| line.parse().expect("a pid")).collect()
    }

    /// Moves a process into it.
    pub fn take_in(&self, pid: u32) {
        self.write("cgroup.procs", &pid.to_string());
    }

    /// Waits until a file of it says this. How long that takes is for the benchmarks to judge.
    pub fn await_value(&self, file: &str, value: &str) -> Duration {
        let begin = Instant::now();
        await_true(&format!("{file} is {value}"), || self.read(file) == value);
        begin.elapsed()
    }

    pub fn file(&self, file: &str) -> PathBuf {
        self.0.join(file)
    }

    /// What a file says, without the newline.
    pub fn read(&self, file: &str) -> String {
        let path = self.file(file);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        text.trim_end().to_owned()
    }

    pub fn write(&self, file: &str, value: &str) {
        let path = self.file(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("{} = {value}: {error}", path.display()));
    }

    /// A number of a file with a key in each line (`cpu.stat`, `memory.events`).
    pub fn count(&self, file: &str, key: &str) -> u64 {
        let text = self.read(file);
        let of_key = |line: &str| line.strip_prefix(key)?.strip_prefix(' ')?.parse().ok();
        text.lines().find_map(of_key).unwrap_or_else(|| panic!("{file} has no {key}:\n{text}"))
    }

    pub fn enable(&self, controllers: &[&str]) {
        let enabled: Vec<String> = controllers.iter().map(|name| format!("+{name}")).collect();
        self.write("cgroup.subtree_control", &enabled.join(" "));
    }

    /// Whether a process is in it, or below it.
    pub fn is_populated(&self) -> bool {
        self.count("cgroup.events", "populated") == 1
    }

    /// Starts a program in it.
    pub fn spawn(&self, command: &[&str]) -> Child {
        let mut entering = self.entry();
        entering.args(command).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        entering.spawn().expect("it starts")
    }

    /// The command that goes into it and becomes the program that its arguments name.
    fn entry(&self) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo 0 > \"$0\" && exec \"$@\""]).arg(self.file("cgroup.procs"));
        command
    }

    /// It and all below it, children first.
    fn tree(&self) -> Vec<Self> {
        let mut tree = Vec::new();
        for entry in fs::read_dir(&self.0).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                tree.extend(Self(entry.path()).tree());
            }
        }
        tree.push(Self(self.0.clone()));
        tree
    }
}

impl Counted for Cgroup {
    fn used(&self) -> Duration {
        Duration::from_micros(self.count("cpu.stat", "usage_usec"))
    }

    fn throttled(&self) -> u64 {
        self.count("cpu.stat", "nr_throttled")
    }
}

/// The cgroup that a process is in, by its path in the hierarchy.
pub fn cgroup_of(pid: u32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("proc");
    text.trim_end().strip_prefix("0::").expect("there is no other hierarchy").to_owned()
}

/// What a report says of a constraint; null if it says nothing.
pub fn constraint(report: &Value, name: &str) -> Value {
    let list = report["constraints"].as_array().expect("a list");
    list.iter().find(|status| status["name"] == name).cloned().unwrap_or_default()
}

/// That a constraint is in force, with this value in the kernel.
pub fn assert_in_force(report: &Value, name: &str, actual: &str) {
    let status = constraint(report, name);
    assert_eq!((&status["applied"], &status["actual"]), (&true.into(), &actual.into()), "{status:#}");
}

/// That a constraint is not in force, and why.
pub fn assert_not_in_force(report: &Value, name: &str, reason: &str) {
    let status = constraint(report, name);
    assert_eq!(status["applied"], false, "{name}: {status:#}");
    assert!(status["reason"].as_str().is_some_and(|text| text.contains(reason)), "{reason:?}: {status:#}");
}

/// `TEST.slice/ffrtmp.service/supervisor`, made as systemd makes it for `Delegate=yes` and
/// `DelegateSubgroup=supervisor`, and a folder for `--root`.
///
/// At the end of the test: no process that was not there before, and no cgroup but the delegated frame.
pub struct Ground {
    /// Above what was delegated, where limits of an ancestor are set.
    pub slice: Cgroup,
    /// What was delegated.
    pub unit: Cgroup,
    site: Option<Site>,
    before: BTreeSet<String>,
}

impl Deref for Ground {
    type Target = Site;

    fn deref(&self) -> &Site {
        self.site.as_ref().expect("there until the end")
    }
}

impl Ground {
    /// Delegates these controllers; nothing runs yet.
    pub fn new(test: &str, controllers: &[&str]) -> Self {
        let mount = Cgroup(MOUNT.into());
        mount.enable(ALL);
        let slice = mount.make(&format!("{test}.slice"));
        slice.enable(controllers);
        let unit = slice.make("ffrtmp.service");
        unit.make("supervisor");
        Self { slice, unit, site: Some(Site::new()), before: processes() }
    }

    /// Starts the supervisor where systemd would.
    pub fn supervise(&self) -> u32 {
        let mut command = self.unit.child("supervisor").entry();
        command.current_dir("/").arg(env!("CARGO_BIN_EXE_ffrtmp-sup"));
        self.start_command(command, &self.root, &[])
    }

    /// The same as a user to whom nothing was delegated.
    pub fn supervise_as(&self, user: u32) -> u32 {
        for folder in ["", "jobs.d", "profiles.d", "drafts"] {
            chown(self.path(folder), Some(user), Some(user)).expect("changed");
        }
        let mut command = self.unit.child("supervisor").entry();
        let user = user.to_string();
        command.current_dir("/").args(["setpriv", "--clear-groups", "--reuid", &user, "--regid", &user]);
        command.arg(env!("CARGO_BIN_EXE_ffrtmp-sup"));
        self.start_command(command, &self.root, &[])
    }

    /// A file that takes up cache where it is read, and no disk: this machine's memory is small, and what
    /// lies in it cannot be given back.
    pub fn large_file(&self, bytes: u64) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new_in(HOST).expect("a file");
        file.as_file().set_len(bytes).expect("it has holes");
        file
    }

    /// The cgroup of a job with an ordinary name.
    pub fn job(&self, name: &str) -> Cgroup {
        self.unit.child("jobs").child(name)
    }

    /// Waits until a job runs that is in its cgroup.
    pub fn in_cgroup(&self, job: &str) -> (Live, Cgroup) {
        let live = self.running(job);
        let cgroup = self.job(job);
        assert_eq!(cgroup.procs().first(), Some(&live.pid()), "{job} is in its cgroup");
        (live, cgroup)
    }

    /// Waits for the last report of a job's run.
    pub fn ended(&self, job: &str) -> Value {
        self.await_report(job, "its end", |report| !report["ended_at"].is_null())
    }

    /// Has the supervisor look at everything again.
    pub fn resync(&self) {
        self.signal_supervisor(Signal::from_number(libc::SIGHUP).expect("a signal"));
    }

    /// Has the supervisor end all jobs, and waits until it has.
    fn end_jobs(&self) {
        for file in names(&self.path("jobs.d")) {
            let path = self.path("jobs.d").join(file);
            let text = fs::read_to_string(&path).expect("a job file");
            self.replace(&path, &format!("enabled = false\n{text}"));
        }
        let jobs = self.unit.child("jobs");
        await_true("no job has a cgroup", || jobs.tree().len() <= 1);
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let failed = panicking();
        if !failed && self.is_supervised() {
            self.end_jobs();
            self.term();
        }
        drop(self.site.take());
        // Whom a signal has reached may take a moment to be gone.
        let begin = Instant::now();
        let mut left = &processes() - &self.before;
        while !left.is_empty() && begin.elapsed() < DEADLINE && !failed {
            sleep(Duration::from_millis(10));
            left = &processes() - &self.before;
        }
        if self.slice.is_populated() {
            self.slice.write("cgroup.kill", "1");
            await_true("nobody is left", || !self.slice.is_populated());
        }
        let mut cgroups = Vec::new();
        for cgroup in self.slice.tree() {
            let below = cgroup.0.strip_prefix(&self.unit.0).unwrap_or(Path::new(""));
            if below != Path::new("") && !FRAME.iter().any(|frame| below == Path::new(frame)) {
                cgroups.push(cgroup.0.clone());
            }
            fs::remove_dir(&cgroup.0).unwrap_or_else(|error| eprintln!("{}: {error}", cgroup.0.display()));
        }
        if !failed {
            assert!(left.is_empty(), "processes are left: {left:?}");
            assert!(cgroups.is_empty(), "cgroups are left: {cgroups:?}");
        }
    }
}

/// Every process of this machine, told apart by number, start time and command line. The machine is the
/// test's own, so that whoever was not there before is of the test.
fn processes() -> BTreeSet<String> {
    let alive = |name: &String| -> Option<String> {
        let process: ProcessIdentity = identify(name.parse().ok()?).filter(lives)?;
        let command = fs::read(format!("/proc/{name}/cmdline")).ok().filter(|command| !command.is_empty())?;
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        Some(format!("{name} (start {}): {command}", process.start_time))
    };
    names(Path::new("/proc")).iter().filter_map(alive).collect()
}
