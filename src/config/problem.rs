//! Something that is wrong with a file, and where.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The file is in force, but probably not what was meant.
    Warning,
    /// The file cannot be put in force.
    Error,
}

/// One thing that is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The stable name of the rule that was broken, for `ffrtmp-sup explain`.
    pub code: &'static str,
    /// How bad it is.
    pub level: Level,
    /// Where.
    pub at: At,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: Option<String>,
}

/// A place in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// The file as a whole.
    File,
    /// A range of bytes.
    Span(Range<usize>),
    /// The key itself.
    Key(KeyPath),
    /// The value behind a key.
    Value(KeyPath),
}

impl Problem {
    /// A problem that keeps the file from being put in force.
    #[must_use]
    pub fn error(code: &'static str, at: At, message: impl Into<String>) -> Self {
        Self { code, level: Level::Error, at, message: message.into(), help: None }
    }

    /// A problem that does not.
    #[must_use]
    pub fn warning(code: &'static str, at: At, message: impl Into<String>) -> Self {
        Self { level: Level::Warning, ..Self::error(code, at, message) }
    }

    /// Adds what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Moves it to where the table that it was found in stands in the file.
    #[must_use]
    pub fn below(mut self, table: &KeyPath) -> Self {
        let moved = |path: KeyPath| KeyPath(table.0.iter().cloned().chain(path.0).collect());
        self.at = match self.at {
            At::File => At::Value(table.clone()),
            At::Span(span) => At::Span(span),
            At::Key(path) => At::Key(moved(path)),
            At::Value(path) => At::Value(moved(path)),
        };
        self
    }
}

/// The way to a value in a file: `exec.command[3]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyPath(pub Vec<Step>);

/// One step of a [`KeyPath`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Into a table.
    Key(Cow<'static, str>),
    /// Into an array.
    Index(usize),
}

impl KeyPath {
    /// The path that its dotted form names; for keys that hold no dots.
    #[must_use]
    pub fn of(dotted: &'static str) -> Self {
        Self(dotted.split('.').filter(|key| !key.is_empty()).map(|key| Step::Key(key.into())).collect())
    }

    /// The path one key further.
    #[must_use]
    pub fn key(mut self, key: impl Into<Cow<'static, str>>) -> Self {
        self.0.push(Step::Key(key.into()));
        self
    }

    /// The path one array element further.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => write!(f, "{key}")?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}
