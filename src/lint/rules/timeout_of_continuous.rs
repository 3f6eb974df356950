//! An end for what has none.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::job::Lifecycle;
use crate::model::units::format_duration;

rule! {
    "timeout-of-continuous" Warning "`timeouts.run` ends a continuous job again and again"
    because "\
A continuous job is meant to run without end. With `timeouts.run` it is stopped after that time, \
reported as `timeout`, and started again: a gap in the stream, at regular times. If a restart now and \
then is what you want, say so in the description and pass over this warning; if the job has an end, it \
is a `oneshot`."
    bad r#"
lifecycle = "continuous"
[exec]
command = ["/usr/bin/true"]

[timeouts]
run = "2h"
"#
    good r#"
lifecycle = "oneshot"
[exec]
command = ["/usr/bin/true"]

[timeouts]
run = "2h"
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let job = context.job;
    if job.lifecycle == Lifecycle::Continuous
        && job.exec().is_some()
        && let Some(run) = job.timeouts.run
    {
        let message =
            format!("this job is meant to run without end, and is stopped after {}", format_duration(run));
        let help = "remove it, or set lifecycle = \"oneshot\"";
        problems.push(RULE.problem(value("timeouts.run"), message).help(help));
    }
}
