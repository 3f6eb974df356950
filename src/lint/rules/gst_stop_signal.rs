//! A signal that gst-launch does not end its streams for.

use super::{Check, Context, Example, Rule, argument, value};
use crate::config::problem::{Level, Problem};

pub static RULE: Rule = Rule {
    code: "gst-stop-signal",
    level: Level::Warning,
    summary: "gst-launch is stopped with another signal than SIGINT",
    explain: "\
gst-launch ends its streams (with `-e`) when it gets SIGINT, as from Ctrl-C. SIGTERM, the default of \
`stop.signal`, ends the program itself, and the end of the stream is never sent.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["gst-launch-1.0", "-e", "filesrc", "location=/srv/in.ogg", "!", "fakesink"]
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["gst-launch-1.0", "-e", "filesrc", "location=/srv/in.ogg", "!", "fakesink"]

[stop]
signal = "SIGINT"
"#,
    )],
    check: Check::Job(check),
};

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let signal = context.job.stop.signal;
    if context.is_gst_launch() && signal.number() != libc::SIGINT {
        let message = format!("{signal} ends gst-launch before it can finish its output; SIGINT does not");
        let help = "set signal = \"SIGINT\" in [stop], and give gst-launch \"-e\"";
        let written = context.file.stop.as_ref().is_some_and(|stop| stop.signal.is_some());
        let at = if written { value("stop.signal") } else { argument(0) };
        problems.push(RULE.problem(at, message).help(help));
    }
}
