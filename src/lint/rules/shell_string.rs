//! A command line instead of a list.

use crate::lint::rule::rule;

rule! {
    "shell-string" Error "`command` is one text instead of a list"
    because "\
No shell is involved in starting a job: the program gets exactly the arguments that are listed, whatever \
characters they hold. So a file name with a blank or a quote can break nothing, and signals reach the \
program itself.

Write each argument as an entry of its own. Where you do need a shell, name it: `[\"/bin/sh\", \"-c\", \
\"exec a | b\"]`."
    bad r#"
[exec]
command = "/usr/bin/ffprobe /srv/in.mp4"
"#
    good r#"
[exec]
command = ["/usr/bin/ffprobe", "/srv/in.mp4"]
"#
}
