//! The virtual machine: its service managers, the supervisor as a service of one of them, its jobs; and how
//! each test leaves it as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ffrtmp::config::paths::{Layout, UserDirs};
use ffrtmp::linux::process::{self, PidFd};
use ffrtmp::model::process::{Pid, ProcessIdentity};
use ffrtmp::model::signal::Signal;
use serde_json::Value;

pub use crate::wait::{DEADLINE, await_some, await_true};

/// Between two looks, which take their share of the machine's only CPU.
const PAUSE: Duration = Duration::from_millis(100);

/// The supervisor's unit.
pub const UNIT: &str = "ffrtmp-sup.service";

/// The unit that holds the jobs: those of users, and where systemd is older than 254.
pub const JOBS_UNIT: &str = "ffrtmp-jobs.service";

/// An ordinary user, whose own service manager runs without a login.
const HOME: &str = "/home/worker";
const RUNTIME: &str = "/run/user/1000";
/// Before a command: that user's.
pub const AS_WORKER: &[&str] =
    &["runuser", "--user", "worker", "--", "env", "HOME=/home/worker", "XDG_RUNTIME_DIR=/run/user/1000"];

/// Runs a command to its end; whatever it says.
pub fn output(command: &[&str]) -> Output {
    Command::new(command[0]).args(&command[1..]).output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

/// Runs a command that has to succeed, and gives what it printed.
pub fn run(command: &[&str]) -> String {
    let output = output(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {} {}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Runs the system's `systemctl`.
pub fn systemctl(arguments: &[&str]) -> String {
    run(&[&["systemctl"], arguments].concat())
}

/// The version of systemd that runs here.
pub fn systemd_version() -> u32 {
    let text = systemctl(&["--version"]);
    text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a version")
}

/// What a kernel file holds; nothing if it is gone.
pub fn content(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_end().to_owned()
}

/// The number of the disk, as in `io_max`.
pub fn disk() -> String {
    content(Path::new("/sys/block/nvme0n1/dev"))
}

/// The cgroup that a process is in, as a directory.
pub fn cgroup_of(pid: Pid) -> PathBuf {
    let text = content(Path::new(&format!("/proc/{pid}/cgroup")));
    let path = text.lines().find_map(|line| line.strip_prefix("0::/")).expect("a unified hierarchy");
    Path::new("/sys/fs/cgroup").join(path)
}

/// The parent of a process.
pub fn parent_of(pid: Pid) -> Pid {
    let text = content(Path::new(&format!("/proc/{pid}/status")));
    let parent = text.lines().find_map(|line| line.strip_prefix("PPid:")?.trim().parse().ok());
    parent.and_then(Pid::new).expect("a parent")
}

/// A workload, as a test saw it run.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub process: ProcessIdentity,
    pub run: String,
}

impl Live {
    pub fn lives(&self) -> bool {
        lives(&self.process)
    }
}

/// Whether this very process has not ended.
pub fn lives(process: &ProcessIdentity) -> bool {
    PidFd::open(process).expect("proc").is_some_and(|fd| !fd.has_exited().expect("poll"))
}

/// Signals this very process; nobody, if it is gone.
pub fn send(process: &ProcessIdentity, signal: Signal) {
    if let Some(fd) = PidFd::open(process).expect("proc") {
        fd.send(signal).expect("sent");
    }
}

/// Whether this is such a machine; says so if not.
pub fn is_here(name: &str) -> bool {
    let here = std::env::var_os("FFRTMP_TEST_LANE").is_some_and(|lane| lane == "vm");
    if !here {
        println!("SKIPPED {name}: wants a virtual machine of its own: make test-vm");
    }
    here
}

/// The supervisor as a service, started, with jobs of a test; stopped and swept at the end.
pub struct Machine {
    name: String,
    begin: Instant,
    layout: Layout,
    /// Before a command: whose it is.
    prefix: &'static [&'static str],
    /// The option of `systemctl` and others that names the service manager.
    manager: &'static str,
}

impl Machine {
    /// The system's own supervisor. `None`, and says so, where there is no such machine.
    pub fn started(name: &str) -> Option<Self> {
        let machine = Self::stopped(name)?;
        machine.systemctl(&["start", UNIT]);
        Some(machine)
    }

    /// The same, not started yet.
    pub fn stopped(name: &str) -> Option<Self> {
        Self::new(name, Layout::of_root(), &[], "--system")
    }

    /// The supervisor of an ordinary user, not started yet.
    pub fn of_worker(name: &str) -> Option<Self> {
        let (home, runtime) = (Some(HOME.into()), Some(RUNTIME.into()));
        let dirs = UserDirs { home, runtime, ..UserDirs::default() };
        let layout = Layout::of_user(&dirs).expect("a home");
        Self::new(name, layout, AS_WORKER, "--user")
    }

    fn new(
        name: &str,
        layout: Layout,
        prefix: &'static [&'static str],
        manager: &'static str,
    ) -> Option<Self> {
        if !is_here(name) {
            return None;
        }
        let machine = Self { name: name.into(), begin: Instant::now(), layout, prefix, manager };
        let folder = machine.layout.jobs_d.to_str().expect("text");
        machine.run(&["mkdir", "--parents", folder]);
        Some(machine)
    }

    /// Whether the jobs have a unit of their own.
    pub fn has_jobs_unit(&self) -> bool {
        self.manager == "--user" || systemd_version() < 254
    }

    /// Runs a command as whoever runs the supervisor.
    pub fn run(&self, command: &[&str]) -> String {
        run(&[self.prefix, command].concat())
    }

    /// Runs `systemctl` for the service manager that runs the supervisor.
    pub fn systemctl(&self, arguments: &[&str]) -> String {
        self.run(&[&["systemctl", self.manager], arguments].concat())
    }

    /// A property of a unit, as `systemctl show` has it.
    pub fn property_of(&self, unit: &str, name: &str) -> String {
        self.systemctl(&["show", "--value", "--property", name, unit]).trim().to_owned()
    }

    /// A property of the supervisor's unit.
    pub fn property(&self, name: &str) -> String {
        self.property_of(UNIT, name)
    }

    /// The unit's cgroup, as a directory.
    pub fn cgroup_of_unit(&self, unit: &str) -> PathBuf {
        let path = self.property_of(unit, "ControlGroup");
        Path::new("/sys/fs/cgroup").join(path.strip_prefix('/').expect("it runs"))
    }

    /// The cgroup that was delegated: of the unit that jobs are in.
    pub fn delegated(&self) -> PathBuf {
        self.cgroup_of_unit(if self.has_jobs_unit() { JOBS_UNIT } else { UNIT })
    }

    /// The cgroup of a job.
    pub fn cgroup_of_job(&self, job: &str) -> PathBuf {
        self.delegated().join("jobs").join(job)
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    pub fn file(&self, job: &str) -> PathBuf {
        self.layout.jobs_d.join(format!("{job}.toml"))
    }

    /// Puts a job file in place, whole.
    pub fn put(&self, job: &str, text: &str) {
        let draft = self.layout.jobs_d.join(format!(".{job}"));
        fs::write(&draft, text).expect("written");
        fs::rename(draft, self.file(job)).expect("renamed");
    }

    pub fn report(&self, job: &str) -> Option<Value> {
        let bytes = fs::read(self.layout.reports().join(format!("{job}.json"))).ok()?;
        Some(serde_json::from_slice(&bytes).expect("a report is whole at every moment"))
    }

    /// The last report of a run that has ended.
    pub fn await_ended(&self, job: &str, run: &str) -> Value {
        let path = self.layout.history().join(job).join(format!("{run}.json"));
        let bytes = await_some(&format!("{}", path.display()), || fs::read(&path).ok());
        serde_json::from_slice(&bytes).expect("a report is whole at every moment")
    }

    /// Waits for a report that fits.
    pub fn await_report(&self, job: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        let begin = Instant::now();
        loop {
            let report = self.report(job);
            if let Some(report) = report.as_ref().filter(|report| fits(report)) {
                return report.clone();
            }
            assert!(begin.elapsed() < DEADLINE, "{job}: waited in vain for {what}, found {report:#?}");
            sleep(PAUSE);
        }
    }

    /// Waits until the job runs.
    pub fn running(&self, job: &str) -> Live {
        self.running_but(job, None)
    }

    /// Waits until the job runs, in another run than this one.
    pub fn running_but(&self, job: &str, but: Option<&Live>) -> Live {
        let live = |report: &Value| {
            let pid = Pid::new(report["pid"].as_u64()?.try_into().ok()?)?;
            let process = process::identify(pid).expect("proc")?;
            let run = report["run_id"].as_str()?.to_owned();
            let live = Live { process, run };
            (report["state"] == "running" && live.lives() && but.is_none_or(|but| but.run != live.run))
                .then_some(live)
        };
        let report = self.await_report(job, "a living process", |report| live(report).is_some());
        live(&report).unwrap_or_else(|| panic!("{job} ended at once"))
    }

    /// The supervisor's process.
    pub fn supervisor(&self) -> ProcessIdentity {
        let pid = self.property("MainPID").parse().expect("a number");
        process::identify(Pid::new(pid).expect("it runs")).expect("proc").expect("it lives")
    }

    /// Waits until the unit is up, with another supervisor than this one.
    pub fn await_successor(&self, before: &ProcessIdentity) {
        await_true("another supervisor is ready", || {
            self.property("ActiveState") == "active" && self.property("MainPID") != before.pid.to_string()
        });
    }

    /// Waits until a limit of a job has this value in the kernel, and its report says the same.
    pub fn await_limit(&self, job: &str, (name, file): (&str, &str), value: &str) {
        let path = self.cgroup_of_job(job).join(file);
        await_true(&format!("{} is {value}", path.display()), || content(&path) == value);
        self.await_report(job, &format!("{name} in force as {value}"), |report| {
            status_of(report, name).is_some_and(|status| {
                status["applied"] == true && status["actual"] == value && status["backend"] == "cgroup-v2"
            })
        });
    }
}

/// What a report says of one constraint.
pub fn status_of<'a>(report: &'a Value, name: &str) -> Option<&'a Value> {
    report["constraints"].as_array()?.iter().find(|status| status["name"] == name)
}

