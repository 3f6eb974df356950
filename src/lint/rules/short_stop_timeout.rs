//! Too little time to finish a file.

use crate::lint::rule::{Context, Problem, rule, value};
use crate::model::units::format_duration;
use std::time::Duration;

rule! {
    "short-stop-timeout" Warning "`stop.timeout` leaves ffmpeg no time to finish its output"
    because "\
After the stop signal ffmpeg drains its encoders and writes the end of its output; for an MP4 that is \
the index, without which the file cannot be read. What has not ended after `stop.timeout` is killed. \
Under a second is too little on a busy machine; the default is ten."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]

[stop]
timeout = "500ms"
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]

[stop]
timeout = "10s"
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let timeout = context.job.stop.timeout;
    if context.ffmpeg.is_some() && timeout < Duration::from_secs(1) {
        let message = format!("ffmpeg is killed {} after the stop signal", format_duration(timeout));
        let help = "give it a second or more to write the end of its output; 10s is the default";
        problems.push(RULE.problem(value("stop.timeout"), message).help(help));
    }
}
