//! A unit that is being converted: what is left of it, and the job file that is made.

use std::time::Duration;

use super::unit::{Name, Unit};
use super::values::time;
use crate::convert::toml::{Draft, MARK};

/// A unit that is being converted. Each step takes out of it what it has taken over.
pub(super) struct Conversion {
    pub(super) draft: Draft,
    pub(super) unit: Unit,
    pub(super) name: Name,
    /// What `Environment=` sets.
    pub(super) env: Vec<(String, String)>,
    /// There are files whose variables are not known.
    pub(super) has_files: bool,
    pub(super) instance_used: bool,
}

impl Conversion {
    /// A value that is not understood.
    pub(super) fn odd(&mut self, key: &str, value: &str, why: &str) {
        self.draft.note(format!("{key}={value}"), why);
    }

    /// Replaces specifiers (systemd.unit(5)).
    pub(super) fn expanded(&mut self, key: &str, text: &str) -> String {
        let mut result = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                result.push(c);
                continue;
            }
            let Some(letter) = rest.next() else {
                result.push('%');
                break;
            };
            let prefix = self.name.prefix.clone();
            match letter {
                '%' => result.push('%'),
                'i' | 'I' => {
                    self.instance_used = true;
                    result.push(MARK);
                    result.push('i');
                }
                // A job has the name of the unit, with the instance in the same place.
                'N' => result.extend([MARK, 'n']),
                'n' => {
                    result.extend([MARK, 'n']);
                    result += ".service";
                }
                'p' if prefix.is_some() => result += &prefix.unwrap_or_default(),
                't' => result += "/run",
                'S' => result += "/var/lib",
                'C' => result += "/var/cache",
                'L' => result += "/var/log",
                'E' => result += "/etc",
                'T' => result += "/tmp",
                'V' => result += "/var/tmp",
                letter => {
                    self.draft.note(
                        key,
                        format!("%{letter} is known to systemd only, and left as it is: write its value"),
                    );
                    result.push('%');
                    result.push(letter);
                }
            }
            if "tSCLE".contains(letter) {
                self.draft
                    .note(key, format!("%{letter} is taken for that of a system unit; a user's differs"));
            }
        }
        result
    }

    /// Sets a key to a whole number, if it is one.
    pub(super) fn set_number(&mut self, key: &str, text: &str, path: &'static str) {
        match text.parse::<i64>() {
            Ok(number) => self.draft.set(path, number, format!("{key}={text}")),
            Err(_) => self.odd(key, text, "no number"),
        }
    }

    /// A directive that is a whole number.
    pub(super) fn number(&mut self, key: &str) -> Option<i64> {
        let text = self.unit.one(key)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.odd(key, &text, "no number");
        }
        number
    }

    /// A time, or no end.
    pub(super) fn time(&mut self, key: &str) -> Option<Option<Duration>> {
        let text = self.unit.one(key)?;
        let time = time(&text);
        if time.is_none() {
            self.odd(key, &text, "no time that is understood");
        }
        time
    }
}
