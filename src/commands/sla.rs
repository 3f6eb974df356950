//! `ffrtmp-sup sla`: the platform's service level, from the reports of ended runs that are kept: those of the
//! supervisor, and those of the command line.

use std::io::{self, Write};

use serde::Serialize;

use crate::config::paths::Layout;
use crate::lint::diagnostic::{escape, escape_path};
use crate::model::sla::{self, Sla, Tally, Violation};
use crate::model::time::WallTime;
use crate::model::units::count;
use crate::runs::reports;

/// What is shown.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to look.
    pub layout: Layout,
    /// Only runs that ended then or later.
    pub since: Option<WallTime>,
    /// As JSON.
    pub json: bool,
}

/// Prints the service level, and on `errors` the reports that cannot be used. True: there are none of these.
///
/// # Errors
/// A folder of reports cannot be read, or nothing can be printed.
pub fn run(options: &Options, out: &mut dyn Write, errors: &mut dyn Write) -> io::Result<bool> {
    let (mut reports, mut unusable) = reports::ended(&options.layout.reports())?;
    let of_command_line = reports::ended(&options.layout.command_line_reports())?;
    reports.extend(of_command_line.0);
    unusable.extend(of_command_line.1);
    let sla = sla::of(&reports, options.since);
    for file in &unusable {
        writeln!(errors, "ffrtmp-sup: not counted: {}: {}", escape_path(&file.path), escape(&file.why))?;
    }
    if options.json {
        let unusable: Vec<String> = unusable.iter().map(|file| file.path.display().to_string()).collect();
        let document = Document { schema: "ffrtmp.sla/1", since: options.since, sla: &sla, unusable };
        writeln!(out, "{}", serde_json::to_string_pretty(&document)?)?;
    } else {
        print(&sla, options.since, out)?;
    }
    Ok(unusable.is_empty())
}

/// What `--json` prints.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    since: Option<WallTime>,
    #[serde(flatten)]
    sla: &'a Sla,
    /// Reports that cannot be used.
    unusable: Vec<String>,
}

fn print(sla: &Sla, since: Option<WallTime>, out: &mut dyn Write) -> io::Result<()> {
    match sla.all.percent() {
        Some(percent) => {
            let Tally { successes, total, .. } = sla.all;
            writeln!(
                out,
                "platform_sla_uptime: {percent}, {successes} of {}",
                runs(total, "eligible run that has ended", "eligible runs that have ended")
            )?;
        }
        None => writeln!(out, "platform_sla_uptime: not known, no eligible run has ended")?,
    }
    if let Some(since) = since {
        writeln!(out, "since {since}")?;
    }
    let kept = &sla.kept;
    let first = kept.first_ended_at.map(|at| format!(", the first of {at}")).unwrap_or_default();
    let not_eligible = match kept.not_eligible {
        0 => String::new(),
        number => format!("; {number} of them not sla_eligible"),
    };
    writeln!(
        out,
        "only kept reports count: {}{first}{not_eligible}\n(of each job the newest: reports.keep of supervisor.toml, \
         20 of each --job-id of ffrtmp run and attach)",
        runs(kept.runs, "ended run", "ended runs")
    )?;
    table(sla, out)?;
    violations(&sla.violations, out)
}

fn runs(number: u64, one: &str, more: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { more })
}

fn table(sla: &Sla, out: &mut dyn Write) -> io::Result<()> {
    if sla.all.total == 0 {
        return Ok(());
    }
    let intents = sla.by_intent.iter().map(|(intent, tally)| ("intent", word(intent), tally));
    let tags = sla.by_tag.iter().map(|(tag, tally)| ("tag", escape(tag).into_owned(), tally));
    let jobs = sla.by_job.iter().map(|(job, tally)| ("job", job.to_string(), tally));
    let rows: Vec<(&str, String, &Tally)> = intents.chain(tags).chain(jobs).collect();
    let names = rows.iter().map(|(_, name, _)| name.chars().count()).max().unwrap_or(0).max(4);
    writeln!(
        out,
        "\n{:6}  {:names$}  {:>7}  {:>9}  {:>6}  FIRST ENDED",
        "BY", "NAME", "UPTIME", "SUCCESSES", "TOTAL"
    )?;
    for (by, name, tally) in rows {
        let percent = tally.percent().unwrap_or_default();
        let first = tally.first_ended_at.map(|at| at.to_string()).unwrap_or_default();
        writeln!(
            out,
            "{by:6}  {name:names$}  {percent:>7}  {:>9}  {:>6}  {first}",
            tally.successes, tally.total
        )?;
    }
    Ok(())
}

fn violations(list: &[Violation], out: &mut dyn Write) -> io::Result<()> {
    if list.is_empty() {
        return Ok(());
    }
    let (jobs, ids) = list.iter().fold((3, 3), |(jobs, ids), violation| {
        (jobs.max(violation.job_id.as_str().len()), ids.max(violation.run_id.as_str().len()))
    });
    writeln!(out, "\n{}, the newest first:", count(list.len(), "violation"))?;
    writeln!(
        out,
        "{:24}  {:jobs$}  {:ids$}  {:16}  {:13}  MESSAGE",
        "ENDED", "JOB", "RUN", "EXIT REASON", "SLA REASON"
    )?;
    for violation in list {
        let ended = violation.ended_at.map_or_else(|| "-".into(), |at| at.to_string());
        let exit_reason = violation.exit_reason.as_ref().map_or_else(|| "-".into(), word);
        let reason = escape(violation.platform_sla_reason.as_deref().unwrap_or("-"));
        writeln!(
            out,
            "{ended:24}  {:jobs$}  {:ids$}  {exit_reason:16}  {reason:13}  {}",
            violation.job_id,
            violation.run_id,
            escape(&violation.message)
        )?;
    }
    Ok(())
}

/// A value as reports write it.
fn word(value: &impl Serialize) -> String {
    let text = serde_json::to_value(value).ok();
    text.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}
