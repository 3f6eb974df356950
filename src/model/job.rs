//! A job with every default filled in: what a file and its profiles came to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::constraints::Constraints;
use super::ids::JobId;
use super::process::Pid;
use super::rlimit::{Resource, Rlimit};
use super::schedule::{self, Boundary, Window};
use super::signal::Signal;
use super::space::FreeSpace;
use super::time::WallTime;
use super::units::{ByteSize, millis};
use super::zones::Zones;

/// A resolved job. Recorded with every run, so fields may be added but never change their meaning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// For people.
    #[serde(default)]
    pub description: Option<String>,
    /// The profiles it was made from, in order of application.
    #[serde(default)]
    pub profiles: Vec<String>,
    /// What its exits mean.
    pub lifecycle: Lifecycle,
    /// What it runs for.
    pub intent: Intent,
    /// Counts towards the platform's service level.
    pub sla_eligible: bool,
    /// Free labels.
    #[serde(default)]
    pub tags: BTreeMap<String, String>,
    /// Where its workload comes from.
    pub workload: Workload,
    /// What it asks of the kernel outside of the windows of its schedule.
    #[serde(default)]
    pub constraints: Constraints,
    /// When it asks for something else. The windows do not overlap.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedule: Vec<Window>,
    /// The window it is in; `None`: in none, which is so in every declaration. Set by [`Job::at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active: Option<usize>,
    /// When it starts again.
    pub restart: Restart,
    /// How it is ended.
    pub stop: Stop,
    /// How long it may take.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// What has to be there before it starts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs: Vec<FreeSpace>,
}

impl Job {
    /// The command, for an exec job.
    #[must_use]
    pub fn exec(&self) -> Option<&Exec> {
        match &self.workload {
            Workload::Exec(exec) => Some(exec),
            Workload::Attach(_) => None,
        }
    }

    /// The process that it takes over, for an attach job.
    #[must_use]
    pub fn attach(&self) -> Option<&Attach> {
        match &self.workload {
            Workload::Attach(attach) => Some(attach),
            Workload::Exec(_) => None,
        }
    }

    /// What it asks of the kernel now: this is what is enforced.
    #[must_use]
    pub fn in_force(&self) -> &Constraints {
        self.window().map_or(&self.constraints, |window| &window.constraints)
    }

    /// The window of its schedule that it is in.
    #[must_use]
    pub fn window(&self) -> Option<&Window> {
        self.active.and_then(|n| self.schedule.get(n))
    }

    /// The job as its schedule has it at a time, and what comes next.
    #[must_use]
    pub fn at(self: &Arc<Self>, now: WallTime, zones: &Zones) -> (Arc<Self>, Option<Boundary>) {
        let (active, next) = schedule::outlook(&self.schedule, now, zones);
        let job = match active == self.active {
            true => Arc::clone(self),
            false => Arc::new(Self { active, ..(**self).clone() }),
        };
        (job, next)
    }
}

/// Whether a job starts its workload or takes one over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Workload {
    /// Started by us.
    Exec(Exec),
    /// Already running; observed and constrained, never signalled.
    Attach(Attach),
}

/// A workload that is started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exec {
    /// The program and its arguments; never empty, never a shell's.
    pub command: Vec<String>,
    /// Where it starts; `/` without.
    #[serde(default)]
    pub working_dir: Option<PathBuf>,
    /// Set over what `env_files` hold.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Files of `KEY=value` lines, read at each start.
    #[serde(default)]
    pub env_files: Vec<PathBuf>,
    /// User name or number; the supervisor's own without.
    #[serde(default)]
    pub user: Option<String>,
    /// Group name or number; the user's own without.
    #[serde(default)]
    pub group: Option<String>,
    /// File mode creation mask (umask(2)); 022 without.
    #[serde(default)]
    pub umask: Option<u32>,
    /// Limits of the process (setrlimit(2)); those not named are inherited.
    #[serde(default)]
    pub rlimits: BTreeMap<Resource, Rlimit>,
    /// Where standard output and standard error go.
    #[serde(default)]
    pub output: Output,
    /// How much of the output is kept, where it goes to a file.
    #[serde(default, skip_serializing_if = "LogBounds::is_empty")]
    pub log: LogBounds,
}

/// How much of a workload's output is kept. What is `None` is as `supervisor.toml` says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LogBounds {
    /// A log of this size is rotated.
    pub max_size: Option<ByteSize>,
    /// Older pieces that are kept beside it.
    pub keep: Option<u32>,
    /// Older pieces are compressed.
    pub compress: Option<bool>,
}

impl LogBounds {
    /// The least size at which a log may be rotated. Less would be rotated all the time.
    pub const LEAST_SIZE: ByteSize = ByteSize(64 << 10);

