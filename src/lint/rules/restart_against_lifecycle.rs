//! A restart policy at odds with what the job is.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::job::{Lifecycle, RestartPolicy, Workload};

rule! {
    "restart-against-lifecycle" Warning "The restart policy contradicts the lifecycle"
    because "\
`lifecycle` says what an exit means: for a `oneshot`, exit 0 is completion; for a `continuous` job, \
every exit is unexpected.

A continuous job with the policy `never` stays down after its first hiccup, and with ffmpeg that is not \
even an error: when a live input closes, ffmpeg ends with exit code 0. A oneshot with `always` does its \
work again and again, for ever."
    bad r#"
lifecycle = "continuous"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "never"
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "always"
"#
    good r#"
lifecycle = "continuous"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "always"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let job = context.job;
    if matches!(job.workload, Workload::Attach(_)) {
        return;
    }
    let (message, help) = match (job.lifecycle, job.restart.policy) {
        (Lifecycle::Continuous, RestartPolicy::Never) => (
            "a continuous job that never restarts stays down after its first exit",
            "use \"always\", or lifecycle = \"oneshot\" if the job has an end",
        ),
        (Lifecycle::Oneshot, RestartPolicy::Always) => (
            "a oneshot job that always restarts does its work again and again",
            "use \"on-failure\", or lifecycle = \"continuous\" if the job has no end",
        ),
        _ => return,
    };
    problems.push(RULE.problem(value("restart.policy"), message).help(help));
}
