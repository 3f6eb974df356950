//! What can be said to `ffrtmp-sup`, as clap understands it. The ends of help texts are in `help`.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};

use super::help;
use crate::config::schema::FileKind;
use crate::lint::render::Format;

/// Declarative, non-owning supervision of media workloads
///
/// A file put into a folder starts a job, an edit changes what it must and nothing more, a file taken away stops
/// it. The workloads outlive whoever started them.
#[derive(Debug, Parser)]
#[command(name = "ffrtmp-sup", version, max_term_width = 100)]
#[command(subcommand_value_name = "COMMAND", after_help = help::SUP, after_long_help = help::SUP_LONG)]
pub struct FfrtmpSup {
    /// Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run.
    #[arg(long, value_name = "DIR", global = true, env = "FFRTMP_ROOT", hide_env_values = true, display_order = 100,
        value_hint = ValueHint::DirPath)]
    pub root: Option<PathBuf>,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the jobs that the folder declares, until SIGTERM or SIGINT; the workloads run on.
    #[command(after_long_help = help::SUPERVISE)]
    Supervise {
        /// The wrapper program. Default: `wrapper` of supervisor.toml, or ffrtmp beside this program.
        #[arg(long, value_name = "PATH", value_hint = ValueHint::ExecutablePath)]
        wrapper: Option<PathBuf>,
        /// A cgroup that was delegated to us, by its path in the hierarchy, such as
        /// /system.slice/ffrtmp-jobs.service. Default: the one this program is in.
        #[arg(long, value_name = "PATH")]
        cgroup_parent: Option<PathBuf>,
        /// How log lines look. Default: the journal if standard error leads there, else human.
        #[arg(long, value_name = "FORMAT")]
        log_format: Option<LogLines>,
    },
    /// Show what the supervisor would do, and why.
    #[command(after_long_help = help::PLAN)]
    Plan {
        /// Files that are not in force yet: a folder with jobs.d in it, or a folder of job files.
        #[arg(value_hint = ValueHint::DirPath)]
        folder: Option<PathBuf>,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
    },
    /// Show what runs and what does not.
    #[command(after_long_help = help::STATUS)]
    Status {
        /// Only this job, with all that is known of it.
        job: Option<String>,
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
        /// Keep looking, until interrupted.
        #[arg(long)]
        watch: bool,
    },
    /// Try which limits this host can keep.
    #[command(after_long_help = help::DOCTOR)]
    Doctor {
        /// Print one JSON document.
        #[arg(long)]
        json: bool,
        /// Remove empty cgroups that supervisors of this host left which live no more.
        #[arg(long)]
        clean: bool,
    },
    /// Check files: jobs, profiles, supervisor.toml.
    #[command(after_long_help = help::VALIDATE)]
    Validate(ValidateArgs),
    /// Explain the code of an error or a warning; without one, list all.
    #[command(after_long_help = help::EXPLAIN)]
    Explain {
        /// Such as unknown-key.
        code: Option<String>,
    },
    /// Print the JSON schema of a kind of file, for editors.
    #[command(after_long_help = help::SCHEMA)]
    Schema {
        /// Which kind of file.
        kind: Kind,
    },
    /// Compute the platform's service level from the reports of eligible runs.
    #[command(after_long_help = help::SLA)]
    Sla(SlaArgs),
    /// Turn a worker's job document, a systemd unit or a supervisord program into a job file.
    #[command(after_long_help = help::CONVERT)]
    Convert(ConvertArgs),
}

/// How log lines look.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum LogLines {
    /// For people.
    Human,
    /// An object a line.
    Json,
}

/// `ffrtmp-sup validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// Files, folders, or - for standard input; without, the configured folders.
    #[arg(value_hint = ValueHint::AnyPath)]
    pub paths: Vec<PathBuf>,
    /// What the files are; else told from folder and name.
    #[arg(long)]
    pub kind: Option<Kind>,
    /// The name the file is going to have, if it has a temporary one.
    #[arg(long = "as", value_name = "NAME")]
    pub as_name: Option<String>,
    /// Warnings fail, too.
    #[arg(long)]
    pub strict: bool,
    /// How to print what was found.
    #[arg(long, default_value = "human")]
    pub format: OutputFormat,
    /// Check this machine as well: programs, users, folders, devices, controllers, encoders.
    #[arg(long)]
    pub host: bool,
}

/// The kinds of file there are.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Kind {
    /// A job.
    Job,
    /// A profile.
    Profile,
    /// `supervisor.toml`.
    Supervisor,
}

impl From<Kind> for FileKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Job => Self::Job,
            Kind::Profile => Self::Profile,
            Kind::Supervisor => Self::Supervisor,
        }
    }
}

/// How what was found is printed.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    Human,
    /// One JSON document.
    Json,
    /// For code scanners.
    Sarif,
    /// Annotations of GitHub's CI.
    Github,
}

impl From<OutputFormat> for Format {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Human => Self::Human,
            OutputFormat::Json => Self::Json,
            OutputFormat::Sarif => Self::Sarif,
            OutputFormat::Github => Self::Github,
        }
    }
}

/// `ffrtmp-sup sla`.
#[derive(Debug, clap::Args)]
pub struct SlaArgs {
    /// Only runs that ended since then: a duration before now, such as 24h, or a time, such as
    /// 2026-01-31 or 2026-01-31T12:00:00Z.
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Print one JSON document.
    #[arg(long)]
    pub json: bool,
}

/// `ffrtmp-sup convert`.
#[derive(Debug, clap::Args)]
pub struct ConvertArgs {
    /// The file, or - for standard input.
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,
    /// What it is; else told from its name and content.
    #[arg(long, value_name = "KIND")]
    pub from: Option<Source>,
    /// The program section of a supervisord file, where there are several.
    #[arg(long, value_name = "NAME")]
    pub program: Option<String>,
}

/// What is converted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Source {
    /// A worker's job document (JSON).
    Worker,
    /// A systemd service unit.
    Systemd,
    /// A supervisord configuration.
    Supervisord,
}
