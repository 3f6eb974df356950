//! A test that counts as production.

use super::{Check, Context, Example, Rule, value};
use crate::config::problem::{Level, Problem};
use crate::model::job::Intent;

pub static RULE: Rule = Rule {
    code: "sla-of-test",
    level: Level::Warning,
    summary: "A job that is no production counts for the service level",
    explain: "\
`sla_eligible = true` counts the runs of a job in the platform's service level. A test, an experiment or \
a soak test is allowed to fail: its failures would spoil the figure, and its successes would polish it.",
    bad: &[Example::Job(
        r#"
intent = "test"
sla_eligible = true
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    good: &[
        Example::Job(
            r#"
intent = "production"
sla_eligible = true
[exec]
command = ["/usr/bin/true"]
"#,
        ),
        Example::Job(
            r#"
intent = "test"
[exec]
command = ["/usr/bin/true"]
"#,
        ),
    ],
    check: Check::Job(check),
};

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    if context.job.sla_eligible && context.job.intent != Intent::Production {
        let message = "only production counts for the service level, and `intent` says otherwise";
        let help = "remove `sla_eligible`, or set intent = \"production\"";
        problems.push(RULE.problem(value("sla_eligible"), message).help(help));
    }
}
