//! A profile that is not there.

use crate::lint::rule::rule;

rule! {
    "unknown-profile" Error "There is no profile of this name"
    because "\
A profile is a file in `profiles.d`, or one of those built in: `live-hls`, `low-priority`, `nvenc-h264`. \
Running the job without it would run it without the limits it was meant to have.

`validate` looks into the `profiles.d` beside the `jobs.d` of the file; for files elsewhere into the \
configured one, which `--root` changes."
    bad r#"
profiles = ["live-hsl"]
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
profiles = ["low-priority"]
[exec]
command = ["/usr/bin/true"]
"#
}
