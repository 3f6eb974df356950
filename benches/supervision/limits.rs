//! The limits of jobs as the kernel has them: which this host keeps, in which files they are, and when
//! those are written to. What keeps them is the supervisor's choice, and is read from its records.

use std::collections::HashMap;
use std::fs;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use ffrtmp::config::paths::Layout;
use ffrtmp::model::cgroup::{Cgroup, Controller};
use ffrtmp::model::constraints::{Backend, ConstraintName, in_force};
use ffrtmp::runs::record::{Spec, Started};
use ffrtmp::supervisor::cgroups::Chosen;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use serde::de::DeserializeOwned;

use crate::interrupt;
use crate::stage::Stage;
use crate::table::Row;
use crate::workload::{self, Life};

/// How long a start may take.
const START: Duration = Duration::from_secs(20);

/// A limit that both versions of cgroups know, with a number as its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Percent of a CPU.
    CpuQuota,
    /// MiB.
    Memory,
    /// Processes and threads.
    Tasks,
    /// A weight.
    CpuWeight,
}

impl Limit {
    /// The one whose every write costs the kernel the same comes first.
    pub const ALL: [Self; 4] = [Self::CpuQuota, Self::Memory, Self::Tasks, Self::CpuWeight];

    /// Its name in a job file and in reports.
    pub fn name(self) -> ConstraintName {
        match self {
            Self::CpuQuota => ConstraintName::CpuQuota,
            Self::Memory => ConstraintName::MemoryLimit,
            Self::Tasks => ConstraintName::TasksMax,
            Self::CpuWeight => ConstraintName::CpuWeight,
        }
    }

    /// Its line in a job file.
    pub fn line(self, value: u32) -> String {
        format!("{} = {value}\n", self.name())
    }

    /// Where it is in a cgroup; none without its controller.
    pub fn file(self, cgroup: &Cgroup) -> Option<PathBuf> {
        let controller = Controller::of(self.name())?;
        match cgroup {
            Cgroup::V2 { dir, .. } => Some(dir.join(match self {
                Self::CpuQuota => "cpu.max",
                Self::Memory => "memory.max",
                Self::Tasks => "pids.max",
                Self::CpuWeight => "cpu.weight",
            })),
            Cgroup::V1 { dirs } => Some(dirs.get(&controller)?.join(match self {
                Self::CpuQuota => "cpu.cfs_quota_us",
                Self::Memory => "memory.limit_in_bytes",
                Self::Tasks => "pids.max",
                Self::CpuWeight => "cpu.shares",
            })),
        }
    }

    /// How the kernel writes a value.
    pub fn text(self, cgroup: &Cgroup, value: u32) -> String {
        let value = u64::from(value);
        match (self, cgroup) {
            (Self::CpuQuota, Cgroup::V2 { .. }) => format!("{} 100000", value * 1000),
            (Self::CpuQuota, Cgroup::V1 { .. }) => (value * 1000).to_string(),
            (Self::Memory, _) => (value << 20).to_string(),
            (Self::CpuWeight, Cgroup::V1 { .. }) => (value * 1024 / 100).to_string(),
            (Self::CpuWeight | Self::Tasks, _) => value.to_string(),
        }
    }
}

/// What this host keeps of six constraints.
pub struct Host {
    /// By which mechanism.
    pub backend: Backend,
    /// Of the limits, those that were read back.
    pub limits: Vec<Limit>,
    /// Of `nice` and `oom_score_adj`, those that were.
    pub attributes: Vec<ConstraintName>,
    /// Why some are missing.
    missing: Vec<String>,
}

impl Host {
    /// How many it keeps.
    pub fn count(&self) -> usize {
        self.limits.len() + self.attributes.len()
    }

    /// The limit to change: the first of [`Limit::ALL`] that is kept.
    pub fn limit(&self) -> Limit {
        self.limits[0]
    }

    /// Names the mechanism in a row, and what it does not keep.
    pub fn named_in(&self, row: Row) -> Row {
        let row = row.by(self.backend);
        if self.missing.is_empty() {
            row
        } else {
            row.note(format!("not kept here: {}", self.missing.join("; ")))
        }
    }
}

/// Values that hinder no workload, for a host that keeps all six.
pub const SIX: &str = "[constraints]\ncpu_quota = 50\nmemory_limit = 64\ntasks_max = 50\ncpu_weight = 50\n\
                       nice = 1\noom_score_adj = 100\n";

/// The section that asks for what this host keeps, with the values of [`SIX`].
pub fn kept(host: &Host) -> String {
    let names = host.limits.iter().map(|limit| limit.name()).chain(host.attributes.iter().copied());
    let names: Vec<&str> = names.map(ConstraintName::as_str).collect();
    let wanted =
        |line: &&str| line.starts_with('[') || names.iter().any(|name| line.split(' ').next() == Some(name));
    SIX.lines().filter(wanted).map(|line| format!("{line}\n")).collect()
}

