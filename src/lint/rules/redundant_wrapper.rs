//! A program for what a key does.

use super::{Check, Context, Example, Rule, argument};
use crate::config::problem::{Level, Problem};

pub static RULE: Rule = Rule {
    code: "redundant-wrapper",
    level: Level::Warning,
    summary: "The command goes through a program for which there is a key",
    explain: "\
`nice`, `ionice`, `taskset`, `timeout` and the like set something for the program behind them, out of \
sight: the report does not show it, a change needs a restart, and `timeout` keeps the signal from the \
workload. The keys of the job file do the same, are read back from the kernel, and most can be changed \
while the job runs.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["nice", "-n", "10", "/usr/local/bin/encode"]
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["/usr/local/bin/encode"]

[constraints]
nice = 10
"#,
    )],
    check: Check::Job(check),
};

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
