//! A recording that is lost if it breaks off.

use crate::lint::ffmpeg::is_live;
use crate::lint::rule::{Context, Problem, argument, rule};
use crate::model::job::Lifecycle;

rule! {
    "fragile-mp4" Warning "A live recording into a plain MP4"
    because "\
An MP4 cannot be read before its index is written, at the very end. A recording that is killed, or whose \
machine loses power, is lost as a whole. Matroska (`.mkv`) and MPEG-TS (`.ts`) can be read up to where \
they break off; so can an MP4 in fragments, with `-movflags +frag_keyframe+empty_moov`."
    bad r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-nostats", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-c", "copy", "/srv/out.mp4"]
"#
    good r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-nostats", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-c", "copy", "/srv/out.mkv"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    if context.job.lifecycle != Lifecycle::Continuous || !ffmpeg.inputs.iter().any(|i| is_live(i.url)) {
        return;
    }
    for output in ffmpeg.outputs.iter().filter(|output| ffmpeg.is_format(output, "mp4", ".mp4")) {
        let flags = ffmpeg.value_of(output, &["movflags"]).unwrap_or("");
        if !flags.contains("frag") && !flags.contains("empty_moov") && !flags.contains("hybrid") {
            let message = "an MP4 that breaks off cannot be read at all";
            let help = "use .mkv or .ts, or add \"-movflags\", \"+frag_keyframe+empty_moov\"";
            problems.push(RULE.problem(argument(output.index), message).help(help));
        }
    }
}
