//! `%i` where there are no instances.

use crate::lint::rule::rule;

rule! {
    "instance-outside-template" Error "`%i` is used in a file without `instances`"
    because "\
`%i` stands for the entry of `instances` that a job was made from. In a file without instances it stands \
for nothing. `%%` is a single `%`; `%n` is the name of the job and can be used anywhere. Other uses of \
`%`, such as `segment_%03d.ts`, need no care."
    bad r#"
[exec]
command = ["/usr/bin/true", "%i"]
"#
    good r#"
instances = ["a"]
[exec]
command = ["/usr/bin/true", "%i"]
"#
    good r#"
[exec]
command = ["/usr/bin/true", "%%i"]
"#
}
