//! The reference pages name everything there is: a key or field without its line is found here.

use std::fs;
use std::path::Path;

use ffrtmp::config::schema::{JobFile, SupervisorFile, Tables};
use ffrtmp::model::exit::{Ended, judge};
use ffrtmp::model::ids::{JobId, RunId};
use ffrtmp::model::job::Job;
use ffrtmp::model::report::{Report, Usage};
use ffrtmp::model::time::WallTime;
use ffrtmp::reconcile::diff::{Class, FIELDS};

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/reference").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The part of a page under the heading that begins so.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let begin = page.find(&format!("\n## {heading}")).unwrap_or_else(|| panic!("no heading {heading}")) + 1;
    page[begin..].split("\n## ").next().expect("its own text")
}

/// The cells of the table row that begins with this key.
fn row<'a>(section: &'a str, key: &str) -> Option<Vec<&'a str>> {
    let line = section.lines().find(|line| line.starts_with(&format!("| `{key}` |")))?;
    Some(line.trim_matches('|').split(" | ").map(str::trim).collect())
}

/// The section of a job file's table; tables in tables stand in that of the outer one.
fn section_of<'a>(page: &'a str, table: &str) -> &'a str {
    match table.split('.').next() {
        None | Some("") => section(page, "Top level"),
        Some("schedule" | "schedule[]") => section(page, "`[[schedule]]`"),
        Some(outer) => section(page, &format!("`[{outer}]`")),
    }
}

#[test]
fn every_key_of_a_job_file_has_its_line() {
    let page = page("job-files.md");
    // The constraints of a window are those of the job.
    for (table, keys) in JobFile::TABLES.iter().filter(|(table, _)| *table != "schedule[].constraints") {
        let section = section_of(&page, table);
        for key in keys() {
            let is_table = JobFile::TABLES.iter().any(|(known, _)| known == key);
            let found = if table.contains('.') {
                section.contains(&format!("`{key}`")) || section.contains(&format!("{key} = "))
            } else {
                is_table || row(section, key).is_some()
            };
            assert!(found, "docs/reference/job-files.md does not tell of {table}.{key}");
        }
    }
}

#[test]
fn the_page_says_of_each_field_what_an_edit_does() {
    let page = page("job-files.md");
    for (field, class, _) in FIELDS {
        let (table, key) = field.split_once('.').unwrap_or(("", field));
        // Of `profiles` the differences count, and `attach` is a table.
        if matches!(*field, "profiles" | "attach") {
            continue;
        }
        let section = section_of(&page, table);
        let told = if section.contains("Every edit here is in place.") {
            "in place"
        } else {
            row(section, key).and_then(|cells| cells.last().copied()).unwrap_or("nothing")
        };
        let expected = match class {
            Class::InPlace => "in place",
            Class::Restart => "restart",
        };
        assert_eq!(told, expected, "docs/reference/job-files.md on {field}");
    }
}

#[test]
fn every_key_of_supervisor_toml_has_its_line() {
    let page = page("supervisor.md");
    for (table, keys) in SupervisorFile::TABLES {
        for key in keys() {
            if SupervisorFile::TABLES.iter().any(|(known, _)| known == key) {
                continue;
            }
            let name = if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") };
            assert!(row(&page, &name).is_some(), "docs/reference/supervisor.md does not tell of {name}");
        }
    }
}

#[test]
fn every_field_of_a_report_has_its_line() {
    let page = page("reports.md");
    let job: Job = serde_json::from_value(serde_json::json!({
        "id": "a", "lifecycle": "oneshot", "intent": "production", "sla_eligible": false,
        "workload": {"exec": {"command": ["/bin/true"]}},
        "restart": {"policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1, "success_exit_codes": [0]},
        "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "stop"},
    }))
    .expect("a job");
    assert_eq!(job.id, JobId::new("a").expect("a name"));
    let now = WallTime::from_unix_ms(0);
    let mut report = Report::starting(&job, RunId::new(0, 0), 0, now, "starting".into());
    report.end(now, None, None, Usage::default(), judge(&job, &Ended::Waited { status: 0 }, None, None));
    let report = serde_json::to_value(report).expect("JSON");
    for field in report.as_object().expect("an object").keys() {
        assert!(row(&page, field).is_some(), "docs/reference/reports.md does not tell of {field}");
    }
    for part in ["usage", "events"] {
        let value = report[part].get(0).unwrap_or(&report[part]);
        for field in value.as_object().expect("an object").keys() {
            let line = row(&page, part).expect("checked above").join(" ");
            assert!(
                line.contains(&format!("`{field}`")),
                "docs/reference/reports.md does not tell of {part}.{field}"
            );
        }
    }
    let reason = report["platform_sla_reason"].as_str().expect("ended");
    assert!(page.contains(&format!("`{reason}`")));
}
