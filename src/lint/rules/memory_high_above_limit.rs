//! A brake behind the wall.

use crate::lint::rule::{Context, Problem, rule, value};

rule! {
    "memory-high-above-limit" Warning "`memory_high` is not below `memory_limit`"
    because "\
Above `memory_high` the kernel slows the workload down and takes memory back from it; at `memory_limit` \
it kills. A brake that lies at or behind the wall is never used. Set `memory_high` some 10 to 20 percent \
below the limit, or leave it out."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "2GiB"
memory_high = "3GiB"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "3GiB"
memory_high = "2.5GiB"
"#
    check Job(check)
}

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
