//! What is governed on this machine, by whom, and what it uses: every wrapper that lives, whoever started it,
//! and the runs below some folders whose wrapper is gone and whose workload lives.
//!
//! Records of strangers are read here, so nothing that they name is believed but what the kernel says, too.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::linux::census::{Known, Process, everybody};
use crate::linux::cgroup::{self, counters};
use crate::linux::priority::{self, Attempt, Members};
use crate::linux::process::{self, PidFd};
use crate::linux::{attach, clock, rlimits, user};
use crate::model::cgroup::Cgroup;
use crate::model::constraints::{ConstraintStatus, in_force, merge};
use crate::model::ids::{JobId, RunId};
use crate::model::matching::Facts;
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::report::Usage;
use crate::model::time::{Moment, WallTime};
use crate::runs::dir::{LOCK, RecordError, RunDir, all_runs};
use crate::runs::record::{Spec, Started};

/// The name that every wrapper has (`/proc/PID/comm`).
const NAME: &[u8] = b"ffrtmp";

/// Who governs a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum By {
    /// A supervisor's wrapper.
    Supervisor,
    /// `ffrtmp run`.
    Run,
    /// `ffrtmp attach`.
    Attach,
    /// Nobody: the wrapper is gone. Its limits are still in force.
    Orphaned,
}

impl By {
    /// As it is written.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Supervisor => "supervisor",
            Self::Run => "run",
            Self::Attach => "attach",
            Self::Orphaned => "orphaned",
        }
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Its workload is being started.
    Starting,
    /// Its main process lives.
    Running,
    /// Its main process has ended, and the wrapper waits for what that left behind.
    Ending,
}

/// A wrapper that lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Wrapper {
    /// Its number.
    pub pid: Pid,
    /// As whom it runs.
    pub user: Option<String>,
}

/// A run that goes on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Governed {
    /// The job.
    pub job_id: JobId,
    /// The run.
    pub run_id: RunId,
    /// Who governs it.
    pub by: By,
    /// Where it stands.
    pub stage: Stage,
    /// Null for an orphan.
    pub wrapper: Option<Wrapper>,
    /// The main process; null before it exists, and when it is gone.
    pub pid: Option<Pid>,
    /// As whom that runs.
    pub user: Option<String>,
    /// When it began; a process that was taken over had begun before that.
    pub started_at: Option<WallTime>,
    /// For how long it has been running, in seconds.
    pub running_sec: Option<f64>,
    /// What it has used: counted by its cgroup since the run began; without one, by its main process, and the
    /// children that this has waited for, since that began.
    pub usage: Usage,
    /// Memory in use now: of its cgroup, else of the main process.
    pub memory_bytes: Option<u64>,
    /// What was asked of the kernel, as it is read back now.
    pub constraints: Vec<ConstraintStatus>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The run's directory.
    pub run_dir: PathBuf,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Found {
    /// By job and run.
    pub governed: Vec<Governed>,
    /// So many processes of others have a wrapper's name, and are not ours to look into.
    pub hidden: usize,
    /// What is there and cannot be told of, and why.
    pub problems: Vec<String>,
}

/// Looks at all of it. Orphans are those below these folders of run directories.
///
/// # Errors
/// `/proc` cannot be read.
pub fn look(runs_roots: &[PathBuf]) -> io::Result<Found> {
    let (known, now) = (Known::default(), clock::now());
    let mut found = Found::default();
    let mut dirs: BTreeMap<PathBuf, Vec<(ProcessIdentity, bool)>> = BTreeMap::new();
    for pid in everybody()? {
        // One that has gone meanwhile is nobody's wrapper.
        let Ok(Some(seen)) = Process::look(pid, now.boot, &known) else { continue };
        if seen.name() != NAME || seen.is_zombie() || seen.word(1) == Some(b"hold-cgroup") {
            continue;
        }
        let identity = seen.identity()?;
        match run_dir_of(pid) {
            Ok(Some(dir)) if process::identify(pid)?.as_ref() == Some(&identity) => {
                dirs.entry(dir).or_default().push((identity, seen.word(1) == Some(b"detached")));
            }
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found.hidden += 1,
            _ => {}
        }
    }
    for (dir, holders) in dirs {
        let run = RunDir::open(&dir);
        if !matches!(run.wrapper_lives(), Ok(true)) {
            continue;
        }
        match wrapped(&run, &holders, now) {
            Ok(governed) => found.governed.extend(governed),
            Err(error) => found.problems.push(error.to_string()),
        }
    }
    for root in runs_roots {
        for run in all_runs(root).unwrap_or_else(|error| {
            found.problems.push(error.to_string());
            Vec::new()
        }) {
            match orphaned(&run, now) {
                Ok(governed) => found.governed.extend(governed),
                Err(why) => found.problems.push(why),
            }
        }
    }
    found.governed.sort_by(|a, b| (&a.job_id, &a.run_id).cmp(&(&b.job_id, &b.run_id)));
    Ok(found)
}

/// The directory of the run whose lock file a process has open, if that is where it seems to be from here.
fn run_dir_of(pid: Pid) -> io::Result<Option<PathBuf>> {
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let open = entry?.path();
        let Ok(path) = fs::read_link(&open) else { continue };
        if path.file_name() != Some(OsStr::new(LOCK)) {
            continue;
        }
        // Another file of that name, where the process sees other file systems than we do.
        let same = fs::metadata(&open).and_then(|of| Ok((of, fs::symlink_metadata(&path)?)));
        if same.is_ok_and(|(of, at)| (of.dev(), of.ino()) == (at.dev(), at.ino())) {
            return Ok(path.parent().map(Path::to_owned));
        }
    }
    Ok(None)
}

