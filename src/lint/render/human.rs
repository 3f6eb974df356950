//! For people: path, line and column, the source line with carets, what is wrong, what to do.

use std::io::{self, IsTerminal, Write};

use annotate_snippets::{AnnotationKind, Group, Level as Shown, Renderer, Snippet};

use super::Findings;
use crate::config::problem::Level;
use crate::lint::diagnostic::Diagnostic;
use crate::model::units::count;

/// Whether standard output takes colours: a terminal that can, and nobody who asked for none.
#[must_use]
pub fn wants_color() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|term| term == "dumb");
    io::stdout().is_terminal() && !set("NO_COLOR") && !dumb
}

/// Prints each finding, and a line that counts them.
///
/// # Errors
/// Those of the output.
pub fn print(findings: &Findings, color: bool, out: &mut dyn Write) -> io::Result<()> {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    for diagnostic in &findings.diagnostics {
        let text = renderer.render(&[group(diagnostic)]);
        let (title, rest) = text.split_once('\n').unwrap_or((&text, ""));
        // The place is ours: of a long line only a part is shown, in which columns count differently.
        let margin = diagnostic.place.as_ref().map_or(1, |place| place.line.to_string().len());
        write!(out, "{title}\n{:margin$}--> {}", "", diagnostic.path)?;
        if let Some(place) = &diagnostic.place {
            write!(out, ":{}:{}", place.line, place.column)?;
        }
        writeln!(out, "\n{rest}{}", if rest.is_empty() { "" } else { "\n" })?;
    }
    let (errors, warnings) = (findings.count(Level::Error), findings.count(Level::Warning));
    let files = count(findings.files, "file");
    let found: Vec<String> = [(errors, "error"), (warnings, "warning")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| count(n, what))
        .collect();
    if found.is_empty() {
        return writeln!(out, "{files}: nothing wrong");
    }
    let first = findings.diagnostics.first().map_or("CODE", |diagnostic| diagnostic.code);
    writeln!(out, "{} in {files}; `ffrtmp-sup explain {first}` tells more", found.join(", "))
}

fn group(diagnostic: &Diagnostic) -> Group<'_> {
    let level = match diagnostic.level {
        Level::Error => Shown::ERROR,
        Level::Warning => Shown::WARNING,
    };
    let title = level.primary_title(&diagnostic.message).id(diagnostic.code);
    let mut group = Group::with_title(title);
    if let Some(place) = &diagnostic.place {
        group = group.element(
            Snippet::source(&place.source)
                .line_start(place.line)
                .annotation(AnnotationKind::Primary.span(place.marked.clone())),
        );
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Shown::HELP.message(help));
    }
    group
}
