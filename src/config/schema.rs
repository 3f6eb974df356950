//! The files as they are written, key by key: plain TOML types, nothing checked but their kind.
//!
//! The JSON schemas come from these types. What a value may be is said here for editors and
//! decided in `resolve` for us.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use crate::model::cgroup::Choice;
use crate::model::job::{Intent, Lifecycle, OnRemove, Output, RestartPolicy, SendTo};

/// A job file, and a profile: a profile has no `instances`, no `[attach]` and no `exec.command`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct JobFile {
    /// What the job is, for people.
    pub description: Option<String>,
    /// Profiles, applied from left to right, then the job's own values.
    pub profiles: Option<Vec<String>>,
    /// false: the job is treated as if its file were removed. Default true.
    pub enabled: Option<bool>,
    /// oneshot: exit 0 is completion. continuous: any exit is unexpected. Default oneshot.
    #[schemars(with = "Option<Lifecycle>")]
    pub lifecycle: Option<String>,
    /// What the job runs for. Default production.
    #[schemars(with = "Option<Intent>")]
    pub intent: Option<String>,
    /// Counts towards the platform's service level. Default false.
    pub sla_eligible: Option<bool>,
    /// Free labels.
    pub tags: Option<BTreeMap<String, String>>,
    /// One job per entry, named `<job>@<entry>`; `%i` in values stands for the entry.
    pub instances: Option<Vec<String>>,
    /// Start a workload.
    pub exec: Option<ExecTable>,
    /// Take over a workload that runs already.
    pub attach: Option<AttachTable>,
    /// What the kernel enforces.
    pub constraints: Option<ConstraintsTable>,
    /// Windows of time in which other constraints are in force. They must not overlap.
    #[schemars(length(max = 32))]
    pub schedule: Option<Vec<ScheduleTable>>,
    /// When the job starts again.
    pub restart: Option<RestartTable>,
    /// How the job is ended.
    pub stop: Option<StopTable>,
    /// How long the job may take.
    pub timeouts: Option<TimeoutsTable>,
    /// What has to be there before the job starts; until then it waits.
    #[schemars(length(max = 16))]
    pub needs: Option<Vec<NeedTable>>,
}

impl JobFile {
    /// Whether what it comes to hangs on profiles.
    #[must_use]
    pub fn names_profiles(&self) -> bool {
        let windows = self.schedule.iter().flatten().map(|window| &window.profiles);
        windows.chain([&self.profiles]).flatten().any(|names| !names.is_empty())
    }
}

/// `[exec]`: start a workload.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct ExecTable {
    /// The program and its arguments, one string each; no shell is involved.
    pub command: Option<Argv>,
    /// Absolute path of the folder the program starts in. Default `/`.
    pub working_dir: Option<String>,
    /// Environment variables, set over those of `env_files`.
    pub env: Option<BTreeMap<String, String>>,
    /// Files of `KEY=value` lines; a leading `-` allows the file to be missing.
    pub env_files: Option<Vec<String>>,
    /// User name or number. Default: the supervisor's own.
    pub user: Option<Scalar>,
    /// Group name or number. Default: the user's own.
    pub group: Option<Scalar>,
    /// File mode creation mask in octal, such as "027". Default "022".
    pub umask: Option<Scalar>,
    /// Limits of the process that is started.
    pub rlimits: Option<RlimitsTable>,
    /// Where output goes. Default file: `<state>/logs/<job>.log`.
    #[schemars(with = "Option<Output>")]
    pub output: Option<String>,
    /// How much of that file is kept. Default: as `[logs]` in supervisor.toml says.
    pub log: Option<LogsTable>,
}

/// `[exec.rlimits]`: limits of the process that is started (setrlimit(2)), one value or "SOFT:HARD".
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct RlimitsTable {
    /// Address space of a process, such as "8GiB".
    #[serde(rename = "as")]
    pub as_: Option<Scalar>,
    /// Size of a core dump: 0 for none, "1GiB", or "unlimited".
    pub core: Option<Scalar>,
    /// CPU time of a process, such as "10m": then SIGXCPU, and SIGKILL 5 s of CPU time later.
    pub cpu: Option<Scalar>,
    /// Memory for data of a process.
    pub data: Option<Scalar>,
    /// Size of a file that is written; at it, SIGXFSZ.
    pub fsize: Option<Scalar>,
    /// Memory that a process locks.
    pub memlock: Option<Scalar>,
    /// Bytes in message queues of the user.
    pub msgqueue: Option<Scalar>,
    /// Open files of a process.
    pub nofile: Option<Scalar>,
    /// Processes and threads of the user, not of the job: see constraints.tasks_max.
    pub nproc: Option<Scalar>,
    /// Real-time priority that a process may give itself, 0 to 99.
    pub rtprio: Option<Scalar>,
    /// Signals that wait for processes of the user.
    pub sigpending: Option<Scalar>,
    /// Stack of the main thread.
    pub stack: Option<Scalar>,
}

