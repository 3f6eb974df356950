//! Two ways to make several jobs of one file.

use crate::lint::rule::rule;

rule! {
    "all-in-template" Error "`all` is set in a template"
    because "\
With `all = true` each process that fits is a run of its own, which is called `<job>@<pid>`; with `instances` \
each entry is a job of its own, which is called `<job>@<entry>`. Both at once would give one name to two things.

`all` needs no `instances`: it finds however many processes there are."
    bad r#"
instances = ["a", "b"]

[attach]
match = { name = "ffmpeg", args = "/srv/%i/" }
all = true
"#
    good r#"
instances = ["a", "b"]

[attach]
match = { name = "ffmpeg", args = "/srv/%i/" }
"#
    good r#"
[attach]
match = { name = "ffmpeg", args = "/srv/" }
all = true
"#
}
