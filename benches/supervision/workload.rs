//! The workload: says when it began, and ends when told to.
//!
//! It checks in through a FIFO: one small write, which is whole or not at all and never waits for the
//! reader. It also hangs on a leash, a FIFO whose only writer is the bench: when that is closed, or the
//! bench dies, the workload ends. So no workload outlives the bench, whoever started it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};

/// The hidden command: `__workload DIR LIFE ID`.
pub const COMMAND: &str = "__workload";
/// What runsv and s6-supervise call their services, which get no arguments of ours: `./run`, and `run`.
pub const SERVICE_NAME: &str = "run";
/// A service's own file that says `LIFE ID`; without it the service stays, and its number is 0.
pub const SERVICE_JOB: &str = "job";
/// Who runs services, as the kernel names them (proc_pid_comm(5)).
const SERVICE_PARENTS: [&str; 2] = ["runsv", "s6-supervise"];
/// Where a service finds the FIFOs.
pub const SERVICE_DIR: &str = "FFRTMP_BENCH_DIR";
/// The FIFO for check-ins.
pub const CHECKIN: &str = "checkin";
/// The FIFO that keeps workloads alive.
pub const LEASH: &str = "leash";
/// The FIFO whose end tells a workload to fail.
pub const CUE: &str = "cue";
/// How long [`Life::Brief`] lasts.
const BRIEF: Duration = Duration::from_millis(30);
/// How long [`Life::Crash`] lasts: longer than the second within which runsv and s6-supervise put a restart off.
const CRASH: Duration = Duration::from_millis(1200);
/// The exit code of a workload that fails.
pub const FAILURE: u8 = 7;

/// What a workload does after it checked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Ends at once.
    Once,
    /// Ends a little later, and says when.
    Brief,
    /// Sleeps until the leash is dropped.
    Stay,
    /// Says a little later that it ends, and fails.
    Crash,
    /// Sleeps until the cue comes, and fails.
    Fail,
}

impl Life {
    /// Its word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Brief => "brief",
            Self::Stay => "stay",
            Self::Crash => "crash",
            Self::Fail => "fail",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Once, Self::Brief, Self::Stay, Self::Crash, Self::Fail]
            .into_iter()
            .find(|life| life.as_str() == word)
    }
}

/// Nanoseconds of CLOCK_MONOTONIC: the same clock in all processes.
pub fn now() -> i64 {
    // The clock always exists (clock_gettime(2)); 0 would show as an absurd figure.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |time| time.num_nanoseconds())
}

/// What a workload tells the bench.
#[derive(Debug, Clone, Copy)]
pub struct CheckIn {
    /// When, by [`now`].
    pub at: i64,
    /// The workload's process.
    pub pid: i32,
    /// The number it was given.
    pub id: u32,
    /// It is about to end; else it has just begun.
    pub ending: bool,
}

impl CheckIn {
    /// Bytes on the FIFO; far below PIPE_BUF, so that writes do not mix.
    pub const SIZE: usize = 24;

    fn to_bytes(self) -> [u8; Self::SIZE] {
        let mut bytes = [0; Self::SIZE];
        bytes[..8].copy_from_slice(&self.at.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.pid.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.id.to_ne_bytes());
        bytes[16] = u8::from(self.ending);
        bytes
    }

    /// Reads what [`CheckIn::to_bytes`] wrote.
    pub fn from_bytes(bytes: &[u8; Self::SIZE]) -> Self {
        let (at, rest) = bytes.split_first_chunk().expect("24 bytes hold 8");
        let (pid, rest) = rest.split_first_chunk().expect("16 bytes hold 4");
        let (id, rest) = rest.split_first_chunk().expect("12 bytes hold 4");
        Self {
            at: i64::from_ne_bytes(*at),
            pid: i32::from_ne_bytes(*pid),
            id: u32::from_ne_bytes(*id),
            ending: rest[0] == 1,
        }
    }
}

/// The hidden command.
pub fn run(began: i64, arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    let [dir, life, id] = arguments else { bail!("usage: {COMMAND} DIR LIFE ID") };
    let life = life.to_str().and_then(Life::parse).context("no such life")?;
    let id = id.to_str().and_then(|id| id.parse().ok()).context("the id is no number")?;
    live(began, Path::new(dir), life, id)
}

/// A service of runsv or s6-supervise.
pub fn run_as_service(began: i64) -> anyhow::Result<ExitCode> {
    let ended = service(began);
    // Whoever starts services has no reason to go when the bench has ended and nobody is left to tell it so.
    if !matches!(ended, Ok(code) if code != ExitCode::SUCCESS) {
        end_parent();
    }
    ended
}

fn service(began: i64) -> anyhow::Result<ExitCode> {
    let dir = std::env::var_os(SERVICE_DIR).with_context(|| format!("{SERVICE_DIR} is not set"))?;
    let job = std::fs::read_to_string(SERVICE_JOB).unwrap_or_else(|_| "stay 0".into());
    let (life, id) = job.split_once(' ').context("the service's job has another form than LIFE ID")?;
    let life = Life::parse(life).context("no such life")?;
    live(began, Path::new(&dir), life, id.parse().context("the id is no number")?)
}

/// Tells the runsv or s6-supervise that started us to end; nobody else, should that one be dead.
fn end_parent() {
    let parent = nix::unistd::getppid();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).unwrap_or_default();
    if SERVICE_PARENTS.contains(&name.trim_end()) {
        let _ = kill(parent, Signal::SIGTERM);
    }
}

fn live(began: i64, dir: &Path, life: Life, id: u32) -> anyhow::Result<ExitCode> {
    let pid = nix::unistd::getpid().as_raw();
    // Without O_NONBLOCK a workload would wait for ever for a bench that is gone.
    let mut bench = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(dir.join(CHECKIN))
        .context("the bench is gone")?;
    let mut say = |at, ending| bench.write_all(&CheckIn { at, pid, id, ending }.to_bytes());
    say(began, false).context("cannot check in")?;
    match life {
        Life::Once => {}
        Life::Brief | Life::Crash => {
            std::thread::sleep(if life == Life::Brief { BRIEF } else { CRASH });
            say(now(), true).context("cannot check out")?;
        }
        Life::Stay | Life::Fail => {
            drop(bench);
            if let Some(fifo) = held(&dir.join(if life == Life::Stay { LEASH } else { CUE }))? {
                until_free(&fifo)?;
            }
        }
    }
    // Who fails is started again, and that has to end with the bench.
    let fails = matches!(life, Life::Crash | Life::Fail) && held(&dir.join(LEASH))?.is_some();
    Ok(ExitCode::from(if fails { FAILURE } else { 0 }))
}

/// The FIFO, if somebody holds it for writing.
fn held(path: &Path) -> anyhow::Result<Option<File>> {
    let mut fifo = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .with_context(|| format!("{} is gone", path.display()))?;
    // poll(2) reports the end of a FIFO only if there was a writer since it was opened; read(2) always does.
    match fifo.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Some(fifo)),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        Ok(_) => Ok(None),
    }
}

/// Sleeps until nobody holds the FIFO any more.
fn until_free(fifo: &File) -> anyhow::Result<()> {
    loop {
        match poll(&mut [PollFd::new(fifo.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait on a FIFO"),
            Ok(_) => return Ok(()),
        }
    }
}
