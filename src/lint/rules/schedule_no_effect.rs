//! A window in which nothing is different.

use crate::lint::rule::{At, Context, KeyPath, Problem, rule};

rule! {
    "schedule-no-effect" Warning "A window of a schedule changes nothing"
    because "\
What is in force in a window is what the job asks for, with the window's `profiles` and `constraints` \
laid over it. Here that comes to the same as outside: the window has none of its own, or repeats what \
the job says anyway.

A window cannot take a constraint away, only give it another value: where there is to be no limit on \
CPU time, for example, write `cpu_quota = 0`."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "22:00"
to = "06:00"
"#
    bad r#"
profiles = ["low-priority"]
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "22:00"
to = "06:00"
constraints = { nice = 10 }
"#
    good r#"
profiles = ["low-priority"]
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "22:00"
to = "06:00"
constraints = { nice = 0 }
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    for (n, window) in context.job.schedule.iter().enumerate() {
        if window.constraints == context.job.constraints {
            let message = format!("{window}: the same is in force in this window as outside of it");
            let help = "give it `constraints` or `profiles` that differ from the job's, or remove it";
            problems.push(RULE.problem(At::Value(KeyPath::of("schedule").index(n)), message).help(help));
        }
    }
}
