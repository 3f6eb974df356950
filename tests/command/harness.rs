//! A folder that `ffrtmp` keeps its things in, what a test starts there, and how nothing of it stays.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ffrtmp::config::paths::Layout;
use ffrtmp::linux::cgroup::mounts::Mounts;
use ffrtmp::linux::process::{self, PidFd};
use ffrtmp::model::process::{Pid, ProcessIdentity};
use ffrtmp::model::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

pub use crate::wait::{DEADLINE, await_some, await_true};

/// The program under test.
pub const FFRTMP: &str = env!("CARGO_BIN_EXE_ffrtmp");

/// Where the cgroups of the command line are, below those of who calls it.
const CGROUPS: &str = "ffrtmp-cli";

/// Says `ready`, and its name for each signal that can be trapped; ends with 5 once there is a file `go`.
pub const COUNTS_SIGNALS: &str = "for s in HUP INT QUIT TERM USR1; do trap \"echo SIG$s\" $s; done
    echo ready; until [ -e go ]; do sleep 0.02; done; exit 5";

/// A name that no other job has.
pub fn unique(name: &str) -> String {
    format!("{name}-{}", std::process::id())
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

pub fn signal(number: i32) -> Signal {
    Signal::from_number(number).expect("a signal")
}

/// Says that a test cannot run here, past the harness, which hides what a test prints.
pub fn skipped(test: &str, why: &str) {
    let _ = writeln!(io::stderr(), "\nSKIPPED {test}: {why}");
}

/// Says what a test has put in the place of what is not here.
pub fn stands_in(test: &str, what: &str) {
    let _ = writeln!(io::stderr(), "\nSTAND-IN {test}: {what}");
}

/// Whether programs are here; says so where they are not.
pub fn all_here(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| find_program(program).is_none());
    if let Some(missing) = missing {
        skipped(test, &format!("no {missing} here; scripts/setup test installs it"));
    }
    missing.is_none()
}

/// Where a program is.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let folders = path.split(':').chain(["/usr/sbin", "/sbin"]);
    folders.map(|folder| Path::new(folder).join(name)).find(|file| file.is_file())
}

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// Whether limits can be put in force here; says so where they cannot.
pub fn limits_are_here(test: &str) -> bool {
    let site = Site::new();
    let limits = ["--cpu-weight", "150", "--cpu-quota", "90", "--memory-limit", "256"];
    let done = site.run(&[["--strict", "--quiet"].as_slice(), &limits, &["true"]].concat());
    if done.code() != Some(0) {
        skipped(test, &format!("no limits here: {}", done.err.trim()));
    }
    done.code() == Some(0)
}

/// A folder for `--root`, and one to work in.
pub struct Site {
    pub work: PathBuf,
    pub root: PathBuf,
    number: Cell<u32>,
    _dir: TempDir,
}

/// An option of env(1): signals are not ignored, whatever these tests were started by (nohup(1), a shell's `&`).
pub const AS_A_LOGIN: &str = "--default-signal=HUP,INT,QUIT,TERM,PIPE";