/// `[attach]`: take over a workload that runs already; exactly one of `pid`, `pid_file` and `match`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct AttachTable {
    /// The number of the process.
    #[schemars(range(min = 2, max = 4_194_304))]
    pub pid: Option<i64>,
    /// Absolute path of a file that holds the number of the process.
    pub pid_file: Option<String>,
    /// The process that fits all conditions.
    #[serde(rename = "match")]
    pub match_: Option<MatchTable>,
    /// true: every process that fits `match`, each as a run of its own. Default: the one that has been
    /// running longest.
    pub all: Option<bool>,
    /// true: a process that shares its cgroup with others is moved into one of its own. Default false.
    #[serde(rename = "move")]
    pub move_: Option<bool>,
}

/// `attach.match`: conditions that all have to hold.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct MatchTable {
    /// Its name, as in `/proc/PID/comm`; a longer one is compared with the name of its program, too.
    pub name: Option<String>,
    /// Absolute path of the program that it executes.
    #[schemars(regex(pattern = r"^/"))]
    pub exe: Option<String>,
    /// A regular expression that its arguments, joined by spaces, contain.
    pub args: Option<String>,
    /// The user it runs as: name or number.
    pub user: Option<Scalar>,
    /// The name of its parent.
    pub parent: Option<String>,
    /// The folder that it works in, or one above that.
    #[schemars(regex(pattern = r"^/"))]
    pub working_dir: Option<String>,
    /// The cgroup that it is in, or that is above it: a path in its hierarchy, such as "/user.slice".
    #[schemars(regex(pattern = r"^/"))]
    pub cgroup: Option<String>,
    /// The systemd unit that it is in, such as "obs.service".
    #[schemars(regex(pattern = r"\.(service|scope|slice)$"))]
    pub unit: Option<String>,
    /// The least time it has been running, such as "5s".
    pub min_runtime: Option<String>,
    /// It has been running for less than this, such as "1m".
    pub max_runtime: Option<String>,
    /// A process of which anything here holds does not fit.
    pub not: Option<NotTable>,
}

/// `attach.match.not`: each one value or a list; a process of which any of it holds does not fit.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct NotTable {
    /// Names.
    pub name: Option<OneOrMore<String>>,
    /// Absolute paths of programs.
    pub exe: Option<OneOrMore<String>>,
    /// Regular expressions.
    pub args: Option<OneOrMore<String>>,
    /// Users, each by name or number.
    pub user: Option<OneOrMore<Scalar>>,
    /// Names of parents.
    pub parent: Option<OneOrMore<String>>,
    /// Absolute paths of folders.
    pub working_dir: Option<OneOrMore<String>>,
    /// Cgroups.
    pub cgroup: Option<OneOrMore<String>>,
    /// Units of systemd's.
    pub unit: Option<OneOrMore<String>>,
}

/// `[constraints]`: what the kernel enforces.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct ConstraintsTable {
    /// Limit on CPU time in percent of one core; 0 is unlimited.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub cpu_quota: Option<i64>,
    /// Instead of `cpu_quota`: "QUOTA PERIOD" in microseconds, or "max".
    #[schemars(regex(pattern = r"^\s*(max|[0-9]+)(\s+[0-9]+)?\s*$"))]
    pub cpu_max: Option<String>,
    /// Share of CPU time under contention. Kernel's default 100.
    #[schemars(range(min = 1, max = 10_000))]
    pub cpu_weight: Option<i64>,
    /// Hard limit on memory: "4GiB", or a bare number of MiB.
    pub memory_limit: Option<Scalar>,
    /// Memory above which the workload is slowed: "3GiB", or a bare number of MiB.
    pub memory_high: Option<Scalar>,
    /// Limit on swap: "512MiB", or a bare number of MiB; 0 forbids swapping.
    pub memory_swap: Option<Scalar>,
    /// Share of disk time in percent of the kernel's maximum.
    #[schemars(range(min = 1, max = 100))]
    pub io_weight: Option<i64>,
    /// Limits per device, as "MAJOR:MINOR rbps=N wbps=N riops=N wiops=N".
    pub io_max: Option<Vec<String>>,
    /// CPU scheduling priority of every thread; lower is more.
    #[schemars(range(min = -20, max = 19))]
    pub nice: Option<i64>,
    /// Preference of the kernel's OOM killer; higher dies first.
    #[schemars(range(min = -1000, max = 1000))]
    pub oom_score_adj: Option<i64>,
    /// Most processes and threads.
    #[schemars(range(min = 1, max = 4_194_304))]
    pub tasks_max: Option<i64>,
    /// CPUs the workload may run on, as "0-3,8".
    #[schemars(regex(pattern = r"^[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*$"))]
    pub cpus: Option<String>,
    /// I/O scheduling class: "idle", "best-effort:0-7" or "realtime:0-7".
    #[schemars(regex(pattern = r"^(idle|(best-effort|realtime)(:[0-7])?)$"))]
    pub io_class: Option<String>,
    /// true: do not start where a requested constraint cannot be put in force. Default false.
    pub strict: Option<bool>,
}

