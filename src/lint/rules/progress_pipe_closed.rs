//! Progress reports into a descriptor that is not open.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "progress-pipe-closed" Error "`-progress pipe:N` with a descriptor that is not open"
    because "\
A job starts with descriptors 0, 1 and 2 open, and no others. The first file that ffmpeg opens then gets \
number 3: with `-progress pipe:3` that was seen to be the output, and the progress text ended up in the \
middle of the MP4, with exit code 0. Leave `-progress` out, or send it to `udp://127.0.0.1:PORT`."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-progress", "pipe:3", "-i", "/srv/in.mp4", "/srv/out.mp4"]
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
    let number =
        option.value.and_then(|value| value.strip_prefix("pipe:")).and_then(|n| n.parse::<u32>().ok());
    if number.is_some_and(|number| number > 2) {
        let message = "a job has no such descriptor: the text would end up in the output file";
        let help = "remove \"-progress\", or send it to udp://127.0.0.1:PORT";
        problems.push(RULE.problem(argument(option.index + 1), message).help(help));
    }
}
