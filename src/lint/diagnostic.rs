//! A problem with its line, column and source line, ready to be shown. All texts are made safe for a
//! terminal here, once, so no renderer can forget to.

use std::borrow::Cow;
use std::fmt;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::Path;

use crate::config::parse::Places;
use crate::config::problem::{Level, Problem};

/// Most problems that are shown of one file.
const MOST: usize = 100;

/// Longest message, and longest part of a source line, in characters.
const LONGEST: usize = 600;
const WIDEST: usize = 120;

/// A problem to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file, as it was named.
    pub path: String,
    /// Where in it; `None` for the file as a whole.
    pub place: Option<Place>,
    /// The rule's code.
    pub code: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A place in a file. Lines and columns count from 1, columns in characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column in it.
    pub column: usize,
    /// The last line of the place.
    pub end_line: usize,
    /// The column behind its last character.
    pub end_column: usize,
    /// The line's text, or of a long line the part around the place.
    pub source: String,
    /// Which bytes of `source` are the place.
    pub marked: Range<usize>,
}

impl Diagnostic {
    /// Makes the problems of one file ready to be shown, sorted. Of very many only the first are shown.
    #[must_use]
    pub fn all(path: &Path, text: &str, problems: &[Problem]) -> Vec<Self> {
        if problems.is_empty() {
            return Vec::new();
        }
        // `./` says nothing, and keeps services from finding the file in a repository.
        let path = escape_path(path.strip_prefix("./").unwrap_or(path));
        let places = Places::of(text);
        let lines = Lines::of(text);
        // Errors before warnings: those decide whether the file is in force.
        let mut shown: Vec<&Problem> = problems.iter().collect();
        shown.sort_by_key(|problem| problem.level != Level::Error);
        let hidden = shown.split_off(shown.len().min(MOST));
        let mut all: Vec<Self> = shown
            .iter()
            .map(|problem| Self {
                path: path.clone(),
                place: places.locate(&problem.at).map(|span| lines.place(span)),
                code: problem.code,
                level: problem.level,
                message: clip(&escape(&problem.message)),
                help: problem.help.as_deref().map(|help| clip(&escape(help))),
            })
            .collect();
        all.sort_by(|a, b| a.key().cmp(&b.key()));
        if let Some(worst) = hidden.iter().map(|problem| problem.level).max() {
            all.push(Self {
                path,
                place: None,
                code: "too-many-problems",
                level: worst,
                message: format!("{} more problems of this file are not shown", hidden.len()),
                help: Some("mend these first".into()),
            });
        }
        all
    }

    /// The order in which problems are shown.
    #[must_use]
    pub fn key(&self) -> (&str, usize, usize, &str, &str) {
        let (line, column) = self.line_column();
        (&self.path, line, column, self.code, &self.message)
    }

    fn line_column(&self) -> (usize, usize) {
        self.place.as_ref().map_or((0, 0), |place| (place.line, place.column))
    }
}

/// One line: `path:3:7: error: what is wrong (what to do) [code]`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(place) = &self.place {
            write!(f, ":{}:{}", place.line, place.column)?;
        }
        write!(f, ": {}: {}", level_name(self.level), self.message)?;
        if let Some(help) = &self.help {
            write!(f, " ({help})")?;
        }
        write!(f, " [{}]", self.code)
    }
}

/// `error` or `warning`.
#[must_use]
pub fn level_name(level: Level) -> &'static str {
    match level {
        Level::Error => "error",
        Level::Warning => "warning",
    }
}

