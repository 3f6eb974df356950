//! A result document, as a worker sends it back to its master (JSON).

use serde_json::{Map, Value, json};

use crate::model::report::Report;

/// Where the fields of the job document go whose names the result needs for itself.
pub const PUT_ASIDE: &str = "submitted";

/// The result of a job: what its document said, with `metrics` and `analyzer_output` of the run, and with its
/// report. `governed`: the wrapper was enabled.
///
/// All fields of the job document are passed through; those that have a name of the result's are found in
/// [`PUT_ASIDE`] then. A value nobody observed is null.
#[must_use]
pub fn result(document: &Map<String, Value>, report: &Report, governed: bool) -> Value {
    let usage = &report.usage;
    // How it ended; while it goes on, that it does.
    let status = report.exit_reason.map_or_else(|| json!(report.state), |reason| json!(reason));
    let own = [
        (
            "metrics",
            json!({
                "exec_duration": report.duration_sec,
                "wrapper_enabled": governed,
                "platform_sla": report.platform_sla,
                "exit_code": report.exit_code,
                "pid": report.pid,
                "cpu_sec": usage.cpu_sec,
                "memory_peak_bytes": usage.memory_peak_bytes,
                "io_read_bytes": usage.io_read_bytes,
                "io_write_bytes": usage.io_write_bytes,
            }),
        ),
        (
            "analyzer_output",
            json!({ "status": status, "wrapper": governed, "platform_sla": report.platform_sla }),
        ),
        ("exit_reason", json!(report.exit_reason)),
        ("platform_sla_reason", json!(report.platform_sla_reason)),
        ("report", json!(report)),
    ];
    let mut result = document.clone();
    let mut aside = Map::new();
    for (name, value) in own {
        if let Some(theirs) = result.insert(name.into(), value) {
            aside.insert(name.into(), theirs);
        }
    }
    // Under the reference's name, whichever the document has; or what the run was called.
    if result.get("job_id").is_none_or(Value::is_null) {
        result.insert("job_id".into(), json!(report.job_id));
    }
    if !aside.is_empty() {
        if let Some(theirs) = result.remove(PUT_ASIDE) {
            aside.insert(PUT_ASIDE.into(), theirs);
        }
        result.insert(PUT_ASIDE.into(), Value::Object(aside));
    }
    Value::Object(result)
}

#[cfg(test)]
mod tests {
    use super::super::document::read;
    use super::*;
    use crate::model::exit::{Ended, ObservedBy, judge};
    use crate::model::ids::{JobId, RunId};
    use crate::model::job::Job;
    use crate::model::process::Pid;
    use crate::model::report::Usage;
    use crate::model::time::WallTime;

    fn report(job_id: &str, ended: Option<Ended>) -> Report {
        let job: Job = serde_json::from_value(json!({
            "id": job_id, "lifecycle": "oneshot", "intent": "production", "sla_eligible": true,
            "workload": {"exec": {"command": ["ffmpeg"]}},
            "restart": {
                "policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1, "success_exit_codes": [0],
            },
            "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "stop"},
        }))
        .expect("a job");
        assert_eq!(job.id, JobId::given(job_id).expect("a name"));
        let now = WallTime::from_unix_ms(0);
        let mut report = Report::starting(&job, RunId::new(0, 0), 0, now, "starting".into());
        report.pid = Pid::new(12345);
        match ended {
            Some(ended) => {
                let usage = Usage { cpu_sec: Some(1.5), ..Usage::default() };
                let verdict = judge(&job, &ended, None, None);
                report.end(now, Some(45.67), Some(ObservedBy::Parent), usage, verdict);
            }
            None => report.let_go(now, "let go".into()),
        }
        report
    }

    /// The documents of the reference, and its compatibility table: what is said of `wrapper_enabled`, what
    /// the worker makes of it where nothing is, and what the result has to say.
    #[test]
    fn the_compatibility_table() {
        let table = [
            (json!({"job_id": "old", "command": ["ffmpeg"]}), None, false),
            (json!({"job_id": "off", "command": ["ffmpeg"], "wrapper_enabled": false}), Some(false), false),
            (json!({"job_id": "on", "command": ["ffmpeg"], "wrapper_enabled": true}), Some(true), true),
            (json!({"ID": "go", "Command": ["ffmpeg"], "WrapperEnabled": true}), Some(true), true),
            (json!({"id": "null", "command": ["ffmpeg"], "wrapper_enabled": null}), None, false),
        ];
        for (document, enabled, governed) in table {
            let read = read(&document.to_string()).expect("good");
            assert_eq!(read.wrapper_enabled, enabled, "{document}");
            let id = read.job_id.expect("has one");
            let report = report(&id, Some(Ended::Waited { status: 0 }));
            let made = result(&read.whole, &report, governed);
            assert_eq!(made["job_id"], json!(id));
            assert_eq!(
                made["metrics"],
                json!({
                    "exec_duration": 45.67, "wrapper_enabled": governed, "platform_sla": true, "exit_code": 0,
                    "pid": 12345, "cpu_sec": 1.5, "memory_peak_bytes": null, "io_read_bytes": null,
                    "io_write_bytes": null,
                })
            );
            assert_eq!(
                made["analyzer_output"],
                json!({"status": "success", "wrapper": governed, "platform_sla": true})
            );
            assert_eq!(made["report"], json!(report));
            for (field, value) in document.as_object().expect("object") {
                assert!(value.is_null() || made[field] == *value, "{field} of {document}");
            }
        }
    }

    #[test]
    fn what_nobody_observed_is_null() {
        let document = Map::new();
        let lost = result(&document, &report("a", Some(Ended::Waited { status: 9 })), true);
        assert_eq!((&lost["metrics"]["exit_code"], &lost["exit_reason"]), (&Value::Null, &json!("signal")));
        assert_eq!(lost["analyzer_output"]["status"], "signal");
        let goes_on = result(&document, &report("a", None), true);
        assert_eq!(goes_on["analyzer_output"]["status"], "running");
        assert_eq!(goes_on["metrics"]["platform_sla"], Value::Null);
        assert_eq!(goes_on["platform_sla_reason"], "detached_workload_continues");
        assert_eq!(goes_on["job_id"], "a", "the name that it ran under");
    }

    #[test]
    fn fields_of_the_document_are_kept_also_under_names_that_the_result_needs() {
        let document = json!({
            "job_id": "a", "scenario_name": "h264", "parameters": {"x": [1]}, "metrics": {"psnr": 40},
            "report": "old", "submitted": 7,
        });
        let made = result(document.as_object().expect("object"), &report("a", None), true);
        assert_eq!((&made["scenario_name"], &made["parameters"]), (&json!("h264"), &json!({"x": [1]})));
        assert_eq!(made["submitted"], json!({"metrics": {"psnr": 40}, "report": "old", "submitted": 7}));
        assert_eq!(made["metrics"]["pid"], 12345);
        let alone = json!({"submitted": 7});
        let made = result(alone.as_object().expect("object"), &report("a", None), true);
        assert_eq!(made["submitted"], 7);
    }
}
