//! What was found, whatever it is printed as.

use crate::config::problem::Level;
use crate::lint::diagnostic::Diagnostic;

/// Everything that was found.
#[derive(Debug, Default)]
pub struct Findings {
    /// How many files were looked at.
    pub files: usize,
    /// What is wrong with them, sorted.
    pub diagnostics: Vec<Diagnostic>,
}

impl Findings {
    /// How many findings are of this level.
    #[must_use]
    pub fn count(&self, level: Level) -> usize {
        self.diagnostics.iter().filter(|diagnostic| diagnostic.level == level).count()
    }
}
