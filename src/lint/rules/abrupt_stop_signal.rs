//! A stop that ffmpeg cannot act on.

use crate::lint::rule::{Context, Problem, rule, value};

rule! {
    "abrupt-stop-signal" Warning "The stop signal ends ffmpeg before it can finish its output"
    because "\
On SIGTERM and SIGINT ffmpeg writes what is missing, such as the index at the end of an MP4 or the last \
entry of a playlist, and ends. Any other signal ends it on the spot, and the output may be unreadable."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]

[stop]
signal = "SIGKILL"
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]

[stop]
signal = "SIGINT"
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let signal = context.job.stop.signal;
    if context.ffmpeg.is_some() && ![libc::SIGTERM, libc::SIGINT].contains(&signal.number()) {
        let message = format!("{signal} ends ffmpeg before it can finish its output");
        let help = "use \"SIGTERM\", the default, or \"SIGINT\"";
        problems.push(RULE.problem(value("stop.signal"), message).help(help));
    }
}
