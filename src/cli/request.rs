//! What `ffrtmp run` and `ffrtmp attach` were asked for, from their options, a worker's job document, and the environment.

use std::env;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::ffrtmp::{AttachArgs, RunArgs, TellingArgs};
use super::layout;
use super::options::{job_of, shown_program};
use crate::config::paths::Layout;
use crate::config::schema::JobFile;
use crate::linux::user;
use crate::model::cgroup::Choice;
use crate::model::constraints::Constraints;
use crate::model::job::Workload;
use crate::runs::reports::Reports;
use crate::worker::document::{self, Document};
use crate::worker::result::result;
use crate::wrapper::attach;
use crate::wrapper::files::{Files, Render};
use crate::wrapper::request::Request;

/// How many reports of ended runs each job of the command line keeps.
const KEEP: usize = 20;

/// Whether a job document that does not say is governed.
const WRAPPER_ENABLED: &str = "WRAPPER_ENABLED";

/// What is to be run.
///
/// # Errors
/// What is wrong, a line each, with the option and the value.
pub fn run_request(args: RunArgs) -> Result<Request, String> {
    let document = args.start.job.as_deref().map(read_document).transpose()?;
    let mut file = document.as_ref().map_or_else(JobFile::default, |document| document.file.clone());
    args.identity.overlay(&mut file).map_err(|error| error.to_string())?;
    args.constraints.overlay(file.constraints.get_or_insert_default());
    args.start.overlay(&mut file);
    let argv: Vec<OsString> = match &document {
        Some(document) => document.command.iter().map(OsString::from).collect(),
        None => args.command,
    };
    let governed = document.as_ref().map_or(Ok(true), is_governed)?;
    if let Some(document) = document.as_ref().filter(|_| !args.telling.quiet) {
        tell_notes(document, governed);
    }
    let id = args.identity.job_id.or_else(|| document.as_ref()?.job_id.clone());
    let home = layout(args.telling.root.clone());
    let at = home.clone().unwrap_or_else(|_| Layout::under(Path::new("/nonexistent")));
    let words = argv.iter().map(|word| word.to_string_lossy().into_owned()).collect();
    let mut job = job_of(id.as_deref(), file, words, &at).map_err(|error| error.to_string())?;
    if !governed {
        job.constraints = Constraints::default();
        if let Workload::Exec(exec) = &mut job.workload {
            exec.rlimits.clear();
        }
    }
    let mut environment: Vec<(OsString, OsString)> = env::vars_os().collect();
    if let Workload::Exec(exec) = &mut job.workload {
        exec.working_dir = args
            .start
            .workdir
            .as_deref()
            .map(std::path::absolute)
            .transpose()
            .map_err(|error| format!("--workdir: {error}"))?;
        set_all(&mut environment, user_variables(exec.user.as_deref()));
        set_all(&mut environment, exec.env.iter().map(|(key, value)| (key.into(), value.into())));
    }
    for assignment in args.start.env {
        set_all(&mut environment, [assigned(&assignment)?]);
    }
    let path =
        environment.iter().rev().find(|(key, _)| key == "PATH").map(|(_, path)| path.to_string_lossy());
    let program = argv.first().map(|program| program.to_string_lossy()).unwrap_or_default();
    let program = shown_program(&program, path.as_deref());
    let pid_file = args.start.pid_file.as_deref().map(std::path::absolute).transpose();
    let cgroup = choice(&args.constraints.cgroup);
    let working_dir = job.exec().and_then(|exec| exec.working_dir.clone());
    let json = args.telling.json || (document.is_some() && args.telling.report.is_none());
    let files = files(&args.telling, home.as_ref().ok(), id.is_some(), document.map(|d| form(d, governed)));
    Ok(Request {
        job,
        argv,
        environment,
        working_dir,
        program,
        governed,
        cgroup,
        files: files?,
        pid_file: pid_file.map_err(|error| format!("--pid-file: {error}"))?,
        json,
        quiet: args.telling.quiet,
    })
}

