//! A file in another encoding.

use super::{Check, Example, Rule};
use crate::config::problem::Level;

pub static RULE: Rule = Rule {
    code: "not-utf8",
    level: Level::Error,
    summary: "The file is not UTF-8",
    explain: "\
TOML is UTF-8 by definition. A file in Latin-1 or UTF-16 would give paths and names that do not exist. \
Save it as UTF-8, in which a byte order mark and Windows line ends do no harm.",
    bad: &[Example::Words("a job file saved as UTF-16 by an editor of Windows")],
    good: &[Example::Words("the same file saved as UTF-8")],
    check: Check::Loader,
};
