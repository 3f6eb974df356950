//! `ffrtmp-sup status`: what runs and what does not, from files and records, with or without a supervisor.

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::survey;
use super::survey::{DesiredState, Scheduled};
use crate::config::paths::Layout;
use crate::lint::diagnostic::escape;
use crate::linux::cgroup::counters;
use crate::linux::clock;
use crate::model::exit::State;
use crate::model::ids::JobId;
use crate::model::job::Job;
use crate::model::process::Pid;
use crate::model::report::{Report, Usage};
use crate::model::space::rounded;
use crate::model::time::WallTime;
use crate::model::units::{cut, mebibytes, short_time};
use crate::reconcile::plan::{Action, AttachTarget, Wanted, plan};
use crate::runs::dir::RunDir;
use crate::supervisor::lock;
use crate::supervisor::observed::{RunStatus, Snapshot, cannot_be_recorded, is_filed, report_of};

/// How often `--watch` looks.
const WATCH: Duration = Duration::from_secs(1);

/// Columns of a terminal that has room for what jobs use, beside what is to be said of them.
const WIDE: usize = 100;

/// What is shown.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to look.
    pub layout: Layout,
    /// Only this job, with all that is known of it.
    pub job: Option<JobId>,
    /// As JSON.
    pub json: bool,
    /// Again and again.
    pub watch: bool,
    /// Columns of the terminal; `None`: no terminal, nothing is cut.
    pub width: Option<usize>,
}

/// What is told of a job.
#[derive(Debug, Serialize)]
struct Row {
    job: JobId,
    state: &'static str,
    pid: Option<Pid>,
    /// Seconds that the workload has been running, or ran.
    seconds: Option<f64>,
    restarts: u32,
    /// What it has used so far, of a job that runs in a cgroup; what it used at last is in the report.
    usage: Option<Usage>,
    /// Memory that it has in use now.
    memory_bytes: Option<u64>,
    next_start_at: Option<WallTime>,
    /// What its schedule has in force, and what comes next; null without a schedule.
    schedule: Option<Scheduled>,
    /// Where what the job printed is, if that went to a file.
    output: Option<PathBuf>,
    /// Why the job's file is not in force.
    errors: Vec<String>,
    note: String,
    report: Option<Report>,
}

/// Prints the status. False: there is no such job.
///
/// # Errors
/// Nothing can be printed.
pub fn run(options: &Options, out: &mut dyn Write) -> io::Result<bool> {
    let mut last = String::new();
    loop {
        let mut page = Vec::new();
        let found = page_of(options, &mut page)?;
        let page = String::from_utf8_lossy(&page).into_owned();
        if page != last {
            if options.watch && options.width.is_some() {
                // To the top, and clear what is below.
                write!(out, "\x1b[H\x1b[2J")?;
            }
            out.write_all(page.as_bytes())?;
            out.flush()?;
            last = page;
        }
        if !options.watch || !found {
            return Ok(found);
        }
        thread::sleep(WATCH);
    }
}

fn page_of(options: &Options, out: &mut dyn Write) -> io::Result<bool> {
    let layout = &options.layout;
    let supervisor = lock::holder(&layout.lock());
    let desired = survey::desired(layout, layout);
    let declared = &desired.declared;
    let mut jobs = desired.jobs(layout);
    let unusable: Vec<String> = declared.unusable().map(str::to_owned).collect();
    // A file of which nothing can be used has no jobs to show but itself.
    let known =
        |stem: &str, jobs: &std::collections::BTreeSet<JobId>| jobs.iter().any(|job| job.stem() == stem);
    let bare: Vec<JobId> =
        unusable.iter().filter(|stem| !known(stem, &jobs)).filter_map(|stem| JobId::new(stem).ok()).collect();
    jobs.extend(bare);
    if let Some(job) = &options.job {
        if !jobs.contains(job) && report_of(layout, job).is_none() {
            return Ok(false);
        }
        jobs = [job.clone()].into();
    }
    let rows: Vec<Row> = jobs.iter().map(|job| row(layout, &desired, job, supervisor.is_some())).collect();
    let errors: Vec<&str> = declared.all_errors().collect();
    if options.json {
        let document = serde_json::json!({
            "schema": "ffrtmp.status/1", "supervisor_pid": supervisor, "jobs": rows, "errors": errors,
        });
        writeln!(out, "{document:#}")?;
        return Ok(true);
    }
    match (&options.job, rows.first()) {
        (Some(_), Some(row)) => details(row, out)?,
        _ => table(&rows, options.width, out)?,
    }
    if options.job.is_none() {
        for error in errors {
            writeln!(out, "error: {error}")?;
        }
    }
    if let Some((free, reserve, path)) = desired.low().filter(|_| options.job.is_none()) {
        writeln!(
            out,
            "warning: {}: {} are free, less than [disk] reserve ({}): oneshots wait, and older pieces of logs are removed",
            path.display(),
            rounded(free),
            rounded(reserve)
        )?;
    }
    if supervisor.is_none() {
        writeln!(out, "no supervisor is running for {}; showing files and records", layout.state.display())?;
    }
    Ok(true)
}

