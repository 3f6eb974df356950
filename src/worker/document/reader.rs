//! The fields of a document, by their letters, and the values in them, with what is wrong and where.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::config::problem::{At, Problem};
use crate::config::suggest::nearest;
use crate::worker::json::{MOST, below, shown};

/// A value, and where it stands.
#[derive(Debug, Clone)]
pub(super) struct Found<'a> {
    pub(super) path: String,
    pub(super) value: &'a Value,
}

/// The fields of an object that say something, by their letters.
pub(super) struct Fields<'a> {
    path: String,
    fields: BTreeMap<String, Vec<Found<'a>>>,
}

impl<'a> Fields<'a> {
    /// Those of the object with this path.
    pub(super) fn of(path: &str, object: &'a Map<String, Value>) -> Self {
        let mut fields: BTreeMap<String, Vec<Found<'a>>> = BTreeMap::new();
        for (key, value) in object {
            let says_nothing = value.is_null() || value.as_str().is_some_and(str::is_empty);
            if !says_nothing {
                fields.entry(letters(key)).or_default().push(Found { path: below(path, key), value });
            }
        }
        Self { path: path.into(), fields }
    }
}

/// A name without what does not count.
pub(super) fn letters(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

/// A number as JSON has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Number {
    Whole(i64),
    Part(f64),
}

/// Reads values, and notes what is wrong with them and what became of them.
#[derive(Default)]
pub(super) struct Reader {
    /// What is wrong.
    pub(super) errors: Vec<String>,
    /// What became of values that a job file says in another way, or not at all.
    pub(super) notes: Vec<String>,
    /// Which value of the document a key of the job file came from.
    pub(super) places: Vec<(&'static str, String)>,
}

impl Reader {
    /// A field, by any of its names.
    pub(super) fn take<'a>(&mut self, from: &mut Fields<'a>, names: &[&str]) -> Option<Found<'a>> {
        let found: Vec<Found<'a>> =
            names.iter().filter_map(|name| from.fields.remove(&letters(name))).flatten().collect();
        if let [first, second, ..] = found.as_slice() {
            self.twice(&first.path, &second.path);
            return None;
        }
        found.into_iter().next()
    }

    /// The same, for a value that a key of a job file is made from.
    pub(super) fn said<'a>(
        &mut self,
        from: &mut Fields<'a>,
        names: &[&str],
        key: &'static str,
    ) -> Option<Found<'a>> {
        let found = self.take(from, names)?;
        self.places.push((key, found.path.clone()));
        Some(found)
    }

    /// Tells of two fields that say the same.
    pub(super) fn twice(&mut self, first: &str, second: &str) {
        self.errors.push(format!("{first} and {second} are two spellings of the same: keep one of the two"));
    }

    /// Tells that a value is of another kind.
    pub(super) fn wrong(&mut self, found: &Found<'_>, what: &str) {
        self.errors.push(format!("{}: {} is not {what}", found.path, shown(found.value)));
    }

    /// A text.
    pub(super) fn text(&mut self, found: &Found<'_>) -> Option<String> {
        let text = found.value.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(found, "a text");
        }
        text
    }

    /// True or false.
    pub(super) fn boolean(&mut self, found: &Found<'_>) -> Option<bool> {
        let value = found.value.as_bool();
        if value.is_none() {
            self.wrong(found, "true or false");
        }
        value
    }

    /// The fields of an object.
    pub(super) fn object<'a>(&mut self, found: &Found<'a>) -> Option<Fields<'a>> {
        let object = found.value.as_object();
        if object.is_none() {
            self.wrong(found, "an object");
        }
        Some(Fields::of(&found.path, object?))
    }

    /// A number that JSON keeps as it is.
    pub(super) fn number(&mut self, found: &Found<'_>) -> Option<Number> {
        // Up to here every whole number has a float of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if let Some(whole) = found.value.as_i64() {
            return Some(Number::Whole(whole));
        }
        match found.value.as_f64() {
            Some(number) if number.abs() > EXACT => self.wrong(found, "a number of a sensible size"),
            Some(number) if number.fract() == 0.0 => return Some(Number::Whole(number as i64)),
            Some(number) => return Some(Number::Part(number)),
            None => self.wrong(found, "a number"),
        }
        None
    }

    /// A whole number.
    pub(super) fn whole(&mut self, found: &Found<'_>) -> Option<i64> {
        match self.number(found)? {
            Number::Whole(number) => Some(number),
            Number::Part(_) => {
                self.wrong(found, "a whole number");
                None
            }
        }
    }

    /// A number of which 0 stands for none.
    pub(super) fn above_zero(&mut self, found: &Found<'_>) -> Option<Number> {
        match self.number(found)? {
            Number::Whole(0) => None,
            Number::Whole(number) if number < 0 => {
                self.wrong(found, "a number of 0 or more");
                None
            }
            Number::Part(number) if number < 0.0 => {
                self.wrong(found, "a number of 0 or more");
                None
            }
            number => Some(number),
        }
    }

    /// Notes the fields that ask for nothing, because nobody knows what.
    pub(super) fn unknown(&mut self, fields: &Fields<'_>, known: &[&str]) {
        for found in fields.fields.values().flatten() {
            if self.notes.len() >= MOST {
                return;
            }
            let name = found.path.trim_start_matches(fields.path.as_str()).trim_start_matches('.');
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("; did you mean {near}?"),
                None => String::new(),
            };
            self.notes.push(format!("{}: not known here, and without effect{hint}", found.path));
        }
    }

    /// A problem of a job file, told of the document that it was made from.
    pub(super) fn of_document(&self, problem: &Problem) -> String {
        let help = problem.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        let told = format!("{}{help}", problem.message);
        let (At::Key(path) | At::Value(path)) = &problem.at else { return told };
        let key = path.to_string();
        let origin = self.places.iter().find(|(known, _)| {
            key.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
        });
        match origin {
            Some((_, origin)) => format!("{origin}: {told}"),
            None => format!("$.{path}: {told}"),
        }
    }
}
