//! Success that counts as failure.

use crate::lint::rule::{Context, Problem, rule, value};

rule! {
    "zero-not-success" Warning "`success_exit_codes` leaves out 0"
    because "\
The list replaces the default, which is `[0]`; it is not added to it. Without 0 in it, a job that ends \
as it should is reported as failed, and one with the policy `on-failure` starts again."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[restart]
success_exit_codes = [3]
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[restart]
success_exit_codes = [0, 3]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    if !context.job.restart.success_exit_codes.contains(&0) {
        let help = "the list replaces the default [0]: add 0 to it";
        problems.push(
            RULE.problem(value("restart.success_exit_codes"), "exit code 0 is not among the successes")
                .help(help),
        );
    }
}
