//! What `ffrtmp run` and `ffrtmp attach` say to people, on standard error, in the reference's form.

use std::io::{self, IsTerminal, Write};

use crate::model::constraints::ConstraintStatus;
use crate::model::job::Job;
use crate::model::report::Report;

/// Standard error, as one who talks to people sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Messages {
    quiet: bool,
    color: bool,
}

impl Messages {
    /// `quiet`: no messages but errors. Colours are for terminals, and where `NO_COLOR` is not set.
    pub(super) fn new(quiet: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { quiet, color: io::stderr().is_terminal() && !plain }
    }

    /// Something that happened.
    pub(super) fn say(self, text: &str) {
        if !self.quiet {
            self.line("2", "[wrapper]", text);
        }
    }

    /// Something that is not as it was asked for.
    pub(super) fn warn(self, text: &str) {
        if !self.quiet {
            self.line("33", "[wrapper] WARNING:", text);
        }
    }

    /// Why there is nothing to run.
    pub(super) fn error(self, text: &str) {
        self.line("31", "Error:", text);
    }

    /// The job, in a line.
    pub(super) fn job(self, job: &Job) {
        let intent = serde_json::to_value(job.intent).unwrap_or_default();
        let intent = intent.as_str().unwrap_or_default();
        self.say(&format!("Job: {}, Intent: {intent}, SLA: {}", job.id, job.sla_eligible));
    }

    /// What of the constraints is not in force, each reason once.
    pub(super) fn not_in_force(self, statuses: &[ConstraintStatus]) {
        let mut told: Vec<(&str, Vec<&str>)> = Vec::new();
        for status in statuses.iter().filter(|status| !status.applied) {
            let reason = status.reason.as_deref().unwrap_or("it was not read back");
            match told.iter_mut().find(|(known, _)| *known == reason) {
                Some((_, names)) => names.push(status.name.as_str()),
                None => told.push((reason, vec![status.name.as_str()])),
            }
        }
        for (reason, names) in told {
            self.warn(&format!("{reason} [not in force: {}]", names.join(", ")));
        }
    }

    /// How it ended.
    pub(super) fn exited(self, report: &Report) {
        let how = match (report.exit_code, report.signal) {
            (Some(code), _) => format!("code={code}"),
            (None, Some(signal)) => format!("signal={signal}"),
            (None, None) => "code=unknown".into(),
        };
        let reason = serde_json::to_value(report.exit_reason).unwrap_or_default();
        let reason = reason.as_str().unwrap_or("unknown").to_owned();
        let lasted = report.duration_sec.map_or("unknown".into(), |seconds| format!("{seconds:.1}s"));
        self.say(&format!("Process exited: {how}, reason={reason}, duration={lasted}"));
        // What the line does not say already.
        if !["success", "error"].contains(&reason.as_str())
            && let Some(last) = report.events.last()
        {
            self.say(&in_options(&last.message));
        }
    }

    /// The run in one line, in the form that users of the reference look for. A value that there is not is `-`;
    /// the signal that ended it, if one did, comes last, so that all others keep their place.
    pub(super) fn summary(self, report: &Report) {
        if self.quiet {
            return;
        }
        let sla = match report.platform_sla {
            Some(true) => "COMPLIANT",
            Some(false) => "VIOLATION",
            None => "-",
        };
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".into());
        let line = format!(
            "JOB {} | sla={sla} | reason={} | runtime={} | exit={} | pid={}{}\n",
            report.job_id,
            or_none(report.platform_sla_reason.clone()),
            or_none(report.duration_sec.map(|seconds| format!("{seconds:.0}s"))),
            or_none(report.exit_code.map(|code| code.to_string())),
            or_none(report.pid.map(|pid| pid.to_string())),
            report.signal.map(|signal| format!(" | signal={signal}")).unwrap_or_default(),
        );
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn line(self, color: &str, head: &str, text: &str) {
        // What a command or a file's name holds is not for the terminal to obey.
        let shown = |c: char| if c.is_control() { c.escape_default().collect() } else { String::from(c) };
        let text: String = text.chars().map(shown).collect();
        let line = if self.color {
            format!("\x1b[{color}m{head}\x1b[0m {text}\n")
        } else {
            format!("{head} {text}\n")
        };
        // In one piece, among what the workload prints. If nobody reads it, the work goes on.
        let _ = io::stderr().write_all(line.as_bytes());
    }
}

/// A start error in the words of the command line.
pub(super) fn in_options(text: &str) -> String {
    let words = [
        ("not started: ", ""),
        ("give its full path in exec.command", "give its full path"),
        ("exec.command", "the command"),
        ("exec.env or the env files", "the environment"),
        ("exec.env", "--env"),
        ("exec.working_dir", "--workdir"),
        ("exec.user", "--user"),
        ("constraints.strict is set", "--strict is given"),
        ("timeouts.run", "--timeout"),
    ];
    words.iter().fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
