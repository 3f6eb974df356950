//! `ffrtmp-sup sla` as a user sees it, on reports that the library wrote: exact text, document, exit code.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use ffrtmp::config::paths::Layout;
use ffrtmp::model::exit::{Ended, LostCause, Stage, StartError, judge};
use ffrtmp::model::ids::{JobId, RunId};
use ffrtmp::model::job::Job;
use ffrtmp::model::report::{Report, Usage};
use ffrtmp::model::time::WallTime;
use ffrtmp::runs::reports::Reports;
use serde_json::{Value, json};

/// 2026-01-01T00:00:00Z.
const NEW_YEAR: i64 = 1_767_225_600_000;

const HOUR: i64 = 3_600_000;

const OK: Ended = Ended::Waited { status: 0 };
const FAILED: Ended = Ended::Waited { status: 1 << 8 };

struct Site {
    dir: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().expect("a directory") }
    }

    fn layout(&self) -> Layout {
        Layout::under(self.dir.path())
    }

    /// Files the report of a run that ended so many hours into the year.
    fn file(&self, layout: &Layout, job: &Job, hour: i64, ended: &Ended) -> Report {
        let at = WallTime::from_unix_ms(NEW_YEAR + hour * HOUR);
        let mut report = Report::starting(job, RunId::new(at.unix_ms(), 7), 0, at, "starting".into());
        report.end(at, Some(1.0), None, Usage::default(), judge(job, ended, None, None));
        Reports { folder: layout.reports(), keep: 20 }.file(&report).expect("filed");
        report
    }

    /// Standard output, standard error, exit code.
    fn sla(&self, args: &[&str]) -> (String, String, i32) {
        let output = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"))
            .arg("--root")
            .arg(self.dir.path())
            .arg("sla")
            .args(args)
            .env("TZ", "UTC")
            .output()
            .expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        (text(output.stdout), text(output.stderr), output.status.code().expect("no signal"))
    }

    fn json(&self, args: &[&str]) -> Value {
        let (out, err, code) = self.sla(&[&["--json"], args].concat());
        assert_eq!((err.as_str(), code), ("", 0));
        serde_json::from_str(&out).expect("one JSON document")
    }
}

