//! A name behind which there is no regular file.

use crate::lint::rule::rule;

rule! {
    "not-a-file" Error "This is not a regular file"
    because "\
A FIFO or a device could block the supervisor or never end, so only regular files are read, and symbolic \
links that lead to one."
    bad Words "mkfifo jobs.d/channel.toml"
    good Words "a regular file, or a symbolic link to one"
}
