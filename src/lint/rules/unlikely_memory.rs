//! A size in the wrong unit.

use crate::lint::rule::{Context, Problem, rule, value};

rule! {
    "unlikely-memory" Warning "A memory limit is far too small or far too large"
    because "\
A bare number is MiB, as it is for the `--memory-limit` of the command line. `memory_limit = 4294967296` \
was meant as bytes and is 4 PiB, which limits nothing; `\"512KB\"` is too little for any program to \
start. Limits below 4 MiB and above 4 TiB are told."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = 4294967296 # meant as bytes
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "2MB"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = "4GiB"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[constraints]
memory_limit = 4096
"#
    check Job(check)
}

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
