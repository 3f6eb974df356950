//! Ten checks of the wrapper under a worker agent: what it hands over is a job document as its master sent
//! it, what it gets back is a result document. The compatibility table is in docs/worker.md.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Done, Site, assert_says, limits_are_here, lives, read_json, unique};

/// Prints whether it is governed: the name of the job that the wrapper gives it, and its cgroups.
const SHOW: [&str; 3] = ["sh", "-c", "echo \"job ${FFRTMP_JOB:-none}\"; cat /proc/self/cgroup"];

/// Runs a document to its end.
fn run(site: &Site, document: &Value) -> Done {
    run_with(site, document, &[])
}

fn run_with(site: &Site, document: &Value, env: &[(&str, &str)]) -> Done {
    let file = site.write("job.json", &document.to_string());
    let mut command = site.ffrtmp(&["run", "--job"]);
    site.start(command.arg(file).envs(env.iter().copied())).wait()
}

/// Whether a result says that its run was governed, in each of the places that say so.
fn is_governed(done: &Done) -> bool {
    let result = done.json();
    let governed = result["metrics"]["wrapper_enabled"] == true;
    assert_eq!(result["analyzer_output"]["wrapper"], governed, "{result:#}");
    // And so does the workload.
    assert_eq!(done.err.contains("job none\n"), !governed, "{done:?}");
    assert!(governed || !done.err.contains("/ffrtmp-cli/"), "{done:?}");
    governed
}

/// 1. With the wrapper enabled it is governed.
#[test]
fn an_enabled_wrapper_is_used() {
    let site = Site::new();
    let job = unique("enabled");
    let done = run(&site, &json!({"job_id": job, "command": SHOW, "wrapper_enabled": true}));
    assert!(is_governed(&done), "{done:?}");
    assert!(done.err.contains(&format!("job {job}\n")), "{}", done.err);
}

/// 2. With the wrapper disabled it is run as it is, whatever limits are sent along.
#[test]
fn a_disabled_wrapper_is_not() {
    let site = Site::new();
    let constraints = json!({"cpu_max": "50000 100000", "memory_max_mb": 64});
    let document = json!({
        "job_id": "job-2", "command": SHOW, "wrapper_enabled": false, "wrapper_constraints": constraints,
    });
    let done = run(&site, &document);
    assert!(!is_governed(&done), "{done:?}");
    assert_eq!(done.json()["report"]["constraints"], json!([]));
    assert_eq!(done.code(), Some(0));
}

/// 3. A document of an old master does not say: it is run as it always was.
#[test]
fn an_old_document_is_run_as_before() {
    let site = Site::new();
    let done = run(&site, &json!({"job_id": "job-3", "command": SHOW}));
    assert!(!is_governed(&done), "{done:?}");
}

/// 4. The environment says what is meant by not saying; what a document says comes first.
#[test]
fn the_default_is_the_workers() {
    let site = Site::new();
    let silent = json!({"job_id": unique("default"), "command": SHOW});
    assert!(is_governed(&run_with(&site, &silent, &[("WRAPPER_ENABLED", "true")])));
    assert!(!is_governed(&run_with(&site, &silent, &[("WRAPPER_ENABLED", "false")])));
    let off = json!({"job_id": "job-4", "command": SHOW, "wrapper_enabled": false});
    assert!(!is_governed(&run_with(&site, &off, &[("WRAPPER_ENABLED", "true")])));
    let odd = run_with(&site, &silent, &[("WRAPPER_ENABLED", "perhaps")]);
    assert_eq!((odd.code(), odd.err.contains("WRAPPER_ENABLED=perhaps")), (Some(125), true), "{odd:?}");
}

/// 5. Constraints have one meaning in both of their spellings.
#[test]
fn both_spellings_of_constraints_are_one() {
    let site = Site::new();
    let limits = json!({
        "CPUMax": "75000 100000", "CPUWeight": 150, "MemoryMaxMB": 512, "nice_priority": 7,
    });
    let same = json!({
        "cpu_max": "75000 100000", "cpu_weight": 150, "memory_max_mb": 512, "nice_priority": 7,
    });
    let constraints = |limits: &Value| {
        let document = json!({
            "command": ["true"], "wrapper_enabled": true, "wrapper_constraints": limits,
        });
        let done = run(&site, &document);
        assert_eq!(done.code(), Some(0), "{done:?}");
        done.json()["report"]["constraints"].clone()
    };
    let (one, other) = (constraints(&limits), constraints(&same));
    let asked = |list: &Value| -> Vec<Value> {
        list.as_array()
            .expect("a list")
            .iter()
            .map(|status| json!([status["name"], status["requested"]]))
            .collect()
    };
    assert_eq!(asked(&one), asked(&other));
    assert_eq!(asked(&one).len(), 4, "{one:#}");
}

