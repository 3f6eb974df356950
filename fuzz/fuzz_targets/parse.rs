//! Any bytes as a job file, a profile and supervisor.toml: parser, resolver, rules and renderers; as a worker's
//! job document; and as what is converted into a job file. Nothing may panic, what is shown lies within the text
//! and can do nothing to a terminal, and what was converted has no error.
//!
//! `mkdir -p fuzz/corpus/parse; cargo fuzz run parse -s none fuzz/corpus/parse fuzz/seeds/parse --
//! -max_total_time=60`: the first folder takes new inputs, the second is read only.

#![no_main]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use ffrtmp::config::parse::Places;
use ffrtmp::config::problem::{Level, Problem};
use ffrtmp::config::profiles::Profiles;
use ffrtmp::convert::{Kind, convert};
use ffrtmp::lint::check::{Facts, check_job, check_profiles, check_supervisor};
use ffrtmp::lint::diagnostic::Diagnostic;
use ffrtmp::lint::render::{Findings, Format};
use ffrtmp::lint::rules;
use ffrtmp::worker::document;
use libfuzzer_sys::fuzz_target;

static PROFILES: LazyLock<Profiles> = LazyLock::new(|| Profiles::build(&BTreeMap::new()).0);

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let facts = Facts { cores: 2, mode: Some(0o644), ..Facts::default() };
    let checked = check_job("fuzz", text, &PROFILES, &facts);
    let bad = checked.problems.iter().any(|problem| problem.level == Level::Error);
    assert_eq!(bad, checked.declared.is_empty(), "a file is either in force or has an error");
    for declared in &checked.declared {
        let json = serde_json::to_string(&declared.job).expect("a job can be recorded");
        let back: ffrtmp::model::job::Job = serde_json::from_str(&json).expect("and read again");
        assert_eq!(back, declared.job);
    }
    look_at(text, &checked.problems);

    let texts = BTreeMap::from([("fuzz".to_owned(), Some(text.to_owned()))]);
    let (_, problems) = check_profiles(&texts);
    look_at(text, problems.get("fuzz").map_or(&[], Vec::as_slice));
    look_at(text, &check_supervisor(text).1);

    let _ = document::read(text);
    for kind in [Kind::Worker, Kind::Systemd, Kind::Supervisord] {
        if let Ok(converted) = convert(kind, Some("fuzz"), None, text) {
            let checked = check_job("fuzz", &converted.toml, &PROFILES, &facts);
            let errors = checked.problems.iter().filter(|problem| problem.level == Level::Error);
            assert_eq!(errors.count(), 0, "{}", converted.toml);
        }
    }
});

fn look_at(text: &str, problems: &[Problem]) {
    if problems.is_empty() {
        return;
    }
    let places = Places::of(text);
    for problem in problems {
        assert!(rules::find(problem.code).is_some(), "no rule for {}", problem.code);
        if let Some(span) = places.locate(&problem.at) {
            assert!(text.get(span.clone()).is_some(), "{span:?} is no part of the text: {problem:?}");
        }
    }
    let diagnostics = Diagnostic::all(Path::new("fuzz.toml"), text, problems);
    let findings = Findings { files: 1, diagnostics };
    // One of them each time: printing takes longer than all the rest.
    let formats = [Format::Human, Format::Json, Format::Sarif, Format::Github];
    let mut out = Vec::new();
    findings.print(formats[text.len() % formats.len()], false, &mut out).expect("memory");
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(!out.chars().any(|c| c.is_control() && c != '\n'), "{out:?}");
}
