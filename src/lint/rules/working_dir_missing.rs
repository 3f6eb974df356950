//! A folder this machine does not have.

use super::{Check, Context, Example, Rule, value};
use crate::config::problem::{Level, Problem};
use crate::lint::host::Host;

pub static RULE: Rule = Rule {
    code: "working-dir-missing",
    level: Level::Error,
    summary: "The working directory is not there",
    explain: "\
Told with `--host` only. The workload starts in `exec.working_dir`; where that is missing, it does not \
start. Nothing creates it: it may be a disk that is not mounted.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/bin/sh", "/srv/x"]
working_dir = "/nonexistent/media"
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/bin/sh", "/srv/x"]
working_dir = "/tmp"
"#,
    )],
    check: Check::Host(check),
};

fn check(context: &Context<'_>, _: &Host, problems: &mut Vec<Problem>) {
    let Some(folder) = context.job.exec().and_then(|exec| exec.working_dir.as_deref()) else { return };
    let why = match std::fs::metadata(folder) {
        Ok(meta) if meta.is_dir() => return,
        Ok(_) => "it is no folder".to_owned(),
        Err(error) => error.to_string(),
    };
    let message = format!("{}: {why}", folder.display());
    problems.push(RULE.problem(value("exec.working_dir"), message).help("create it, or mount its disk"));
}
