//! A unit as it is written (systemd.syntax(7)): sections, and directives with their values.

use std::collections::HashMap;

/// A directive, with all values that were assigned to it since it was last reset.
pub(super) struct Directive {
    pub(super) section: String,
    pub(super) key: String,
    pub(super) values: Vec<String>,
}

/// A unit as it is written.
pub(super) struct Unit {
    pub(super) directives: Vec<Directive>,
    /// Lines that are no assignments.
    pub(super) odd: Vec<String>,
    /// Several files, as `systemctl cat` shows them.
    pub(super) whole: bool,
}

impl Unit {
    /// Reads a file, or several in one text.
    pub(super) fn read(text: &str) -> Self {
        let mut unit = Self { directives: Vec::new(), odd: Vec::new(), whole: false };
        let mut section = String::new();
        let mut begun = String::new();
        let mut known = HashMap::new();
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.starts_with(['#', ';']) {
                unit.whole |= trimmed.starts_with("# /");
                continue;
            }
            if trimmed.is_empty() && begun.is_empty() {
                continue;
            }
            let backslashes = trimmed.len() - trimmed.trim_end_matches('\\').len();
            if backslashes % 2 == 1 {
                begun += &trimmed[..trimmed.len() - 1];
                begun.push(' ');
                continue;
            }
            let line = std::mem::take(&mut begun) + trimmed;
            unit.line(line.trim(), &mut section, &mut known);
        }
        if !begun.is_empty() {
            unit.line(begun.trim(), &mut section, &mut known);
        }
        unit
    }

    fn line(&mut self, line: &str, section: &mut String, known: &mut HashMap<(String, String), usize>) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            *section = name.into();
            return;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !section.is_empty()) else {
            if !line.is_empty() {
                self.odd.push(line.into());
            }
            return;
        };
        let (key, value) = (key.trim(), value.trim());
        let at = *known.entry((section.clone(), key.into())).or_insert_with(|| {
            let new = Directive { section: section.clone(), key: key.into(), values: Vec::new() };
            self.directives.push(new);
            self.directives.len() - 1
        });
        let values = &mut self.directives[at].values;
        if value.is_empty() {
            values.clear();
        } else {
            values.push(value.into());
        }
    }

    /// All values of a directive, which is then done with.
    pub(super) fn all(&mut self, key: &str) -> Vec<String> {
        let at = self.directives.iter().position(|directive| directive.key == key);
        at.map(|at| self.directives.remove(at).values).unwrap_or_default()
    }

    /// The one that counts, which is the last.
    pub(super) fn one(&mut self, key: &str) -> Option<String> {
        self.all(key).pop()
    }
}

/// What is known of a unit's name: `prefix@instance.service`.
pub(super) struct Name {
    pub(super) prefix: Option<String>,
    pub(super) template: bool,
    pub(super) instance: Option<String>,
}

impl Name {
    /// From the name of its file.
    pub(super) fn of(file_name: Option<&str>) -> Self {
        let stem = file_name.and_then(|name| name.strip_suffix(".service"));
        let (prefix, instance) = match stem.and_then(|stem| stem.split_once('@')) {
            Some((prefix, instance)) => (Some(prefix), Some(instance)),
            None => (stem, None),
        };
        Self {
            prefix: prefix.map(str::to_owned),
            template: instance.is_some(),
            instance: instance.filter(|instance| !instance.is_empty()).map(str::to_owned),
        }
    }
}