/// `[[schedule]]`: a window of time in which other constraints are in force.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct ScheduleTable {
    /// Days on which it begins: "mon" to "sun", "mon-fri", "weekdays", "weekend". Default: every day.
    #[schemars(inner(regex(
        pattern = r"^((mon|tue|wed|thu|fri|sat|sun)(-(mon|tue|wed|thu|fri|sat|sun))?|weekdays|weekend)$"
    )))]
    pub days: Option<Vec<String>>,
    /// When it begins, as "22:00" or "22:00:30". Default "00:00".
    #[schemars(regex(pattern = r"^([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?$"))]
    pub from: Option<String>,
    /// When it ends, if not after `from` on the next day. Default "24:00", the end of the day.
    #[schemars(regex(pattern = r"^(([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9])?|24:00(:00)?)$"))]
    pub to: Option<String>,
    /// The time zone that is meant, such as "Europe/Berlin". Default: the host's.
    pub timezone: Option<String>,
    /// Profiles whose constraints are laid over those of the job.
    pub profiles: Option<Vec<String>>,
    /// Constraints that are laid over those of the job and of these profiles.
    pub constraints: Option<ConstraintsTable>,
}

/// `[restart]`: when the job starts again.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct RestartTable {
    /// After which exits. Default never for oneshot, always for continuous.
    #[schemars(with = "Option<RestartPolicy>")]
    pub policy: Option<String>,
    /// Pause before the first restart; doubles with each one. Default "1s".
    pub delay: Option<String>,
    /// Longest pause. Default "1m".
    pub max_delay: Option<String>,
    /// A run that lasted this long makes the pause short again. Default "5m".
    pub reset_after: Option<String>,
    /// Starts after which the job is given up. Default: none.
    pub limit: Option<LimitTable>,
    /// Exit codes that count as success. Default `[0]`.
    #[schemars(inner(range(min = 0, max = 255)))]
    pub success_exit_codes: Option<Vec<i64>>,
}

/// `restart.limit`: at most so many starts in so much time.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct LimitTable {
    /// Number of starts, the first one included.
    #[schemars(range(min = 1, max = 1000))]
    pub starts: Option<i64>,
    /// The time they may not all fall into, such as "10m".
    pub within: Option<String>,
}

/// `[stop]`: how the job is ended.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct StopTable {
    /// Sent once, and a second time only if nothing comes of it. Default "SIGINT" for gst-launch, else "SIGTERM".
    pub signal: Option<String>,
    /// Who gets it first: the main process, or every process of the job. Default main.
    #[schemars(with = "Option<SendTo>")]
    pub send: Option<String>,
    /// How long it then has before SIGKILL goes to every process of the job. Default "10s".
    pub timeout: Option<String>,
    /// What happens to the workload of a removed or disabled job. Default stop.
    #[schemars(with = "Option<OnRemove>")]
    pub on_remove: Option<String>,
}

/// `[timeouts]`: how long the job may take.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct TimeoutsTable {
    /// A run that lasts longer is stopped, with exit reason timeout. Default: none.
    pub run: Option<String>,
}

/// `[[needs]]`: something that has to be there before the job starts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct NeedTable {
    /// Free space on a file system.
    pub free: Option<FreeTable>,
}

/// `free` of `[[needs]]`: free space on a file system.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct FreeTable {
    /// An absolute path on it.
    pub path: Option<String>,
    /// So much: "5GiB", or a bare number of MiB.
    pub at_least: Option<Scalar>,
}

