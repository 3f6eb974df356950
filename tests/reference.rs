//! The reference pages name everything there is: a key or field without its line is found here.

use std::fs;
use std::path::Path;

use ffrtmp::config::schema::{JobFile, SupervisorFile, Tables};
use ffrtmp::model::evidence::{Evidence, LimitAbove, MemoryEvents};
use ffrtmp::model::exit::{Ended, LostCause, Stage, StartError, StopReason, exit_status, judge};
use ffrtmp::model::ids::{JobId, RunId};
use ffrtmp::model::job::Job;
use ffrtmp::model::report::{Report, Usage};
use ffrtmp::model::time::WallTime;
use ffrtmp::reconcile::diff::{Class, FIELDS, Field};

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
        Some("needs[]") => section(page, "`[[needs]]`"),
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
    for Field { name: field, class, .. } in FIELDS {
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

/// A job, with a limit of each kind that an exit is judged by.
fn limited(lifecycle: &str) -> Job {
    serde_json::from_value(serde_json::json!({
        "id": "a", "lifecycle": lifecycle, "intent": "production", "sla_eligible": true,
        "workload": {"exec": {"command": ["/bin/true"], "rlimits": {"cpu": {"soft": 600, "hard": 605}}}},
        "constraints": {"memory_limit": 67108864, "tasks_max": 8},
        "restart": {"policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1, "success_exit_codes": [0]},
        "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "stop"},
    }))
    .expect("a job")
}

/// A value as reports write it.
fn word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).expect("JSON").as_str().expect("a word").to_owned()
}

