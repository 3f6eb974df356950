//! A program for what a key does.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "redundant-wrapper" Warning "The command goes through a program for which there is a key"
    because "\
`nice`, `ionice`, `taskset`, `timeout` and the like set something for the program behind them, out of \
sight: the report does not show it, a change needs a restart, and `timeout` keeps the signal from the \
workload. The keys of the job file do the same, are read back from the kernel, and most can be changed \
while the job runs."
    bad r#"
[exec]
command = ["nice", "-n", "10", "/usr/local/bin/encode"]
"#
    good r#"
[exec]
command = ["/usr/local/bin/encode"]

[constraints]
nice = 10
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let key = match context.program() {
        "nice" => "constraints.nice",
        "ionice" => "constraints.io_class",
        "taskset" => "constraints.cpus",
        "cpulimit" => "constraints.cpu_quota",
        "choom" => "constraints.oom_score_adj",
        "timeout" => "timeouts.run",
        "env" => "exec.env",
        "prlimit" => "exec.rlimits",
        _ => return,
    };
    let message = format!("`{}` hides from the supervisor what {key} would show", context.program());
    problems.push(RULE.problem(argument(0), message).help(format!("remove it and set {key}")));
}
