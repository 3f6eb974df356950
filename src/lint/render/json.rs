//! One JSON document: `ffrtmp.validate/1`.

use std::io::{self, Write};

use serde::Serialize;

use super::Findings;
use crate::config::problem::Level;
use crate::lint::diagnostic::{Diagnostic, level_name};

/// The document. Fields may be added to it, never change.
#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    files: usize,
    errors: usize,
    warnings: usize,
    diagnostics: Vec<Entry<'a>>,
}

/// One finding. Lines and columns count from 1; they are null for a file as a whole.
#[derive(Serialize)]
struct Entry<'a> {
    path: &'a str,
    line: Option<usize>,
    column: Option<usize>,
    end_line: Option<usize>,
    end_column: Option<usize>,
    level: &'static str,
    code: &'static str,
    message: &'a str,
    help: Option<&'a str>,
    source: Option<&'a str>,
}

impl<'a> From<&'a Diagnostic> for Entry<'a> {
    fn from(diagnostic: &'a Diagnostic) -> Self {
        let place = diagnostic.place.as_ref();
        Self {
            path: &diagnostic.path,
            line: place.map(|place| place.line),
            column: place.map(|place| place.column),
            end_line: place.map(|place| place.end_line),
            end_column: place.map(|place| place.end_column),
            level: level_name(diagnostic.level),
            code: diagnostic.code,
            message: &diagnostic.message,
            help: diagnostic.help.as_deref(),
            source: place.map(|place| place.source.as_str()),
        }
    }
}

/// Prints the document.
///
/// # Errors
/// Those of the output.
pub fn print(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        schema: "ffrtmp.validate/1",
        files: findings.files,
        errors: findings.count(Level::Error),
        warnings: findings.count(Level::Warning),
        diagnostics: findings.diagnostics.iter().map(Entry::from).collect(),
    };
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}
