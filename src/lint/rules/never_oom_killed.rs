//! A limit whose breach cannot be punished.

use crate::lint::rule::{Context, Problem, rule, value};

rule! {
    "never-oom-killed" Warning "`oom_score_adj = -1000` together with a memory limit"
    because "\
With an OOM score of -1000 the kernel never kills the process for memory. When such a workload reaches \
its own `memory_limit`, there is nobody left to kill: it hangs, neither dead nor alive, in the kernel's \
allocator. -999 protects it nearly as well and leaves a way out."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
oom_score_adj = -1000
memory_limit = "1GiB"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
oom_score_adj = -900
memory_limit = "1GiB"
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let constraints = &context.job.constraints;
    if constraints.oom_score_adj == Some(-1000) && constraints.memory_limit.is_some() {
        let message = "at its memory limit this workload hangs, for the kernel may not kill it";
        let help = "use -999, or leave out memory_limit";
        problems.push(RULE.problem(value("constraints.oom_score_adj"), message).help(help));
    }
}
