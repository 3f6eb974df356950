//! A name behind which there is no regular file.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "not-a-file",
    level: Level::Error,
    summary: "This is not a regular file",
    explain: "\
A FIFO or a device could block the supervisor or never end, so only regular files are read, and symbolic \
links that lead to one.",
    bad: &[Example::Words("mkfifo jobs.d/channel.toml")],
    good: &[Example::Words("a regular file, or a symbolic link to one")],
    check: Check::Loader,
};
