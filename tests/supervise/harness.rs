//! A folder with jobs and a supervisor on it, as a test needs them, and how nothing of it stays.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ffrtmp::config::paths::Layout;
use ffrtmp::linux::cgroup::mounts::Mounts;
use ffrtmp::linux::cgroup::{Request, v1};
use ffrtmp::linux::process::{self, PidFd};
use ffrtmp::model::cgroup::Choice;
use ffrtmp::model::process::{Pid, ProcessIdentity};
use ffrtmp::model::signal::Signal;
use ffrtmp::supervisor::cgroups;
use serde_json::Value;
use tempfile::TempDir;

pub use crate::wait::{DEADLINE, await_some, await_true};

/// From the first scan that misses a file, how long until it is surely taken for deleted or not.
pub const DELETION: Duration = Duration::from_millis(1800);

/// The job file of a workload that lives until it is ended.
pub fn sleeper(keys: &str) -> String {
    format!("{keys}\n[exec]\ncommand = [\"/bin/sleep\", \"1000\"]\n")
}

/// The job file of a shell script.
pub fn shell(keys: &str, script: &str) -> String {
    format!("{keys}\n[exec]\ncommand = [\"/bin/sh\", \"-c\", '''{script}''']\n")
}

/// Says `ready`, counts the SIGTERMs it gets in its output, and takes its time to obey the first.
///
/// It looks again and again: a signal that comes between two commands would not end a `wait` after it.
pub const COUNTS_SIGNALS: &str = "trap 'echo TERM; asked=1' TERM; echo ready
    until [ $asked ]; do sleep 0.02; done; for n in 1 2 3 4 5 6; do sleep 0.05; done; echo bye";

/// Says `ready`; it and its child ignore SIGTERM.
pub const STUBBORN: &str = "trap '' TERM; sleep 1000 & echo ready $!; wait";

/// A job's main process, as a test saw it run.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub process: ProcessIdentity,
    pub run: String,
}

impl Live {
    pub fn pid(&self) -> u32 {
        self.process.pid.as_raw().unsigned_abs()
    }

    pub fn lives(&self) -> bool {
        lives(&self.process)
    }

    pub fn signal(&self, signal: Signal) {
        send(&self.process, signal);
    }

    pub fn await_end(&self) {
        await_true("the workload ends", || !self.lives());
    }
}

/// Whether this very process lives; a zombie does not.
pub fn lives(process: &ProcessIdentity) -> bool {
    PidFd::open(process).expect("proc").is_some_and(|fd| !fd.has_exited().expect("poll"))
}

/// Signals this very process; nobody, if it is gone.
pub fn send(process: &ProcessIdentity, signal: Signal) {
    if let Some(fd) = PidFd::open(process).expect("proc") {
        fd.send(signal).expect("it is ours");
    }
}

/// Whoever has this number now.
pub fn identify(pid: u32) -> Option<ProcessIdentity> {
    process::identify(Pid::new(pid)?).expect("proc")
}

/// The nice value of each thread (`/proc/PID/task/TID/stat`).
pub fn nice_of_threads(pid: u32) -> Vec<i64> {
    let nice = |entry: fs::DirEntry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        stat.rsplit_once(") ")?.1.split(' ').nth(16)?.parse().ok()
    };
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("proc");
    tasks.filter_map(|entry| nice(entry.expect("proc"))).collect()
}

pub fn oom_score_adj(pid: u32) -> i64 {
    let text = fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).expect("proc");
    text.trim().parse().expect("a number")
}

pub fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("changed");
}

/// The texts of a report's events.
pub fn events(report: &Value) -> Vec<&str> {
    let events = report["events"].as_array().expect("events");
    events.iter().map(|event| event["message"].as_str().expect("a text")).collect()
}

/// A folder for `--root`, and the supervisor on it.
pub struct Site {
    pub root: PathBuf,
    supervisor: RefCell<Option<Child>>,
    number: Cell<u32>,
    barriers: Cell<u32>,
    /// Removed at last.
    dir: Option<TempDir>,
}

