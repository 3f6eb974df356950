//! A folder with jobs, a supervisor that dies now and then, and the proof that nothing of it stays.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ffrtmp::config::paths::Layout;
use ffrtmp::linux::cgroup::mounts::Mounts;
use ffrtmp::linux::cgroup::{Request, v1};
use ffrtmp::linux::clock;
use ffrtmp::model::cgroup::Choice;
use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;
use ffrtmp::supervisor::{cgroups, lock};
use serde_json::Value;
use tempfile::TempDir;

use super::harness::{DEADLINE, chmod, identify, names, send};
use super::witness::Witness;
use super::workload::{self, Life};

/// What a job file says.
#[derive(Debug, Clone)]
pub struct Declared {
    pub generation: u32,
    pub life: Life,
    pub children: u32,
    pub enabled: bool,
    pub nice: i32,
    /// Other keys, and tables after them.
    pub keys: String,
}

pub struct Stage {
    pub root: PathBuf,
    pub witness_file: PathBuf,
    child: Option<Child>,
    /// Points that end a process, one after the other.
    armed: Vec<String>,
    /// How often others were chosen.
    choices: u32,
    drafts: Cell<u32>,
    dir: TempDir,
}

impl Stage {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("ffrtmp-crash-").tempdir().expect("a directory");
        chmod(dir.path(), 0o700);
        let root = dir.path().canonicalize().expect("a path");
        for folder in ["jobs.d", "profiles.d", "drafts", "witness"] {
            fs::create_dir(root.join(folder)).expect("made");
        }
        let witness_file = root.join("witness/said");
        File::create(&witness_file).expect("made");
        let stage = Self {
            root,
            witness_file,
            child: None,
            armed: Vec::new(),
            choices: 0,
            drafts: Cell::new(0),
            dir,
        };
        stage.settings("");
        stage
    }

    /// More for `supervisor.toml`.
    pub fn settings(&self, text: &str) {
        let text = format!("[reports]\nkeep = 10000\n{text}");
        fs::write(self.root.join("supervisor.toml"), text).expect("written");
    }

    /// Has one process end at each of these points (`NAME:N`), one after the other.
    pub fn arm(&mut self, points: &[String]) {
        self.armed = points.to_vec();
        self.choices += 1;
    }

    /// The command line of the process that ended at a point, once it has.
    pub fn aborted(&self, point: &str) -> Option<String> {
        fs::read_to_string(self.mark(point)).ok()
    }

    fn mark(&self, point: &str) -> PathBuf {
        let name = format!("mark-{}-{}", self.choices, point.replace(':', "-"));
        self.root.join("witness").join(name)
    }

    /// The processes that ended at a point: the run, if it was the wrapper of one.
    pub fn all_aborted(&self) -> Vec<Option<String>> {
        let folder = self.root.join("witness");
        let marks = names(&folder).into_iter().filter(|name| name.starts_with("mark-"));
        let run = |name: String| {
            let command = fs::read_to_string(folder.join(name)).unwrap_or_default();
            let dir = command.split_whitespace().skip_while(|word| *word != "--run-dir").nth(1)?;
            dir.rsplit('/').next().map(str::to_owned)
        };
        marks.map(run).collect()
    }

    // The supervisor.

    /// Starts one, and waits for nothing.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "one at a time");
        let log = OpenOptions::new().create(true).append(true).open(self.root.join("supervisor.log"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"));
        command.arg("--root").arg(&self.root);
        command.args(["supervise", "--wrapper", env!("CARGO_BIN_EXE_ffrtmp")]).current_dir("/");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
        if let Some(next) = self.armed.iter().find(|point| self.aborted(point).is_none()) {
            command.env("FFRTMP_ABORT_AT", format!("{next}:{}", self.mark(next).display()));
        }
        self.child = Some(command.spawn().expect("it starts"));
    }

    /// Whether it runs. One that ended by itself is an error, unless a point ended it.
    pub fn runs(&mut self) -> bool {
        let Some(child) = &mut self.child else { return false };
        let Some(status) = child.try_wait().expect("our child") else { return true };
        assert_eq!(status.signal(), Some(libc::SIGKILL), "it ended by itself: {}", self.log());
        self.child = None;
        false
    }

    /// The supervisor that was started last, if that was not seen to end.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.root.join("supervisor.log")).unwrap_or_default()
    }

    /// How many lines of the log hold a text.
    pub fn said(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    /// SIGKILL; false if it had ended.
    pub fn kill(&mut self) -> bool {
        let Some(mut child) = self.child.take() else { return false };
        child.kill().expect("our child");
        child.wait().expect("our child");
        true
    }

    /// SIGTERM, as on a restart; false if a point ended it.
    pub fn term(&mut self) -> bool {
        let mut child = self.child.take().expect("a supervisor");
        send(&identify(child.id()).expect("our child"), Signal::TERM);
        let status = child.wait().expect("our child");
        assert!(status.success() || status.signal() == Some(libc::SIGKILL), "{status}: {}", self.log());
        status.success()
    }

    /// Looks until it is so. A supervisor that a point ended is followed by another.
    pub fn until(&mut self, what: &str, mut look: impl FnMut(&Self) -> bool) {
        let begin = Instant::now();
        while !look(self) {
            if !self.runs() {
                self.spawn();
            }
            assert!(begin.elapsed() < DEADLINE, "waited in vain: {what}\n{}", self.log());
            sleep(Duration::from_millis(10));
        }
    }

    /// Looks until it finds nothing. Gives what it found last.
    pub fn eventually(&mut self, mut look: impl FnMut(&Self) -> Vec<String>) -> Vec<String> {
        let begin = Instant::now();
        loop {
            if !self.runs() {
                self.spawn();
            }
            let found = look(self);
            if found.is_empty() || begin.elapsed() > DEADLINE {
                return found;
            }
            sleep(Duration::from_millis(50));
        }
    }

    /// Waits until a point ends the supervisor.
    pub fn until_ended(&mut self, what: &str) {
        let begin = Instant::now();
        while self.runs() {
            assert!(begin.elapsed() < DEADLINE, "waited in vain: {what}\n{}", self.log());
            sleep(Duration::from_millis(5));
        }
    }

    // Files.

    /// Puts a file in place as a careful editor does.
    pub fn put_text(&self, path: &Path, text: &str) {
        self.drafts.set(self.drafts.get() + 1);
        let draft = self.root.join("drafts").join(self.drafts.get().to_string());
        fs::write(&draft, text).expect("written");
        fs::rename(&draft, path).expect("renamed");
    }

    pub fn job_file(&self, job: &str) -> PathBuf {
        self.root.join("jobs.d").join(format!("{job}.toml"))
    }

    pub fn text_of(&self, declared: &Declared) -> String {
        let Declared { generation, life, children, enabled, nice, keys } = declared;
        let command = workload::command(&self.witness_file, *generation, *life, *children);
        format!(
            "enabled = {enabled}\ntags = {{ generation = \"{generation}\" }}\n{keys}\n[exec]\n\
             command = {command:?}\noutput = \"null\"\n[constraints]\nnice = {nice}\n"
        )
    }

    pub fn put(&self, job: &str, declared: &Declared) {
        self.put_text(&self.job_file(job), &self.text_of(declared));
    }

    pub fn remove(&self, job: &str) {
        // It may be gone.
        let _ = fs::remove_file(self.job_file(job));
    }

    // What is to be seen.

    pub fn witness(&self) -> Witness {
        Witness::read(&self.witness_file)
    }

    pub fn report(&self, job: &str) -> Value {
        let path = self.root.join("state/reports").join(format!("{job}.json"));
        fs::read(path).ok().map_or(Value::Null, |bytes| serde_json::from_slice(&bytes).expect("whole"))
    }

    /// The reports of a job's ended runs.
    pub fn history(&self, job: &str) -> Vec<Value> {
        let folder = self.root.join("state/reports/history").join(job);
        let read = |name: &String| fs::read(folder.join(name)).ok();
        let whole = |bytes: Vec<u8>| serde_json::from_slice(&bytes).expect("a whole report");
        let names = names(&folder);
        names.iter().filter(|name| name.ends_with(".json")).filter_map(read).map(whole).collect()
    }

    pub fn wall(&self) -> i64 {
        clock::now().wall.unix_ms()
    }

    /// The wrappers that live, with the run of each.
    pub fn wrappers(&self) -> Vec<(ProcessIdentity, String)> {
        let runs = self.root.join("state/runs").display().to_string();
        let run_of = |pid: u32| {
            let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            let command = String::from_utf8_lossy(&command).into_owned();
            let dir = command.split('\0').skip_while(|word| *word != "--run-dir").nth(1)?.to_owned();
            dir.starts_with(&runs).then(|| dir.rsplit('/').next().unwrap_or_default().to_owned())
        };
        let mut found = Vec::new();
        for name in names(Path::new("/proc")) {
            let Some(pid) = name.parse().ok() else { continue };
            let Some(process) = identify(pid) else { continue };
            let Some(run) = run_of(pid) else { continue };
            // Its child has its command line until it executes the workload's program.
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
            let is_child = parent.and_then(run_of).is_some_and(|of_parent| of_parent == run);
            if !is_child && identify(pid).as_ref() == Some(&process) && run_of(pid).is_some() {
                found.push((process, run));
            }
        }
        found
    }

    /// What is left of it all, after the last supervisor is gone; nothing should be.
    pub fn left(&self) -> Vec<String> {
        let mut left = Vec::new();
        let runs = self.root.join("state/runs");
        left.extend(names(&runs).into_iter().map(|job| format!("state/runs/{job}")));
        for (process, run) in self.wrappers() {
            left.push(format!("the wrapper of {run}, pid {}", process.pid));
        }
        left.extend(self.witness().living.iter().map(|process| format!("the process {}", process.pid)));
        left.extend(self.cgroup_bases().iter().map(|base| format!("the cgroup {}", base.display())));
        if let Some(pid) = lock::holder(&self.root.join("state/supervisor.lock")) {
            left.push(format!("the lock of supervisor {pid}"));
        }
        temporary(&self.root, &mut left);
        left
    }

    fn cgroup_bases(&self) -> Vec<PathBuf> {
        let instance = cgroups::instance_of(&Layout::under(&self.root));
        let mounts = Mounts::read().expect("proc");
        let bases: BTreeSet<PathBuf> = mounts.v1.values().map(|found| found.own.join(&instance)).collect();
        bases.into_iter().filter(|base| base.exists()).collect()
    }

    /// Keeps the folder, for whoever has to find out what went wrong.
    pub fn keep(&mut self) -> PathBuf {
        self.dir.disable_cleanup(true);
        self.root.clone()
    }
}

/// Files that somebody began and did not finish.
fn temporary(folder: &Path, left: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            temporary(&entry.path(), left);
        } else if entry.file_name().to_string_lossy().ends_with(".tmp") {
            left.push(entry.path().display().to_string());
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.kill();
        let begin = Instant::now();
        loop {
            let wrappers = self.wrappers().into_iter().map(|(wrapper, _)| wrapper);
            let left: Vec<ProcessIdentity> = self.witness().living.into_iter().chain(wrappers).collect();
            left.iter().for_each(|process| send(process, Signal::KILL));
            if left.is_empty() || begin.elapsed() > DEADLINE {
                break;
            }
            sleep(Duration::from_millis(5));
        }
        while !self.cgroup_bases().is_empty() && begin.elapsed() < DEADLINE {
            let instance = cgroups::instance_of(&Layout::under(&self.root));
            let request = Request { choice: Choice::CgroupV1, parent: None, instance: &instance };
            let mounts = Mounts::read().expect("proc");
            let _ = v1::Tree::open(&mounts, &request).map(|tree| tree.sweep(&[]));
            sleep(Duration::from_millis(5));
        }
    }
}
