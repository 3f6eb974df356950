//! A program that listens to the keyboard.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "ffmpeg-stdin" Warning "ffmpeg is not told to leave standard input alone"
    because "\
ffmpeg reads commands from its standard input: `q` ends it, `c` sends commands to filters. Under the \
supervisor that input is /dev/null and does no harm. But a command is copied: into a shell script with a \
`while read` loop, where ffmpeg eats the rest of the list; into a background job, where it is stopped \
for reading from the terminal. `-nostdin` makes it the same everywhere."
    bad r#"
[exec]
command = ["ffmpeg", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    if !ffmpeg.has(&["nostdin"]) && !ffmpeg.inputs.is_empty() {
        let message = "ffmpeg listens to its standard input for commands";
        let help = "add \"-nostdin\" right after the program: it then behaves the same wherever it runs";
        problems.push(RULE.problem(argument(0), message).help(help));
    }
}
