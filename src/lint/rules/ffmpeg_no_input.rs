//! A command that names only outputs.

use crate::lint::ffmpeg::Opt;
use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "ffmpeg-no-input" Error "ffmpeg is given no input"
    because "\
An input is named with `-i` in front of it; every other file name on the command line is an output. \
`ffmpeg -y in.mp4 out.mp4` has two outputs and no input: it fails, and is spared from overwriting in.mp4 \
only because it has nothing to write."
    bad r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "/srv/in.mp4", "/srv/out.mp4"]
"#
    good r#"
[exec]
command = ["ffmpeg", "-nostdin", "-y", "-i", "/srv/in.mp4", "/srv/out.mp4"]
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let Some(ffmpeg) = &context.ffmpeg else { return };
    // A filter can make pictures out of nothing, and `-/option` reads options from files.
    let other_source =
        |option: &Opt<'_>| option.name.starts_with("filter_complex") || option.name.starts_with('/');
    if ffmpeg.inputs.is_empty()
        && !ffmpeg.has(&["lavfi", "i"])
        && !ffmpeg.options.iter().any(other_source)
        && let Some(output) = ffmpeg.outputs.first()
    {
        let message = "ffmpeg takes this for an output: no input is named";
        let help = "write \"-i\" in front of the input";
        problems.push(RULE.problem(argument(output.index), message).help(help));
    }
}
