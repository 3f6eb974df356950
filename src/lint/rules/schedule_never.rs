//! A window of time with no time in it.

use crate::lint::rule::rule;

rule! {
    "schedule-never" Error "A window of a schedule can never begin"
    because "\
A window whose `to` is not after its `from` ends on the next day. Where the two are the same it could \
mean the whole day or no time at all, so neither is guessed. The whole day is what a window has that \
names no times, or goes from \"00:00\" to \"24:00\".

An empty list of `days` is no day; without the key it is every day."
    bad r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
from = "08:00"
to = "08:00"
constraints = { nice = 10 }
"#
    bad r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
days = []
constraints = { nice = 10 }
"#
    good r#"
[exec]
command = ["/usr/bin/true"]

[[schedule]]
days = ["weekend"]
constraints = { nice = 10 }
"#
}
