//! Documents of the reference and of Go programs, and what is wrong with others.

use serde_json::json;

use super::*;
use crate::config::schema::{Scalar, TimeoutsTable};

fn good(document: &Value) -> Document {
    read(&document.to_string()).unwrap_or_else(|errors| panic!("{document}: {errors:?}"))
}

fn constraints(document: &Value) -> ConstraintsTable {
    good(&json!({"command": ["x"], "wrapper_constraints": document})).file.constraints.unwrap_or_default()
}

/// What is wrong with a document that has these fields beside a command.
fn errors(fields: Value) -> Vec<String> {
    let mut document = json!({"command": ["ffmpeg"]});
    document.as_object_mut().expect("object").extend(fields.as_object().expect("object").clone());
    read(&document.to_string()).expect_err("refused")
}

#[test]
fn the_documents_of_the_reference() {
    let submitted = good(&json!({
        "job_id": "job-12345",
        "command": ["ffmpeg", "-i", "input.mp4", "output.mp4"],
        "wrapper_constraints": {"cpu_quota_percent": 200, "memory_limit_mb": 4096, "nice_priority": -5},
    }));
    assert_eq!(submitted.job_id.as_deref(), Some("job-12345"));
    assert_eq!(submitted.command, ["ffmpeg", "-i", "input.mp4", "output.mp4"]);
    assert_eq!((submitted.wrapper_enabled, submitted.file.sla_eligible), (None, None));
    let expected = ConstraintsTable {
        cpu_quota: Some(200),
        memory_limit: Some(Scalar::Integer(4096)),
        nice: Some(-5),
        ..ConstraintsTable::default()
    };
    assert_eq!(submitted.file.constraints, Some(expected));
    assert_eq!(submitted.notes, [] as [&str; 0]);

    let go = good(&json!({
        "ID": "job-123",
        "Command": ["ffmpeg"],
        "WrapperEnabled": true,
        "SLAEligible": true,
        "WrapperConstraints": {
            "CPUMax": "50000 100000",
            "CPUWeight": 100,
            "MemoryMaxMB": 1024,
            "IOMax": "8:0 rbps=10485760 wbps=10485760",
        },
    }));
    assert_eq!((go.job_id.as_deref(), go.wrapper_enabled), (Some("job-123"), Some(true)));
    assert_eq!(go.file.sla_eligible, Some(true));
    let expected = ConstraintsTable {
        cpu_max: Some("50000 100000".into()),
        cpu_weight: Some(100),
        memory_limit: Some(Scalar::Integer(1024)),
        io_max: Some(vec!["8:0 rbps=10485760 wbps=10485760".into()]),
        ..ConstraintsTable::default()
    };
    assert_eq!(go.file.constraints, Some(expected));

    let legacy = good(&json!({
        "ID": "legacy-transcode",
        "Command": ["ffmpeg"],
        "WrapperEnabled": false,
        "Parameters": {"resource_limits": {
            "max_cpu_percent": 80.0, "max_memory_mb": 1024.0, "max_disk_mb": 5000, "timeout_sec": 90,
        }},
    }));
    assert_eq!(legacy.wrapper_enabled, Some(false));
    let expected = ConstraintsTable {
        cpu_quota: Some(80),
        memory_limit: Some(Scalar::Integer(1024)),
        ..ConstraintsTable::default()
    };
    assert_eq!(legacy.file.constraints, Some(expected));
    assert_eq!(legacy.file.timeouts, Some(TimeoutsTable { run: Some("90s".into()) }));
    let fsize = legacy.file.exec.and_then(|exec| exec.rlimits).and_then(|limits| limits.fsize);
    assert_eq!(fsize, Some(Scalar::Text("5000MiB".into())));
    assert_eq!(legacy.notes.len(), 4, "{:?}", legacy.notes);
    assert!(legacy.notes[0].starts_with("$.Parameters.resource_limits.max_cpu_percent: 80.0 became "));
    assert!(legacy.notes[2].contains("single file"), "{:?}", legacy.notes);
}

#[test]
fn a_legacy_limit_gives_way_and_says_to_whom() {
    let document = good(&json!({
        "command": ["x"],
        "wrapper_constraints": {"cpu_max": "50000 100000"},
        "parameters": {"resource_limits": {"max_cpu_percent": 80, "max_memory_mb": 0}, "other": 1},
    }));
    let table = document.file.constraints.expect("constraints");
    assert_eq!((table.cpu_quota, table.memory_limit), (None, None));
    assert_eq!(
        document.notes,
        [
            "$.parameters.resource_limits.max_cpu_percent: not used, because $.wrapper_constraints.cpu_max says it"
        ]
    );
}

