//! A file no person wrote.

use crate::lint::rule::rule;

rule! {
    "too-large" Error "The file is larger than 1 MiB"
    because "\
A job file has a few hundred bytes. One of this size is something else under a wrong name, or meant to \
exhaust the memory of the supervisor."
    bad Words "a video that was copied to jobs.d/channel.toml"
    good Words "a job file"
}