/// `supervised`: a supervisor lives, so what is due is about to be done.
fn row(layout: &Layout, desired: &DesiredState, job: &JobId, supervised: bool) -> Row {
    let report = report_of(layout, job);
    let snapshot = survey::run_of(layout, job);
    let errors = desired.declared.errors(job.stem()).to_vec();
    let live = matches!(snapshot.as_ref().map(|snapshot| &snapshot.status), Some(RunStatus::Running { .. }));
    let (wanted, waits) = desired.wanted(job, live);
    let began = snapshot.as_ref().and_then(|snapshot| snapshot.started.as_ref());
    let mut pid = None;
    let (mut usage, mut memory_bytes) = (None, None);
    let mut seconds = report.as_ref().and_then(|report| report.duration_sec);
    let unrecorded = match snapshot.as_ref().map(|snapshot| (&snapshot.status, &snapshot.spec.run_id)) {
        Some((RunStatus::Ending { .. }, run)) => {
            cannot_be_recorded(&RunDir::open(layout.runs().join(job.as_str()).join(run.as_str())))
        }
        _ => None,
    };
    let state = match snapshot.as_ref().map(|snapshot| &snapshot.status) {
        Some(RunStatus::Running { .. } | RunStatus::Orphaned { .. }) => {
            pid = began.map(|started| started.process.pid);
            (usage, memory_bytes) = snapshot.as_ref().map(in_use).unwrap_or_default();
            seconds = began.map(|started| clock::boot().since(started.at.boot).as_secs_f64());
            if snapshot.as_ref().is_some_and(|snapshot| snapshot.stopping.is_some()) {
                "stopping"
            } else {
                "running"
            }
        }
        Some(RunStatus::Starting) => "starting",
        Some(RunStatus::Ending { .. }) if unrecorded.is_some() => "ended",
        Some(RunStatus::Ending { .. }) => "stopping",
        Some(RunStatus::Ended { .. } | RunStatus::NeverBegan) | None => match (&report, &wanted) {
            _ if !errors.is_empty() && report.is_none() => "invalid",
            (_, Wanted::Disabled(_)) => "disabled",
            (_, Wanted::Take(rule, AttachTarget::Nobody)) if is_rule(rule) => "rule",
            (None, Wanted::Take(..)) => "waiting",
            // Written as running, and nothing lives: its exit is not reported yet.
            (Some(report), _) if report.exit_reason.is_none() => "unknown",
            (Some(report), _) => word(report.state),
            (None, _) => "declared",
        },
    };
    let next_start_at = report.as_ref().and_then(|report| report.next_start_at);
    let restarts = report.as_ref().map_or(0, |report| report.restarts);
    // What is about to start, and cannot.
    let no_space = Some(&wanted).filter(|_| !live).and_then(|wanted| {
        let observed = snapshot.as_ref().map(|snapshot| snapshot.observed(is_filed(layout, snapshot)));
        let actions = plan(clock::now(), &clock::ZONES, wanted, observed.as_ref()).actions;
        actions.iter().find_map(|action| match action {
            Action::Start { job, .. } => desired.no_space(job),
            _ => None,
        })
    });
    let note = match (&wanted, waits) {
        _ if unrecorded.is_some() => unrecorded.unwrap_or_default(),
        _ if no_space.is_some() => no_space.map(|why| format!("waits {why}")).unwrap_or_default(),
        (_, Some(why)) if !live => format!("waits: {why}"),
        (Wanted::Take(rule, AttachTarget::Nobody), _) if is_rule(rule) => {
            format!("governs every process that fits, as {job}@PID")
        }
        (Wanted::Take(_, AttachTarget::Nobody), _) if report.is_none() => {
            "waits for a process that fits".into()
        }
        (Wanted::Run(_), _) if supervised && report.is_none() && errors.is_empty() => QUEUED.into(),
        _ => note(report.as_ref(), &errors, next_start_at, pid.is_some(), supervised),
    };
    let live = snapshot.as_ref().filter(|_| pid.is_some()).map(|snapshot| &snapshot.spec.job);
    let schedule = match wanted {
        Wanted::Take(_, AttachTarget::Nobody) => None,
        Wanted::Run(job) | Wanted::Take(job, _) => Scheduled::of(&job, live.map(|job| &**job), clock::now()),
        Wanted::Undecided => live.and_then(|job| Scheduled::of(job, Some(job), clock::now())),
        Wanted::Disabled(_) | Wanted::Gone => None,
    };
    let note = match &schedule {
        Some(schedule) if note.is_empty() => schedule.to_string(),
        _ => note,
    };
    let log = layout.logs().join(format!("{job}.log"));
    let output = log.metadata().is_ok_and(|meta| meta.len() > 0).then_some(log);
    Row {
        job: job.clone(),
        state,
        pid,
        seconds,
        restarts,
        usage,
        memory_bytes,
        next_start_at,
        schedule,
        output,
        errors,
        note,
        report,
    }
}

