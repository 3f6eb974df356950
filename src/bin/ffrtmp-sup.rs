//! The supervisor's command line: arguments in, exit codes out.

use std::io::{self, IsTerminal, Read, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use ffrtmp::cli::ffrtmp_sup::{Command, ConvertArgs, FfrtmpSup, LogLines, Source};
use ffrtmp::cli::layout;
use ffrtmp::commands::{doctor, plan, sla, status};
use ffrtmp::config::load::{self, Trust};
use ffrtmp::config::paths::Layout;
use ffrtmp::config::problem::Level;
use ffrtmp::config::schema::json_schema_of;
use ffrtmp::config::settings::Settings;
use ffrtmp::convert::{self, Kind};
use ffrtmp::lint::check::check_supervisor;
use ffrtmp::lint::diagnostic::Diagnostic;
use ffrtmp::lint::render::{Format, human};
use ffrtmp::lint::{rules, validate};
use ffrtmp::linux::clock;
use ffrtmp::model::ids::JobId;
use ffrtmp::model::sla::parse_since;
use ffrtmp::supervisor::start_up;
use ffrtmp::telemetry::{self, LogFormat};

/// For the static build: with musl's own allocator `validate` takes three times as long.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Most bytes that are converted.
const MAX_CONVERTED: u64 = 256 << 10;

fn main() -> ExitCode {
    let cli = FfrtmpSup::parse();
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

fn run(cli: FfrtmpSup) -> anyhow::Result<u8> {
    match cli.command {
        Command::Supervise { wrapper, cgroup_parent, log_format } => {
            // Wrappers run in `/`, and the kernel tells its events with whole paths.
            let root = cli.root.map(std::path::absolute).transpose().context("--root")?;
            supervise(layout(root)?, wrapper, cgroup_parent, log_format)
        }
        Command::Plan { folder, json } => {
            let mut out = io::BufWriter::new(io::stdout().lock());
            if let Some(folder) = &folder {
                std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
            }
            let outcome = plan::run(&layout(cli.root)?, folder.as_deref(), json, &mut out)?;
            out.flush()?;
            Ok(match outcome {
                plan::Outcome::Nothing => 0,
                plan::Outcome::Errors => 1,
                plan::Outcome::Changes => 3,
            })
        }
        Command::Status { job, json, watch } => {
            let job = job.map(|name| JobId::try_from(name.clone()).with_context(|| format!("{name:?}")));
            let width = io::stdout().is_terminal().then(terminal_size::terminal_size).flatten();
            let width = width.map(|(width, _)| usize::from(width.0));
            let options =
                status::Options { layout: layout(cli.root)?, job: job.transpose()?, json, watch, width };
            if status::run(&options, &mut io::stdout().lock())? {
                return Ok(0);
            }
            let name = options.job.map(|job| job.to_string()).unwrap_or_default();
            writeln!(
                io::stderr(),
                "ffrtmp-sup: there is no job {name:?}: no file in {} declares it, and nothing is recorded of it",
                options.layout.jobs_d.display()
            )?;
            Ok(1)
        }
        Command::Doctor { json, clean } => {
            let layout = layout(cli.root.map(std::path::absolute).transpose().context("--root")?)?;
            let choice = settings_of(&layout)?.cgroup;
            let all = doctor::run(&layout, choice, json, clean, &mut io::stdout().lock())?;
            Ok(u8::from(!all))
        }
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
        Command::Convert(args) => convert(&args),
        Command::Sla(args) => {
            let (now, zone) = (clock::now().wall, (clock::ZONES.local)());
            let since =
                args.since.map(|text| parse_since(&text, now, &zone)).transpose().context("--since")?;
            let options = sla::Options { layout: layout(cli.root)?, since, json: args.json };
            let mut out = io::BufWriter::new(io::stdout().lock());
            let all = sla::run(&options, &mut out, &mut io::stderr())?;
            out.flush()?;
            Ok(u8::from(!all))
        }
    }
}

fn supervise(
    layout: Layout,
    wrapper: Option<PathBuf>,
    cgroup_parent: Option<PathBuf>,
    lines: Option<LogLines>,
) -> anyhow::Result<u8> {
    let settings = settings_of(&layout)?;
    let format = match lines {
        None => LogFormat::Auto,
        Some(LogLines::Human) => LogFormat::Human,
        Some(LogLines::Json) => LogFormat::Json,
    };
    telemetry::init(format, settings.log_level)?;
    let wrapper = match wrapper.or_else(|| settings.wrapper.clone()) {
        Some(wrapper) => wrapper,
        None => std::env::current_exe()
            .context("cannot tell where this program is; give --wrapper")?
            .with_file_name("ffrtmp"),
    };
    start_up::run(start_up::Options { layout, settings, wrapper, cgroup_parent })?;
    Ok(0)
}

/// What `supervisor.toml` says; all defaults if it is not there. With an error in it nothing begins:
/// half of a configuration is none.
fn settings_of(layout: &Layout) -> anyhow::Result<Settings> {
    let path = &layout.supervisor_toml;
    if !path.try_exists().with_context(|| path.display().to_string())? {
        return Ok(Settings::default());
    }
    let mut trust = Trust::new(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let (text, settings, problems) = match load::read(path, Some(&mut trust)) {
        Ok(read) => {
            let (settings, problems) = check_supervisor(&read.text);
            (read.text, settings, problems)
        }
        Err(problem) => (String::new(), Settings::default(), vec![problem]),
    };
    let mut bad = false;
    for found in Diagnostic::all(path, &text, &problems) {
        bad |= found.level == Level::Error;
        writeln!(io::stderr(), "{found}")?;
    }
    if bad {
        anyhow::bail!("{} has errors; mend it, or remove it for the defaults", path.display());
    }
    Ok(settings)
}

/// The job file on standard output, what it lacks on standard error.
fn convert(args: &ConvertArgs) -> anyhow::Result<u8> {
    let mut text = String::new();
    let shown = args.file.display();
    let name = if args.file.as_os_str() == "-" {
        io::stdin().lock().take(MAX_CONVERTED).read_to_string(&mut text).context("standard input")?;
        None
    } else {
        let file = std::fs::File::open(&args.file).with_context(|| format!("cannot open {shown}"))?;
        file.take(MAX_CONVERTED).read_to_string(&mut text).with_context(|| format!("cannot read {shown}"))?;
        args.file.file_name().map(|name| name.to_string_lossy().into_owned())
    };
    if text.len() as u64 >= MAX_CONVERTED {
        anyhow::bail!("{shown} has more than {} KiB: this is no configuration", MAX_CONVERTED >> 10);
    }
    let kind = match args.from {
        Some(Source::Worker) => Kind::Worker,
        Some(Source::Systemd) => Kind::Systemd,
        Some(Source::Supervisord) => Kind::Supervisord,
        None => convert::tell(name.as_deref(), &text)
            .with_context(|| format!("what {shown} is cannot be told: say so with --from"))?,
    };
    let mut err = io::stderr().lock();
    match convert::convert(kind, name.as_deref(), args.program.as_deref(), &text) {
        Ok(converted) => {
            io::stdout().lock().write_all(converted.toml.as_bytes())?;
            for note in &converted.notes {
                writeln!(err, "{note}")?;
            }
            Ok(0)
        }
        Err(problems) => {
            for problem in &problems {
                writeln!(err, "ffrtmp-sup: {shown}: {problem}")?;
            }
            Ok(1)
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
