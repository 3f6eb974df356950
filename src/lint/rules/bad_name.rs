//! A name that cannot be that of a job.

use crate::lint::rule::rule;

rule! {
    "bad-name" Error "This is no name of a job or an instance"
    because "\
Names become parts of paths, of log lines and of labels in metrics. So they hold a-z, 0-9, `.`, `_` and \
`-`, begin with a letter or a digit, and have at most 64 characters. A job's name is the name of its \
file without `.toml`."
    bad r#"
instances = ["Studio A"]
[exec]
command = ["/usr/bin/true"]
"#
    good r#"
instances = ["studio-a"]
[exec]
command = ["/usr/bin/true"]
"#
}
