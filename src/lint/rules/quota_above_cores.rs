//! More CPU time than there is.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::constraints::CpuLimit;

rule! {
    "quota-above-cores" Warning "The CPU quota is larger than this machine"
    because "\
`cpu_quota = 100` is one core. A quota of more than all cores limits nothing, so either a percentage of \
the whole machine was meant, or the job was written for a larger one. The kernel accepts it, and so do \
we."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_quota = 1600 # on a machine with 4 cores
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
cpu_quota = 200
"#
    check Job(check)
}

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
