//! GitHub's workflow commands: `::error file=,line=,col=,title=::message`.

use std::io::{self, Write};

use super::Findings;
use crate::lint::diagnostic::level_name;

/// Prints a command for each finding.
///
/// # Errors
/// Those of the output.
pub fn print(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    for diagnostic in &findings.diagnostics {
        write!(out, "::{} file={}", level_name(diagnostic.level), property(&diagnostic.path))?;
        if let Some(place) = &diagnostic.place {
            write!(out, ",line={},col={}", place.line, place.column)?;
            write!(out, ",endLine={},endColumn={}", place.end_line, place.end_column)?;
        }
        write!(out, ",title={}::{}", property(diagnostic.code), data(&diagnostic.message))?;
        match &diagnostic.help {
            Some(help) => writeln!(out, "%0Ahelp: {}", data(help))?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

/// Escapes what would end the message (actions/toolkit `command.ts`).
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

/// Escapes what would end a property as well.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_can_end_a_command_early() {
        assert_eq!(property("a,b::c%\n"), "a%2Cb%3A%3Ac%25%0A");
        assert_eq!(data("50% of\r\n::error::"), "50%25 of%0D%0A::error::");
    }
}
