//! A path that depends on where it is read.

use crate::lint::rule::rule;

rule! {
    "relative-path" Error "A path does not begin at /"
    because "\
A supervisor has no folder of its own that a path could be relative to: started by systemd it runs in \
`/`, started by hand wherever you are. The same file has to mean the same thing in both.

A program may be given by its bare name; it is then looked for on the PATH."
    bad r#"
[exec]
command = ["./encode"]
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]
working_dir = "media"
"#
    good r#"
[exec]
command = ["/usr/local/bin/encode"]
"#
    good r#"
[exec]
command = ["/usr/bin/true"]
working_dir = "/srv/media"
"#
}
