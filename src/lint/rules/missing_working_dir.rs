//! A relative file name, relative to nothing.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "missing-working-dir" Warning "An argument is a relative path, but there is no working_dir"
    because "\
A job without `working_dir` starts in `/`, so `out.mp4` is `/out.mp4`: most often a place where the \
program may not write, or where nobody looks. Give `working_dir`, or write the path from `/` on."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "out.mp4"]
working_dir = "/srv"
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    check Job(check)
}

/// Endings that make a word a file name.
const ENDINGS: &[&str] = &[
    ".aac", ".avi", ".conf", ".flac", ".flv", ".json", ".jpg", ".m3u8", ".m4a", ".m4s", ".mkv", ".mov",
    ".mp3", ".mp4", ".mpd", ".ogg", ".opus", ".png", ".py", ".sdp", ".sh", ".srt", ".ts", ".txt", ".wav",
    ".webm", ".yaml", ".yml",
];

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(exec) = context.job.exec().filter(|exec| exec.working_dir.is_none()) else { return };
    let found = match &context.ffmpeg {
        Some(ffmpeg) => {
            let files = ffmpeg.inputs.iter().chain(&ffmpeg.outputs);
            let names = ["hls_segment_filename", "hls_fmp4_init_filename", "passlogfile"];
            // The name of the first segment of fMP4 is relative to the playlist, by design.
            let option = ffmpeg.option(&names[..1]).and_then(|o| Some((o.index + 1, o.value?)));
            files
                .filter(|file| ffmpeg.is_plain_file(file))
                .map(|file| (file.index, file.url.strip_prefix("file:").unwrap_or(file.url)))
                .chain(option)
                .filter(|(_, path)| !path.starts_with('/') && is_path(path))
                .min()
        }
        None => exec.command.iter().enumerate().skip(1).find_map(|(n, text)| {
            let text = text.strip_prefix("location=").unwrap_or(text);
            let plain = !text.starts_with(['-', '/', '~']) && !text.contains(['=', ' ', ':', '$']);
            (plain && is_path(text)).then_some((n, text))
        }),
    };
    if let Some((n, path)) = found {
        let message = format!("{path:?} is relative, and without `working_dir` that is to /");
        let help = "set exec.working_dir, or write the path from / on";
        problems.push(RULE.problem(argument(n), message).help(help));
    }
}

fn is_path(text: &str) -> bool {
    let small = text.to_ascii_lowercase();
    text.starts_with("./") || text.starts_with("../") || ENDINGS.iter().any(|ending| small.ends_with(ending))
}
