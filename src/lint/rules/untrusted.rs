//! A file that others can change.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "untrusted",
    level: Level::Error,
    summary: "The file, or a folder above it, can be changed by others",
    explain: "\
Whoever can write a job file can run any program as the user of the supervisor, which is often root. So \
a file is obeyed only if it, and every folder above it, belongs to root or to that user and is writable \
by nobody else (`chown root: FILE; chmod go-w FILE`).

The supervisor refuses such a file. `validate` warns, because a checkout may have other owners than the \
machine the file is meant for; with `--host` it is an error.",
    bad: &[Example::Words("a job file of mode 0666")],
    good: &[Example::Words("a job file of mode 0644 that belongs to root, below folders that do")],
    check: Check::Loader,
};
