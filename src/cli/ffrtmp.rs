//! What can be said to `ffrtmp`, as clap understands it.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

/// Runs media workloads that outlive whoever started them.
#[derive(Debug, Parser)]
#[command(name = "ffrtmp", version, max_term_width = 100)]
pub struct Ffrtmp {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command under constraints, and report how it ended
    Run(Box<RunArgs>),
    /// Put a running process under constraints, and report how it ends
    Attach(Box<AttachArgs>),
    /// List what is governed on this machine, by whom, and what it uses
    Ps(PsArgs),
    /// Keep the cgroup that this is started in, for jobs to live in: see ffrtmp-jobs.service
    HoldCgroup {
        /// Be the process that stays
        #[arg(long, hide = true)]
        stay: bool,
    },
}

/// `ffrtmp run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Who it is.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// What it may use.
    #[command(flatten)]
    pub constraints: ConstraintArgs,
    /// How it is started.
    #[command(flatten)]
    pub start: StartArgs,
    /// What is told of it.
    #[command(flatten)]
    pub telling: TellingArgs,
    /// The program and its arguments, as they are: no shell is involved
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        allow_hyphen_values = true,
        required_unless_present = "job"
    )]
    pub command: Vec<OsString>,
}

/// `ffrtmp attach`.
#[derive(Debug, Args)]
pub struct AttachArgs {
    /// The process to govern
    #[arg(long, value_name = "PID", allow_negative_numbers = true)]
    pub pid: i64,
    /// When letting it go, put back what was changed
    #[arg(long)]
    pub restore: bool,
    /// Leave it in its cgroup: limits that need one of its own are then not in force
    #[arg(long)]
    pub no_move: bool,
    /// Who it is.
    #[command(flatten)]
    pub identity: IdentityArgs,
    /// What it may use.
    #[command(flatten)]
    pub constraints: ConstraintArgs,
    /// What is told of it.
    #[command(flatten)]
    pub telling: TellingArgs,
}

/// `ffrtmp ps`.
#[derive(Debug, Args)]
pub struct PsArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
    /// As given to `ffrtmp-sup` and `ffrtmp run`, if it was
    #[arg(long, value_name = "DIR", env = "FFRTMP_ROOT")]
    pub root: Option<PathBuf>,
}

/// Who a run is.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Identity")]
pub struct IdentityArgs {
    /// Name of the job: its report is kept under it, and its cgroup bears it
    #[arg(long, value_name = "ID")]
    pub job_id: Option<String>,
    /// What it runs for [default: production]
    #[arg(long, value_parser = PossibleValuesParser::new(["production", "test", "experiment", "soak"]))]
    pub intent: Option<String>,
    /// Count it towards the platform's service level
    #[arg(long)]
    pub sla_eligible: bool,
    /// A label; may be given again
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub tags: Vec<String>,
    /// Take the settings of a profile, built in or from profiles.d; may be given again, the later one wins
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
}

/// What a workload may use. The names and scales are those of `[constraints]` in a job file.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Constraints")]
pub struct ConstraintArgs {
    /// CPU time, in percent of one core: 200 is two cores, 0 is unlimited
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// The same as "QUOTA PERIOD" in microseconds: "50000 100000" is half a core
    #[arg(long, value_name = "QUOTA PERIOD", conflicts_with = "cpu_quota")]
    pub cpu_max: Option<String>,
    /// Share of CPU time under contention, 1 to 10000; the kernel's default is 100
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true)]
    pub cpu_weight: Option<i64>,
    /// Most memory: a number of MiB, or with a unit, such as 4GiB; 0 is unlimited
    #[arg(long, value_name = "MIB|SIZE")]
    pub memory_limit: Option<String>,
    /// The same in bytes
    #[arg(long, value_name = "BYTES", conflicts_with = "memory_limit")]
    pub memory_max: Option<u64>,
    /// Memory above which it is slowed: MiB, or with a unit
    #[arg(long, value_name = "MIB|SIZE")]
    pub memory_high: Option<String>,
    /// Most swap: MiB, or with a unit; 0 forbids it
    #[arg(long, value_name = "MIB|SIZE")]
    pub memory_swap: Option<String>,
    /// Share of disk time, 1 to 100, in percent of the kernel's maximum
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    pub io_weight: Option<i64>,
    /// Limits on a disk, such as "8:0 rbps=10485760 wiops=100"; may be given again
    #[arg(long, value_name = "LINE")]
    pub io_max: Vec<String>,
    /// Scheduling priority of every thread, -20 to 19; lower is more, and needs root below 0
    #[arg(long, value_name = "NICE", allow_negative_numbers = true)]
    pub nice: Option<i64>,
    /// Preference of the kernel's OOM killer, -1000 to 1000; higher dies first
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, visible_alias = "oom-score-adj")]
    pub oom_score: Option<i64>,
    /// Most processes and threads
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub tasks_max: Option<i64>,
    /// CPUs that it may run on, such as 0-3,8
    #[arg(long, value_name = "LIST")]
    pub cpus: Option<String>,
    /// I/O scheduling class: idle, best-effort:0-7 or realtime:0-7
    #[arg(long, value_name = "CLASS")]
    pub io_class: Option<String>,
    /// Refuse where a constraint that is asked for cannot be put in force
    #[arg(long)]
    pub strict: bool,
    /// What keeps the limits; auto takes what there is
    #[arg(long, value_name = "BACKEND", default_value = "auto", hide_possible_values = true,
        value_parser = PossibleValuesParser::new(["auto", "cgroup-v2", "systemd", "cgroup-v1", "none"]))]
    pub cgroup: String,
}

/// How a workload is started.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Start")]
pub struct StartArgs {
    /// End it if it runs longer: its stop signal, ten seconds, SIGKILL; seconds, or with a unit, such as 2h
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Folder that it starts in [default: this one]
    #[arg(long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// User that it runs as, by name or number; needs root
    #[arg(long, value_name = "USER")]
    pub user: Option<String>,
    /// A variable of its environment; may be given again
    #[arg(long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<OsString>,
    /// Take command and constraints from a worker's job document, - for standard input; what else is
    /// said here goes before what it says
    #[arg(long, value_name = "FILE", conflicts_with = "command")]
    pub job: Option<PathBuf>,
}

/// What is told of a run.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct TellingArgs {
    /// Print one report on standard output at the end, and nothing else there: what the workload prints
    /// goes to standard error
    #[arg(long)]
    pub json: bool,
    /// Write the report to a file, at every change
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// No messages but errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Keep everything under this folder: DIR/profiles.d, DIR/state
    #[arg(long, value_name = "DIR", env = "FFRTMP_ROOT")]
    pub root: Option<PathBuf>,
}