/// Starts a job with all six, which stays, and reads what became of them.
pub fn survey(stage: &mut Stage) -> anyhow::Result<Result<Host, String>> {
    stage.declare("survey", &stage.job(Life::Stay, 0, SIX))?;
    stage.wait_for(1, false, START)?;
    let spec: Spec = record(stage, "survey", "spec.json")?;
    let started: Started = record(stage, "survey", "started.json")?;
    let Some(cgroup) = spec.cgroup else {
        let chosen = Chosen::read(&Layout::under(stage.path()));
        let why = chosen.and_then(|chosen| chosen.reason);
        return Ok(Err(why.unwrap_or_else(|| "the supervisor gave the job no cgroup".into())));
    };
    let in_force = in_force(&started.constraints);
    let missing = started.constraints.iter().filter(|status| !status.applied);
    let missing: Vec<String> = missing
        .map(|status| format!("{}: {}", status.name, status.reason.as_deref().unwrap_or("not in force")))
        .collect();
    let limits: Vec<Limit> =
        Limit::ALL.into_iter().filter(|limit| in_force.contains(&limit.name())).collect();
    if limits.is_empty() {
        return Ok(Err(missing.join("; ")));
    }
    let attributes = [ConstraintName::Nice, ConstraintName::OomScoreAdj];
    Ok(Ok(Host {
        backend: cgroup.backend(),
        limits,
        attributes: attributes.into_iter().filter(|name| in_force.contains(name)).collect(),
        missing,
    }))
}

/// A row that says why it has no figures.
pub fn skipped(row: Row, why: &str) -> Row {
    row.by(Backend::None).note(format!("SKIPPED: {why}"))
}

/// The cgroup of a job's only run.
pub fn cgroup_of(stage: &Stage, job: &str) -> anyhow::Result<Cgroup> {
    let spec: Spec = record(stage, job, "spec.json")?;
    spec.cgroup.with_context(|| format!("job {job} has no cgroup, and others have"))
}

/// A record of a job's only run.
fn record<T: DeserializeOwned>(stage: &Stage, job: &str, name: &str) -> anyhow::Result<T> {
    let runs = Layout::under(stage.path()).runs().join(job);
    let cannot = || format!("cannot read {}", runs.display());
    let run = fs::read_dir(&runs).with_context(cannot)?.next().with_context(cannot)?.with_context(cannot)?;
    let path = run.path().join(name);
    let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("{} has an unknown form", path.display()))
}

/// Writes a value and reads it back: the least that keeping a limit can cost.
pub fn write_and_read(path: &Path, text: &str) -> anyhow::Result<()> {
    let done = fs::write(path, text).and_then(|()| fs::read_to_string(path));
    done.with_context(|| format!("cannot write {text} to {}", path.display())).map(drop)
}

/// What a file says, without the newline.
pub fn read(path: &Path) -> anyhow::Result<String> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim_end().to_owned())
}

/// Tells when control files are written to (inotify(7)). Nothing is polled: waiting takes no CPU from
/// what is measured, of which some hosts have one only.
pub struct Writes {
    inotify: Inotify,
    files: HashMap<WatchDescriptor, PathBuf>,
}

impl Writes {
    /// From now on.
    pub fn to(files: &[PathBuf]) -> anyhow::Result<Self> {
        let inotify =
            Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).context("cannot use inotify")?;
        let watch = |file: &PathBuf| {
            let watch = inotify
                .add_watch(file, AddWatchFlags::IN_MODIFY)
                .with_context(|| format!("cannot watch {}", file.display()))?;
            anyhow::Ok((watch, file.clone()))
        };
        let files = files.iter().map(watch).collect::<Result<_, _>>()?;
        Ok(Self { inotify, files })
    }

    /// Waits until every file was written to and has the text. Gives when the last write was seen. Many
    /// are gathered for a millisecond each time, so that being told of them costs little.
    pub fn until_all_are(&self, text: &str, timeout: Duration) -> anyhow::Result<i64> {
        let deadline = Instant::now() + timeout;
        let mut missing = self.files.clone();
        loop {
            loop {
                match self.inotify.read_events() {
                    Ok(events) => events.iter().for_each(|event| drop(missing.remove(&event.wd))),
                    Err(Errno::EAGAIN) => break,
                    Err(Errno::EINTR) => {}
                    Err(error) => return Err(error).context("cannot read from inotify"),
                }
            }
            let seen = workload::now();
            if missing.is_empty() {
                for (watch, file) in &self.files {
                    if read(file)? != text {
                        missing.insert(*watch, file.clone());
                    }
                }
                if missing.is_empty() {
                    return Ok(seen);
                }
            }
            interrupt::check()?;
            if Instant::now() > deadline {
                let (count, file) = (missing.len(), missing.values().next());
                let file = file.map(|file| file.display().to_string()).unwrap_or_default();
                bail!("{count} control files did not get {text} within {timeout:?}, among them {file}");
            }
            let _ =
                poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], PollTimeout::from(100_u8));
            if self.files.len() > 1 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// Removes the cgroups of a supervisor that was ended before its jobs. The kernel keeps those in use.
pub fn remove_empty(root: &Path) {
    let Some(chosen) = Chosen::read(&Layout::under(root)) else { return };
    for dir in chosen.dirs {
        // One that was there before has others in it.
        let made = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with("ffrtmp-"));
        if made {
            remove_tree(&dir);
        } else {
            ["jobs", "wrappers"].iter().for_each(|name| remove_tree(&dir.join(name)));
        }
    }
}

fn remove_tree(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_tree(&entry.path());
        }
    }
    let _ = fs::remove_dir(dir);
}