/// Where the lines of a text begin.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, starts }
    }

    /// The number of a byte's line from 0, and the byte the line starts at.
    fn line_of(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|&start| start <= at).saturating_sub(1);
        (line, self.starts[line])
    }

    fn column(&self, start: usize, at: usize) -> usize {
        self.text[start..at].chars().count() + 1
    }

    fn place(&self, span: Range<usize>) -> Place {
        let start = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let end = self.text.ceil_char_boundary(span.end.clamp(start, self.text.len()));
        let (line, line_start) = self.line_of(start);
        let (end_line, end_start) = self.line_of(end);
        let line_end = self.text[line_start..].find('\n').map_or(self.text.len(), |at| line_start + at);
        let (source, marked) = self.window(line_start..line_end, start..end.min(line_end).max(start));
        // A byte order mark has no column.
        let shift = usize::from(line_start == 0 && self.text.starts_with('\u{feff}') && start > 0);
        Place {
            line: line + 1,
            column: self.column(line_start, start) - shift,
            end_line: end_line + 1,
            end_column: self.column(end_start, end).saturating_sub(if end_line == line { shift } else { 0 }),
            source,
            marked,
        }
    }

    /// The part of a line that is shown, made safe, and which of its bytes are marked.
    fn window(&self, line: Range<usize>, marked: Range<usize>) -> (String, Range<usize>) {
        let whole = &self.text[line.clone()];
        let whole = whole.strip_suffix('\r').unwrap_or(whole);
        let line = line.start..line.start + whole.len();
        let marked = marked.start.min(line.end)..marked.end.min(line.end);
        let before = &self.text[line.start..marked.start];
        let keep = before.char_indices().rev().nth(WIDEST / 2 - 1).map_or(0, |(at, _)| at);
        let inside = &self.text[marked.clone()];
        let inside_end = inside.char_indices().nth(WIDEST).map_or(inside.len(), |(at, _)| at);
        let after = if inside_end < inside.len() { "" } else { &self.text[marked.end..line.end] };
        let after_end = after.char_indices().nth(WIDEST / 2).map_or(after.len(), |(at, _)| at);
        let mut text = String::new();
        if keep > 0 {
            text.push_str("...");
        }
        text.push_str(&escape_line(&before[keep..]));
        let from = text.len();
        text.push_str(&escape_line(&inside[..inside_end]));
        let to = text.len();
        text.push_str(&escape_line(&after[..after_end]));
        if inside_end < inside.len() || after_end < after.len() {
            text.push_str("...");
        }
        (text, from..to)
    }
}

/// Writes a text so that it can do nothing to a terminal: control characters, and those that turn the
/// direction of writing or cannot be seen, are written as `\n` or `\u{1b}`.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_unsafe) {
        return text.into();
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_unsafe(c) {
            safe.extend(c.escape_default());
        } else {
            safe.push(c);
        }
    }
    safe.into()
}

fn escape_line(text: &str) -> String {
    escape(&text.replace('\t', "    ").replace('\u{feff}', "")).into_owned()
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Writes a path so; bytes that are not UTF-8 as `\xff`.
#[must_use]
pub fn escape_path(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    let mut safe = String::new();
    for chunk in path.as_os_str().as_bytes().utf8_chunks() {
        safe.push_str(&escape(chunk.valid()));
        for byte in chunk.invalid() {
            let _ = write!(safe, "\\x{byte:02x}");
        }
    }
    safe
}

fn clip(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::problem::At;

    fn place(text: &str, span: Range<usize>) -> Place {
        let problem = Problem::error("syntax", At::Span(span), "x");
        Diagnostic::all(Path::new("a"), text, &[problem]).remove(0).place.expect("place")
    }

    #[test]
    fn columns_count_characters() {
        let at = place("a = 1\nä = \"ö\" x\n", 16..17);
        assert_eq!((at.line, at.column, at.source.as_str()), (2, 9, "ä = \"ö\" x"));
        assert_eq!(&at.source[at.marked], "x");
    }

    #[test]
    fn a_byte_order_mark_and_a_carriage_return_take_no_room() {
        let at = place("\u{feff}abc\r\n", 3..6);
        assert_eq!((at.line, at.column, at.source.as_str(), at.marked), (1, 1, "abc", 0..3));
    }

    #[test]
    fn long_lines_are_shown_in_part() {
        let text = format!("{}X{}", "a".repeat(100_000), "b".repeat(100_000));
        let at = place(&text, 100_000..100_001);
        assert_eq!(at.column, 100_001);
        assert!(at.source.len() < 200, "{}", at.source);
        assert_eq!(&at.source[at.marked], "X");
    }

    #[test]
    fn nothing_reaches_the_terminal() {
        let problem = Problem::error("syntax", At::Span(0..5), "a\u{1b}[31m\nb\u{202e}");
        let shown = Diagnostic::all(Path::new("x\n\u{1b}]0;y"), "a\u{1b}[2Jb\u{9b}", &[problem]).remove(0);
        let all = format!("{shown} {:?}", shown.place.as_ref().map(|p| &p.source));
        assert!(!all.chars().any(is_unsafe), "{all}");
        assert!(shown.path.contains(r"x\n\u{1b}]0;y"), "{}", shown.path);
    }

    #[test]
    fn very_many_problems_are_counted() {
        let problems = vec![Problem::error("syntax", At::File, "x"); 10_000];
        let all = Diagnostic::all(Path::new("a"), "", &problems);
        assert_eq!(all.len(), MOST + 1);
        assert!(all[MOST].message.starts_with("9900 more"));
    }
}
