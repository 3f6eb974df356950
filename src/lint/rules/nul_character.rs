//! A text that ends too early for the kernel.

use crate::lint::rule::rule;

rule! {
    "nul-character" Error "A text holds a NUL character"
    because "\
Arguments, environment variables and paths end at their first NUL character for the kernel, so what \
follows could never arrive."
    bad r#"
[exec]
command = ["/usr/bin/true", "a\u0000b"]
"#
    good r#"
[exec]
command = ["/usr/bin/true", "ab"]
"#
}