/// The run of a directory whose lock these processes have.
fn wrapped(
    run: &RunDir,
    holders: &[(ProcessIdentity, bool)],
    now: Moment,
) -> Result<Option<Governed>, RecordError> {
    let Some(spec) = run.spec()? else { return Ok(None) };
    let started = run.started()?;
    // What the wrapper has just forked has its lock, too, until it executes its program.
    let is_wrapper = |(holder, _): &&(ProcessIdentity, bool)| {
        started.as_ref().is_some_and(|started| started.wrapper == *holder)
    };
    let Some((holder, detached)) = holders.iter().find(is_wrapper).or(holders.first()) else {
        return Ok(None);
    };
    let by = match (&spec.attached, detached) {
        (_, true) => By::Supervisor,
        (Some(_), false) => By::Attach,
        (None, false) => By::Run,
    };
    let wrapper = Wrapper { pid: holder.pid, user: user_of(holder.pid, now) };
    Ok(Some(describe(run, spec, started, by, Some(wrapper), now)))
}

/// The run of a directory, if its wrapper is gone and its workload lives.
fn orphaned(run: &RunDir, now: Moment) -> Result<Option<Governed>, String> {
    let failed = |error: RecordError| error.to_string();
    if run.wrapper_lives().map_err(|error| error.to_string())? {
        return Ok(None);
    }
    let (Some(spec), Some(started)) = (run.spec().map_err(failed)?, run.started().map_err(failed)?) else {
        return Ok(None);
    };
    // One that was let go is nobody's on purpose.
    if spec.released || run.exited().map_err(failed)?.is_some() || !lives(&started.process) {
        return Ok(None);
    }
    Ok(Some(describe(run, spec, Some(started), By::Orphaned, None, now)))
}

fn lives(process: &ProcessIdentity) -> bool {
    matches!(PidFd::open(process).map(|found| found.map(|pidfd| pidfd.has_exited())), Ok(Some(Ok(false))))
}

/// The user that a process runs as, by name, else by number.
fn user_of(pid: Pid, now: Moment) -> Option<String> {
    let known = Known::default();
    let uid = Process::look(pid, now.boot, &known).ok()??.uid()?.to_string();
    Some(user::account(&uid).map_or(uid, |account| account.name))
}

fn describe(
    run: &RunDir,
    spec: Spec,
    started: Option<Started>,
    by: By,
    wrapper: Option<Wrapper>,
    now: Moment,
) -> Governed {
    let cgroup = spec.cgroup.as_ref().filter(|cgroup| cgroup::is_kernels(cgroup));
    let main = started.as_ref().map(|started| &started.process).filter(|process| lives(process));
    let stage = match (&started, main) {
        (None, _) => Stage::Starting,
        (_, Some(_)) => Stage::Running,
        (Some(_), None) => Stage::Ending,
    };
    let began = main.map(process::began);
    let (usage, memory_bytes) = in_use(cgroup, started.as_ref(), main);
    Governed {
        by,
        stage,
        wrapper,
        pid: main.map(|main| main.pid),
        user: main.and_then(|main| user_of(main.pid, now)),
        started_at: began.map(|began| began.wall),
        running_sec: began.map(|began| now.boot.since(began.boot).as_secs_f64()),
        usage,
        memory_bytes,
        constraints: main.map(|main| read_back(&spec, cgroup, main)).unwrap_or_default(),
        command: match (spec.job.exec(), &spec.attached) {
            (Some(exec), _) => exec.command.clone(),
            (None, Some(attached)) => attached.command.clone(),
            (None, None) => Vec::new(),
        },
        job_id: spec.job.id.clone(),
        run_id: spec.run_id,
        run_dir: run.path.clone(),
    }
}

/// What a run has used so far, and its memory.
fn in_use(
    cgroup: Option<&Cgroup>,
    started: Option<&Started>,
    main: Option<&ProcessIdentity>,
) -> (Usage, Option<u64>) {
    let own = Usage { cpu_sec: main.and_then(attach::cpu_sec), ..Usage::default() };
    let memory = main.and_then(process::resident_bytes);
    // Where the main process is not in it, nor anybody counts from the start, it tells nothing of the run.
    let counted =
        cgroup.filter(|cgroup| main.is_none_or(|main| matches!(cgroup::holds(cgroup, main), Ok(true))));
    match counted.zip(started.and_then(|started| started.baseline.as_ref())) {
        Some((cgroup, baseline)) => {
            let sample = counters::sample(cgroup);
            (sample.usage.since(&baseline.usage).or(&own), sample.memory_bytes.or(memory))
        }
        None => (own, memory),
    }
}

/// What the kernel says now of what the run asks for.
fn read_back(spec: &Spec, cgroup: Option<&Cgroup>, main: &ProcessIdentity) -> Vec<ConstraintStatus> {
    let wanted = spec.job.in_force();
    if let Some(attached) = &spec.attached {
        return attach::read_back(attached, cgroup, wanted);
    }
    let limits = match cgroup {
        Some(cgroup) if matches!(cgroup::holds(cgroup, main), Ok(true)) => cgroup::read_back(cgroup, wanted),
        Some(cgroup) => {
            cgroup::outside(cgroup::read_back(cgroup, wanted), "the main process is not in its cgroup")
        }
        None => cgroup::not_in_force(wanted, "the run has no cgroup"),
    };
    let kept = in_force(&limits);
    let mut own = priority::read_back(Members::Main(main), wanted, &Attempt::default(), &kept);
    if let Some(exec) = spec.job.exec() {
        own.extend(rlimits::read_back(main, &exec.rlimits, &Attempt::default()));
    }
    merge(wanted, limits, own)
}
