//! An input that may keep silent for ever.

use crate::lint::ffmpeg::{is_network, scheme};
use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "ffmpeg-input-timeout" Warning "A network input has no time-out"
    because "\
By default ffmpeg waits for data without end. When the sender is unplugged, or a firewall forgets the \
connection, ffmpeg hangs: alive, using no CPU, sending nothing, and deaf to the first SIGTERM. No \
restart helps, since nothing ends.

With a time-out it ends, and is started again: `-rw_timeout 10000000` (microseconds) in front of the \
input for RTMP, HTTP and TCP; `-timeout` (microseconds; `-stimeout` before ffmpeg 5) for RTSP; \
`timeout=` in the URL of UDP and SRT."
    bad r#"
lifecycle = "continuous"

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-nostats", "-i", "rtmp://origin/live", "-c", "copy", "-f", "hls", "-hls_flags", "append_list+omit_endlist+delete_segments", "/srv/live.m3u8"]
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
    for input in ffmpeg.inputs.iter().filter(|input| is_network(input.url)) {
        let scheme = scheme(input.url);
        // For RTMP `-timeout` is how long to listen for a caller.
        let (names, help): (&[&str], _) = match scheme.as_str() {
            "rtsp" | "rtsps" => (
                &["timeout", "stimeout", "rw_timeout"],
                "add \"-timeout\", \"10000000\" (microseconds) in front of its \"-i\"",
            ),
            "srt" | "udp" | "rtp" | "rist" => (
                &["timeout", "rw_timeout"],
                "add \"-timeout\", \"10000000\" (microseconds) in front of its \"-i\", or timeout= to the URL",
            ),
            scheme if scheme.starts_with("rtmp") => {
                (&["rw_timeout"], "add \"-rw_timeout\", \"10000000\" (microseconds) in front of its \"-i\"")
            }
            _ => (
                &["rw_timeout", "timeout"],
                "add \"-rw_timeout\", \"10000000\" (microseconds) in front of its \"-i\"",
            ),
        };
        let in_url = input.url.split(['?', '&']).skip(1).any(|parameter| {
            ["timeout=", "rw_timeout=", "stimeout="].iter().any(|name| parameter.starts_with(name))
        });
        if ffmpeg.option_of(input, names).is_none() && !in_url {
            let message = "if the sender falls silent, ffmpeg waits for ever";
            problems.push(RULE.problem(argument(input.index), message).help(help));
        }
    }
}