/// What is to be taken over.
///
/// # Errors
/// What is wrong, a line each, with the option and the value.
pub fn attach_request(args: AttachArgs) -> Result<attach::Request, String> {
    let mut file = JobFile::default();
    args.identity.overlay(&mut file).map_err(|error| error.to_string())?;
    args.constraints.overlay(file.constraints.get_or_insert_default());
    let id = args.identity.job_id;
    let home = layout(args.telling.root.clone());
    let at = home.clone().unwrap_or_else(|_| Layout::under(Path::new("/nonexistent")));
    let job = job_of(id.as_deref(), file, Vec::new(), &at).map_err(|error| error.to_string())?;
    let governed = home.iter().flat_map(|home| [home.command_line_runs(), home.runs()]).collect();
    Ok(attach::Request {
        pid: args.pid,
        job,
        relocate: !args.no_move,
        restore: args.restore,
        cgroup: choice(&args.constraints.cgroup),
        governed,
        files: files(&args.telling, home.as_ref().ok(), id.is_some(), None)?,
        json: args.telling.json,
        quiet: args.telling.quiet,
    })
}

/// What is kept, and where.
fn files(
    telling: &TellingArgs,
    home: Option<&Layout>,
    named: bool,
    form: Option<Render>,
) -> Result<Files, String> {
    let absolute = |path: &PathBuf| std::path::absolute(path).map_err(|error| format!("--report: {error}"));
    let file = telling.report.as_ref().map(absolute).transpose()?;
    let nowhere = Layout::under(Path::new("/nonexistent"));
    let at = home.unwrap_or(&nowhere);
    let place = |path: PathBuf| std::path::absolute(path).map_err(|error| format!("--root: {error}"));
    let reports = Reports { folder: place(at.command_line_reports())?, keep: KEEP };
    let runs = match home {
        Some(_) => Ok(place(at.command_line_runs())?),
        None => Err("HOME is not set: set it, or give --root".into()),
    };
    Ok(Files { runs, reports, named: named && home.is_some(), file, form })
}

/// A worker's result document.
fn form(document: Document, governed: bool) -> Render {
    Box::new(move |report| {
        let value = result(&document.whole, report, governed);
        let mut bytes = serde_json::to_vec_pretty(&value).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    })
}

fn read_document(path: &Path) -> Result<Document, String> {
    let failed = |error: io::Error| format!("--job {}: {error}", path.display());
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin().lock().read_to_string(&mut text).map_err(failed)?;
    } else {
        text = std::fs::read_to_string(path).map_err(failed)?;
    }
    document::read(&text).map_err(|problems| {
        let lines: Vec<String> =
            problems.iter().map(|problem| format!("--job {}: {problem}", path.display())).collect();
        lines.join("\n")
    })
}

/// Tells what became of a job document.
fn tell_notes(document: &Document, governed: bool) {
    if governed {
        document.notes.iter().for_each(|note| eprintln!("[wrapper] {note}"));
    } else if document.file.constraints.is_some() || document.file.exec.is_some() {
        eprintln!(
            "[wrapper] wrapper_enabled is not true: of the limits in the document only a time-out is in force"
        );
    }
}

fn is_governed(document: &Document) -> Result<bool, String> {
    if let Some(enabled) = document.wrapper_enabled {
        return Ok(enabled);
    }
    match env::var(WRAPPER_ENABLED).unwrap_or_default().to_lowercase().as_str() {
        "" | "0" | "false" | "no" | "off" => Ok(false),
        "1" | "true" | "yes" | "on" => Ok(true),
        other => Err(format!("{WRAPPER_ENABLED}={other} in the environment is neither true nor false")),
    }
}

fn choice(name: &str) -> Choice {
    let all = [Choice::CgroupV2, Choice::CgroupV1, Choice::Systemd, Choice::None];
    all.into_iter().find(|choice| choice.as_str() == name).unwrap_or_default()
}

/// Who it is that it runs as, as a login would say.
fn user_variables(name: Option<&str>) -> Vec<(OsString, OsString)> {
    let Some(account) = name.and_then(user::account) else { return Vec::new() };
    vec![
        ("HOME".into(), account.dir.into_os_string()),
        ("SHELL".into(), account.shell.into_os_string()),
        ("LOGNAME".into(), account.name.clone().into()),
        ("USER".into(), account.name.into()),
    ]
}

fn assigned(text: &OsString) -> Result<(OsString, OsString), String> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    let bytes = text.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) if at > 0 => {
            let (key, value) = (bytes[..at].to_vec(), bytes[at + 1..].to_vec());
            Ok((OsString::from_vec(key), OsString::from_vec(value)))
        }
        _ => Err(format!("--env {text:?} is not KEY=VALUE")),
    }
}

fn set_all(
    environment: &mut Vec<(OsString, OsString)>,
    variables: impl IntoIterator<Item = (OsString, OsString)>,
) {
    for (key, value) in variables {
        environment.retain(|(known, _)| *known != key);
        environment.push((key, value));
    }
}
