//! A recording that is lost if it breaks off.

use super::{Check, Context, Example, Rule, argument};
use crate::config::problem::{Level, Problem};
use crate::lint::ffmpeg::is_live;
use crate::model::job::Lifecycle;

pub static RULE: Rule = Rule {
    code: "fragile-mp4",
    level: Level::Warning,
    summary: "A live recording into a plain MP4",
    explain: "\
An MP4 cannot be read before its index is written, at the very end. A recording that is killed, or whose \
machine loses power, is lost as a whole. Matroska (`.mkv`) and MPEG-TS (`.ts`) can be read up to where \
they break off; so can an MP4 in fragments, with `-movflags +frag_keyframe+empty_moov`.",
    bad: &[Example::Job(
        r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-nostats", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-c", "copy", "/srv/out.mp4"]
"#,
    )],
    good: &[Example::Job(
        r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-nostats", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-c", "copy", "/srv/out.mkv"]
"#,
    )],
    check: Check::Job(check),
};

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
