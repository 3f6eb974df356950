//! A job with an end whose input has none.

use crate::lint::ffmpeg::is_live;
use crate::lint::rule::{Context, Problem, argument, rule};
use crate::model::job::Lifecycle;

rule! {
    "oneshot-live-input" Warning "A oneshot job reads a live input"
    because "\
A live stream ends when the sender goes away, for a moment or for good; ffmpeg then ends with exit code \
0. For a `oneshot` that is completion: the job is done, and does not come back when the stream does. Use \
`lifecycle = \"continuous\"`. A recording of a certain length is a oneshot: give it `-t`, or \
`timeouts.run`."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-c", "copy", "/srv/out.mkv"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-t", "3600", "-c", "copy", "/srv/out.mkv"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    let job = context.job;
    if job.lifecycle != Lifecycle::Oneshot || job.timeouts.run.is_some() || ffmpeg.has(&["t", "to"]) {
        return;
    }
    if let Some(input) = ffmpeg.inputs.iter().find(|input| is_live(input.url)) {
        let message = "when this stream breaks off, the job counts as completed and does not come back";
        let help = "set lifecycle = \"continuous\"; for a recording of a certain length add \"-t\"";
        problems.push(RULE.problem(argument(input.index), message).help(help));
    }
}
