//! A live playlist that does not survive a restart.

use crate::lint::rule::{Context, Problem, argument, rule};
use crate::model::job::Lifecycle;

rule! {
    "live-hls-restart" Warning "A live HLS output has no flags for restarts"
    because "\
When ffmpeg ends, the HLS muxer writes the end mark into the playlist, and players stop. When it starts \
again, it begins a new playlist at sequence number 0, and players that are still there are lost. And \
segments that have left the playlist stay on the disk until it is full.

- `omit_endlist`: no end mark.
- `append_list`: go on with the playlist that is there, its numbers included.
- `delete_segments`: remove segments that have left the playlist. Leave it out only where the segments \
are an archive, with `-hls_list_size 0` or a playlist type."
    bad r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-nostats", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-c", "copy", "-f", "hls", "/srv/live.m3u8"]
"#
    good r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-nostats", "-rw_timeout", "10000000", "-i", "rtmp://origin/live", "-c", "copy", "-f", "hls", "-hls_flags", "append_list+omit_endlist+delete_segments", "/srv/live.m3u8"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    if context.job.lifecycle != Lifecycle::Continuous {
        return;
    }
    for output in ffmpeg.outputs.iter().filter(|output| ffmpeg.is_format(output, "hls", ".m3u8")) {
        let given = ffmpeg.option_of(output, &["hls_flags"]);
        let flags = given.and_then(|option| option.value).unwrap_or("");
        let archive = ffmpeg.value_of(output, &["hls_list_size"]) == Some("0")
            || ffmpeg.option_of(output, &["hls_playlist_type"]).is_some();
        let missing: Vec<&str> = ["append_list", "omit_endlist", "delete_segments"]
            .into_iter()
            .filter(|flag| !flags.split('+').any(|given| given == *flag))
            .filter(|flag| !(archive && *flag == "delete_segments"))
            .collect();
        if !missing.is_empty() {
            let index = given.filter(|option| option.value.is_some()).map_or(output.index, |o| o.index + 1);
            let message = format!("this live playlist lacks {}", missing.join(", "));
            let help = "use \"-hls_flags\", \"append_list+omit_endlist+delete_segments\": without, a restart ends \
                        the stream for its viewers, or the disk fills";
            problems.push(RULE.problem(argument(index), message).help(help));
        }
    }
}
