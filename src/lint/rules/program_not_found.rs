//! A program this machine does not have.

use crate::lint::host::Host;
use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "program-not-found" Error "The program is not there, or may not be executed"
    because "\
Told with `--host` only. The program is looked for as the supervisor would: a path as it is written, a \
bare name on the PATH. The PATH of the supervisor, often started by systemd, may be another than yours; \
`PATH` in `exec.env` decides for the workload."
    bad r#"
[exec]
command = ["/nonexistent/encode"]
"#
    good r#"
[exec]
command = ["/bin/sh", "/srv/x"]
"#
    check Host(check)
}

fn check(context: &Context<'_>, host: &Host, problems: &mut Vec<Problem>) {
    let Some(exec) = context.job.exec() else { return };
    let Some(program) = exec.command.first() else { return };
    if let Err(why) = host.program(program, exec.env.get("PATH").map(AsRef::as_ref)) {
        let message = format!("{program:?} cannot be run: {why}");
        problems.push(RULE.problem(argument(0), message).help("install it, or correct the path"));
    }
}
