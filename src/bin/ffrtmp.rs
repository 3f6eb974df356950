//! The wrapper's command line: arguments and exit codes only.

use std::ffi::OsString;
use std::os::fd::RawFd;
use std::path::PathBuf;
use std::process::ExitCode;

use ffrtmp::cli::ffrtmp::Command;
use ffrtmp::cli::ps;
use ffrtmp::cli::request::{attach_request, run_request};
use ffrtmp::cli::usage;
use ffrtmp::wrapper::{attach, detached, hold, nursery, run};

fn main() -> ExitCode {
    // One process like this lives per job: parsed by hand, it never touches the memory clap needs.
    let mut arguments = std::env::args_os().skip(1);
    let first = arguments.next();
    let served = match first.as_ref().and_then(|first| first.to_str()) {
        Some("detached") => {
            Some(parse_detached(arguments).map(|(dir, lock, ready)| detached::main(&dir, lock, ready)))
        }
        Some("nursery") => Some(parse_nursery(arguments).map(nursery::main)),
        _ => None,
    };
    match served {
        Some(Ok(status)) => return status,
        Some(Err(problem)) => {
            let name = first.unwrap_or_default();
            eprintln!("ffrtmp {}: {problem}; it is started by ffrtmp-sup only", name.to_string_lossy());
            return ExitCode::from(2);
        }
        None => {}
    }
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let asked = match usage::parse(&arguments) {
        Ok(asked) => asked,
        Err(usage) => {
            // Whoever does not read it does not want it.
            let _ = usage.error.print();
            return ExitCode::from(usage.status);
        }
    };
    match asked.command {
        Command::Run(args) => match run_request(*args) {
            Ok(request) => run::main(&request),
            Err(problem) => refuse(&problem, run::FAILED),
        },
        Command::Attach(args) => match attach_request(*args) {
            Ok(request) => attach::main(&request),
            Err(problem) => refuse(&problem, usage::WRONG),
        },
        Command::Ps(args) => match ps::run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => refuse(&problem, run::FAILED),
        },
        Command::HoldCgroup { stay: true } => hold::stay(),
        Command::HoldCgroup { stay: false } => match hold::begin() {
            Ok(()) => ExitCode::SUCCESS,
            Err(problem) => {
                eprintln!("ffrtmp hold-cgroup: {problem}");
                ExitCode::from(run::FAILED)
            }
        },
    }
}

fn refuse(problem: &str, status: u8) -> ExitCode {
    for line in problem.lines() {
        eprintln!("Error: {line}");
    }
    ExitCode::from(status)
}

/// `--run-dir DIR --lock-fd N --ready-fd M`
fn parse_detached(mut arguments: impl Iterator<Item = OsString>) -> Result<(PathBuf, RawFd, RawFd), String> {
    let (mut run_dir, mut lock_fd, mut ready_fd) = (None, None, None);
    while let Some(key) = arguments.next() {
        let key = key.to_string_lossy().into_owned();
        let value = arguments.next().ok_or_else(|| format!("{key} needs a value"))?;
        let number = || {
            value.to_str().and_then(|text| text.parse::<RawFd>().ok()).ok_or(format!("{key} needs a number"))
        };
        match key.as_str() {
            "--run-dir" => run_dir = Some(PathBuf::from(&value)),
            "--lock-fd" => lock_fd = Some(number()?),
            "--ready-fd" => ready_fd = Some(number()?),
            _ => return Err(format!("unknown argument {key}")),
        }
    }
    match (run_dir, lock_fd, ready_fd) {
        (Some(run_dir), Some(lock_fd), Some(ready_fd)) => Ok((run_dir, lock_fd, ready_fd)),
        _ => Err("needs --run-dir, --lock-fd and --ready-fd".into()),
    }
}

/// `--socket-fd N --room ...`
fn parse_nursery(mut arguments: impl Iterator<Item = OsString>) -> Result<RawFd, String> {
    match (arguments.next(), arguments.next()) {
        (Some(key), Some(value)) if key == "--socket-fd" => value
            .to_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| "--socket-fd needs a number".into()),
        _ => Err("needs --socket-fd".into()),
    }
}