fn job(id: &str, eligible: bool, intent: &str, customer: &str) -> Job {
    let tags: BTreeMap<&str, &str> =
        [("customer", customer)].into_iter().filter(|tag| !tag.1.is_empty()).collect();
    serde_json::from_value(json!({
        "id": JobId::given(id).expect("a name"), "lifecycle": "oneshot", "intent": intent,
        "sla_eligible": eligible, "tags": tags, "workload": {"exec": {"command": ["/bin/true"]}},
        "restart": {"policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1, "success_exit_codes": [0]},
        "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "stop"},
    }))
    .expect("a job")
}

/// Six runs of the supervisor's and two of the command line's; one of them counts for nothing.
fn busy() -> Site {
    let site = Site::new();
    let ours = site.layout();
    let theirs = Layout { state: ours.state.join("cli"), ..ours.clone() };
    assert_eq!(theirs.reports(), ours.command_line_reports());
    let channel = job("channel-7", true, "production", "acme");
    for (hour, ended) in [(1, &OK), (2, &FAILED), (3, &Ended::Lost(LostCause::HostRebooted)), (30, &OK)] {
        site.file(&ours, &channel, hour, ended);
    }
    site.file(&ours, &job("thumbnails", true, "test", ""), 4, &OK);
    site.file(&ours, &job("scratch", false, "production", "acme"), 5, &OK);
    let error = StartError {
        stage: Stage::WorkingDir,
        errno: Some(libc::ENOENT),
        detail: "working directory /gone\u{1b}[2J: No such file or directory".into(),
    };
    let given = job("Encode:42", true, "production", "other");
    let twice = site.file(&theirs, &given, 6, &Ended::NotStarted(error));
    site.file(&theirs, &given, 31, &OK);
    // The same run in both states.
    Reports { folder: ours.reports(), keep: 20 }.file(&twice).expect("filed");
    site
}

const WHOLE: &str = "\
platform_sla_uptime: 71.42%, 5 of 7 eligible runs that have ended
only kept reports count: 8 ended runs, the first of 2026-01-01T01:00:00.000Z; 1 of them not sla_eligible
(of each job the newest: reports.keep of supervisor.toml, 20 of each --job-id of ffrtmp run and attach)

BY      NAME             UPTIME  SUCCESSES   TOTAL  FIRST ENDED
intent  production       66.66%          4       6  2026-01-01T01:00:00.000Z
intent  test            100.00%          1       1  2026-01-01T04:00:00.000Z
tag     customer=acme    75.00%          3       4  2026-01-01T01:00:00.000Z
tag     customer=other   50.00%          1       2  2026-01-01T06:00:00.000Z
job     Encode:42        50.00%          1       2  2026-01-01T06:00:00.000Z
job     channel-7        75.00%          3       4  2026-01-01T01:00:00.000Z
job     thumbnails      100.00%          1       1  2026-01-01T04:00:00.000Z

2 violations, the newest first:
ENDED                     JOB        RUN                   EXIT REASON       SLA REASON     MESSAGE
2026-01-01T06:00:00.000Z  Encode:42  19b78243f00-00000007  error             setup_failed   \
not started: working directory /gone\\u{1b}[2J: No such file or directory
2026-01-01T03:00:00.000Z  channel-7  19b777f7380-00000007  unknown           host_rebooted  \
the host rebooted while the job ran
";

#[test]
fn for_people() {
    let (out, err, code) = busy().sla(&[]);
    assert_eq!(out, WHOLE, "found:\n{out}");
    assert_eq!((err.as_str(), code), ("", 0));
}

#[test]
fn as_one_document() {
    let site = busy();
    let document = site.json(&[]);
    let tally = |successes: u64, total: u64, uptime: f64, hour: u64| {
        json!({
            "platform_sla_uptime": uptime, "successes": successes, "total": total,
            "first_ended_at": format!("2026-01-01T{hour:02}:00:00.000Z"),
        })
    };
    for (at, expected) in [
        ("/schema", json!("ffrtmp.sla/1")),
        ("/since", Value::Null),
        ("/platform_sla_uptime", json!(5.0 / 7.0)),
        ("/successes", json!(5)),
        ("/total", json!(7)),
        ("/by_intent", json!({"production": tally(4, 6, 4.0 / 6.0, 1), "test": tally(1, 1, 1.0, 4)})),
        ("/by_tag/customer=acme", tally(3, 4, 0.75, 1)),
        ("/by_job/Encode:42", tally(1, 2, 0.5, 6)),
        ("/by_job/scratch", Value::Null),
        ("/kept", json!({"runs": 8, "not_eligible": 1, "first_ended_at": "2026-01-01T01:00:00.000Z"})),
        ("/unusable", json!([])),
        (
            "/violations/1",
            json!({
                "ended_at": "2026-01-01T03:00:00.000Z", "job_id": "channel-7",
                "run_id": "19b777f7380-00000007", "exit_reason": "unknown",
                "platform_sla_reason": "host_rebooted",
                "message": "the host rebooted while the job ran",
            }),
        ),
    ] {
        assert_eq!(document.pointer(at).unwrap_or(&Value::Null), &expected, "{at} of {document:#}");
    }
    let since = site.json(&["--since", "2026-01-01T06:00"]);
    assert_eq!(since["since"], "2026-01-01T06:00:00.000Z");
    assert_eq!((&since["successes"], &since["total"]), (&json!(2), &json!(3)));
    assert_eq!(since["violations"].as_array().map(Vec::len), Some(1), "that of six o'clock is the last");
    assert_eq!(since["kept"]["runs"], 8);
    assert_eq!(site.json(&["--since", "1h"])["platform_sla_uptime"], Value::Null, "all of this is long ago");
}

#[test]
fn nothing_is_not_everything() {
    let site = Site::new();
    let (out, err, code) = site.sla(&[]);
    assert!(out.contains("platform_sla_uptime: not known, no eligible run has ended\n"), "{out}");
    assert!(out.contains("only kept reports count: 0 ended runs") && !out.contains('%'), "{out}");
    assert_eq!((err.as_str(), code), ("", 0));
    let document = site.json(&[]);
    assert_eq!((&document["platform_sla_uptime"], &document["total"]), (&Value::Null, &json!(0)));
}

#[test]
fn a_time_that_is_none_is_refused_with_examples() {
    let site = busy();
    for bad in ["yesterday", "24", "2026-13-01", "2999-01-01"] {
        let (out, err, code) = site.sla(&["--since", bad]);
        assert_eq!((out.as_str(), code), ("", 2));
        assert!(err.contains(&format!("{bad:?}")) && err.contains("24h or 7d"), "{err}");
    }
}

#[test]
fn a_report_that_cannot_be_used_is_named_and_the_others_count() {
    let site = busy();
    let history = site.layout().history().join("channel-7");
    let other = |name: &str| history.join(format!("{name}.json"));
    let whole = fs::read(other("19b77119680-00000007")).expect("that of one o'clock");
    fs::write(other("half"), &whole[..whole.len() / 2]).expect("written");
    fs::write(other("empty"), b"").expect("written");
    fs::write(other("bytes"), [0xff; 64]).expect("written");
    fs::write(other("large"), vec![b' '; 2 << 20]).expect("written");
    fs::write(other("later"), br#"{"schema": "ffrtmp.report/2"}"#).expect("written");
    fs::write(other("deep"), "[".repeat(100_000)).expect("written");
    fs::create_dir(other("folder")).expect("made");
    std::os::unix::fs::symlink("/etc/passwd", other("link")).expect("made");
    nix::unistd::mkfifo(&other("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("made");
    // A draft of one that is being written.
    fs::write(history.join(".half.tmp"), b"{").expect("written");
    let (out, err, code) = site.sla(&[]);
    assert_eq!((out.as_str(), code), (WHOLE, 1));
    let named: Vec<&str> = err.lines().collect();
    let expected: [(&str, &str); 9] = [
        ("bytes", "is damaged: "),
        ("deep", "is damaged: "),
        ("empty", "is damaged: "),
        ("fifo", "is not a regular file"),
        ("folder", "is not a regular file"),
        ("half", "is damaged: "),
        ("large", "is larger than "),
        ("later", "is of the form \"ffrtmp.report/2\""),
        ("link", "is not a regular file"),
    ];
    assert_eq!(named.len(), expected.len(), "{err}");
    for (line, (name, why)) in named.iter().zip(expected) {
        let path = other(name);
        assert!(line.starts_with(&format!("ffrtmp-sup: not counted: {}: ", path.display())), "{line}");
        assert!(line.contains(why), "{line}");
    }
    let (out, _, code) = site.sla(&["--json"]);
    let document: Value = serde_json::from_str(&out).expect("one JSON document");
    assert_eq!((document["unusable"].as_array().map(Vec::len), code), (Some(9), 1));
    assert_eq!(document["total"], 7);
    let missing = Path::new(document["unusable"][0].as_str().expect("a path"));
    assert!(missing.exists(), "{missing:?}");
}
