//! Printing what was found: for people and for machines.

mod findings;
pub mod github;
pub mod human;
pub mod json;
pub mod sarif;

use std::io::{self, Write};

pub use findings::Findings;

/// How findings are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Format {
    /// For people: the source line, what is wrong with it, what to do.
    #[default]
    Human,
    /// One document.
    Json,
    /// SARIF 2.1.0, which code scanning services read.
    Sarif,
    /// Workflow commands, which GitHub shows beside the lines of a change.
    Github,
}

impl Findings {
    /// Prints them.
    ///
    /// # Errors
    /// Those of the output.
    pub fn print(&self, format: Format, color: bool, out: &mut dyn Write) -> io::Result<()> {
        match format {
            Format::Human => human::print(self, color, out),
            Format::Json => json::print(self, out),
            Format::Sarif => sarif::print(self, out),
            Format::Github => github::print(self, out),
        }
    }
}
