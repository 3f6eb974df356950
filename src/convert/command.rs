//! Command lines that name variables. A job has no shell and replaces nothing, so where a variable's value is
//! not known here, the command goes through one.

use super::toml::{Draft, Item};

/// A part of an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// As it is.
    Text(String),
    /// The value of a variable.
    Variable(String),
    /// The words in the value of a variable.
    Words(String),
}

/// Sets the command of a job.
pub fn set(draft: &mut Draft, words: &[Vec<Part>], from: &str) {
    let mut names: Vec<&str> = words.iter().flatten().filter_map(name_of).collect();
    names.sort_unstable();
    names.dedup();
    let command = if names.is_empty() {
        words.iter().map(|word| word.iter().map(text_of).collect()).collect()
    } else {
        let names: Vec<String> = names.iter().map(|name| format!("${name}")).collect();
        draft.note(
            from,
            format!(
                "goes through /bin/sh, because it names {}, whose value is known only when it runs; write the \
                 value into command where there is one",
                names.join(", ")
            ),
        );
        let words: Vec<String> = words.iter().map(|word| in_shell(word)).collect();
        vec!["/bin/sh".into(), "-c".into(), format!("exec {}", words.join(" "))]
    };
    draft.set("exec.command", Item::List(command), from);
}

fn name_of(part: &Part) -> Option<&str> {
    match part {
        Part::Text(_) => None,
        Part::Variable(name) | Part::Words(name) => Some(name),
    }
}

fn text_of(part: &Part) -> &str {
    match part {
        Part::Text(text) => text,
        Part::Variable(_) | Part::Words(_) => "",
    }
}

/// A word, as a shell reads it.
fn in_shell(word: &[Part]) -> String {
    let written: String = word
        .iter()
        .map(|part| match part {
            Part::Text(text) => quoted(text),
            Part::Variable(name) => format!("\"${{{name}}}\""),
            Part::Words(name) => format!("${name}"),
        })
        .collect();
    if written.is_empty() { "''".into() } else { written }
}

fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
    if text.chars().all(plain) { text.into() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}
