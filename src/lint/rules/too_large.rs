//! A file no person wrote.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "too-large",
    level: Level::Error,
    summary: "The file is larger than 1 MiB",
    explain: "\
A job file has a few hundred bytes. One of this size is something else under a wrong name, or meant to \
exhaust the memory of the supervisor.",
    bad: &[Example::Words("a video that was copied to jobs.d/channel.toml")],
    good: &[Example::Words("a job file")],
    check: Check::Loader,
};