impl Site {
    /// Nothing runs yet.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let mut site = Self::at(dir.path());
        site.dir = Some(dir);
        site
    }

    /// In a folder that somebody else removes, later than this.
    pub fn at(folder: &Path) -> Self {
        chmod(folder, 0o700);
        let root = folder.canonicalize().expect("a path");
        let site = Self {
            root,
            supervisor: RefCell::new(None),
            number: Cell::new(0),
            barriers: Cell::new(0),
            dir: None,
        };
        for folder in ["jobs.d", "profiles.d", "drafts"] {
            fs::create_dir(site.path(folder)).expect("made");
        }
        site
    }

    /// With a supervisor that runs.
    pub fn started() -> Self {
        let site = Self::new();
        site.start();
        site
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.root.join(below)
    }

    pub fn job_file(&self, job: &str) -> PathBuf {
        self.path("jobs.d").join(format!("{job}.toml"))
    }

    /// The programs under test.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"));
        command.arg("--root").arg(&self.root).args(arguments).stdin(Stdio::null());
        command
    }

    /// Runs `ffrtmp-sup` to its end.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("it runs")
    }

    /// Runs `ffrtmp-sup` to its end, and reads the JSON document that it prints.
    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_slice(&self.run(arguments).stdout).expect("one JSON document")
    }

    /// What `status --json` says of a job.
    pub fn status(&self, job: &str) -> Value {
        self.json(&["status", job, "--json"])["jobs"][0].clone()
    }

    // The supervisor.

    pub fn start(&self) -> u32 {
        self.start_with(&[])
    }

    pub fn start_with(&self, arguments: &[&str]) -> u32 {
        self.start_in(Path::new("/"), &self.root, arguments)
    }

    /// Starts a supervisor in a folder.
    pub fn start_in(&self, folder: &Path, root: &Path, arguments: &[&str]) -> u32 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"));
        command.current_dir(folder);
        self.start_command(command, root, arguments)
    }

    /// Starts a supervisor with more in its environment.
    pub fn start_with_env(&self, env: &[(&str, &str)]) -> u32 {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"));
        command.current_dir("/").envs(env.iter().copied());
        self.start_command(command, &self.root, &[])
    }

    /// Starts a command that becomes a supervisor, and waits until it takes signals.
    pub fn start_command(&self, mut command: Command, root: &Path, arguments: &[&str]) -> u32 {
        assert!(!self.is_supervised(), "one at a time");
        self.number.set(self.number.get() + 1);
        let log = File::create(self.log_file()).expect("made");
        command.arg("--root").arg(root).arg("supervise");
        if !arguments.contains(&"--wrapper") {
            command.args(["--wrapper", env!("CARGO_BIN_EXE_ffrtmp")]);
        }
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("it starts");
        let pid = child.id();
        *self.supervisor.borrow_mut() = Some(child);
        self.await_log("supervising");
        pid
    }

    fn log_file(&self) -> PathBuf {
        self.path(&format!("supervisor-{}.log", self.number.get()))
    }

    /// What the supervisor that runs, or ran last, has said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// How many of its lines hold a text.
    pub fn said(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    pub fn await_log(&self, text: &str) {
        let begin = Instant::now();
        while self.said(text) == 0 {
            assert!(
                begin.elapsed() < DEADLINE,
                "waited in vain for {text:?}, the supervisor said: {}",
                self.log()
            );
            sleep(Duration::from_millis(5));
        }
    }

    /// Whether one was started and not ended.
    pub fn is_supervised(&self) -> bool {
        self.supervisor.borrow().is_some()
    }

    pub fn supervisor_pid(&self) -> u32 {
        self.supervisor.borrow().as_ref().expect("a supervisor").id()
    }

    /// The process that this supervisor's wrappers are forked from, once it has started one.
    pub fn nursery(&self) -> ProcessIdentity {
        let supervisor = self.supervisor_pid();
        let is_nursery = |pid: &u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0).nth(1) == Some(b"nursery")
        };
        let mut found = None;
        await_true("the nursery", || {
            let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children"));
            let children = children.unwrap_or_default();
            let pid = children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_nursery);
            found = pid.and_then(identify);
            found.is_some()
        });
        found.expect("just found")
    }

    pub fn signal_supervisor(&self, signal: Signal) {
        send(&identify(self.supervisor_pid()).expect("our child"), signal);
    }

    /// Sends a signal that ends it, and waits until it has.
    pub fn end_supervisor(&self, signal: Signal) -> ExitStatus {
        self.signal_supervisor(signal);
        let mut child = self.supervisor.borrow_mut().take().expect("a supervisor");
        let ended = await_some("the supervisor ends", || child.try_wait().expect("our child"));
        assert_eq!(self.said("panicked"), 0, "{}", self.log());
        ended
    }

    /// SIGTERM, as on a restart.
    pub fn term(&self) {
        assert_eq!(self.end_supervisor(Signal::TERM).code(), Some(0), "{}", self.log());
    }

    pub fn kill(&self) {
        self.end_supervisor(Signal::KILL);
    }

    /// Waits until everything that was done to the folder so far has had its effect: files that come
    /// later were looked at, twice, so that what followed from the first look is done.
    pub fn settle(&self) {
        for _ in 0..2 {
            self.barriers.set(self.barriers.get() + 1);
            let barrier = format!("barrier-{}", self.barriers.get());
            self.put(&barrier, "not TOML at all");
            self.await_log(&format!("{barrier}.toml:1:"));
            self.remove(&barrier);
        }
    }

    /// The same where the folder is not watched, and for all that waits for a scan.
    pub fn settle_by_scan(&self) {
        for _ in 0..2 {
            let before = self.said("on SIGHUP");
            self.signal_supervisor(Signal::from_number(libc::SIGHUP).expect("a signal"));
            await_true("everything is looked at", || self.said("on SIGHUP") > before);
        }
    }

    // Files.

    /// Replaces a file as a careful editor does.
    pub fn replace(&self, path: &Path, text: &str) {
        let draft = self.path("drafts").join(path.file_name().expect("a name"));
        fs::write(&draft, text).expect("written");
        fs::rename(&draft, path).expect("renamed");
    }

    /// Puts a job file in place, whole.
    pub fn put(&self, job: &str, text: &str) {
        self.replace(&self.job_file(job), text);
    }

    pub fn put_profile(&self, profile: &str, text: &str) {
        self.replace(&self.path("profiles.d").join(format!("{profile}.toml")), text);
    }

    pub fn remove(&self, job: &str) {
        fs::remove_file(self.job_file(job)).expect("removed");
    }

    // Reports and runs.

    pub fn report(&self, job: &str) -> Option<Value> {
        let bytes = fs::read(self.path("state/reports").join(format!("{job}.json"))).ok()?;
        Some(serde_json::from_slice(&bytes).expect("a report is whole at every moment"))
    }

    /// Waits for a report that fits.
    pub fn await_report(&self, job: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let report = self.report(job);
            if let Some(report) = report.as_ref().filter(|report| fits(report)) {
                return report.clone();
            }
            let text = || format!("{report:#?}\nthe supervisor said: {}", self.log());
            assert!(begin.elapsed() < DEADLINE, "{job}: waited in vain for {what}, found {}", text());
            sleep(Duration::from_millis(5));
        }
    }

    /// Waits until the job's newest report is that of a run in this state.
    pub fn await_state(&self, job: &str, state: &str) -> Value {
        self.await_report(job, state, |report| report["state"] == state)
    }

    /// Waits until an event of the job says this.
    pub fn await_event(&self, job: &str, text: &str) -> Value {
        self.await_report(job, text, |report| events(report).iter().any(|event| event.contains(text)))
    }

    /// Waits until the job runs.
    pub fn running(&self, job: &str) -> Live {
        let live = |report: &Value| {
            let process = identify(report["pid"].as_u64()?.try_into().ok()?)?;
            let run = report["run_id"].as_str()?.to_owned();
            (report["state"] == "running").then_some(Live { process, run }).filter(Live::lives)
        };
        let report = self.await_report(job, "a living process", |report| live(report).is_some());
        live(&report).unwrap_or_else(|| panic!("{job} ended at once"))
    }

    /// Waits until the job runs again, in another run.
    pub fn running_anew(&self, job: &str, before: &Live) -> Live {
        self.await_report(job, "another run", |report| report["run_id"] != before.run.as_str());
        self.running(job)
    }

    /// That the job runs on as if nothing had happened.
    pub fn assert_untouched(&self, job: &str, live: &Live) {
        assert!(live.lives(), "{job} was ended: {}", self.log());
        let report = self.report(job).expect("a report");
        assert_eq!((&report["run_id"], &report["state"]), (&live.run.clone().into(), &"running".into()));
        assert!(!events(&report).iter().any(|event| event.contains("sent to pid")), "{report:#}");
    }

    /// What the job printed: its log without the lines that say where runs begin.
    pub fn output(&self, job: &str) -> String {
        let log = fs::read_to_string(self.path("state/logs").join(format!("{job}.log"))).unwrap_or_default();
        log.split_inclusive('\n').filter(|line| !is_mark(line)).collect()
    }

    pub fn await_output(&self, job: &str, text: &str) {
        await_true(&format!("{job} prints {text:?}"), || self.output(job).contains(text));
    }

    /// How many SIGTERMs a workload with [`COUNTS_SIGNALS`] has counted.
    pub fn terms(&self, job: &str) -> usize {
        self.output(job).matches("TERM").count()
    }

    /// How often the job was started, whatever became of it.
    pub fn runs(&self, job: &str) -> usize {
        let mut runs: BTreeSet<String> = self.history(job).into_iter().collect();
        runs.extend(names(&self.path("state/runs").join(job)));
        runs.len()
    }

    /// The ended runs whose reports are kept.
    pub fn history(&self, job: &str) -> Vec<String> {
        let names = names(&self.path("state/reports/history").join(job));
        names.iter().filter_map(|name| name.strip_suffix(".json").map(str::to_owned)).collect()
    }

    /// The report of an ended run, once it is there.
    pub fn await_history(&self, job: &str, run: &str) -> Value {
        let path = self.path("state/reports/history").join(job).join(format!("{run}.json"));
        let bytes = await_some("the run's last report", || fs::read(&path).ok());
        serde_json::from_slice(&bytes).expect("a report")
    }

    pub fn run_dir(&self, job: &str, live: &Live) -> PathBuf {
        self.path("state/runs").join(job).join(&live.run)
    }

    /// The wrapper of a run.
    pub fn wrapper(&self, job: &str, live: &Live) -> ProcessIdentity {
        let started = self.record(job, live, "started.json");
        serde_json::from_value(started["wrapper"].clone()).expect("an identity")
    }

    /// Ends the wrapper of a run, and nothing else.
    pub fn kill_wrapper(&self, job: &str, live: &Live) {
        let wrapper = self.wrapper(job, live);
        send(&wrapper, Signal::KILL);
        await_true("the wrapper is gone", || !lives(&wrapper));
    }

    pub fn record(&self, job: &str, live: &Live, name: &str) -> Value {
        let bytes = fs::read(self.run_dir(job, live).join(name)).expect("a record");
        serde_json::from_slice(&bytes).expect("a record")
    }

    pub fn write_record(&self, job: &str, live: &Live, name: &str, record: &Value) {
        fs::write(self.run_dir(job, live).join(name), record.to_string()).expect("written");
    }

    /// Where this supervisor's jobs have their cgroups, in each hierarchy of version 1.
    pub fn cgroup_bases(&self) -> Vec<PathBuf> {
        let instance = cgroups::instance_of(&Layout::under(&self.root));
        let mounts = Mounts::read().expect("proc");
        let bases: BTreeSet<PathBuf> = mounts.v1.values().map(|found| found.own.join(&instance)).collect();
        bases.into_iter().filter(|base| base.exists()).collect()
    }

    /// Removes what a supervisor that was killed has left of its cgroups.
    fn remove_cgroups(&self) {
        let begin = Instant::now();
        let mut left = self.cgroup_bases();
        while !left.is_empty() && begin.elapsed() < DEADLINE {
            let instance = cgroups::instance_of(&Layout::under(&self.root));
            let request = Request { choice: Choice::CgroupV1, parent: None, instance: &instance };
            // It goes with its cgroups.
            let _ = v1::Tree::open(&Mounts::read().expect("proc"), &request).map(|tree| tree.sweep(&[]));
            left = self.cgroup_bases();
            sleep(Duration::from_millis(2));
        }
        if !left.is_empty() {
            eprintln!("left behind: {left:?}");
        }
    }

    /// Every process that was started under this folder: its output goes to a file here, its command
    /// line names the folder, or its record does.
    fn processes(&self) -> Vec<ProcessIdentity> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Some(process) = identify(pid).filter(lives) else { continue };
            let output = fs::read_link(entry.path().join("fd/1")).unwrap_or_default();
            let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            let logs = self.path("state/logs");
            let runs = self.path("state/runs").display().to_string();
            if output.starts_with(logs) || command.contains(&runs) {
                found.push(process);
            }
        }
        found
    }
}

/// Whether a line of a log is the supervisor's own, where a run begins.
pub fn is_mark(line: &str) -> bool {
    line.starts_with("-- run ") && line.contains(", started ") && line.ends_with(" --\n")
}

/// What is in a folder, sorted.
pub fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(mut child) = self.supervisor.get_mut().take() {
            // Nothing is started any more, so that what is found now is all there is.
            let _ = child.kill();
            let _ = child.wait();
        }
        let begin = Instant::now();
        loop {
            let left = self.processes();
            if left.is_empty() {
                break;
            }
            for process in &left {
                if let Ok(Some(fd)) = PidFd::open(process) {
                    let _ = fd.send(Signal::KILL);
                }
            }
            if begin.elapsed() > DEADLINE {
                eprintln!("left behind: {left:?}");
                break;
            }
            sleep(Duration::from_millis(2));
        }
        self.remove_cgroups();
        drop(self.dir.take());
    }
}
