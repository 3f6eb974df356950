//! A profile for an encoder the command does not use.

use crate::lint::rule::{At, Context, KeyPath, Problem, rule};

rule! {
    "profile-encoder-unused" Warning "The profile promises an encoder that the command does not use"
    because "\
The profile `nvenc-h264` gives a job what an encoder on the graphics card needs, and less CPU than one \
in software. A command that encodes with libx264 under it is slowed down to the profile's quota, and the \
card stays idle. Use `-c:v h264_nvenc`, or another profile."
    bad r#"
profiles = ["nvenc-h264"]

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-c:v", "libx264", "/srv/out.mp4"]
"#
    good r#"
profiles = ["nvenc-h264"]

[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "-c:v", "h264_nvenc", "/srv/out.mp4"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    // What a profile is made for is in its name only.
    let promised = context.job.profiles.iter().position(|name| name == "nvenc-h264");
    let used =
        || ffmpeg.options.iter().any(|option| option.value.is_some_and(|value| value.ends_with("_nvenc")));
    if let Some(n) = promised
        && !used()
    {
        let at = At::Value(KeyPath::of("profiles").index(n));
        let message = "the profile nvenc-h264 is for the encoder h264_nvenc, which the command does not use";
        let help = "add \"-c:v\", \"h264_nvenc\" for the output, or remove the profile";
        problems.push(RULE.problem(at, message).help(help));
    }
}
