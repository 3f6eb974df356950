//! A device this machine does not have.

use crate::lint::host::Host;
use crate::lint::rule::{At, Context, KeyPath, Problem, argument, rule};
use std::path::Path;

rule! {
    "device-missing" Warning "A device is not there"
    because "\
Told with `--host` only. A camera, a capture card or a graphics card that the command names is not \
there: not plugged in, without its driver, or under another number; the links below `/dev/v4l/by-id` and \
`/dev/dri/by-path` keep their names. It is a warning, as devices come and go. The same goes for the \
disks of `io_max`, by number."
    bad r#"
[exec]
command = ["/bin/sh", "/dev/video99"]
"#
    bad r#"
[exec]
command = ["/bin/sh", "/srv/x"]

[constraints]
io_max = ["4000:4000 wbps=1048576"]
"#
    good r#"
[exec]
command = ["/bin/sh", "/dev/null"]
"#
    check Host(check)
}

fn check(context: &Context<'_>, _: &Host, problems: &mut Vec<Problem>) {
    for (n, text) in context.argv().iter().enumerate().skip(1) {
        let path = text.rsplit('=').next().unwrap_or(text);
        // ALSA and others put more behind a colon.
        let path = path.split(':').next().unwrap_or(path);
        if path.starts_with("/dev/") && !Path::new(path).exists() {
            let message = format!("there is no device {path}");
            let help = "plug it in, load its driver, or correct the path";
            problems.push(RULE.problem(argument(n), message).help(help));
        }
    }
    for (n, line) in context.job.constraints.io_max.iter().flatten().enumerate() {
        let device = line.split_whitespace().next().unwrap_or("");
        if !Path::new("/sys/dev/block").join(device).exists() {
            let at = At::Value(KeyPath::of("constraints.io_max").index(n));
            let message = format!("there is no disk with the number {device}");
            problems.push(RULE.problem(at, message).help("`lsblk -o NAME,MAJ:MIN` shows the disks"));
        }
    }
}