impl Site {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let top = dir.path().canonicalize().expect("a path");
        // For workloads of other users, too.
        fs::set_permissions(&top, fs::Permissions::from_mode(0o711)).expect("changed");
        let site = Self { work: top.join("work"), root: top.join("root"), number: Cell::new(0), _dir: dir };
        for folder in [&site.work, &site.root, &site.work.join("bin")] {
            fs::create_dir(folder).expect("made");
        }
        site
    }

    /// A file in the folder that everything is started in.
    pub fn path(&self, name: &str) -> PathBuf {
        self.work.join(name)
    }

    /// Where the reports of the command line are.
    pub fn reports(&self) -> PathBuf {
        Layout::under(&self.root).command_line_reports()
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).expect("written");
        self.path(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A program in the folder `bin`, which is first in PATH.
    pub fn program(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path("bin").join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
        path
    }

    /// A profile that may be named.
    pub fn profile(&self, name: &str, text: &str) {
        let folder = self.root.join("profiles.d");
        fs::create_dir_all(&folder).expect("made");
        fs::write(folder.join(format!("{name}.toml")), text).expect("written");
    }

    /// A program, as started by cron or a service: without a terminal, in a session of its own. The
    /// process is that of the program.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("env");
        command.args([AS_A_LOGIN, "setsid"]).arg(program);
        self.set_up(&mut command);
        command
    }

    /// Whatever is started like this is found again, and ended.
    pub fn set_up(&self, command: &mut Command) {
        let folder = Path::new(FFRTMP).parent().expect("a folder").display();
        let path = std::env::var("PATH").unwrap_or_default();
        command
            .current_dir(&self.work)
            .env("FFRTMP_ROOT", &self.root)
            .env("PATH", format!("{}:{folder}:{path}", self.path("bin").display()))
            .env_remove("WRAPPER_ENABLED")
            .stdin(Stdio::null());
    }

    /// `ffrtmp` with arguments.
    pub fn ffrtmp(&self, arguments: &[&str]) -> Command {
        let mut command = self.command(FFRTMP);
        command.args(arguments);
        command
    }

    /// Starts `ffrtmp run`.
    pub fn start_run(&self, arguments: &[&str]) -> Running {
        self.start(self.ffrtmp(&["run"]).args(arguments))
    }

    /// `ffrtmp run`, to its end.
    pub fn run(&self, arguments: &[&str]) -> Done {
        self.start_run(arguments).wait()
    }

    /// Starts `ffrtmp attach`.
    pub fn start_attach(&self, pid: u32, arguments: &[&str]) -> Running {
        self.start(self.ffrtmp(&["attach", "--pid", &pid.to_string()]).args(arguments))
    }

    /// A shell script, which is in a file: its command line does not show what it says.
    pub fn script(&self, text: &str) -> Command {
        self.number.set(self.number.get() + 1);
        let file = self.write(&format!("script-{}", self.number.get()), text);
        let mut command = self.command("sh");
        command.arg(file);
        command
    }

    /// A shell script, to its end.
    pub fn shell(&self, text: &str) -> Done {
        self.start(&mut self.script(text)).wait()
    }

    pub fn start(&self, command: &mut Command) -> Running {
        self.number.set(self.number.get() + 1);
        let file = |name| self.path(&format!("{name}-{}", self.number.get()));
        let (out, err) = (file("out"), file("err"));
        let made = |path| File::create(path).expect("made");
        let child = command.stdout(made(&out)).stderr(made(&err)).spawn().expect("it starts");
        Running { child, out, err }
    }

    /// Something to wait for: `cat NAME` ends once it is opened.
    pub fn gate(&self, name: &str) -> Gate {
        let path = self.path(name);
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o666)).expect("made");
        Gate { path }
    }

    /// The newest report of a job.
    pub fn report(&self, job: &str) -> Option<Value> {
        read_json(&self.reports().join(format!("{job}.json")))
    }

    /// Waits for a report of a job that fits.
    pub fn await_report(&self, job: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        await_some(&format!("{job}: {what}"), || self.report(job).filter(&fits))
    }

    /// Waits until a job has ended.
    pub fn await_end(&self, job: &str) -> Value {
        self.await_report(job, "the report of its end", |report| report["ended_at"].is_string())
    }

    /// The directories of runs that go on, and of such whose keeper was lost.
    pub fn runs(&self) -> Vec<PathBuf> {
        let jobs = folders_of(&Layout::under(&self.root).command_line_runs());
        jobs.iter().flat_map(|job| folders_of(job)).collect()
    }

    /// Every process that was started here, with its number.
    pub fn processes(&self) -> Vec<ProcessIdentity> {
        let mark = format!("FFRTMP_ROOT={}", self.root.display()).into_bytes();
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc").expect("proc").flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
            if environment.split(|byte| *byte == 0).any(|variable| variable == mark) {
                found.extend(Pid::new(pid).and_then(|pid| process::identify(pid).ok()?));
            }
        }
        found.retain(lives);
        found
    }

    /// The cgroups of runs that were given the name of a job.
    pub fn cgroups(&self, job: &str) -> BTreeSet<PathBuf> {
        let begins = format!("{job}.");
        let named =
            |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&begins));
        bases().iter().flat_map(|base| folders_of(base)).filter(named).collect()
    }

    /// What is left here, once every process has had the time to end: nothing, if all is well.
    fn left(&self) -> Vec<String> {
        let begin = Instant::now();
        while !self.processes().is_empty() && begin.elapsed() < DEADLINE {
            sleep(Duration::from_millis(5));
        }
        let processes = self.processes().into_iter().map(|process| format!("process {}", process.pid));
        let jobs = folders_of(&self.reports().join("history"));
        let ended = jobs.iter().flat_map(|job| {
            let name = job.file_name().expect("a name").to_string_lossy().into_owned();
            files_of(job).into_iter().filter_map(move |report| {
                let run = report.file_stem()?.to_str()?.to_owned();
                Some(format!("{name}.{run}"))
            })
        });
        let ended: Vec<String> = ended.collect();
        let cgroups = bases().into_iter().flat_map(|base| ended.iter().map(move |run| base.join(run)));
        let cgroups = cgroups.filter(|cgroup| cgroup.exists());
        processes
            .chain(self.runs().into_iter().chain(cgroups).map(|path| path.display().to_string()))
            .collect()
    }

    /// Removes what a keeper or wrapper that was killed has left.
    pub fn sweep(&self) {
        let homes: Vec<PathBuf> = self.processes().iter().flat_map(|found| homes(found.pid)).collect();
        await_true("all that was started here is ended", || {
            let left = self.processes();
            for process in &left {
                send(process, Signal::KILL);
            }
            left.is_empty()
        });
        for run in self.runs() {
            let name = |path: &Path| path.file_name().expect("a name").to_string_lossy().into_owned();
            let job = run.parent().map(name).unwrap_or_default();
            for base in bases() {
                remove_cgroup(&base.join(format!("{job}.{}", name(&run))));
            }
            let _ = fs::remove_dir_all(run);
        }
        homes.iter().for_each(|cgroup| remove_cgroup(cgroup));
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let left = if std::thread::panicking() { Vec::new() } else { self.left() };
        self.sweep();
        assert!(left.is_empty(), "left behind: {left:?}");
    }
}

