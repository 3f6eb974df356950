//! A size in the wrong unit.

use super::{Check, Context, Example, Rule, value};
use crate::config::problem::{Level, Problem};

pub static RULE: Rule = Rule {
    code: "unlikely-memory",
    level: Level::Warning,
    summary: "A memory limit is far too small or far too large",
    explain: "\
A bare number is MiB, as it is for the `--memory-limit` of the command line. `memory_limit = 4294967296` \
was meant as bytes and is 4 PiB, which limits nothing; `\"512KB\"` is too little for any program to \
start. Limits below 4 MiB and above 4 TiB are told.",
    bad: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = 4294967296 # meant as bytes
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "2MB"
"#,
        ),
    ],
    good: &[
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "4GiB"
"#,
        ),
        Example::Job(
            r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = 4096
"#,
        ),
    ],
    check: Check::Job(check),
};

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let constraints = &context.job.constraints;
    for (size, at) in [
        (constraints.memory_limit, "constraints.memory_limit"),
        (constraints.memory_high, "constraints.memory_high"),
    ] {
        let Some(size) = size else { continue };
        let (what, help) = if size.0 < 4 << 20 {
            ("hardly any program starts with that", "a bare number is MiB; units are KiB, MiB, GiB")
        } else if size.0 > 4 << 40 {
            ("that limits nothing", "a bare number is MiB, not bytes; write a unit, such as \"4GiB\"")
        } else {
            continue;
        };
        problems.push(RULE.problem(value(at), format!("{at} is {size}: {what}")).help(help));
    }
}