/// `supervisor.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct SupervisorFile {
    /// What is kept of ended runs.
    pub reports: Option<ReportsTable>,
    /// What workloads inherit.
    pub environment: Option<EnvironmentTable>,
    /// Which mechanism keeps the limits.
    pub cgroup: Option<CgroupTable>,
    /// How long the reports and logs of jobs stay that nobody declares any more.
    pub retention: Option<RetentionTable>,
    /// How much of each job's output is kept.
    pub logs: Option<LogsTable>,
    /// What the state's file system keeps free.
    pub disk: Option<DiskTable>,
    /// How the supervisor speaks.
    pub log: Option<LogTable>,
    /// Absolute path of the wrapper. Default: `ffrtmp` beside the supervisor's own program.
    pub wrapper: Option<String>,
}

/// `[reports]`: what is kept of ended runs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct ReportsTable {
    /// Ended runs kept per job. Default 20.
    #[schemars(range(min = 1, max = 10_000))]
    pub keep: Option<i64>,
}

/// `[environment]`: what workloads inherit.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct EnvironmentTable {
    /// Variables handed on from the supervisor's own environment, beside the built-in list.
    pub pass: Option<Vec<String>>,
}

/// `[cgroup]`: which mechanism keeps the limits.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct CgroupTable {
    /// Default auto: the best that this host offers. Any other that is not there is an error.
    #[schemars(with = "Option<Choice>")]
    pub backend: Option<String>,
}

/// `[retention]`: how long the reports, histories and logs of jobs stay that nobody declares any more.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct RetentionTable {
    /// So long after the end of the last run. Default "30d".
    pub gone_jobs: Option<String>,
    /// Of at most so many jobs. Default 1000.
    #[schemars(range(min = 0, max = 1_000_000))]
    pub max_jobs: Option<i64>,
}

/// `[logs]` in supervisor.toml and `[exec.log]` in a job file: how much of a job's output is kept, where it goes to
/// a file. The second goes before the first.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct LogsTable {
    /// A log of this size is rotated: "64MiB", or a bare number of MiB. At least 64KiB. Default 64MiB.
    pub max_size: Option<Scalar>,
    /// Older pieces that are kept beside it. Default 3.
    #[schemars(range(min = 0, max = 1000))]
    pub keep: Option<i64>,
    /// true: older pieces are compressed with zstd. Default false.
    pub compress: Option<bool>,
}

/// `[disk]`: what the file system of the state folder keeps free, for the records of what runs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct DiskTable {
    /// With less free space no oneshot starts, and older pieces of logs go, the oldest first: "2%" of the file system, or
    /// a size. "0B" for none. Default: 2 %, but no more than 512 MiB.
    pub reserve: Option<String>,
}

/// `[log]`: how the supervisor speaks.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default)]
#[schemars(deny_unknown_fields)]
pub struct LogTable {
    /// Least severe lines that are written. Default info.
    #[schemars(with = "Option<LogLevel>")]
    pub level: Option<String>,
}

/// How severe a line of the supervisor's log is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// Something is not in force.
    Error,
    /// Something needs a look.
    Warn,
    /// What happens to jobs.
    #[default]
    Info,
    /// Why.
    Debug,
}

/// A number or a text: `4096` or `"4GiB"`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scalar {
    /// A bare number.
    Integer(i64),
    /// A text.
    Text(String),
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Scalar;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or a string")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Scalar, E> {
                Ok(Scalar::Integer(number))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Scalar, E> {
                Ok(Scalar::Text(text.into()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["integer", "string"] })
    }
}

/// One value, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OneOrMore<T> {
    /// A value.
    One(T),
    /// A list.
    More(Vec<T>),
}

impl<T> OneOrMore<T> {
    /// The values.
    #[must_use]
    pub fn values(&self) -> &[T] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::More(list) => list,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = OneOrMore<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("one value or a list of them")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Self::Value, E> {
                T::deserialize(number.into_deserializer()).map(OneOrMore::One)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                T::deserialize(text.into_deserializer()).map(OneOrMore::One)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(OneOrMore::More(list))
            }
        }
        deserializer.deserialize_any(Either(PhantomData))
    }
}

impl<T: JsonSchema> JsonSchema for OneOrMore<T> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("OneOrMore_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// A command: a list of strings. A single string is told apart, so that it can be explained.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argv {
    /// The program and its arguments.
    List(Vec<String>),
    /// A shell's command line, which is not what is wanted.
    Line(String),
}