/// Where the command line has the cgroups of its jobs, in each hierarchy.
fn bases() -> BTreeSet<PathBuf> {
    let mounts = Mounts::read().expect("proc");
    let own = mounts.unified.iter().chain(mounts.v1.values()).map(|found| found.own.join(CGROUPS));
    own.filter(|base| base.exists()).flat_map(|base| [base.join("jobs"), base]).collect()
}

/// The cgroups of ours that a process is in.
pub fn homes(pid: Pid) -> Vec<PathBuf> {
    let Ok(mounts) = Mounts::of(pid) else { return Vec::new() };
    let own = mounts.unified.into_iter().chain(mounts.v1.into_values()).map(|found| found.own);
    let ours = |path: &PathBuf| path.components().any(|part| part.as_os_str() == CGROUPS);
    own.filter(ours).collect()
}

fn remove_cgroup(cgroup: &Path) {
    let gone = || match fs::remove_dir(cgroup) {
        Ok(()) => true,
        Err(error) => error.kind() == io::ErrorKind::NotFound,
    };
    await_true(&format!("{} is removed", cgroup.display()), gone);
    // If it was the last one.
    let _ = cgroup.parent().map(fs::remove_dir);
}

fn entries_of(folder: &Path) -> impl Iterator<Item = PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path())
}

pub fn folders_of(folder: &Path) -> Vec<PathBuf> {
    entries_of(folder).filter(|path| path.is_dir()).collect()
}

pub fn files_of(folder: &Path) -> Vec<PathBuf> {
    entries_of(folder).filter(|path| path.is_file()).collect()
}

pub fn read_json(path: &Path) -> Option<Value> {
    let bytes = fs::read(path).ok()?;
    Some(serde_json::from_slice(&bytes).expect("a report is one whole document"))
}

