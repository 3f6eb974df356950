//! A question nobody will answer.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "ffmpeg-overwrite" Warning "ffmpeg is told neither to overwrite nor not to"
    because "\
When the output exists, ffmpeg asks whether to overwrite it. Nobody is there to answer: it ends without \
having done anything, with exit code 1 up to ffmpeg 5 and with exit code 0, as if all were well, in \
newer ones. A job that is started again finds its own output of the last time.

`-y` overwrites; `-n` does not, and ends."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    let mut files = ffmpeg.outputs.iter().filter(|output| ffmpeg.is_plain_file(output));
    let Some(output) = files.next() else { return };
    if !ffmpeg.has(&["y", "n"]) {
        let message = "if this file exists, ffmpeg asks whether to overwrite it, and nobody answers";
        let help = "add \"-y\" to overwrite or \"-n\" to keep it, right after the program";
        problems.push(RULE.problem(argument(output.index), message).help(help));
    }
}