#[test]
fn numbers_are_what_json_has() {
    let size = |text: &str| Some(Scalar::Text(text.into()));
    assert_eq!(constraints(&json!({"memory_max_mb": 1024.0})).memory_limit, Some(Scalar::Integer(1024)));
    assert_eq!(constraints(&json!({"memory_max_mb": 0.5})).memory_limit, size("524288B"));
    assert_eq!(constraints(&json!({"memory_limit": "4GiB"})).memory_limit, size("4GiB"));
    let part = constraints(&json!({"cpu_quota_percent": 62.5}));
    assert_eq!((part.cpu_quota, part.cpu_max.as_deref()), (None, Some("62500 100000")));
    let lines = constraints(&json!({"io_max": ["8:0 rbps=1", "8:16 wbps=2"]}));
    assert_eq!(lines.io_max, Some(vec!["8:0 rbps=1".into(), "8:16 wbps=2".into()]));
}

/// A Go program sends all fields of a struct, and of those that are not set their zero.
#[test]
fn what_is_not_set_is_not_asked_for() {
    let zeros = json!({
        "CPUMax": "", "CPUWeight": 0, "MemoryMaxMB": 0, "IOMax": "", "memory_high": null, "io_max": [],
    });
    assert_eq!(constraints(&zeros), ConstraintsTable::default());
    let both = constraints(&json!({"cpu_max": "50000 100000", "cpu_quota_percent": 0}));
    assert_eq!((both.cpu_quota, both.cpu_max.as_deref()), (None, Some("50000 100000")));
    assert_eq!(constraints(&json!({"cpu_quota_percent": 0})).cpu_quota, Some(0), "without a limit");
    let document = good(&json!({"job_id": null, "id": "a", "command": ["x"], "intent": "", "tags": null}));
    assert_eq!((document.job_id.as_deref(), document.file), (Some("a"), JobFile::default()));
}

#[test]
fn what_is_wrong_is_told_with_its_path() {
    let constraint = |fields: Value| errors(json!({"wrapper_constraints": fields}));
    let limit = |fields: Value| errors(json!({"parameters": {"resource_limits": fields}}));
    let table = [
        (
            constraint(json!({"cpu_weight": "high"})),
            "$.wrapper_constraints.cpu_weight: \"high\" is not a number",
        ),
        (constraint(json!({"CPUWeight": 1.5})), "$.wrapper_constraints.CPUWeight: 1.5 is not a whole number"),
        (
            constraint(json!({"memory_max_mb": "4GiB"})),
            "$.wrapper_constraints.memory_max_mb: \"4GiB\" is not a number",
        ),
        (
            constraint(json!({"memory_max_mb": -1})),
            "$.wrapper_constraints.memory_max_mb: -1 is not a number of 0 or more",
        ),
        (
            constraint(json!({"memory_limit_mb": 1e300})),
            "$.wrapper_constraints.memory_limit_mb: 1e+300 is not ",
        ),
        (
            constraint(json!({"io_max": ["8:0 rbps=1", 5]})),
            "$.wrapper_constraints.io_max[1]: 5 is not a text",
        ),
        (
            constraint(json!({"io_max": 5})),
            "$.wrapper_constraints.io_max: 5 is not a text, or a list of texts",
        ),
        (constraint(json!({"strict": "yes"})), "$.wrapper_constraints.strict: \"yes\" is not true or false"),
        (
            limit(json!({"timeout_sec": "1h"})),
            "$.parameters.resource_limits.timeout_sec: \"1h\" is not a number",
        ),
        (errors(json!({"wrapper_constraints": []})), "$.wrapper_constraints: a list is not an object"),
        (errors(json!({"parameters": 3})), "$.parameters: 3 is not an object"),
        (errors(json!({"wrapper_enabled": "true"})), "$.wrapper_enabled: \"true\" is not true or false"),
        (errors(json!({"sla_eligible": 1})), "$.sla_eligible: 1 is not true or false"),
        (errors(json!({"job_id": 7})), "$.job_id: 7 is not a text"),
        (errors(json!({"job_id": "a/b"})), "$.job_id: \"a/b\" is not the name of a job: "),
        (errors(json!({"tags": {"a b": 1}})), "$.tags[\"a b\"]: 1 is not a text"),
        (
            errors(json!({"command": "ffmpeg -i x"})),
            "$.command: one text; a list with one text for each argument",
        ),
        (errors(json!({"command": ["ffmpeg", 5]})), "$.command[1]: 5 is not a text"),
        (errors(json!({"command": []})), "$.command names no program"),
        (errors(json!({"command": ["a", "b\u{0}"]})), "$.command[1]: an argument cannot hold a NUL"),
        (errors(json!({"command": null})), "$.command is missing"),
        // Two spellings.
        (errors(json!({"job_id": "a", "ID": "a"})), "$.job_id and $.ID are two spellings"),
        (errors(json!({"wrapper_enabled": true, "WrapperEnabled": true})), " are two spellings"),
        (
            constraint(json!({"cpu_max": "50000 100000", "cpu_quota_percent": 200})),
            "$.wrapper_constraints.cpu_quota_percent and $.wrapper_constraints.cpu_max are two spellings",
        ),
        (
            constraint(json!({"memory_max_mb": 1, "memory_limit_mb": 2})),
            "$.wrapper_constraints.memory_max_mb and $.wrapper_constraints.memory_limit_mb are two spellings",
        ),
        // Of the right kind, and not possible: the words of job files, at the place in the document.
        (
            constraint(json!({"cpu_weight": 10_001})),
            "$.wrapper_constraints.cpu_weight: constraints.cpu_weight is 10001, which is outside 1 to 10000",
        ),
        (
            constraint(json!({"nice_priority": -21})),
            "$.wrapper_constraints.nice_priority: constraints.nice is -21",
        ),
        (
            constraint(json!({"CPUMax": "50%"})),
            "$.wrapper_constraints.CPUMax: \"50%\" is not what cpu.max takes; write",
        ),
        (
            constraint(json!({"cpu_quota_percent": 0.5})),
            "$.wrapper_constraints.cpu_quota_percent: \"500 100000\" is not",
        ),
        (
            constraint(json!({"io_max": ["sda"]})),
            "$.wrapper_constraints.io_max: \"sda\" is not what io.max takes",
        ),
        (
            constraint(json!({"memory_limit": "4"})),
            "$.wrapper_constraints.memory_limit: constraints.memory_limit: \"4\" has no unit",
        ),
        (
            limit(json!({"max_cpu_percent": 2_000_000})),
            "$.parameters.resource_limits.max_cpu_percent: constraints.cpu_quota is 2000000",
        ),
        (
            limit(json!({"timeout_sec": 0.0001})),
            "$.parameters.resource_limits.timeout_sec: timeouts.run is 0",
        ),
        (errors(json!({"intent": "prod"})), "$.intent: intent cannot be \"prod\"; known are: production"),
    ];
    for (told, expected) in table {
        assert!(told.len() == 1 && told[0].contains(expected), "expected {expected}\ntold {told:?}");
    }
}

