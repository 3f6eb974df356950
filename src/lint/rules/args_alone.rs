//! Words that others carry in their command line, too.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::job::{Match, Target};

rule! {
    "args-alone" Warning "A rule tells its processes by their arguments alone"
    because "\
The same words stand in the command line of the shell that started the program, of a tmux, screen, watch or ssh \
that was given the command, of an editor that has a file of that name open, and of a grep that looks for it. All of \
them fit, and one of them may have been running longest. Say with `name` or `exe` which program is meant, or rule \
the others out with `not`. An expression that begins with `^` and the program is as good: arguments begin with the \
program's own name."
    bad r#"
[attach]
match = { args = 'rtmp://live\.example/' }
"#
    bad r#"
[attach]
match = { args = 'rtmp://live\.example/', user = "alice" }
"#
    good r#"
[attach]
match = { name = "ffmpeg", args = 'rtmp://live\.example/' }
"#
    good r#"
[attach]
match = { args = '^/usr/bin/ffmpeg .*rtmp://live\.example/' }
"#
    good r#"
[attach]
match = { args = 'rtmp://live\.example/', not = { name = ["bash", "tmux", "vim"] } }
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(Target::Match(fit)) = context.job.attach().map(|attach| &attach.target) else { return };
    let Match { name, exe, args: Some(args), parent, cgroup, unit, not, .. } = &**fit else { return };
    // What says no more than whose processes they are, or where, is true of their shells, too.
    let narrowed = name.is_some() || exe.is_some() || parent.is_some() || cgroup.is_some() || unit.is_some();
    let begins = args.strip_prefix('^').is_some_and(|rest| !rest.starts_with('.'));
    if !narrowed && !begins && not.name.is_empty() && not.exe.is_empty() {
        let message =
            "shells, tmux, screen and editors that carry these words in their command line fit, too";
        let help = "add `name` or `exe`, which say the program that is meant";
        problems.push(RULE.problem(value("attach.match.args"), message).help(help));
    }
}
