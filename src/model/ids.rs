//! Identifiers: the names of jobs and of runs, checked once, when they are made.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest job name, and longest instance name, in bytes.
pub const MAX_NAME: usize = 64;

/// Longest name that a command line may give, in bytes: a file's name has to have room for more.
pub const MAX_GIVEN: usize = 128;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has no characters.
    #[error("the name is empty")]
    Empty,
    /// The name is longer than [`MAX_NAME`] bytes.
    #[error("the name has {0} characters, at most {MAX_NAME} are allowed")]
    TooLong(usize),
    /// The name starts with a character that only may follow.
    #[error("the name starts with {0:?}; it has to start with a-z or 0-9")]
    BadStart(char),
    /// The name holds a character outside `a-z 0-9 . _ -`.
    #[error("the name holds {0:?}; a-z, 0-9, '.', '_' and '-' are allowed")]
    BadCharacter(char),
    /// A name given on a command line is longer than [`MAX_GIVEN`] bytes, starts with no letter or digit, or
    /// holds a character that no name may hold.
    #[error(
        "a name of at most {MAX_GIVEN} letters, digits and any of . _ - @ : = is needed, and a letter or digit \
         in front"
    )]
    BadGiven,
}

/// Checks one name against `[a-z0-9][a-z0-9._-]{0,63}`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn check_name(name: &str) -> Result<(), NameError> {
    let first = name.chars().next().ok_or(NameError::Empty)?;
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if let Some(bad) = name.chars().find(|&c| !plain(c) && !matches!(c, '.' | '_' | '-')) {
        return Err(NameError::BadCharacter(bad));
    }
    if !plain(first) {
        return Err(NameError::BadStart(first));
    }
    if name.len() > MAX_NAME {
        return Err(NameError::TooLong(name.len()));
    }
    Ok(())
}

/// The name of a job: the stem of its file, or `stem@instance`. Safe as one path component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(Arc<str>);

impl JobId {
    /// A job that is its file's only one.
    ///
    /// # Errors
    /// The stem is no name.
    pub fn new(stem: &str) -> Result<Self, NameError> {
        check_name(stem)?;
        Ok(Self(stem.into()))
    }

    /// One instance of a template: `stem@entry`.
    ///
    /// # Errors
    /// One of the two is no name.
    pub fn instance(stem: &str, entry: &str) -> Result<Self, NameError> {
        check_name(stem)?;
        check_name(entry)?;
        Ok(Self(format!("{stem}@{entry}").into()))
    }

    /// A name that somebody else made up, for a run from the command line: what job files allow, and capital
    /// letters, `@`, `:` and `=` beside. Safe as one path component.
    ///
    /// # Errors
    /// It is too long, or holds something else.
    pub fn given(name: &str) -> Result<Self, NameError> {
        let good = |c: char| c.is_ascii_alphanumeric() || "._-@:=".contains(c);
        if name.is_empty() {
            return Err(NameError::Empty);
        }
        let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !begins || name.len() > MAX_GIVEN || !name.chars().all(good) {
            return Err(NameError::BadGiven);
        }
        Ok(Self(name.into()))
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What follows the stem: the instance, or the process of an attach job that governs several.
    #[must_use]
    pub fn entry(&self) -> Option<&str> {
        self.0.split_once('@').map(|(_, entry)| entry)
    }

    /// The stem of the file that declares the job.
    #[must_use]
    pub fn stem(&self) -> &str {
        self.0.split_once('@').map_or(&self.0, |(stem, _)| stem)
    }
}

impl TryFrom<String> for JobId {
    type Error = NameError;

    /// A recorded name, whoever gave it.
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::given(&text)
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// One execution of a job. Sorts by the time at which it was made; safe as one path component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(Arc<str>);

impl RunId {
    /// Makes an id from the wall clock (milliseconds since 1970) and some random bits,
    /// which keep two runs apart that begin in the same millisecond.
    #[must_use]
    pub fn new(unix_ms: i64, random: u32) -> Self {
        Self(format!("{:011x}-{random:08x}", unix_ms.max(0)).into())
    }

    /// As [`RunId::new`], and later than another run of the job also where the wall clock was set back.
    #[must_use]
    pub fn after(earlier: &Self, unix_ms: i64, random: u32) -> Self {
        let known = earlier.0.split_once('-').and_then(|(ms, _)| i64::from_str_radix(ms, 16).ok());
        Self::new(known.map_or(unix_ms, |known| unix_ms.max(known.saturating_add(1))), random)
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RunId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        check_name(&text)?;
        Ok(Self(text.into()))
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0.as_ref().to_owned()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_contract_says() {
        for good in ["a", "0", "channel-7", "a.b_c-d", &"x".repeat(64)] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        assert_eq!(check_name(""), Err(NameError::Empty));
        assert_eq!(check_name(&"x".repeat(65)), Err(NameError::TooLong(65)));
        assert_eq!(check_name(".a"), Err(NameError::BadStart('.')));
        assert_eq!(check_name("A"), Err(NameError::BadCharacter('A')));
        assert_eq!(check_name("a/b"), Err(NameError::BadCharacter('/')));
        assert_eq!(check_name("ü"), Err(NameError::BadCharacter('ü')));
    }

    #[test]
    fn an_instance_knows_its_stem_and_survives_a_round_trip() {
        let id = JobId::instance("channel", "a").expect("a good name");
        assert_eq!((id.as_str(), id.stem()), ("channel@a", "channel"));
        assert_eq!(JobId::try_from(String::from("channel@a")), Ok(id));
        assert!(JobId::instance("a", "b@c").is_err());
    }

    #[test]
    fn a_name_from_a_command_line_is_one_path_component() {
        for good in ["job-12345", "Job_42", "550e8400-e29b-41d4-a716-446655440000", "a@b:c", &"x".repeat(128)]
        {
            assert_eq!(JobId::given(good).map(|id| id.to_string()), Ok(good.to_owned()));
        }
        for bad in
            ["", ".", "..", ".a", "-a", "a/b", "../x", "lost+found", "a b", "a\n", "ü", &"x".repeat(129)]
        {
            assert!(JobId::given(bad).is_err(), "{bad:?}");
            assert!(JobId::try_from(String::from(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn run_ids_sort_by_time() {
        assert!(RunId::new(1_700_000_000_000, u32::MAX) < RunId::new(1_700_000_000_001, 0));
        let future = RunId::new(1_900_000_000_000, u32::MAX);
        let next = RunId::after(&future, 1_700_000_000_000, 0);
        assert!(next > future, "the clock was set back");
        assert_eq!(RunId::after(&next, 1_900_000_000_009, 7), RunId::new(1_900_000_000_009, 7));
        let named = RunId::try_from(String::from("by-hand")).expect("a name");
        assert_eq!(RunId::after(&named, 5, 7), RunId::new(5, 7));
    }
}
