//! A profile that is not there.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "unknown-profile",
    level: Level::Error,
    summary: "There is no profile of this name",
    explain: "\
A profile is a file in `profiles.d`, or one of those built in: `live-hls`, `low-priority`, `nvenc-h264`. \
Running the job without it would run it without the limits it was meant to have.

`validate` looks into the `profiles.d` beside the `jobs.d` of the file; for files elsewhere into the \
configured one, which `--root` changes.",
    bad: &[Example::Job(
        r#"
profiles = ["live-hsl"]
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    good: &[Example::Job(
        r#"
profiles = ["low-priority"]
[exec]
command = ["/usr/bin/true"]
"#,
    )],
    check: Check::Loader,
};
