//! The supervisor's command line: arguments in, exit codes out.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};
use ffrtmp::config::paths::{Layout, UserDirs};
use ffrtmp::config::schema::{FileKind, json_schema_of};
use ffrtmp::lint::render::{Format, human};
use ffrtmp::lint::{rules, validate};

/// Declarative, non-owning supervision of media workloads.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    /// Keep everything under this folder: DIR/jobs.d, DIR/profiles.d, DIR/state, DIR/run.
    #[arg(long, value_name = "DIR", global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check files: jobs, profiles, supervisor.toml.
    Validate(ValidateArgs),
    /// Explain the code of an error or a warning; without one, list all.
    Explain {
        /// Such as unknown-key.
        code: Option<String>,
    },
    /// Print the JSON schema of a kind of file, for editors.
    Schema {
        /// Which kind of file.
        kind: Kind,
    },
}

#[derive(clap::Args)]
struct ValidateArgs {
    /// Files, folders, or - for standard input; without, the configured folders.
    paths: Vec<PathBuf>,
    /// What the files are; else told from folder and name.
    #[arg(long)]
    kind: Option<Kind>,
    /// The name the file is going to have, if it has a temporary one.
    #[arg(long = "as", value_name = "NAME")]
    as_name: Option<String>,
    /// Warnings fail, too.
    #[arg(long)]
    strict: bool,
    /// How to print what was found.
    #[arg(long, default_value = "human")]
    format: OutputFormat,
    /// Check this machine as well: programs, users, folders, devices, controllers, encoders.
    #[arg(long)]
    host: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Job,
    Profile,
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

#[derive(Clone, Copy, ValueEnum)]
enum OutputFormat {
    Human,
    Json,
    Sarif,
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

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => ExitCode::from(code),
        // Whoever reads us has seen enough.
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "ffrtmp-sup: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn run(cli: Cli) -> anyhow::Result<u8> {
    match cli.command {
        Command::Validate(args) => {
            let format = args.format.into();
            let options = validate::Options {
                paths: args.paths,
                kind: args.kind.map(Into::into),
                as_name: args.as_name,
                strict: args.strict,
                format,
                color: format == Format::Human && human::wants_color(),
                host: args.host,
                layout: layout(cli.root)?,
            };
            let mut out = io::BufWriter::new(io::stdout().lock());
            let outcome = validate::run(&options, &mut io::stdin().lock(), &mut out, &mut io::stderr())?;
            Ok(outcome.code())
        }
        Command::Explain { code } => explain(code.as_deref()),
        Command::Schema { kind } => {
            let schema = serde_json::to_string_pretty(&json_schema_of(kind.into()))?;
            writeln!(io::stdout(), "{schema}")?;
            Ok(0)
        }
    }
}

fn explain(code: Option<&str>) -> anyhow::Result<u8> {
    let mut out = io::stdout().lock();
    let Some(code) = code else {
        for rule in rules::RULES {
            writeln!(out, "{:<28} {}", rule.code, rule.summary)?;
        }
        return Ok(0);
    };
    match rules::explain(code) {
        Some(text) => write!(out, "{text}").map(|()| 0).map_err(Into::into),
        None => {
            let near = rules::suggest(code).map(|near| format!("; did you mean {near}?"));
            let near = near.unwrap_or_else(|| "; `ffrtmp-sup explain` lists all".into());
            anyhow::bail!("there is no code {code:?}{near}")
        }
    }
}

fn layout(root: Option<PathBuf>) -> anyhow::Result<Layout> {
    if let Some(root) = root {
        return Ok(Layout::under(&root));
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(Layout::of_root());
    }
    let var = |name| std::env::var_os(name).map(PathBuf::from);
    let dirs = UserDirs {
        home: var("HOME"),
        config: var("XDG_CONFIG_HOME"),
        state: var("XDG_STATE_HOME"),
        runtime: var("XDG_RUNTIME_DIR"),
    };
    Layout::of_user(&dirs).ok_or_else(|| anyhow::anyhow!("HOME is not set: set it, or give --root"))
}
