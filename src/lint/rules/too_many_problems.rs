//! More than can be read.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "too-many-problems",
    level: Level::Error,
    summary: "The file has more problems than are shown",
    explain: "\
Of each file the first hundred problems are shown, errors before warnings. Mend those first: one mistake \
is often the cause of many.",
    bad: &[Example::Words("a file with 10,000 unknown values")],
    good: &[Example::Words("a file with ten")],
    check: Check::Loader,
};
