//! Pictures and sound in the log.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "media-into-log" Warning "ffmpeg writes its output to standard output"
    because "\
Standard output of a job is its log, or the journal. Media written to it fills the disk with what nobody \
can read."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-f", "mpegts", "-"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-f", "mpegts", "/srv/out.ts"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    let text =
        ["null", "md5", "framemd5", "crc", "framecrc", "hash", "framehash", "streamhash", "ffmetadata"];
    for output in
        ffmpeg.outputs.iter().filter(|output| matches!(output.url, "-" | "pipe:" | "pipe:1" | "pipe:2"))
    {
        let format = ffmpeg.value_of(output, &["f"]).unwrap_or("");
        if !text.contains(&format) {
            let message = "this writes pictures or sound into the log of the job";
            let help = "write to a file or a server";
            problems.push(RULE.problem(argument(output.index), message).help(help));
        }
    }
}
