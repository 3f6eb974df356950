//! A file that others can change.

use crate::lint::rule::rule;

rule! {
    "untrusted" Error "The file, or a folder above it, can be changed by others"
    because "\
Whoever can write a job file can run any program as the user of the supervisor, which is often root. So \
a file is obeyed only if it, and every folder above it, belongs to root or to that user and is writable \
by nobody else (`chown root: FILE; chmod go-w FILE`).

The supervisor refuses such a file. `validate` warns, because a checkout may have other owners than the \
machine the file is meant for; with `--host` it is an error."
    bad Words "a job file of mode 0666"
    good Words "a job file of mode 0644 that belongs to root, below folders that do"
}
