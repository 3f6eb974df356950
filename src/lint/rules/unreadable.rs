//! A file that cannot be read.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "unreadable",
    level: Level::Error,
    summary: "The file cannot be read",
    explain: "\
The system refused it: the file's permissions or those of a folder above it, a symbolic link that leads \
nowhere or in a circle, or a failing disk. A job that runs keeps its last good version.",
    bad: &[Example::Words("a file of mode 0600 that belongs to another user")],
    good: &[Example::Words("a file of mode 0644")],
    check: Check::Loader,
};
