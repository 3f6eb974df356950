//! More CPU time than there is.

use super::{Check, Context, Example, Rule, value};
use crate::config::problem::{Level, Problem};
use crate::model::constraints::CpuLimit;

pub static RULE: Rule = Rule {
    code: "quota-above-cores",
    level: Level::Warning,
    summary: "The CPU quota is larger than this machine",
    explain: "\
`cpu_quota = 100` is one core. A quota of more than all cores limits nothing, so either a percentage of \
the whole machine was meant, or the job was written for a larger one. The kernel accepts it, and so do \
we.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_quota = 1600 # on a machine with 4 cores
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_quota = 200
"#,
    )],
    check: Check::Job(check),
};

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let cores = context.facts.cores as u64;
    let (percent, at) = match context.job.constraints.cpu {
        Some(CpuLimit::Quota(percent)) => (u64::from(percent), "constraints.cpu_quota"),
        Some(CpuLimit::Max { quota_us: Some(quota), period_us }) if period_us > 0 => {
            (quota.saturating_mul(100) / period_us, "constraints.cpu_max")
        }
        _ => return,
    };
    if cores > 0 && percent > cores * 100 {
        let message = format!("the CPU quota is {percent} % of a core, and this machine has {cores}");
        let help = format!("100 is one core; all of this machine are {}", cores * 100);
        problems.push(RULE.problem(value(at), message).help(help));
    }
}
