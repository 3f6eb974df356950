//! A filter for what is not decoded.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "filter-with-copy" Error "A filter together with `-c copy`"
    because "\
`copy` hands packets on as they are, without decoding them; a filter works on decoded pictures or \
samples. ffmpeg refuses the two together. Leave out the filter, or name an encoder."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-c:v", "copy", "-vf", "scale=1280:-2", "/srv/out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-c:v", "libx264", "-vf", "scale=1280:-2", "/srv/out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-c", "copy", "-c:v:0", "libx264", "-vf", "scale=1280:-2", "/srv/out.mp4"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    let kinds: [(&[&str], &[&str], &str); 2] = [
        (&["c", "codec", "c:v", "codec:v", "vcodec"], &["vf", "filter:v"], "vn"),
        (&["c", "codec", "c:a", "codec:a", "acodec"], &["af", "filter:a"], "an"),
    ];
    for output in &ffmpeg.outputs {
        for (codecs, filters, off) in kinds {
            // `-c:v:0 libx264` behind `-c copy` encodes that stream.
            let single = |name: &str| name.matches(':').count() > 1;
            let copies = ffmpeg.value_of(output, codecs) == Some("copy")
                && !ffmpeg.of(output).iter().any(|option| single(option.name));
            if let Some(filter) = ffmpeg.option_of(output, filters)
                && copies
                && ffmpeg.option_of(output, &[off]).is_none()
            {
                let message = "a stream that is copied is not decoded, so it cannot be filtered";
                let help = "remove the filter, or name an encoder instead of copy";
                problems.push(RULE.problem(argument(filter.index), message).help(help));
            }
        }
    }
}
