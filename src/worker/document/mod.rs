//! A job document, as a master sends it to a worker (JSON).
//!
//! A field is known by its letters: case and underscores do not count, so that `cpu_weight` and the
//! `CPUWeight` of a Go program are one. `null` is as good as nothing, and so is what a Go program sends of a
//! field that is not set, an empty text.

mod constraints;
mod limits;
mod reader;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use self::reader::{Fields, Found, Reader};
use super::json::{MOST, below, parse, shown};
use crate::config::resolve::layer;
use crate::config::schema::{ConstraintsTable, FileKind, JobFile};
use crate::model::ids::JobId;

/// What a job document says.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// `job_id`.
    pub job_id: Option<String>,
    /// `command`: the program and its arguments.
    pub command: Vec<String>,
    /// `wrapper_enabled`: whether the job is to be governed. `None`: it does not say.
    pub wrapper_enabled: Option<bool>,
    /// All that a job file could say: constraints, time-out, intent, tags. No command.
    pub file: JobFile,
    /// What was converted, or could not be, in words.
    pub notes: Vec<String>,
    /// The whole document, for the result.
    pub whole: Map<String, Value>,
}

/// Reads a job document.
///
/// # Errors
/// Everything that is wrong with it, each with its JSON path, such as `$.wrapper_constraints.cpu_weight`.
pub fn read(text: &str) -> Result<Document, Vec<String>> {
    let whole = match parse(text)? {
        Value::Object(whole) => whole,
        other => return Err(vec![format!("$: {} is no job document: an object is needed", shown(&other))]),
    };
    let mut reader = Reader::default();
    let mut top = Fields::of("$", &whole);
    let job_id = reader.take(&mut top, &["job_id", "id"]).and_then(|found| job_id_of(&mut reader, &found));
    let command = reader.take(&mut top, &["command"]);
    let command = match command {
        Some(found) => command_of(&mut reader, &found),
        None => {
            reader.errors.push("$.command is missing: the program and its arguments, as a list".into());
            Vec::new()
        }
    };
    let wrapper_enabled =
        reader.take(&mut top, &["wrapper_enabled"]).and_then(|found| reader.boolean(&found));
    let mut file = JobFile {
        intent: reader.said(&mut top, &["intent"], "intent").and_then(|found| reader.text(&found)),
        sla_eligible: reader.take(&mut top, &["sla_eligible"]).and_then(|found| reader.boolean(&found)),
        tags: reader.take(&mut top, &["tags"]).and_then(|found| tags_of(&mut reader, &found)),
        ..JobFile::default()
    };
    let constraints = reader.take(&mut top, &["wrapper_constraints"]);
    if let Some(fields) = constraints.and_then(|found| reader.object(&found)) {
        let table = constraints::read(&mut reader, fields);
        file.constraints = (table != ConstraintsTable::default()).then_some(table);
    }
    let parameters = reader.take(&mut top, &["parameters"]).and_then(|found| reader.object(&found));
    let limits = parameters.and_then(|mut fields| reader.take(&mut fields, &["resource_limits"]));
    if let Some(fields) = limits.and_then(|found| reader.object(&found)) {
        limits::read(&mut reader, fields, &mut file);
    }
    // Ranges and spellings of values are those of job files.
    let (_, problems) = layer(&file, FileKind::Profile);
    let told: Vec<String> = problems.iter().map(|problem| reader.of_document(problem)).collect();
    reader.errors.extend(told);
    let Reader { mut errors, notes, .. } = reader;
    if errors.is_empty() {
        return Ok(Document { job_id, command, wrapper_enabled, file, notes, whole });
    }
    if errors.len() > MOST {
        let rest = errors.len() - MOST;
        errors.truncate(MOST);
        errors.push(format!("and {rest} more"));
    }
    Err(errors)
}

fn job_id_of(reader: &mut Reader, found: &Found<'_>) -> Option<String> {
    let text = reader.text(found)?;
    if let Err(error) = JobId::given(&text) {
        reader.wrong(found, &format!("the name of a job: {error}"));
    }
    Some(text)
}

fn command_of(reader: &mut Reader, found: &Found<'_>) -> Vec<String> {
    let list = match found.value {
        Value::Array(list) => list,
        Value::String(_) => {
            reader.errors.push(format!(
                "{}: one text; a list with one text for each argument is needed, because no shell is \
                 involved; where you do need one: [\"/bin/sh\", \"-c\", \"...\"]",
                found.path
            ));
            return Vec::new();
        }
        _ => {
            reader.wrong(found, "a list of texts");
            return Vec::new();
        }
    };
    let mut command = Vec::new();
    for (n, value) in list.iter().enumerate() {
        let item = Found { path: format!("{}[{n}]", found.path), value };
        let text = reader.text(&item).unwrap_or_default();
        if text.contains('\0') {
            reader.errors.push(format!("{}: an argument cannot hold a NUL character", item.path));
        }
        command.push(text);
    }
    if list.first().is_none_or(|program| program.as_str() == Some("")) {
        reader.errors.push(format!("{} names no program: its first entry is the program", found.path));
    }
    command
}

fn tags_of(reader: &mut Reader, found: &Found<'_>) -> Option<BTreeMap<String, String>> {
    let Some(object) = found.value.as_object() else {
        reader.wrong(found, "an object of texts");
        return None;
    };
    let mut tags = BTreeMap::new();
    for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        let item = Found { path: below(&found.path, key), value };
        tags.insert(key.clone(), reader.text(&item).unwrap_or_default());
    }
    Some(tags)
}
