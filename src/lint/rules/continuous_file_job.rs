//! A job without an end whose work has one.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::job::Lifecycle;

rule! {
    "continuous-file-job" Warning "A continuous job turns files into files"
    because "\
A transcode of a file has an end, and reaching it is success. As a `continuous` job it is reported as \
failed when it is done, and started again, over its own output, for ever. Use `lifecycle = \"oneshot\"`, \
the default. A file that is to be played in a loop has `-stream_loop -1` in front of its `-i`."
    bad r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-nostats", "/srv/out.mkv"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mkv"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    if context.job.lifecycle != Lifecycle::Continuous || ffmpeg.inputs.is_empty() {
        return;
    }
    let endless = |file| matches!(ffmpeg.value_of(file, &["stream_loop"]), Some("-1"));
    let inputs = ffmpeg.inputs.iter().all(|file| ffmpeg.is_plain_file(file) && !endless(file));
    let outputs = ffmpeg.outputs.iter().all(|file| ffmpeg.is_plain_file(file));
    if inputs && outputs {
        let message = "turning files into files has an end, and a continuous job must not end";
        let help = "set lifecycle = \"oneshot\", or add \"-stream_loop\", \"-1\" in front of \"-i\"";
        problems.push(RULE.problem(value("lifecycle"), message).help(help));
    }
}
