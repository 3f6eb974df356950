//! A test that counts as production.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::job::Intent;

rule! {
    "sla-of-test" Warning "A job that is no production counts for the service level"
    because "\
`sla_eligible = true` counts the runs of a job in the platform's service level. A test, an experiment or \
a soak test is allowed to fail: its failures would spoil the figure, and its successes would polish it."
    bad r#"
intent = "test"
sla_eligible = true
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
intent = "production"
sla_eligible = true
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
intent = "test"
[exec]
command = ["/usr/bin/true"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    if context.job.sla_eligible && context.job.intent != Intent::Production {
        let message = "only production counts for the service level, and `intent` says otherwise";
        let help = "remove `sla_eligible`, or set intent = \"production\"";
        problems.push(RULE.problem(value("sla_eligible"), message).help(help));
    }
}