/// The cgroups of the supervisor's units, and those in them.
pub fn cgroups_left() -> String {
    // What goes meanwhile is no error.
    String::from_utf8_lossy(&output(&["find", "/sys/fs/cgroup", "-type", "d", "-path", "*ffrtmp*"]).stdout)
        .into()
}

/// The jobs that have a run.
fn runs_left(layout: &Layout) -> Vec<String> {
    let jobs = fs::read_dir(layout.runs()).into_iter().flatten().flatten();
    jobs.filter(|job| fs::read_dir(job.path()).is_ok_and(|mut runs| runs.next().is_some()))
        .map(|job| job.file_name().to_string_lossy().into_owned())
        .collect()
}

impl Drop for Machine {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        // With the files gone, what runs is stopped; the next test finds nothing.
        for entry in fs::read_dir(&self.layout.jobs_d).into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        let systemctl = |arguments: &[&str]| {
            let _ = output(&[self.prefix, &["systemctl", self.manager], arguments].concat());
        };
        systemctl(&["reset-failed", UNIT]);
        systemctl(&["start", UNIT]);
        let begin = Instant::now();
        let mut left = runs_left(&self.layout);
        while !left.is_empty() && begin.elapsed() < DEADLINE {
            sleep(PAUSE);
            left = runs_left(&self.layout);
        }
        systemctl(&["stop", UNIT]);
        if self.has_jobs_unit() {
            systemctl(&["stop", JOBS_UNIT]);
        }
        if !failed {
            assert!(left.is_empty(), "their runs did not end: {left:?}");
            await_true("no cgroup is left", || cgroups_left().is_empty());
            println!("{}: {} s", self.name, self.begin.elapsed().as_secs());
        }
    }
}
