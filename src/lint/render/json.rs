//! One JSON document: `ffrtmp.validate/1`.

use std::io::{self, Write};

use serde_json::json;

use super::Findings;
use crate::config::problem::Level;
use crate::lint::diagnostic::level_name;

/// Prints the document. Fields may be added to it, never change.
///
/// # Errors
/// Those of the output.
pub fn print(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    let diagnostics: Vec<serde_json::Value> = findings
        .diagnostics
        .iter()
        .map(|diagnostic| {
            let place = diagnostic.place.as_ref();
            json!({
                "path": diagnostic.path,
                "line": place.map(|place| place.line),
                "column": place.map(|place| place.column),
                "end_line": place.map(|place| place.end_line),
                "end_column": place.map(|place| place.end_column),
                "level": level_name(diagnostic.level),
                "code": diagnostic.code,
                "message": diagnostic.message,
                "help": diagnostic.help,
                "source": place.map(|place| &place.source),
            })
        })
        .collect();
    let document = json!({
        "schema": "ffrtmp.validate/1",
        "files": findings.files,
        "errors": findings.count(Level::Error),
        "warnings": findings.count(Level::Warning),
        "diagnostics": diagnostics,
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}