/// What became of a constraint, in a report.
pub fn constraint(report: &Value, name: &str) -> Value {
    let list = report["constraints"].as_array().expect("a list");
    list.iter()
        .find(|status| status["name"] == name)
        .cloned()
        .unwrap_or_else(|| panic!("no {name}: {report:#}"))
}

/// The texts of a report's events.
pub fn events(report: &Value) -> Vec<&str> {
    let events = report["events"].as_array().expect("events");
    events.iter().map(|event| event["message"].as_str().expect("a text")).collect()
}

/// That a report says these things.
pub fn assert_says(report: &Value, fields: &[(&str, Value)]) {
    for (name, value) in fields {
        assert_eq!(&report[name], value, "{name}: {report:#}");
    }
}

/// A program that a test has started. It ends with the test.
pub struct Running {
    pub child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Running {
    /// The wrapper, or whatever was started.
    pub fn process(&self) -> ProcessIdentity {
        let pid = Pid::new(self.child.id()).expect("a number");
        process::identify(pid).expect("proc").expect("our child, not waited for")
    }

    pub fn signal(&self, number: i32) {
        send(&self.process(), signal(number));
    }

    pub fn out(&self) -> String {
        text_of(&self.out)
    }

    pub fn err(&self) -> String {
        text_of(&self.err)
    }

    pub fn await_out(&self, text: &str) {
        self.await_that(&format!("{text:?} on standard output"), || self.out().contains(text));
    }

    pub fn await_err(&self, text: &str) {
        self.await_that(&format!("{text:?} on standard error"), || self.err().contains(text));
    }

    fn await_that(&self, what: &str, so: impl Fn() -> bool) {
        let begin = Instant::now();
        while !so() {
            let said = || format!("{}{}", self.out(), self.err());
            assert!(begin.elapsed() < DEADLINE, "waited in vain for {what}, it said: {}", said());
            sleep(Duration::from_millis(5));
        }
    }

    /// The workload, once it is told of.
    pub fn workload(&self) -> ProcessIdentity {
        let told = || {
            let err = self.err();
            let (_, told) = err.split_once("Started PID ").or(err.split_once("Attached to PID "))?;
            let (number, _) = told.split_once(['\n', ','])?;
            Pid::new(number.parse().ok()?)
        };
        self.await_that("a workload", || told().is_some());
        let process = told().and_then(|pid| process::identify(pid).expect("proc"));
        process.unwrap_or_else(|| panic!("it has ended at once: {}", self.err()))
    }

    /// The process that holds the workload: the wrapper's child.
    pub fn keeper(&self) -> ProcessIdentity {
        let workload = self.workload();
        let stat = fs::read_to_string(format!("/proc/{}/stat", workload.pid)).expect("it lives");
        let parent = stat.rsplit_once(") ").and_then(|(_, fields)| fields.split(' ').nth(1)?.parse().ok());
        let keeper = process::identify(Pid::new(parent.expect("a parent")).expect("a number"));
        keeper.expect("proc").expect("it lives")
    }

    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("our child")
    }

    /// Waits until it has ended.
    pub fn wait(mut self) -> Done {
        let status = await_some("it ends", || self.ended());
        Done { status, out: self.out(), err: self.err() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text_of(file: &Path) -> String {
    String::from_utf8_lossy(&fs::read(file).unwrap_or_default()).into_owned()
}

/// What came of a program that has ended.
#[derive(Debug)]
pub struct Done {
    pub status: ExitStatus,
    pub out: String,
    pub err: String,
}

impl Done {
    pub fn code(&self) -> Option<i32> {
        assert_eq!(self.status.signal(), None, "{self:?}");
        self.status.code()
    }

    /// The one document on standard output.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// A FIFO that workloads wait at.
pub struct Gate {
    path: PathBuf,
}

impl Gate {
    /// Waits until somebody waits, and lets them go on.
    pub fn open(&self) {
        let open = || {
            let mut options = OpenOptions::new();
            options.write(true).custom_flags(libc::O_NONBLOCK).open(&self.path).ok()
        };
        drop(await_some("somebody waits", open));
    }
}
