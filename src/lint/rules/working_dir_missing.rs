//! A folder this machine does not have.

use crate::lint::host::Host;
use crate::lint::rule::{Context, Problem, rule, value};

rule! {
    "working-dir-missing" Error "The working directory is not there"
    because "\
Told with `--host` only. The workload starts in `exec.working_dir`; where that is missing, it does not \
start. Nothing creates it: it may be a disk that is not mounted."
    bad r#"
[exec]
command = ["/bin/sh", "/srv/x"]
working_dir = "/nonexistent/media"
"#
    good r#"
[exec]
command = ["/bin/sh", "/srv/x"]
working_dir = "/tmp"
"#
    check Host(check)
}

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