    /// Most older pieces that may be kept.
    pub const MAX_PIECES: u32 = 1000;

    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Exec {
    /// The program's file name.
    #[must_use]
    pub fn program(&self) -> &str {
        let path = self.command.first().map_or("", String::as_str);
        path.rsplit('/').next().unwrap_or(path)
    }

    /// Whether the program is gst-launch, which ends its streams at SIGINT (with `-e`) and drops them at
    /// SIGTERM.
    #[must_use]
    pub fn is_gst_launch(&self) -> bool {
        self.program().starts_with("gst-launch")
    }
}

/// Which running process an attach job governs, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The process, or the rule that it fits.
    pub target: Target,
    /// Every process that fits is governed, each as a run of its own, `<job>@<pid>`; else the one that
    /// has been running longest.
    #[serde(default)]
    pub all: bool,
    /// A process that shares its cgroup with others is moved into one of its own.
    #[serde(default, rename = "move")]
    pub relocate: bool,
}

/// Which process is meant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The one with this number.
    Pid(Pid),
    /// The one whose number a file holds.
    PidFile(PathBuf),
    /// One that fits.
    Match(Box<Match>),
}

/// Which process fits. Every condition given has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Match {
    /// Its name (`/proc/PID/comm`).
    pub name: Option<String>,
    /// The program that it executes (`/proc/PID/exe`).
    pub exe: Option<PathBuf>,
    /// A regular expression that its arguments, joined by spaces, contain.
    pub args: Option<String>,
    /// The user it runs as: name or number.
    pub user: Option<String>,
    /// The name of its parent.
    pub parent: Option<String>,
    /// The folder that it works in, or one above that (`/proc/PID/cwd`).
    pub working_dir: Option<PathBuf>,
    /// The cgroup that it is in, or that is above it: a path in its hierarchy, such as `/user.slice`.
    pub cgroup: Option<String>,
    /// The systemd unit that it is in, such as `obs.service`.
    pub unit: Option<String>,
    /// The least time it has been running.
    #[serde(with = "optional_millis")]
    pub min_runtime: Option<Duration>,
    /// It has been running for less than this.
    #[serde(with = "optional_millis")]
    pub max_runtime: Option<Duration>,
    /// None of this may hold.
    pub not: Not,
}

/// Which process does not fit: one of which anything here holds. Each is meant as in [`Match`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Not {
    /// Names.
    pub name: Vec<String>,
    /// Programs.
    pub exe: Vec<PathBuf>,
    /// Regular expressions.
    pub args: Vec<String>,
    /// Users.
    pub user: Vec<String>,
    /// Names of parents.
    pub parent: Vec<String>,
    /// Folders.
    pub working_dir: Vec<PathBuf>,
    /// Cgroups.
    pub cgroup: Vec<String>,
    /// Units.
    pub unit: Vec<String>,
}

mod optional_millis {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map(Duration::from_millis))
    }
}

/// Where a workload's output goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Output {
    /// Appended to `<state>/logs/<job>.log`.
    #[default]
    File,
    /// Sent to the systemd journal; to the file where there is none.
    Journal,
    /// Thrown away.
    Null,
}

/// What an exit means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Lifecycle {
    /// Exit 0 is completion.
    #[default]
    Oneshot,
    /// Every exit is unexpected.
    Continuous,
}

/// What a job runs for.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Intent {
    /// Real work.
    #[default]
    Production,
    /// A test.
    Test,
    /// An experiment.
    Experiment,
    /// A soak test.
    Soak,
}

/// When a job starts again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restart {
    /// After which exits.
    pub policy: RestartPolicy,
    /// Pause before the first restart; doubles with each one.
    #[serde(with = "millis")]
    pub delay: Duration,
    /// Longest pause.
    #[serde(with = "millis")]
    pub max_delay: Duration,
    /// A run that lasted this long makes the pause short again.
    #[serde(with = "millis")]
    pub reset_after: Duration,
    /// Starts after which the job is given up; without end if `None`.
    #[serde(default)]
    pub limit: Option<StartLimit>,
    /// Exit codes that count as success.
    pub success_exit_codes: BTreeSet<u8>,
}

/// After which exits a job starts again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// After none.
    Never,
    /// After every one that is no success.
    OnFailure,
    /// After every one.
    Always,
}

/// At most so many starts in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartLimit {
    /// Number of starts, the first one included.
    pub starts: u32,
    /// The time they may not all fall into.
    #[serde(with = "millis")]
    pub within: Duration,
}

/// How a job is ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Sent once.
    pub signal: Signal,
    /// To whom.
    #[serde(default)]
    pub send: SendTo,
    /// How long it then has before SIGKILL goes to every process of the job.
    #[serde(with = "millis")]
    pub timeout: Duration,
    /// What happens when the file goes away or says `enabled = false`.
    pub on_remove: OnRemove,
}

/// Who gets the stop signal first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum SendTo {
    /// The main process; the others only where it does not end them.
    #[default]
    Main,
    /// Every process of the run at once.
    Group,
}

/// What happens to the workload of a removed job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OnRemove {
    /// It is ended.
    Stop,
    /// It runs on, without us.
    Leave,
}

/// How long a job may take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeouts {
    /// A run that lasts longer is stopped, with exit reason `timeout`.
    #[serde(with = "optional_millis")]
    pub run: Option<Duration>,
}
