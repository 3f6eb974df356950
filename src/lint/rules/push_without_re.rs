//! A file that is sent as fast as it can be read.

use crate::lint::ffmpeg::is_live;
use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "push-without-re" Warning "A file is pushed to a server without `-re`"
    because "\
ffmpeg works as fast as it can. A file that is pushed to a live server arrives in bursts many times \
faster than it plays: servers cut the connection or drop most of it. `-re` in front of the input reads \
it at the speed at which it plays."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-i", "/srv/in.mp4", "-c", "copy", "-f", "flv", "rtmp://origin/live"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-re", "-i", "/srv/in.mp4", "-c", "copy", "-f", "flv", "rtmp://origin/live"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    if !ffmpeg.outputs.iter().any(|output| is_live(output.url)) {
        return;
    }
    // One input at its own speed holds back all.
    if !ffmpeg.inputs.is_empty()
        && ffmpeg.inputs.iter().all(|input| {
            ffmpeg.is_plain_file(input) && ffmpeg.option_of(input, &["re", "readrate"]).is_none()
        })
    {
        let input = ffmpeg.inputs[0].index;
        let message = "this file is sent as fast as it can be read, and not as it plays";
        problems.push(RULE.problem(argument(input), message).help("add \"-re\" in front of its \"-i\""));
    }
}
