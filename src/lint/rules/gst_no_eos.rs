//! A pipeline that is cut off instead of ended.

use crate::lint::rule::{Context, Problem, argument, rule};

rule! {
    "gst-no-eos" Warning "gst-launch is not told to end its streams"
    because "\
With `-e`, gst-launch answers SIGINT by sending the end of the stream through the pipeline, so that \
muxers write their index and files can be read. Without it the pipeline is torn down on the spot."
    bad r#"
[exec]
command = ["gst-launch-1.0", "filesrc", "location=/srv/in.ogg", "!", "fakesink"]

[stop]
signal = "SIGINT"
"#
    good r#"
[exec]
command = ["gst-launch-1.0", "-e", "filesrc", "location=/srv/in.ogg", "!", "fakesink"]

[stop]
signal = "SIGINT"
"#
    check Job(check)
}

fn check(context: &Context<'_>, problems: &mut Vec<Problem>) {
    let has_flag = || context.argv().iter().any(|text| text == "-e" || text == "--eos-on-shutdown");
    if context.is_gst_launch() && !has_flag() {
        let message =
            "without -e the pipeline is cut off when it is stopped, and its files may be unreadable";
        problems.push(RULE.problem(argument(0), message).help("add \"-e\" right after the program"));
    }
}
