//! An input that is always empty.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "input-from-stdin" Error "ffmpeg reads its input from standard input"
    because "\
Jobs have no standard input: it is /dev/null, and empty. Pipes between programs need a shell: \
`[\"/bin/sh\", \"-c\", \"producer | exec ffmpeg ...\"]`; a FIFO or a socket between two jobs is better, \
as each can then be started again by itself."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "-", "/srv/out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/run/camera.fifo", "/srv/out.mp4"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    for input in ffmpeg.inputs.iter().filter(|input| matches!(input.url, "-" | "pipe:" | "pipe:0")) {
        let message = "the standard input of a job is /dev/null: there is nothing to read";
        let help = "read from a file, a FIFO or a socket";
        problems.push(RULE.problem(argument(input.index), message).help(help));
    }
}
