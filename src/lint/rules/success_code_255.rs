//! ffmpeg's exit code for too many things.

use crate::lint::rule::{Context, Problem, rule, value};

rule! {
    "success-code-255" Warning "255 counts as success for ffmpeg"
    because "\
ffmpeg ends with 255 after a signal, and so 255 is put on the list of successes. But it also ends with \
255 when an encoder cannot be opened, such as NVENC without a driver: then nothing was encoded, and the \
job would be reported as completed.

It is not needed: a 255 that follows a stop we asked for is taken as a good end anyway."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]

[restart]
success_exit_codes = [0, 255]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]

[restart]
success_exit_codes = [0]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    if context.ffmpeg.is_some() && context.job.restart.success_exit_codes.contains(&255) {
        let message = "ffmpeg also ends with 255 when an encoder cannot be opened";
        let help = "remove 255: after a stop that we asked for it is taken as success anyway";
        problems.push(RULE.problem(value("restart.success_exit_codes"), message).help(help));
    }
}
