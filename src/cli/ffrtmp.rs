//! What can be said to `ffrtmp`, as clap understands it. The first paragraph of a comment is `-h`, all of it is
//! `--help` and the man page; their ends are in `help`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand, ValueHint};

use super::help;

/// Runs media workloads that outlive whoever started them
///
/// One command under constraints, without a file and without a daemon; it is told what of them is in force,
/// how it ended, and who is to blame.
#[derive(Debug, Parser)]
#[command(name = "ffrtmp", version, max_term_width = 100)]
#[command(subcommand_value_name = "COMMAND", after_help = help::FFRTMP, after_long_help = help::FFRTMP_LONG)]
pub struct Ffrtmp {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a command under constraints, and report how it ended
    ///
    /// The command keeps standard input, output and error, the folder and the environment, and its exit code
    /// is this program's. Options stand in front of it, and `--` between. Each constraint is read back from
    /// the kernel: what is not in force is told, and it runs all the same, unless --strict is given.
    ///
    /// The command is not owned: if the wrapper is ended or killed, the command runs on, and how it ends is still
    /// recorded. Started at a terminal it takes part in job control, and ends with the terminal as any program
    /// does, unless it is started by nohup.
    #[command(override_usage = help::RUN_USAGE, after_help = help::RUN, after_long_help = help::RUN_LONG)]
    Run(Box<RunArgs>),
    /// Put a running process under constraints, and report how it ends
    ///
    /// The process is not restarted, not traced and never sent a signal. It is watched until it ends; then this
    /// exits as it did, where the kernel tells how. It may be let go at any time, and runs on.
    #[command(after_help = help::ATTACH, after_long_help = help::ATTACH_LONG)]
    Attach(Box<AttachArgs>),
    /// List what is governed on this machine, by whom, and what it uses
    #[command(after_long_help = help::PS_LONG)]
    Ps(PsArgs),
    /// Keep the cgroup that this is started in, for jobs to live in: see ffrtmp-jobs.service
    #[command(hide = true)]
    HoldCgroup {
        /// Be the process that stays
        #[arg(long, hide = true)]
        stay: bool,
    },
}

/// `ffrtmp run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The program and its arguments, as they are: no shell is involved
    #[arg(
        value_name = "COMMAND",
        trailing_var_arg = true,
        value_hint = ValueHint::CommandWithArguments,
        required_unless_present = "job"
    )]
    pub command: Vec<OsString>,
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
    #[arg(long, value_name = "DIR", env = "FFRTMP_ROOT", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
}

/// Who a run is.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Identity")]
pub struct IdentityArgs {
    /// Name of the job: its report is kept under it, and its cgroup bears it
    ///
    /// Letters, digits and . _ - @ : + =, up to 128. Without one the report is not kept, but for --report, and the job
    /// is called unknown.
    #[arg(long, value_name = "ID")]
    pub job_id: Option<String>,
    /// What it runs for [default: production]
    #[arg(long, value_parser = PossibleValuesParser::new(["production", "test", "experiment", "soak"]))]
    pub intent: Option<String>,
    /// Count it towards the platform's service level: see ffrtmp-sup sla
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true,
        default_missing_value = "true", hide_possible_values = true)]
    pub sla_eligible: Option<bool>,
    /// A label for reports and ffrtmp-sup sla; may be given again
    #[arg(long = "tag", value_name = "KEY=VALUE")]
    pub tags: Vec<String>,
    /// Take the settings of a profile, built in or from profiles.d; may be given again
    ///
    /// Built in are low-priority, live-hls and nvenc-h264. Of two profiles the later one wins; what is said here
    /// wins over both.
    #[arg(long = "profile", value_name = "NAME")]
    pub profiles: Vec<String>,
}