/// Whether it has no run of its own, but one for each process that fits.
fn is_rule(job: &Job) -> bool {
    job.attach().is_some_and(|attach| attach.all) && job.id.entry().is_none()
}

/// What a run has used since its start, and its memory; nothing where nobody counts.
fn in_use(snapshot: &Snapshot) -> (Option<Usage>, Option<u64>) {
    let baseline = snapshot.started.as_ref().and_then(|started| started.baseline.as_ref());
    let (Some(cgroup), Some(baseline)) = (&snapshot.spec.cgroup, baseline) else { return (None, None) };
    let sample = counters::sample(cgroup);
    (Some(sample.usage.since(&baseline.usage)), sample.memory_bytes)
}

/// A start that is due and was not made yet. Where it cannot be made, the supervisor's log says why.
const QUEUED: &str = "queued to start";

fn note(
    report: Option<&Report>,
    errors: &[String],
    next: Option<WallTime>,
    live: bool,
    supervised: bool,
) -> String {
    if let Some(error) = errors.first() {
        return format!("file not in force: {error}");
    }
    let Some(report) = report else { return String::new() };
    let last = report.events.last().map_or("", |event| event.message.as_str());
    if let Some(next) = next {
        let wait = next.unix_ms() - clock::now().wall.unix_ms();
        if wait <= 0 && supervised {
            return format!("{QUEUED}; {last}");
        }
        let wait = wait.max(0).unsigned_abs() / 1000;
        return format!("starts again in {wait}s; {last}");
    }
    let missing: Vec<&str> = report
        .constraints
        .iter()
        .filter(|status| !status.applied)
        .map(|status| status.name.as_str())
        .collect();
    if live && !missing.is_empty() {
        return format!("not in force: {}", missing.join(", "));
    }
    if live { String::new() } else { last.to_owned() }
}

