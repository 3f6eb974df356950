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
use std::time::Duration;

use anyhow::{Context, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::time::TimeValLike as _;
use nix::time::{ClockId, clock_gettime};

/// The hidden command: `__workload DIR LIFE ID`.
pub const COMMAND: &str = "__workload";
/// What runsv calls its services, which get no arguments.
pub const SERVICE_NAME: &str = "./run";
/// Where a service finds the FIFOs.
pub const SERVICE_DIR: &str = "FFRTMP_BENCH_DIR";
/// The FIFO for check-ins.
pub const CHECKIN: &str = "checkin";
/// The FIFO that keeps workloads alive.
pub const LEASH: &str = "leash";
/// How long [`Life::Brief`] lasts.
const BRIEF: Duration = Duration::from_millis(30);

/// What a workload does after it checked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Ends at once.
    Once,
    /// Ends a little later, and says when.
    Brief,
    /// Sleeps until the leash is dropped.
    Stay,
}

impl Life {
    /// Its word on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Once => "once",
            Self::Brief => "brief",
            Self::Stay => "stay",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Once, Self::Brief, Self::Stay].into_iter().find(|life| life.as_str() == word)
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
pub fn run(began: i64, arguments: &[OsString]) -> anyhow::Result<()> {
    let [dir, life, id] = arguments else { bail!("usage: {COMMAND} DIR LIFE ID") };
    let life = life.to_str().and_then(Life::parse).context("no such life")?;
    let id = id.to_str().and_then(|id| id.parse().ok()).context("the id is no number")?;
    live(began, Path::new(dir), life, id)
}

/// A service of runsv.
pub fn run_as_service(began: i64) -> anyhow::Result<()> {
    let dir = std::env::var_os(SERVICE_DIR).with_context(|| format!("{SERVICE_DIR} is not set"))?;
    live(began, Path::new(&dir), Life::Stay, 0)
}

fn live(began: i64, dir: &Path, life: Life, id: u32) -> anyhow::Result<()> {
    let pid = nix::unistd::getpid().as_raw();
    // Without O_NONBLOCK a workload would wait for ever for a bench that is gone.
    let mut bench = OpenOptions::new()
        .write(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(dir.join(CHECKIN))
        .context("the bench is gone")?;
    bench.write_all(&CheckIn { at: began, pid, id, ending: false }.to_bytes()).context("cannot check in")?;
    match life {
        Life::Once => {}
        Life::Brief => {
            std::thread::sleep(BRIEF);
            bench
                .write_all(&CheckIn { at: now(), pid, id, ending: true }.to_bytes())
                .context("cannot check out")?;
        }
        Life::Stay => {
            drop(bench);
            stay(dir)?;
        }
    }
    Ok(())
}

/// Sleeps until nobody holds the leash any more.
fn stay(dir: &Path) -> anyhow::Result<()> {
    let mut leash = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(dir.join(LEASH))
        .context("the leash is gone")?;
    // poll(2) reports the end of a FIFO only if there was a writer since it was opened; read(2) always does.
    match leash.read(&mut [0]) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) => return Err(error).context("cannot read the leash"),
        Ok(_) => return Ok(()),
    }
    loop {
        match poll(&mut [PollFd::new(leash.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE) {
            Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait on the leash"),
            Ok(_) => return Ok(()),
        }
    }
}
