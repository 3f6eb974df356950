//! A brake behind the wall.

use super::{Check, Context, Example, Rule, value};
use crate::config::problem::{Level, Problem};

pub static RULE: Rule = Rule {
    code: "memory-high-above-limit",
    level: Level::Warning,
    summary: "`memory_high` is not below `memory_limit`",
    explain: "\
Above `memory_high` the kernel slows the workload down and takes memory back from it; at `memory_limit` \
it kills. A brake that lies at or behind the wall is never used. Set `memory_high` some 10 to 20 percent \
below the limit, or leave it out.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "2GiB"
memory_high = "3GiB"
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "3GiB"
memory_high = "2.5GiB"
"#,
    )],
    check: Check::Job(check),
};

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let constraints = &context.job.constraints;
    if let (Some(high), Some(limit)) = (constraints.memory_high, constraints.memory_limit)
        && high >= limit
    {
        let message = format!("memory_high is {high}, and memory_limit is only {limit}");
        let help = "memory_high slows the workload before memory_limit kills it: set it below";
        problems.push(RULE.problem(value("constraints.memory_high"), message).help(help));
    }
}
