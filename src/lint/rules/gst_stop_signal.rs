//! A signal that gst-launch does not end its streams for.

use crate::lint::rule::{Context, Problem, rule, value};

rule! {
    "gst-stop-signal" Warning "gst-launch is stopped with another signal than SIGINT"
    because "\
gst-launch ends its streams (with `-e`) when it gets SIGINT, as from Ctrl-C; for it this is the default of \
`stop.signal`. SIGTERM ends the program itself, and the end of the stream is never sent."
    bad r#"
[exec]
command = ["gst-launch-1.0", "-e", "filesrc", "location=/srv/in.ogg", "!", "fakesink"]

[stop]
signal = "SIGTERM"
"#
    good r#"
[exec]
command = ["gst-launch-1.0", "-e", "filesrc", "location=/srv/in.ogg", "!", "fakesink"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let signal = context.job.stop.signal;
    if context.is_gst_launch() && signal.number() != libc::SIGINT {
        let message = format!("{signal} ends gst-launch before it can finish its output; SIGINT does not");
        let help = "remove it: SIGINT is the default for gst-launch; and give gst-launch \"-e\"";
        problems.push(RULE.problem(value("stop.signal"), message).help(help));
    }
}
