//! A first pause longer than the longest.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::units::format_duration;

rule! {
    "delay-above-max" Warning "`restart.delay` is above `restart.max_delay`"
    because "\
The pause before a restart begins at `delay` and doubles with each failure, up to `max_delay`. With a \
`delay` above it there is nothing to double: every pause is `delay`, and `max_delay` is a key that does \
not do what it says. Its default is one minute."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
delay = "5m"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[restart]
policy = "on-failure"
delay = "5m"
max_delay = "30m"
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let restart = &context.job.restart;
    if restart.delay > restart.max_delay {
        let (delay, max) = (format_duration(restart.delay), format_duration(restart.max_delay));
        let message = format!("the first pause is {delay}, and the longest only {max}");
        let help = "set restart.max_delay above it (its default is 1m)";
        problems.push(RULE.problem(value("restart.delay"), message).help(help));
    }
}
