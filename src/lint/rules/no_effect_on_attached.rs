//! A rule for a workload we may not touch.

use crate::lint::rule::{At, Context, KeyPath, Problem, rule};
use crate::model::job::Workload;

rule! {
    "no-effect-on-attached" Warning "A key has no effect on an attached workload"
    because "\
What the supervisor did not start, it neither ends nor starts again. So `[restart]`, `[stop]` and \
`[timeouts]` do nothing for an attached job; whoever started the process has to see to that."
    bad r#"
[attach]
pid_file = "/run/obs.pid"

[restart]
policy = "always"
"#
    good r#"
[attach]
pid_file = "/run/obs.pid"

[constraints]
nice = 5
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let file = context.file;
    if !matches!(context.job.workload, Workload::Attach(_)) {
        return;
    }
    let stop = file.stop.as_ref().is_some_and(|stop| stop.signal.is_some() || stop.timeout.is_some());
    for (present, key) in [
        (file.restart.is_some(), "restart"),
        (stop, "stop"),
        (file.timeouts.is_some(), "timeouts"),
        (file.needs.is_some(), "needs"),
    ] {
        if present {
            let message = format!("[{key}] does nothing here: an attached workload is only observed");
            let help = "remove it, or let the job start the workload, with [exec]";
            problems.push(RULE.problem(At::Key(KeyPath::of(key)), message).help(help));
        }
    }
}
