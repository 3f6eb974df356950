//! A stop that ffmpeg cannot act on.

use super::{Check, Context, Example, Rule, value};
use crate::config::problem::{Level, Problem};

pub static RULE: Rule = Rule {
    code: "abrupt-stop-signal",
    level: Level::Warning,
    summary: "The stop signal ends ffmpeg before it can finish its output",
    explain: "\
On SIGTERM and SIGINT ffmpeg writes what is missing, such as the index at the end of an MP4 or the last \
entry of a playlist, and ends. Any other signal ends it on the spot, and the output may be unreadable.",
    bad: &[Example::Job(
        r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]

[stop]
signal = "SIGKILL"
"#,
    )],
    good: &[Example::Job(
        r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]

[stop]
signal = "SIGINT"
"#,
    )],
    check: Check::Job(check),
};

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let signal = context.job.stop.signal;
    if context.ffmpeg.is_some() && ![libc::SIGTERM, libc::SIGINT].contains(&signal.number()) {
        let message = format!("{signal} ends ffmpeg before it can finish its output");
        let help = "use \"SIGTERM\", the default, or \"SIGINT\"";
        problems.push(RULE.problem(value("stop.signal"), message).help(help));
    }
}
