//! A file that is to be read and written at once.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "output-is-input" Error "An output of ffmpeg is also its input"
    because "\
ffmpeg cannot change a file in place: it would empty the file before it has read it, and so refuses to \
begin. Write to another name, and rename it afterwards."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-c", "copy", "/srv/in.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-c", "copy", "/srv/out.mp4"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    for output in ffmpeg.outputs.iter().filter(|output| ffmpeg.is_plain_file(output)) {
        if ffmpeg.inputs.iter().any(|input| ffmpeg.is_plain_file(input) && input.url == output.url) {
            let message = "ffmpeg cannot change a file in place: this one is its input as well";
            problems.push(RULE.problem(argument(output.index), message).help("write to another file"));
        }
    }
}