/// What a workload may use. The names and scales are those of `[constraints]` in a job file.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Constraints")]
pub struct ConstraintArgs {
    /// Most CPU time, in percent of one core: 200 is two cores, 0 unlimited
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    pub cpu_quota: Option<i64>,
    /// The same as "QUOTA PERIOD" in microseconds: "50000 100000" is half a core
    #[arg(long, value_name = "QUOTA PERIOD", conflicts_with = "cpu_quota")]
    pub cpu_max: Option<String>,
    /// Share of CPU time under contention, 1 to 10000 [default: 100]
    ///
    /// Beside others of 100, one of 200 gets twice as much; alone it may use all there is.
    #[arg(long, value_name = "WEIGHT", allow_negative_numbers = true)]
    pub cpu_weight: Option<i64>,
    /// Most memory, in MiB or with a unit: 4096, 4GiB; 0 is unlimited
    ///
    /// Above it the kernel kills the command, and the report says `oom`.
    #[arg(long, value_name = "MIB|SIZE")]
    pub memory_limit: Option<String>,
    /// The same in bytes
    #[arg(long, value_name = "BYTES", conflicts_with = "memory_limit")]
    pub memory_max: Option<u64>,
    /// Memory above which it is slowed, in MiB or with a unit
    #[arg(long, value_name = "MIB|SIZE")]
    pub memory_high: Option<String>,
    /// Most swap, in MiB or with a unit; 0 forbids it
    #[arg(long, value_name = "MIB|SIZE")]
    pub memory_swap: Option<String>,
    /// Share of disk time, 1 to 100, in percent of the kernel's maximum
    #[arg(long, value_name = "PERCENT", allow_negative_numbers = true)]
    pub io_weight: Option<i64>,
    /// Limits on a disk, such as "8:0 rbps=10485760"; may be given again
    ///
    /// The numbers of the disk are those of lsblk. rbps and wbps are bytes a second, riops and wiops operations.
    #[arg(long, value_name = "LINE")]
    pub io_max: Vec<String>,
    /// Scheduling priority, -20 to 19: lower is served first; below 0 needs root
    #[arg(long, value_name = "NICE", allow_negative_numbers = true)]
    pub nice: Option<i64>,
    /// Who dies first when memory is short, -1000 to 1000: higher is sooner; lowering it needs root
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
    ///
    /// Without it, that is told, and the work goes on.
    #[arg(long)]
    pub strict: bool,
    /// What keeps the limits: auto, cgroup-v2, systemd, cgroup-v1 or none
    ///
    /// auto takes the first of them that works here; ffrtmp-sup doctor says which, and why not another.
    #[arg(long, value_name = "BACKEND", default_value = "auto", hide_possible_values = true,
        value_parser = PossibleValuesParser::new(["auto", "cgroup-v2", "systemd", "cgroup-v1", "none"]))]
    pub cgroup: String,
}

/// How a workload is started.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Start")]
pub struct StartArgs {
    /// End it if it runs longer, in seconds or with a unit: 90, 2h, 1h30m
    ///
    /// It gets SIGTERM (gst-launch SIGINT), and after ten seconds all that is left of it SIGKILL. The exit status is
    /// 124 then.
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<String>,
    /// Folder that it starts in [default: this one]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub workdir: Option<PathBuf>,
    /// User that it runs as, by name or number; needs root
    #[arg(long, value_name = "USER", value_hint = ValueHint::Username)]
    pub user: Option<String>,
    /// A variable of its environment; may be given again
    #[arg(long = "env", value_name = "KEY=VALUE")]
    pub env: Vec<OsString>,
    /// Keep the command's pid in a file while it runs
    ///
    /// It is written before the command's first instruction, and removed at its end, if it still has that pid. The
    /// command is no child of this program: pgrep -P does not find it.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub pid_file: Option<PathBuf>,
    /// Take command and constraints from a worker's job document; - is standard input
    ///
    /// What else is said here goes before what it says. The report has the form of a worker's result then.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "command")]
    pub job: Option<PathBuf>,
}

/// What is told of a run.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct TellingArgs {
    /// Print one report on standard output at the end, and nothing else there
    ///
    /// What the command prints goes to standard error then.
    #[arg(long)]
    pub json: bool,
    /// Write the report to a file, at every change
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub report: Option<PathBuf>,
    /// No messages but errors
    #[arg(long, short)]
    pub quiet: bool,
    /// Keep everything below this folder: DIR/profiles.d, DIR/state
    #[arg(long, value_name = "DIR", env = "FFRTMP_ROOT", hide_env_values = true, value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
}
