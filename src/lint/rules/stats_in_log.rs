//! A status line that nobody sees.

use crate::lint::rule::{Context, Problem, argument, rule};
use crate::model::job::{Lifecycle, Output};

rule! {
    "stats-in-log" Warning "The status line of a live job goes into its log"
    because "\
ffmpeg writes a status line (`frame= fps= ... speed=`) twice a second, meant for a terminal, where each \
replaces the one before. In the log of a job that runs for months they are one endless line, some 15 MB \
a day. `-nostats` leaves it out; so does a log level below `info`."
    bad r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-c", "copy", "-f", "hls", "-hls_flags", "append_list+omit_endlist+delete_segments", "/srv/live.m3u8"]
"#
    good r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-nostats", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-c", "copy", "-f", "hls", "-hls_flags", "append_list+omit_endlist+delete_segments", "/srv/live.m3u8"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    let level = ffmpeg.option(&["loglevel", "v"]).and_then(|option| option.value);
    let level = level.and_then(|level| level.rsplit('+').next()).unwrap_or("info");
    let shown = match ffmpeg.option(&["stats", "nostats"]) {
        Some(option) => option.name == "stats",
        None => matches!(level, "info" | "verbose" | "debug" | "trace" | "32" | "40" | "48" | "56"),
    };
    let logged = context.job.exec().is_some_and(|exec| exec.output != Output::Null);
    if shown && logged && context.job.lifecycle == Lifecycle::Continuous && !ffmpeg.inputs.is_empty() {
        let message = "ffmpeg writes its status line into the log twice a second, for as long as it runs";
        let help = "add \"-nostats\" right after the program";
        problems.push(RULE.problem(argument(0), message).help(help));
    }
}