impl<'de> Deserialize<'de> for Argv {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Argv;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Argv, E> {
                Ok(Argv::Line(text.into()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Argv, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Argv::List(list))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Argv {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Argv".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" }, "minItems": 1 })
    }
}

/// The kinds of file there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// In `jobs.d`.
    Job,
    /// In `profiles.d`.
    Profile,
    /// `supervisor.toml`.
    Supervisor,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Job => "job",
            Self::Profile => "profile",
            Self::Supervisor => "supervisor",
        })
    }
}

/// The JSON schema (draft 2020-12) of a kind of file, made from the types above.
#[must_use]
pub fn json_schema_of(kind: FileKind) -> serde_json::Value {
    let schema = match kind {
        FileKind::Job | FileKind::Profile => schemars::schema_for!(JobFile),
        FileKind::Supervisor => schemars::schema_for!(SupervisorFile),
    };
    let mut schema = schema.to_value();
    let title = match kind {
        FileKind::Job => "ffrtmp job file",
        FileKind::Profile => "ffrtmp profile",
        FileKind::Supervisor => "ffrtmp supervisor.toml",
    };
    schema["title"] = title.into();
    if kind == FileKind::Profile {
        for (table, key) in [
            ("/properties", "instances"),
            ("/properties", "attach"),
            ("/$defs/ExecTable/properties", "command"),
        ] {
            if let Some(properties) = schema.pointer_mut(table).and_then(serde_json::Value::as_object_mut) {
                properties.remove(key);
            }
        }
    }
    schema
}

/// A file type that knows the keys of each of its tables.
pub trait Tables: Default + for<'de> Deserialize<'de> {
    /// The dotted path of each table, and its keys; `[]` marks a list of tables. A table that is not
    /// listed has free keys.
    const TABLES: &'static [Table];
}

/// The dotted path of a table, and the names of its keys.
pub type Table = (&'static str, fn() -> &'static [&'static str]);

impl Tables for JobFile {
    const TABLES: &'static [Table] = &[
        ("", fields::of::<Self>),
        ("exec", fields::of::<ExecTable>),
        ("exec.rlimits", fields::of::<RlimitsTable>),
        ("exec.log", fields::of::<LogsTable>),
        ("attach", fields::of::<AttachTable>),
        ("attach.match", fields::of::<MatchTable>),
        ("attach.match.not", fields::of::<NotTable>),
        ("constraints", fields::of::<ConstraintsTable>),
        ("restart", fields::of::<RestartTable>),
        ("restart.limit", fields::of::<LimitTable>),
        ("stop", fields::of::<StopTable>),
        ("timeouts", fields::of::<TimeoutsTable>),
        ("needs[]", fields::of::<NeedTable>),
        ("needs[].free", fields::of::<FreeTable>),
        ("schedule[]", fields::of::<ScheduleTable>),
        ("schedule[].constraints", fields::of::<ConstraintsTable>),
    ];
}

impl Tables for SupervisorFile {
    const TABLES: &'static [Table] = &[
        ("", fields::of::<Self>),
        ("reports", fields::of::<ReportsTable>),
        ("environment", fields::of::<EnvironmentTable>),
        ("cgroup", fields::of::<CgroupTable>),
        ("retention", fields::of::<RetentionTable>),
        ("logs", fields::of::<LogsTable>),
        ("disk", fields::of::<DiskTable>),
        ("log", fields::of::<LogTable>),
    ];
}

/// The field names of a struct, or the variants of an enum, as its derived `Deserialize` asks for
/// them: no second list to keep.
pub mod fields {
    use serde::de::value::Error;
    use serde::de::{Deserialize, Deserializer, Error as _, Visitor};

    struct Probe<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Probe<'_> {
        type Error = Error;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("not a struct"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            *self.0 = fields;
            Err(Error::custom("seen"))
        }

        fn deserialize_enum<V: Visitor<'de>>(
            self,
            _: &'static str,
            variants: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            *self.0 = variants;
            Err(Error::custom("seen"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
            unit unit_struct newtype_struct seq tuple tuple_struct map identifier ignored_any
        }
    }

    /// The names of `T`'s fields or variants.
    #[must_use]
    pub fn of<T: for<'de> Deserialize<'de>>() -> &'static [&'static str] {
        let mut fields: &'static [&'static str] = &[];
        let _ = T::deserialize(Probe(&mut fields));
        fields
    }
}
