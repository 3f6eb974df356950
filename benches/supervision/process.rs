//! What /proc says of a process, and the end of all that the bench started.
//!
//! The bench is a subreaper (prctl(2)): whatever descends from it and loses its parent becomes its
//! child. A child's pid is not given to anyone else before the child is reaped, so the bench ends its
//! children by pid, and none but its own.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// Becomes a subreaper and takes all the descriptors allowed; daemons inherit that limit.
pub fn prepare() -> anyhow::Result<()> {
    prctl::set_child_subreaper(true).context("cannot become a subreaper")?;
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot read RLIMIT_NOFILE")?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).context("cannot raise RLIMIT_NOFILE")
}

/// Waits for all children, also inherited ones, to end; those that have not by then are killed.
/// Gives how many had to be.
pub fn reap_all(patience: Duration) -> usize {
    let deadline = Instant::now() + patience;
    let mut killed = HashSet::new();
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(5))
            }
            Ok(WaitStatus::StillAlive) => {
                // Again and again: the children of those that are killed come to us.
                for child in children() {
                    if kill(child, Signal::SIGKILL).is_ok() {
                        killed.insert(child);
                    }
                }
                if waitpid(None, None) == Err(Errno::ECHILD) {
                    return killed.len();
                }
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return killed.len(),
        }
    }
}

/// Our living children.
fn children() -> Vec<Pid> {
    let us = nix::unistd::getpid().as_raw();
    living().filter(|(_, parent)| *parent == us).map(|(pid, _)| Pid::from_raw(pid)).collect()
}

/// All living processes that descend from us.
pub fn descendants() -> Vec<i32> {
    let parents: HashMap<i32, i32> = living().collect();
    let us = nix::unistd::getpid().as_raw();
    let mut found = vec![us];
    let mut next = 0;
    while let Some(&ancestor) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| **parent == ancestor).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// Pid and parent of every process that has not ended.
fn living() -> impl Iterator<Item = (i32, i32)> {
    let pids = fs::read_dir("/proc").into_iter().flatten();
    pids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok()).filter_map(|pid| {
        let stat = Stat::read(pid).ok()?;
        (stat.state != 'Z').then_some((pid, stat.parent))
    })
}

/// Whether a process runs, rather than having ended without being waited for.
pub fn is_alive(pid: i32) -> bool {
    Stat::read(pid).is_ok_and(|stat| stat.state != 'Z')
}

/// Some of `/proc/PID/stat` (proc_pid_stat(5)).
pub struct Stat {
    /// R, S, D, Z, ...
    pub state: char,
    /// The parent's pid.
    pub parent: i32,
    /// Nice value of the main thread.
    pub nice: i32,
    /// CPU time of all threads, ended ones too, in clock ticks of 10 ms.
    pub ticks: u64,
}

impl Stat {
    /// Reads it.
    pub fn read(pid: i32) -> anyhow::Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        Self::parse(&text).with_context(|| format!("{path} has an unknown form"))
    }

    fn parse(text: &str) -> Option<Self> {
        // The name may hold anything, also parentheses; what follows the last one is plain.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<i64>().ok();
        Some(Self {
            state: fields.first()?.chars().next()?,
            parent: i32::try_from(number(4)?).ok()?,
            nice: i32::try_from(number(19)?).ok()?,
            ticks: u64::try_from(number(14)? + number(15)?).ok()?,
        })
    }
}

/// Proportional set size in kB: its own memory and its share of what it shares.
pub fn pss_kb(pid: i32) -> anyhow::Result<f64> {
    kb(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// Resident set size in kB.
pub fn rss_kb(pid: i32) -> anyhow::Result<f64> {
    kb(&format!("/proc/{pid}/status"), "VmRSS:")
}

fn kb(path: &str, key: &str) -> anyhow::Result<f64> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
    value(&text, key).with_context(|| format!("{path} has no {key}"))
}

#[allow(clippy::cast_precision_loss)] // far below 2^52
fn value(text: &str, key: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kb| kb as f64)
}

/// What a process has used and how often it was awake.
#[derive(Debug, Clone, Copy, Default)]
pub struct Activity {
    /// Nanoseconds on a CPU, of the living threads.
    pub nanos: u64,
    /// The same as the kernel's clock ticks have it, with ended threads.
    pub ticks: u64,
    /// Voluntary context switches of the living threads: each a sleep, so each a wake-up.
    pub wakeups: u64,
}

impl Activity {
    /// Reads it from `/proc/PID/task/*`.
    pub fn read(pid: i32) -> anyhow::Result<Self> {
        let tasks = format!("/proc/{pid}/task");
        let mut sum = Self { ticks: Stat::read(pid)?.ticks, ..Self::default() };
        for task in fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
            let task = task?.path();
            let schedstat = fs::read_to_string(task.join("schedstat")).context("cannot read schedstat")?;
            let status = fs::read_to_string(task.join("status")).context("cannot read status")?;
            sum.nanos += schedstat
                .split_ascii_whitespace()
                .next()
                .and_then(|nanos| nanos.parse::<u64>().ok())
                .ok_or_else(|| anyhow!("schedstat has an unknown form: {schedstat:?}"))?;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // read as u64
            let wakeups =
                value(&status, "voluntary_ctxt_switches:").context("no voluntary_ctxt_switches")? as u64;
            sum.wakeups += wakeups;
        }
        Ok(sum)
    }

    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            nanos: self.nanos + other.nanos,
            ticks: self.ticks + other.ticks,
            wakeups: self.wakeups + other.wakeups,
        }
    }

    /// What came since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            nanos: self.nanos.saturating_sub(earlier.nanos),
            ticks: self.ticks.saturating_sub(earlier.ticks),
            wakeups: self.wakeups.saturating_sub(earlier.wakeups),
        }
    }
}