/// 6. They are in force, as the kernel has them.
#[test]
fn constraints_are_in_force() {
    let test = "constraints_are_in_force";
    if !limits_are_here(test) {
        return;
    }
    let site = Site::new();
    let limits = json!({"cpu_quota_percent": 50, "memory_limit_mb": 64, "nice_priority": 9});
    let document = json!({
        "job_id": unique("force"), "command": ["nice"], "wrapper_enabled": true, "wrapper_constraints": limits,
    });
    let done = run(&site, &document);
    let report = &done.json()["report"];
    for (name, actual) in [("cpu_quota", "50000 100000"), ("memory_limit", "67108864"), ("nice", "9")] {
        let status = crate::harness::constraint(report, name);
        assert_eq!((&status["applied"], &status["actual"]), (&json!(true), &json!(actual)));
    }
    assert!(done.err.lines().any(|line| line == "9"), "{}", done.err);
}

/// 7. Limits of the old form are converted, once the wrapper is enabled.
#[test]
fn old_limits_are_converted() {
    let site = Site::new();
    let document = |enabled: bool| {
        let limits = json!({"max_cpu_percent": 80.0, "max_memory_mb": 1024.0});
        json!({
            "command": ["true"], "wrapper_enabled": enabled, "parameters": {"resource_limits": limits},
        })
    };
    let report = run(&site, &document(true)).json()["report"].clone();
    let asked = |name| crate::harness::constraint(&report, name)["requested"].clone();
    assert_eq!((asked("cpu_quota"), asked("memory_limit")), (json!("80%"), json!("1GiB")));
    assert_eq!(run(&site, &document(false)).json()["report"]["constraints"], json!([]));
}

/// 8. The result is what was submitted, and what came of it; one document, from a pipe to a pipe.
#[test]
fn the_result_has_metrics_and_analysis() {
    let site = Site::new();
    let document = json!({
        "job_id": unique("result"), "command": ["sh", "-c", "echo noise; sleep 0.05; exit 3"], "wrapper_enabled": true,
        "sla_eligible": true, "scenario_name": "h264_nvenc_5mbps", "someday": {"a": [1, null]},
    });
    let input = std::fs::File::open(site.write("job.json", &document.to_string())).expect("written");
    let done = site.start(site.ffrtmp(&["run", "--job", "-"]).stdin(Stdio::from(input))).wait();
    let result = done.json();
    assert_eq!(done.code(), Some(3));
    assert_says(
        &result,
        &[
            ("job_id", document["job_id"].clone()),
            ("scenario_name", json!("h264_nvenc_5mbps")),
            ("someday", json!({"a": [1, null]})),
            ("analyzer_output", json!({"status": "error", "wrapper": true, "platform_sla": true})),
        ],
    );
    let metrics = [("wrapper_enabled", json!(true)), ("platform_sla", json!(true)), ("exit_code", json!(3))];
    assert_says(&result["metrics"], &metrics);
    assert!(result["metrics"]["exec_duration"].as_f64().is_some_and(|seconds| seconds >= 0.04), "{result:#}");
    assert!(result["metrics"]["pid"].as_u64().is_some_and(|pid| pid > 1), "{result:#}");
}

/// 9. The platform is to blame for what it did not do, not for what the workload did; what is wrong with a
///    document is said, with its place in it.
#[test]
fn blame_goes_where_it_belongs() {
    let site = Site::new();
    let of = |command: Value| json!({"command": command, "wrapper_enabled": true, "sla_eligible": true});
    for (command, sla, status, code) in [
        (json!(["true"]), true, "success", 0),
        (json!(["sh", "-c", "exit 9"]), true, "error", 9),
        (json!(["sh", "-c", "kill -9 $$"]), true, "signal", 137),
        (json!(["/nonexistent/program"]), false, "error", 127),
    ] {
        let done = run(&site, &of(command.clone()));
        let analysis = json!({"status": status, "wrapper": true, "platform_sla": sla});
        assert_eq!(done.json()["analyzer_output"], analysis, "{command}");
        assert_eq!((done.json()["metrics"]["platform_sla"].clone(), done.code()), (json!(sla), Some(code)));
    }
    let wrong = json!({
        "command": "ffmpeg", "wrapper_enabled": "si", "wrapper_constraints": {"cpu_weight": "heavy"},
    });
    let done = run(&site, &wrong);
    assert_eq!((done.code(), done.out.as_str()), (Some(125), ""), "{done:?}");
    for path in ["$.command", "$.wrapper_enabled", "$.wrapper_constraints.cpu_weight"] {
        assert!(done.err.contains(path), "{path}: {}", done.err);
    }
}

/// 10. The agent is killed, and with it the wrapper: the work is done, and its result is there.
#[test]
fn work_and_result_outlive_the_agent() {
    let site = Site::new();
    let gate = site.gate("gate");
    let document = json!({
        "job_id": unique("outlives"), "command": ["sh", "-c", "cat gate; exit 4"], "wrapper_enabled": true,
    });
    let file = site.write("job.json", &document.to_string());
    let mut command = site.ffrtmp(&["run", "--report", "result.json", "--job"]);
    let running = site.start(command.arg(file));
    let workload = running.workload();
    running.signal(libc::SIGKILL);
    drop(running);
    assert!(lives(&workload));
    gate.open();
    let result = crate::harness::await_some("the result", || {
        read_json(&site.path("result.json")).filter(|result| !result["metrics"]["exit_code"].is_null())
    });
    assert_eq!(result["metrics"]["exit_code"], 4);
    assert_says(&result, &[("job_id", document["job_id"].clone()), ("exit_reason", json!("error"))]);
}
