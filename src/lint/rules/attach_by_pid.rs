//! A process number in a file that outlives it.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::job::Target;

rule! {
    "attach-by-pid" Warning "A job is attached by a bare process number"
    because "\
Process numbers are used again. When the process has ended, or the machine was started anew, the number \
in the file is that of some other process, or of none; the file is still there and means that one now. \
`pid_file` and `match` find the right process every time."
    bad r#"
[attach]
pid = 1234
"#
    good r#"
[attach]
pid_file = "/run/obs.pid"
"#
    good r#"
[attach]
match = { name = "obs", user = "alice" }
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    if let Some(Target::Pid(_)) = context.job.attach().map(|attach| &attach.target) {
        let message = "this number belongs to another process as soon as this one has ended";
        let help = "use `pid_file` or `match`, which find the process again";
        problems.push(RULE.problem(value("attach.pid"), message).help(help));
    }
}
