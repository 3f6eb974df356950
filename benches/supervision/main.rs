//! `make bench`: what supervision costs, each figure beside a reference measured in the same run.
//!
//! It measures the binaries that people install (`make release`), not what cargo built for it.
//! Timing is never asserted: the exit status is 1 only where something could not be measured.
//! docs/benchmarks.md says how each figure is taken.
//!
//! The same program is also the workload, the launcher of daemons and the bare TOML parser: hidden
//! commands, so that the bench needs no second program and no shell.

mod field;
mod interrupt;
mod limits;
mod peers;
mod process;
mod scenarios;
mod stage;
mod stats;
mod table;
mod workload;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Parser;

/// Measures ffrtmp-sup and ffrtmp beside their references.
#[derive(Parser)]
#[command(name = "make bench")]
struct Arguments {
    /// Measure only this; may be given again
    #[arg(long, value_enum, value_name = "NAME")]
    only: Vec<Scenario>,
    /// Few samples: shows that the bench works, not how fast anything is
    #[arg(long)]
    quick: bool,
    /// How many jobs have their limits changed, their usage sampled, or are taken over; fewer for a small machine
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..=1000))]
    jobs: u16,
    /// Measure the references alone
    #[arg(long)]
    references: bool,
    /// Write the figures here
    #[arg(long, value_name = "PATH", default_value = "bench-results/latest.json")]
    json: PathBuf,
    /// Where temporary files go: a folder on the disk to be measured
    #[arg(long, value_name = "DIR", default_value = env!("CARGO_TARGET_TMPDIR"))]
    dir: PathBuf,
    /// Cargo says so when it runs a bench
    #[arg(long, hide = true)]
    bench: bool,
}

/// What can be measured.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Scenario {
    /// A job file's arrival until the workload's exec
    Start,
    /// 1,000 jobs present at start until all run
    Thousand,
    /// Memory with 1,000 jobs
    Memory,
    /// CPU and wake-ups with 1,000 idle jobs
    Idle,
    /// A workload's exit until its report is on disk
    Exit,
    /// One file changed among 10,000
    Edit,
    /// `validate` of 10,000 files
    Validate,
    /// What six constraints add to a start
    LimitsStart,
    /// An edit of a limit until the kernel has it
    LimitsEdit,
    /// An edit of a profile until the kernel has the limits of 1,000 jobs
    LimitsProfile,
    /// CPU to sample the usage of 1,000 jobs
    LimitsUsage,
    /// A supervisor killed with 1,000 jobs until its successor watches all
    Recover,
    /// A process that fits a rule until its constraints are in force
    Attach,
    /// CPU of 100 attach rules with 1,000 processes
    AttachIdle,
    /// Memory, descriptors and files after 10,000 runs
    Growth,
    /// What `ffrtmp run` and `ffrtmp attach` add
    CommandLine,
    /// Other supervisors: kills, starts, memory, idle CPU, restarts
    Peers,
}

/// What all scenarios need to know.
struct Bench {
    /// The binaries to measure; none where only references are wanted.
    binaries: Option<Binaries>,
    /// Where temporary files go.
    dir: PathBuf,
    /// Few samples.
    quick: bool,
    /// For the limits of many jobs.
    jobs: usize,
}

impl Bench {
    /// `full` samples, or the few of a quick run.
    fn samples(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}

/// The measured programs.
struct Binaries {
    supervisor: PathBuf,
    wrapper: PathBuf,
}

impl Binaries {
    fn paths(&self) -> [&Path; 2] {
        [&self.supervisor, &self.wrapper]
    }

    fn find() -> anyhow::Result<Self> {
        let dir = std::env::var_os("FFRTMP_BIN_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dist"),
            |dir| std::path::absolute(&dir).unwrap_or_else(|_| dir.into()),
        );
        let found = Self { supervisor: dir.join("ffrtmp-sup"), wrapper: dir.join("ffrtmp") };
        for path in found.paths() {
            if !path.is_file() {
                bail!(
                    "{} is missing: build the binaries to measure with `make release`, or set FFRTMP_BIN_DIR \
                     to the folder that holds ffrtmp-sup and ffrtmp (--references measures the references alone)",
                    path.display()
                );
            }
        }
        Ok(found)
    }
}