#[test]
fn the_page_judges_exits_as_the_program_does() {
    let page = page("reports.md");
    let table: Vec<Vec<&str>> = section(&page, "How an exit is judged")
        .lines()
        .skip_while(|line| !line.starts_with("| what was seen |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    let (oneshot, continuous) = (limited("oneshot"), limited("continuous"));
    let code = |code: i32| Ended::Waited { status: code << 8 };
    let signal = |signal: i32| Ended::Waited { status: signal };
    let killed = |limit_reached, above: &[u64]| Evidence {
        memory: Some(MemoryEvents { limit_reached, kills: 1 }),
        above: above
            .iter()
            .map(|reached| LimitAbove { file: "/unit/memory.max".into(), reached: *reached })
            .collect(),
        up_to_the_host: true,
        ..Evidence::default()
    };
    let not_started =
        |stage| Ended::NotStarted(StartError { stage, errno: None, detail: "it did not work".into() });
    let refused = Evidence { tasks_refused: Some(1), ..Evidence::default() };
    let xcpu = Evidence { cpu_limit_signals: 1, ..Evidence::default() };
    let (own, parent, host) = (killed(1, &[]), killed(0, &[1]), killed(0, &[]));
    let (removed, timeout) = (Some(StopReason::Removed), Some(StopReason::Timeout));
    // The beginning of the row's first cell, what was asked for, and ends that are judged by that row.
    type Case<'a> = (&'a Job, Ended, Option<StopReason>, Option<&'a Evidence>);
    let rows: Vec<(&str, &str, Vec<Case<'_>>)> = vec![
        ("exit code in `success_exit_codes`, oneshot", "no", vec![(&oneshot, code(0), None, None)]),
        ("exit code in `success_exit_codes`, continuous", "no", vec![(&continuous, code(0), None, None)]),
        (
            "any other exit code",
            "no",
            [1, 2, 124, 125, 126, 127, 137, 143, 255]
                .into_iter()
                .flat_map(|number| {
                    [(&oneshot, code(number), None, None), (&continuous, code(number), None, None)]
                })
                .collect(),
        ),
        (
            "a bad end, and a kill for memory by its own limit",
            "no",
            vec![(&oneshot, signal(9), None, Some(&own)), (&oneshot, code(1), None, Some(&own))],
        ),
        (
            "a bad end, and a kill for memory by a limit above it",
            "no",
            vec![(&oneshot, signal(9), None, Some(&parent)), (&oneshot, code(137), None, Some(&parent))],
        ),
        (
            "a bad end, and a kill for memory by no limit",
            "no",
            vec![(&oneshot, signal(9), None, Some(&host)), (&oneshot, code(1), None, Some(&host))],
        ),
        (
            "a bad end by itself, and a refused process or thread",
            "no",
            vec![(&oneshot, code(1), None, Some(&refused)), (&oneshot, signal(6), None, Some(&refused))],
        ),
        (
            "exit code 0, 255",
            "stop",
            vec![(&oneshot, code(0), removed, None), (&continuous, code(255), removed, None)],
        ),
        ("any other exit code", "stop", vec![(&oneshot, code(1), removed, None)]),
        (
            "any exit code",
            "`timeouts.run`",
            vec![(&oneshot, code(0), timeout, None), (&oneshot, code(9), timeout, None)],
        ),
        (
            "ended by a signal",
            "no",
            vec![(&oneshot, signal(15), None, None), (&oneshot, signal(9), None, None)],
        ),
        ("ended by SIGXCPU or SIGXFSZ", "no", vec![(&oneshot, signal(libc::SIGXCPU), None, None)]),
        (
            "a bad end by itself or by SIGKILL, and SIGXCPU",
            "no",
            vec![(&oneshot, signal(9), None, Some(&xcpu)), (&oneshot, code(1), None, Some(&xcpu))],
        ),
        ("ended by a signal", "stop", vec![(&oneshot, signal(9), removed, None)]),
        ("ended by a signal", "`timeouts.run`", vec![(&oneshot, signal(15), timeout, None)]),
        ("there is no process to take over", "-", vec![(&oneshot, not_started(Stage::Attach), None, None)]),
        (
            "a step before the first instruction failed",
            "-",
            vec![(&oneshot, not_started(Stage::Exec), None, None)],
        ),
        (
            "nothing: the wrapper was lost",
            "-",
            [LostCause::WrapperLost, LostCause::RecordDamaged, LostCause::NotTold]
                .map(|cause| (&oneshot, Ended::Lost(cause), None, None))
                .into(),
        ),
        (
            "nothing: the host rebooted",
            "-",
            vec![(&oneshot, Ended::Lost(LostCause::HostRebooted), None, None)],
        ),
    ];
    assert_eq!(table.len(), rows.len(), "docs/reference/reports.md: a row without a case, or a case without");
    for (cells, (seen, asked, cases)) in table.iter().zip(&rows) {
        assert!(cells[0].starts_with(seen) && cells[1] == *asked, "{cells:?} stands where {seen:?} should");
        for (job, ended, stop, evidence) in cases {
            let verdict = judge(job, ended, *stop, *evidence);
            let sla = if verdict.platform_sla { "true" } else { "**false**" };
            assert!(
                cells[2].split(", ").any(|state| state == word(&verdict.state)),
                "{cells:?}: {verdict:?}"
            );
            assert_eq!(
                (cells[3], cells[4], cells[5]),
                (word(&verdict.reason).as_str(), sla, format!("`{}`", verdict.platform_sla_reason).as_str()),
                "{seen}, {asked}: {verdict:?}"
            );
        }
    }
}

#[test]
fn the_page_tells_of_every_start_that_failed() {
    use Stage::{
        Attach, Constraint, Credentials, Environment, Exec, Fork, Output, Record, Session, Stdio, User,
        WorkingDir, Wrapper,
    };
    let page = page("reports.md");
    let starts =
        section(&page, "How an exit is judged").split("### Starts that failed").nth(1).expect("a heading");
    let mut lines = starts.lines().skip_while(|line| !line.starts_with("| step |")).skip(2);
    for (stage, errnos) in [
        (Record, &[None][..]),
        (Attach, &[None, Some(libc::ESRCH), Some(libc::EPERM)]),
        (Environment, &[Some(libc::ENOENT)]),
        (Wrapper, &[None, Some(libc::ENOENT)]),
        (Output, &[Some(libc::EACCES)]),
        (User, &[None]),
        (Fork, &[Some(libc::EAGAIN)]),
        (Session, &[Some(libc::EPERM)]),
        (Constraint, &[None]),
        (Stdio, &[Some(libc::EBADF)]),
        (Credentials, &[Some(libc::EPERM)]),
        (WorkingDir, &[Some(libc::ENOENT), Some(libc::EACCES)]),
        (Exec, &[Some(libc::ENOENT), Some(libc::ENOTDIR)]),
        (Exec, &[Some(libc::EACCES), Some(libc::ENOEXEC), None]),
    ] {
        let cells: Vec<&str> =
            lines.next().expect("a row").trim_matches('|').split('|').map(str::trim).collect();
        assert!(cells[0].starts_with(&format!("`{}`", word(&stage))), "{stage:?}: {cells:?}");
        for errno in errnos {
            let ended = Ended::NotStarted(StartError { stage, errno: *errno, detail: "why".into() });
            let verdict = judge(&limited("oneshot"), &ended, None, None);
            let sla = if verdict.platform_sla { "true" } else { "**false**" };
            assert_eq!((cells[2], cells[3]), (sla, format!("`{}`", verdict.platform_sla_reason).as_str()));
            assert_eq!(cells[4], exit_status(&ended, None).to_string(), "{stage:?}, {errno:?}");
        }
    }
    assert!(!lines.next().is_some_and(|line| line.starts_with('|')), "a row too many");
}
