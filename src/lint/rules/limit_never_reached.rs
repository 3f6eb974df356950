//! A restart limit that the pauses keep out of reach.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::job::RestartPolicy;
use crate::model::units::format_duration;
use std::time::Duration;

rule! {
    "limit-never-reached" Warning "`restart.limit` can never be reached"
    because "\
The limit gives a job up after so many starts in so much time. Between starts there are pauses, which \
double from `delay` up to `max_delay`. When so many pauses take longer than the time of the limit, the \
count is never reached, and a job that fails at every start goes on for ever, although the file says it \
should not.

Make `within` longer or `starts` fewer."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
delay = "10s"
limit = { starts = 10, within = "1m" }
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
delay = "10s"
limit = { starts = 4, within = "5m" }
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let restart = &context.job.restart;
    let Some(limit) = restart.limit else { return };
    if restart.policy == RestartPolicy::Never {
        return;
    }
    let longest = restart.max_delay.max(restart.delay);
    let (mut pause, mut taken) = (restart.delay, Duration::ZERO);
    for _ in 1..limit.starts {
        taken = taken.saturating_add(pause);
        pause = pause.saturating_mul(2).min(longest);
    }
    if taken >= limit.within {
        let message = format!(
            "{} starts take {} of pauses alone, so they never fall into {}",
            limit.starts,
            format_duration(taken),
            format_duration(limit.within)
        );
        let help = "make `within` longer or `starts` fewer; as it is, the job is never given up";
        problems.push(RULE.problem(value("restart.limit"), message).help(help));
    }
}