fn main() -> ExitCode {
    let began = workload::now();
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_default();
    if Path::new(&name).file_name().is_some_and(|name| name == workload::SERVICE_NAME) {
        return hidden(workload::run_as_service(began));
    }
    let rest: Vec<OsString> = arguments.collect();
    match rest.split_first() {
        Some((name, rest)) if name == workload::COMMAND => hidden(workload::run(began, rest)),
        Some((name, rest)) if name == stage::DAEMON_COMMAND => {
            hidden(stage::become_daemon(rest).map(|()| ExitCode::SUCCESS))
        }
        Some((name, rest)) if name == scenarios::validate::PARSE_COMMAND => {
            hidden(scenarios::validate::parse_all(rest).map(|()| ExitCode::SUCCESS))
        }
        _ => bench(&Arguments::parse()),
    }
}

fn hidden(result: anyhow::Result<ExitCode>) -> ExitCode {
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &Arguments) -> ExitCode {
    if !arguments.bench {
        println!("benchmarks are run by `make bench` (or cargo bench); nothing measured");
        return ExitCode::SUCCESS;
    }
    match measure(arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // As a shell tells of a program that Ctrl-C ended.
        Err(_) if interrupt::interrupted() => ExitCode::from(130),
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all that was asked for could be measured.
fn measure(arguments: &Arguments) -> anyhow::Result<bool> {
    let binaries = if arguments.references { None } else { Some(Binaries::find()?) };
    std::fs::create_dir_all(&arguments.dir)
        .with_context(|| format!("cannot create {}", arguments.dir.display()))?;
    let dir = arguments
        .dir
        .canonicalize()
        .with_context(|| format!("cannot resolve {}", arguments.dir.display()))?;
    process::prepare()?;
    interrupt::watch()?;
    // One folder for the whole bench, removed at its end. ext4 passes over the inodes of files deleted in
    // the last minutes one by one, so what is removed between two rounds is paid for by the next.
    let place = tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(&dir)
        .with_context(|| format!("cannot make a temporary folder in {}", dir.display()))?;
    let bench =
        Bench { binaries, dir: place.path().to_owned(), quick: arguments.quick, jobs: arguments.jobs.into() };
    let wanted = |scenario| arguments.only.is_empty() || arguments.only.contains(&scenario);

    let mut results = table::Results::new(&bench);
    results.print_host();
    if wanted(Scenario::Start) {
        results.add("start", scenarios::start::measure(&bench));
    }
    let thousand = scenarios::thousand::Wanted {
        start: wanted(Scenario::Thousand),
        memory: wanted(Scenario::Memory),
        idle: wanted(Scenario::Idle),
    };
    if thousand.any() {
        results.add("thousand", scenarios::thousand::measure(&bench, &thousand));
    }
    if wanted(Scenario::Exit) {
        results.add("exit", scenarios::exit::measure(&bench));
    }
    if wanted(Scenario::Edit) {
        results.add("edit", scenarios::edit::measure(&bench));
    }
    if wanted(Scenario::Validate) {
        results.add("validate", scenarios::validate::measure(&bench));
    }
    if wanted(Scenario::LimitsStart) {
        results.add("limits-start", scenarios::limits_start::measure(&bench));
    }
    if wanted(Scenario::LimitsEdit) {
        results.add("limits-edit", scenarios::limits_edit::measure(&bench));
    }
    let many = scenarios::limits_many::Wanted {
        profile: wanted(Scenario::LimitsProfile),
        usage: wanted(Scenario::LimitsUsage),
    };
    if many.any() {
        results.add("limits-many", scenarios::limits_many::measure(&bench, &many));
    }
    if wanted(Scenario::Recover) {
        results.add("recover", scenarios::recover::measure(&bench));
    }
    if wanted(Scenario::Attach) {
        results.add("attach", scenarios::attach::measure_latency(&bench));
    }
    if wanted(Scenario::AttachIdle) {
        results.add("attach-idle", scenarios::attach::measure_cost(&bench));
    }
    if wanted(Scenario::Growth) {
        results.add("growth", scenarios::growth::measure(&bench));
    }
    if wanted(Scenario::CommandLine) {
        results.add("command-line", scenarios::command_line::measure(&bench));
    }
    if wanted(Scenario::Peers) {
        results.add_peers(scenarios::peers::measure(&bench));
    }
    // Half a run is no result, and is not to replace a whole one.
    interrupt::check()?;
    results.print();
    results.write(&arguments.json)?;
    Ok(results.complete())
}
