//! PURE: reads single values, and notes what is wrong with them.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

use crate::config::problem::{At, KeyPath, Problem};
use crate::config::schema::{Scalar, fields};
use crate::config::suggest::nearest;
use crate::model::units::{ByteSize, UnitError, parse_duration};

/// Reads values, and notes what is wrong with them.
#[derive(Default)]
pub(in crate::config) struct Reader {
    /// What is wrong with the values that it has read.
    pub(in crate::config) problems: Vec<Problem>,
}

impl Reader {
    pub(in crate::config) fn error(
        &mut self,
        code: &'static str,
        at: At,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem::error(code, at, message).help(help));
    }

    pub(super) fn text(&mut self, path: &'static str, text: Option<&String>) -> Option<String> {
        text.inspect(|text| self.no_nul(KeyPath::of(path), text)).cloned()
    }

    pub(super) fn no_nul(&mut self, path: KeyPath, text: &str) {
        if text.contains('\0') {
            self.error(
                "nul-character",
                At::Value(path),
                "this text holds a NUL character, which no argument, variable or path can",
                "remove it",
            );
        }
    }

    pub(in crate::config) fn path(&mut self, path: &'static str, text: Option<&String>) -> Option<PathBuf> {
        text.map(|text| {
            self.absolute(KeyPath::of(path), text);
            PathBuf::from(text)
        })
    }

    pub(super) fn absolute(&mut self, path: KeyPath, text: &str) {
        self.no_nul(path.clone(), text);
        if !text.starts_with('/') {
            self.error(
                "relative-path",
                At::Value(path),
                format!("{text:?} is a relative path"),
                "write the path from / on: a supervisor has no folder it could be relative to",
            );
        }
    }

    pub(super) fn account(&mut self, path: &'static str, value: Option<&Scalar>) -> Option<String> {
        self.account_at(KeyPath::of(path), value?)
    }

    pub(super) fn account_at(&mut self, path: KeyPath, value: &Scalar) -> Option<String> {
        match value {
            Scalar::Integer(number) => {
                self.range(path, *number, 0, i64::from(u32::MAX - 1)).map(|n| n.to_string())
            }
            Scalar::Text(name) => {
                self.no_nul(path, name);
                Some(name.clone())
            }
        }
    }

    pub(in crate::config) fn integer(
        &mut self,
        path: &'static str,
        value: Option<i64>,
        min: i64,
        max: i64,
    ) -> Option<i64> {
        value.and_then(|value| self.range(KeyPath::of(path), value, min, max))
    }

    pub(super) fn range(&mut self, path: KeyPath, value: i64, min: i64, max: i64) -> Option<i64> {
        if (min..=max).contains(&value) {
            return Some(value);
        }
        let message = format!("{path} is {value}, which is outside {min} to {max}");
        self.error("out-of-range", At::Value(path), message, format!("use a value from {min} to {max}"));
        None
    }

    pub(super) fn duration(&mut self, path: &'static str, text: Option<&String>) -> Option<Duration> {
        let text = text?;
        parse_duration(text)
            .map_err(|error| self.unit_error(path, &error, text, "s", "10s, 1m30s or 2h"))
            .ok()
    }

    /// A duration that makes no sense as 0.
    pub(in crate::config) fn positive(
        &mut self,
        path: &'static str,
        text: Option<&String>,
    ) -> Option<Duration> {
        let duration = self.duration(path, text)?;
        if duration.is_zero() {
            self.error(
                "out-of-range",
                At::Value(KeyPath::of(path)),
                format!("{path} is 0, which would leave no time at all"),
                "use 1ms or more, or leave the key out for its default",
            );
            return None;
        }
        Some(duration)
    }

    pub(in crate::config) fn size(
        &mut self,
        path: &'static str,
        value: Option<&Scalar>,
        min: u64,
    ) -> Option<ByteSize> {
        let size = match value? {
            // A bare number is MiB.
            Scalar::Integer(mib) => match u64::try_from(*mib) {
                Ok(mib) => ByteSize::from_mib(mib),
                Err(_) => {
                    self.range(KeyPath::of(path), *mib, min as i64, i64::MAX >> 20);
                    return None;
                }
            },
            Scalar::Text(text) => ByteSize::parse(text),
        };
        let written = match value? {
            Scalar::Integer(number) => number.to_string(),
            Scalar::Text(text) => text.clone(),
        };
        let size =
            size.map_err(|error| self.unit_error(path, &error, &written, "MiB", "512MiB or 4GiB")).ok()?;
        if size.0 < min {
            self.error(
                "out-of-range",
                At::Value(KeyPath::of(path)),
                format!("{path} is 0, with which nothing can run"),
                "leave the key out for no limit",
            );
            return None;
        }
        Some(size)
    }

    pub(in crate::config) fn unit_error(
        &mut self,
        path: &'static str,
        error: &UnitError,
        text: &str,
        unit: &str,
        example: &str,
    ) {
        let (code, help) = match error {
            UnitError::NoUnit(_) => ("missing-unit", format!("did you mean \"{}{unit}\"?", text.trim())),
            _ => ("bad-unit", format!("write a number and a unit, as {example}")),
        };
        self.error(code, At::Value(KeyPath::of(path)), format!("{path}: {error}"), help);
    }

    pub(in crate::config) fn choice<T: for<'de> Deserialize<'de>>(
        &mut self,
        path: &'static str,
        text: Option<&String>,
    ) -> Option<T> {
        let text = text?;
        let value = T::deserialize(StrDeserializer::<ValueError>::new(text)).ok();
        if value.is_none() {
            let known = fields::of::<T>();
            let help = match nearest(text, known.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"? known are: {}", known.join(", ")),
                None => format!("known are: {}", known.join(", ")),
            };
            let at = At::Value(KeyPath::of(path));
            self.error("unknown-value", at, format!("{path} cannot be {text:?}"), help);
        }
        value
    }
}
