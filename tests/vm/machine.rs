//! The virtual machine: its services, its jobs, and how each test leaves it as it was.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ffrtmp::linux::process::{self, PidFd};
use ffrtmp::model::process::{Pid, ProcessIdentity};
use ffrtmp::model::signal::Signal;
use serde_json::Value;

/// How long anything may take: the machine is emulated.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Looks until there is something to see.
pub fn await_some<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(begin.elapsed() < DEADLINE, "waited in vain: {what}");
        sleep(Duration::from_millis(20));
    }
}

/// Looks until it is so.
pub fn await_true(what: &str, mut look: impl FnMut() -> bool) {
    await_some(what, || look().then_some(()));
}

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

/// Runs `systemctl`.
pub fn systemctl(arguments: &[&str]) -> String {
    run(&[&["systemctl"], arguments].concat())
}

/// A property of the supervisor's unit, as `systemctl show` has it.
pub fn property(name: &str) -> String {
    systemctl(&["show", "--value", "--property", name, UNIT]).trim().to_owned()
}

/// The supervisor's unit.
pub const UNIT: &str = "ffrtmp-sup.service";

/// The unit that holds the jobs, where systemd is older than 254.
pub const JOBS_UNIT: &str = "ffrtmp-jobs.service";

/// Before a command: an ordinary user, whose own service manager runs.
pub const AS_WORKER: &[&str] =
    &["runuser", "--user", "worker", "--", "env", "HOME=/home/worker", "XDG_RUNTIME_DIR=/run/user/1000"];

/// The version of systemd that runs here.
pub fn systemd_version() -> u32 {
    let text = systemctl(&["--version"]);
    text.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a version")
}

/// A workload, as a test saw it run.
#[derive(Debug, Clone, PartialEq)]
pub struct Live {
    pub process: ProcessIdentity,
    pub run: String,
}

impl Live {
    pub fn lives(&self) -> bool {
        PidFd::open(&self.process).expect("proc").is_some_and(|fd| !fd.has_exited().expect("poll"))
    }
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

/// The system's own supervisor, started, with jobs of a test; stopped and swept at the end.
pub struct Machine;

impl Machine {
    /// A machine with the unit started; `None`, and says so, where there is no such machine.
    pub fn started(name: &str) -> Option<Self> {
        if !is_here(name) {
            return None;
        }
        fs::create_dir_all("/etc/ffrtmp/jobs.d").expect("made");
        let machine = Self;
        systemctl(&["start", UNIT]);
        Some(machine)
    }

    fn file(job: &str) -> PathBuf {
        Path::new("/etc/ffrtmp/jobs.d").join(format!("{job}.toml"))
    }

    /// Puts a job file in place, whole.
    pub fn put(&self, job: &str, text: &str) {
        let draft = Path::new("/etc/ffrtmp").join(job);
        fs::write(&draft, text).expect("written");
        fs::rename(draft, Self::file(job)).expect("renamed");
    }

    pub fn report(&self, job: &str) -> Option<Value> {
        let bytes = fs::read(format!("/var/lib/ffrtmp/reports/{job}.json")).ok()?;
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
            assert!(begin.elapsed() < DEADLINE, "{job}: waited in vain for {what}, found {report:#?}");
            sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the job runs.
    pub fn running(&self, job: &str) -> Live {
        let live = |report: &Value| {
            let pid = Pid::new(report["pid"].as_u64()?.try_into().ok()?)?;
            let process = process::identify(pid).expect("proc")?;
            let run = report["run_id"].as_str()?.to_owned();
            (report["state"] == "running").then_some(Live { process, run }).filter(Live::lives)
        };
        let report = self.await_report(job, "a living process", |report| live(report).is_some());
        live(&report).unwrap_or_else(|| panic!("{job} ended at once"))
    }

    /// The supervisor's process.
    pub fn supervisor(&self) -> ProcessIdentity {
        let pid = property("MainPID").parse().expect("a number");
        process::identify(Pid::new(pid).expect("it runs")).expect("proc").expect("it lives")
    }

    /// Waits until the unit is up, with another supervisor than this one.
    pub fn await_successor(&self, before: &ProcessIdentity) {
        await_true("another supervisor is ready", || {
            property("ActiveState") == "active" && property("MainPID") != before.pid.to_string()
        });
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // With the files gone, what runs is stopped; the next test finds nothing.
        for entry in fs::read_dir("/etc/ffrtmp/jobs.d").into_iter().flatten().flatten() {
            let _ = fs::remove_file(entry.path());
        }
        let _ = output(&["systemctl", "reset-failed", UNIT]);
        let _ = output(&["systemctl", "start", UNIT]);
        let begin = Instant::now();
        let runs = || fs::read_dir("/var/lib/ffrtmp/runs").into_iter().flatten().flatten();
        while runs().any(|job| fs::read_dir(job.path()).is_ok_and(|mut runs| runs.next().is_some())) {
            if begin.elapsed() > DEADLINE {
                eprintln!("left behind: {:?}", runs().map(|job| job.file_name()).collect::<Vec<_>>());
                break;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = output(&["systemctl", "stop", UNIT, JOBS_UNIT]);
    }
}
