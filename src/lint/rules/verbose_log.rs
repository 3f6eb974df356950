//! A log that fills the disk.

use crate::lint::rule::{Context, Problem, argument, rule};
use crate::model::job::Output;

rule! {
    "verbose-log" Warning "ffmpeg logs more than anybody reads"
    because "\
At the levels `verbose`, `debug` and `trace` ffmpeg writes lines for each packet or frame: gigabytes a \
day, which push all else out of the job's log. They are for finding a fault, on a terminal. \
For jobs `warning` or `info` are of use."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-loglevel", "debug", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-loglevel", "warning", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    let Some(option) = ffmpeg.option(&["loglevel", "v"]) else { return };
    // As in "repeat+level+debug".
    let level = option.value.and_then(|level| level.rsplit('+').next()).unwrap_or("");
    if context.job.exec().is_some_and(|exec| exec.output != Output::Null)
        && matches!(level, "verbose" | "debug" | "trace" | "40" | "48" | "56")
    {
        let message = format!("at the level {level} ffmpeg logs every packet: gigabytes a day");
        let help = "use \"warning\" or \"info\"";
        problems.push(RULE.problem(argument(option.index + 1), message).help(help));
    }
}