#[test]
fn everything_wrong_is_told_at_once_but_not_without_end() {
    let told = errors(json!({"command": [], "job_id": 1, "wrapper_constraints": {"nice": "x", "cpus": 1}}));
    assert_eq!(told.len(), 4, "{told:?}");
    let many: Vec<u32> = (0..1000).collect();
    let told = errors(json!({ "command": many }));
    assert!(told.len() == MOST + 1 && told[MOST] == "and 968 more", "{told:?}");
}

#[test]
fn a_constraint_that_nobody_knows_is_noted_and_kept() {
    let document = json!({
        "command": ["x"],
        "scenario_name": "h264_nvenc_5mbps",
        "wrapper_constraints": {"memroy_max_mb": 512, "gpu": {"a": 1}},
    });
    let read = good(&document);
    assert_eq!(
        read.notes,
        [
            "$.wrapper_constraints.gpu: not known here, and without effect",
            "$.wrapper_constraints.memroy_max_mb: not known here, and without effect; did you mean memory_max_mb?"
        ]
    );
    assert_eq!(Value::Object(read.whole), document);
}

#[test]
fn other_documents_are_told_for_what_they_are() {
    for (text, told) in [
        ("[]", "$: a list is no job document"),
        ("null", "$: null is no job document"),
        ("{}", "$.command is missing"),
        ("{\"command\": [\"x\"], \"command\": [\"y\"]}", "$.command stands twice"),
        ("", "this is not JSON"),
    ] {
        let errors = read(text).expect_err("refused");
        assert!(errors.len() == 1 && errors[0].contains(told), "{text}: {errors:?}");
    }
}

proptest::proptest! {
    #[test]
    fn no_text_breaks_it(text in ".*") {
        let _ = read(&text);
    }

    #[test]
    fn no_value_breaks_it(key in 0usize..22, value in 0usize..12) {
        let keys = [
            "cpu_quota_percent", "cpu_quota", "cpu_max", "cpu_weight", "memory_max_mb", "memory_limit",
            "memory_high", "memory_swap", "io_weight", "io_max", "nice", "oom_score_adj", "tasks_max",
            "cpus", "io_class", "strict", "x", "max_cpu_percent", "max_memory_mb", "max_disk_mb",
            "timeout_sec", "",
        ];
        let values = [
            json!(null), json!(true), json!(0), json!(-1), json!(1.5), json!(1e308), json!(u64::MAX),
            json!(i64::MIN), json!("\u{0}\u{202e}"), json!([[], 1]), json!({"": {}}), json!(-1e-300),
        ];
        let fields = json!({ keys[key]: values[value].clone() });
        let document = json!({
            "command": ["x"], "wrapper_constraints": fields, "parameters": {"resource_limits": fields},
        });
        let _ = read(&document.to_string());
    }
}
