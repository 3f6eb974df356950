//! Progress reports that nobody reads.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "progress-into-log" Warning "`-progress` writes into the log of the job"
    because "\
`-progress pipe:1` and `-progress -` write a block of lines twice a second to standard output, which for \
a job is its log: some 35 MB a day that nobody reads, between the lines that matter. Leave `-progress` \
out, or send it to a program that listens: `udp://127.0.0.1:PORT` never blocks and needs no reader."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-progress", "pipe:1", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-progress", "udp://127.0.0.1:9000", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    let Some(option) = ffmpeg.option(&["progress"]) else { return };
    if matches!(option.value, Some("-" | "pipe:" | "pipe:0" | "pipe:1" | "pipe:2")) {
        let message = "nobody reads this: it goes into the log, twice a second";
        let help = "remove \"-progress\", or send it to udp://127.0.0.1:PORT, which never blocks";
        problems.push(RULE.problem(argument(option.index + 1), message).help(help));
    }
}
