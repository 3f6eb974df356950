//! SARIF 2.1.0, which code scanning services read.

use std::collections::BTreeSet;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::Findings;
use crate::lint::diagnostic::{Diagnostic, level_name};
use crate::lint::rule::Rule;
use crate::lint::rules;

/// Prints the document, with the rules that were broken and their texts.
///
/// # Errors
/// Those of the output.
pub fn print(findings: &Findings, out: &mut dyn Write) -> io::Result<()> {
    let codes: BTreeSet<&str> = findings.diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    let codes: Vec<&str> = codes.into_iter().collect();
    let rules: Vec<Value> = codes.iter().filter_map(|code| rules::find(code)).map(rule).collect();
    let results: Vec<Value> =
        findings.diagnostics.iter().map(|diagnostic| result(diagnostic, &codes)).collect();
    let document = json!({
        "$schema": "https://docs.oasis-open.org/sarif/sarif/v2.1.0/os/schemas/sarif-schema-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "ffrtmp-sup",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_writer_pretty(&mut *out, &document)?;
    writeln!(out)
}

fn rule(rule: &Rule) -> Value {
    json!({
        "id": rule.code,
        "shortDescription": { "text": rule.summary },
        "fullDescription": { "text": rule.explain },
        "help": { "text": rule.explain, "markdown": rule.explain },
        "defaultConfiguration": { "level": level_name(rule.level) },
    })
}

fn result(diagnostic: &Diagnostic, codes: &[&str]) -> Value {
    let text = match &diagnostic.help {
        Some(help) => format!("{}\n{help}", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    let mut location = json!({ "artifactLocation": { "uri": uri(&diagnostic.path) } });
    if let Some(place) = &diagnostic.place {
        location["region"] = json!({
            "startLine": place.line,
            "startColumn": place.column,
            "endLine": place.end_line,
            "endColumn": place.end_column,
        });
    }
    json!({
        "ruleId": diagnostic.code,
        "ruleIndex": codes.binary_search(&diagnostic.code).unwrap_or_default(),
        "level": level_name(diagnostic.level),
        "message": { "text": text },
        "locations": [{ "physicalLocation": location }],
    })
}

/// A path as a URI reference (RFC 3986): relative ones stay so.
fn uri(path: &str) -> String {
    let mut uri = String::from(if path.starts_with('/') { "file://" } else { "" });
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' | b'~' | b'@' => {
                uri.push(char::from(byte));
            }
            _ => uri.push_str(&format!("%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_uris() {
        assert_eq!(uri("/etc/a b.toml"), "file:///etc/a%20b.toml");
        assert_eq!(uri("jobs.d/ch@1.toml"), "jobs.d/ch@1.toml");
        assert_eq!(uri("c:d"), "c%3Ad");
    }
}
