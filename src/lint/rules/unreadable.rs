//! A file that cannot be read.

use crate::lint::rule::rule;

rule! {
    "unreadable" Error "The file cannot be read"
    because "\
The system refused it: the file's permissions or those of a folder above it, a symbolic link that leads \
nowhere or in a circle, or a failing disk. A job that runs keeps its last good version."
    bad Words "a file of mode 0600 that belongs to another user"
    good Words "a file of mode 0644"
}
