//! A mask that is not octal.

use crate::lint::rule::rule;

rule! {
    "bad-umask" Error "The umask is no file mode creation mask"
    because "\
A mask is an octal number of up to three digits, from \"000\" to \"777\". It is written in quotes: TOML \
reads a bare `022` as an error and a bare `22` as the decimal number, which is 026 in octal."
    bad r#"
[exec]
command = ["/usr/bin/true"]
umask = "rwx"
"#
    good r#"
[exec]
command = ["/usr/bin/true"]
umask = "027"
"#
}