fn table(rows: &[Row], width: Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    if rows.is_empty() {
        return writeln!(out, "no jobs are declared");
    }
    let longest = rows.iter().map(|row| row.job.as_str().len()).max().unwrap_or(0).max(3);
    // On a terminal a long name leaves room for what there is to say.
    let names = width.map_or(longest, |width| longest.min((width / 6).max(12)));
    let mut line = |text: &str| match width {
        Some(width) => writeln!(out, "{}", cut(text.trim_end(), width)),
        None => writeln!(out, "{}", text.trim_end()),
    };
    let with_usage = rows.iter().any(|row| row.usage.is_some()) && width.is_none_or(|width| width >= WIDE);
    let usage = |cpu: &str, memory: &str| match with_usage {
        true => format!("  {cpu:>7}  {memory:>8}"),
        false => String::new(),
    };
    let heads = usage("CPU", "MEMORY");
    line(&format!(
        "{:names$}  {:9}  {:>7}  {:>7}{heads}  {:>8}  NOTE",
        "JOB", "STATE", "PID", "TIME", "RESTARTS"
    ))?;
    for row in rows {
        let pid = row.pid.map_or_else(|| "-".into(), |pid| pid.to_string());
        let (cpu, memory) = (row.usage.and_then(|usage| usage.cpu_sec), row.memory_bytes);
        let usage =
            usage(&cpu.map_or_else(|| "-".into(), short_time), &memory.map_or_else(|| "-".into(), mebibytes));
        let time = row.seconds.map_or_else(|| "-".into(), short_time);
        let (job, note) = (cut(row.job.as_str(), names), escape(&row.note));
        line(&format!(
            "{job:names$}  {:9}  {pid:>7}  {time:>7}{usage}  {:>8}  {note}",
            row.state, row.restarts
        ))?;
    }
    Ok(())
}

fn details(row: &Row, out: &mut dyn Write) -> io::Result<()> {
    let mut field = |name: &str, value: &str| writeln!(out, "{name:>12}: {}", escape(value));
    field("job", row.job.as_str())?;
    field("state", row.state)?;
    for error in &row.errors {
        field("file", &format!("not in force: {error}"))?;
    }
    let Some(report) = &row.report else {
        return field("report", "none yet");
    };
    field("run", report.run_id.as_str())?;
    field("command", &report.command.join(" "))?;
    if let Some(pid) = row.pid {
        field("pid", &pid.to_string())?;
    }
    if let Some(seconds) = row.seconds {
        field("time", &short_time(seconds))?;
    }
    if let Some(cpu) = row.usage.and_then(|usage| usage.cpu_sec) {
        field("cpu time", &short_time(cpu))?;
    }
    if let Some(bytes) = row.memory_bytes {
        let peak = row.usage.and_then(|usage| usage.memory_peak_bytes);
        let peak = peak.map(|peak| format!(", at most {}", mebibytes(peak))).unwrap_or_default();
        field("memory", &format!("{}{peak}", mebibytes(bytes)))?;
    }
    field("restarts", &row.restarts.to_string())?;
    if let Some(output) = &row.output {
        field("output", &output.display().to_string())?;
    }
    if let Some(next) = row.next_start_at {
        field("next start", &next.to_string())?;
    }
    if let Some(schedule) = &row.schedule {
        field("schedule", &schedule.to_string())?;
    }
    if let Some(sla) = report.platform_sla {
        let why = report.platform_sla_reason.as_deref().unwrap_or("");
        field("platform", &format!("{} ({why})", if sla { "did its part" } else { "to blame" }))?;
    }
    for status in &report.constraints {
        let name = status.name;
        let text = match (&status.actual, status.applied) {
            (Some(actual), true) => format!("{name} {}: in force, {actual}", status.requested),
            (actual, _) => format!(
                "{name} {}: NOT in force ({}){}",
                status.requested,
                status.reason.as_deref().unwrap_or("not read back"),
                actual.as_ref().map(|actual| format!(", actual {actual}")).unwrap_or_default()
            ),
        };
        field("constraint", &text)?;
    }
    for event in &report.events {
        field("event", &format!("{}  {:9} {}", event.at, word(event.state), event.message))?;
    }
    Ok(())
}

fn word(state: State) -> &'static str {
    match state {
        State::Unknown => "unknown",
        State::Starting => "starting",
        State::Running => "running",
        State::Completed => "completed",
        State::Failed => "failed",
        State::Killed => "killed",
    }
}
