//! A file of variables that cannot be read.

use crate::lint::host::Host;
use crate::lint::rule::{At, Context, KeyPath, Problem, rule};
use std::io::ErrorKind;

rule! {
    "env-file-unreadable" Error "A file of `env_files` cannot be read"
    because "\
Told with `--host` only. The files are read at each start; where one is missing, the job does not start. \
A `-` in front of the path (`\"-/etc/ffrtmp/extra.env\"`) allows the file to be missing."
    bad r#"
[exec]
command = ["/bin/sh", "/srv/x"]
env_files = ["/nonexistent/x.env"]
"#
    good r#"
[exec]
command = ["/bin/sh", "/srv/x"]
env_files = ["-/nonexistent/x.env"]
"#
    check Host(check)
}

fn check(context: &Context<'_>, _: &Host, problems: &mut Vec<Problem>) {
    let Some(exec) = context.job.exec() else { return };
    for (n, file) in exec.env_files.iter().enumerate() {
        let path = file.to_string_lossy();
        let (path, optional) = path.strip_prefix('-').map_or((path.as_ref(), false), |path| (path, true));
        let why = match std::fs::metadata(path) {
            Ok(meta) if !meta.is_file() => "it is no regular file".to_owned(),
            Err(error) if optional && error.kind() == ErrorKind::NotFound => continue,
            // A regular file: opening it cannot block.
            Ok(_) => match std::fs::File::open(path) {
                Ok(_) => continue,
                Err(error) => error.to_string(),
            },
            Err(error) => error.to_string(),
        };
        let at = At::Value(KeyPath::of("exec.env_files").index(n));
        let help = "create it, or write \"-\" in front of the path if it may be missing";
        problems.push(RULE.problem(at, format!("{path}: {why}")).help(help));
    }
}
