//! Limits of the process: what the workload sees, what the report says, and how one that was reached is told.

use std::process::Command;

use serde_json::Value;

use crate::harness::{Site, events, shell};

/// The entry of a report's constraints with this name.
fn status_of(report: &Value, name: &str) -> Value {
    let list = report["constraints"].as_array().expect("a list");
    list.iter().find(|status| status["name"] == name).cloned().unwrap_or_default()
}

#[test]
fn limits_are_seen_by_the_workload_kept_in_the_report_and_changed_by_a_restart() {
    let site = Site::started();
    let script = "echo limits $(ulimit -Sn) $(ulimit -Hn) $(ulimit -Sf); exec sleep 1000";
    let job = |limits: &str, keys: &str| shell("", script) + &format!("rlimits = {{ {limits} }}\n{keys}\n");
    site.put("job", &job("nofile = \"200:300\", fsize = \"1GiB\"", ""));
    let live = site.running("job");
    // A block of the shell's is 512 bytes.
    site.await_output("job", "limits 200 300 2097152");
    let told = |report: &Value| {
        let status = status_of(report, "rlimits.nofile");
        let text = |key: &str| status[key].as_str().unwrap_or("null").to_owned();
        (text("requested"), text("actual"), text("backend"), text("reason"))
    };
    let all_200_300 = ("200:300".into(), "200:300".into(), "process".into(), "null".into());
    assert_eq!(told(&site.report("job").expect("a report")), all_200_300);

    // What is changed in place leaves the limits as they are, also in the report.
    site.put("job", &job("nofile = \"200:300\", fsize = \"1GiB\"", "[constraints]\nnice = 4"));
    let report = site.await_event("job", "constraints.nice unset -> 4");
    assert_eq!(told(&report), all_200_300, "{report:#}");
    assert_eq!(status_of(&report, "nice")["actual"], "4");
    site.assert_untouched("job", &live);

    // So does a supervisor that takes the run over.
    site.kill();
    site.start();
    site.settle();
    assert_eq!(told(&site.report("job").expect("a report")), all_200_300);
    site.assert_untouched("job", &live);

    site.put("job", &job("nofile = 128", "[constraints]\nnice = 4"));
    let report = site.await_event("job", "starting after an edit");
    assert_eq!(report["job_id"], "job");
    site.running_anew("job", &live);
    site.await_output("job", "limits 128 128 unlimited");
}

#[test]
fn a_loop_that_uses_up_its_cpu_time_is_ended_and_told_why() {
    let site = Site::started();
    site.put("loop", &(shell("", "while :; do :; done") + "rlimits = { cpu = \"1s\", core = 0 }\n"));
    let report = site.await_state("loop", "killed");
    let text = |key: &str| report[key].as_str().unwrap_or("null").to_owned();
    assert_eq!((text("signal"), text("exit_reason")), ("SIGXCPU".into(), "policy_violation".into()));
    assert_eq!(
        (&report["platform_sla"], text("platform_sla_reason")),
        (&true.into(), "workload_limit".into())
    );
    let last = events(&report).last().copied().unwrap_or_default();
    assert!(last.contains("exec.rlimits.cpu (1s:6s) allows; raise that"), "{report:#}");
    let used = report["usage"]["cpu_sec"].as_f64().expect("seconds");
    assert!((0.5..5.0).contains(&used), "{used}");
}

/// ffmpeg obeys SIGXCPU as it does SIGTERM: it ends by itself, with a code of its own.
#[test]
fn a_transcoder_that_obeys_the_signal_is_told_of_its_limit_too() {
    if !Command::new("ffmpeg").arg("-version").output().is_ok_and(|output| output.status.success()) {
        println!("SKIPPED a_transcoder_that_obeys_the_signal_is_told_of_its_limit_too: no ffmpeg here");
        return;
    }
    let site = Site::started();
    let source = "testsrc2=size=1280x720:rate=30";
    site.put(
        "job",
        &format!(
            "[exec]\ncommand = [\"ffmpeg\", \"-nostdin\", \"-loglevel\", \"error\", \"-f\", \"lavfi\", \"-i\", \
             \"{source}\", \"-c:v\", \"mpeg4\", \"-f\", \"null\", \"-\"]\nrlimits = {{ cpu = \"1s\" }}\n"
        ),
    );
    let report = site.await_report("job", "its end", |report| !report["exit_reason"].is_null());
    assert_eq!((&report["exit_reason"], &report["signal"]), (&"policy_violation".into(), &Value::Null));
    assert_eq!(
        (&report["state"], &report["platform_sla_reason"]),
        (&"failed".into(), &"workload_limit".into())
    );
    let last = events(&report).last().copied().unwrap_or_default();
    assert!(last.contains("the kernel had sent it SIGXCPU"), "{report:#}");
    assert!(last.contains("exec.rlimits.cpu (1s:6s) allows"), "{report:#}");
}

#[test]
fn a_strict_job_does_not_start_without_its_limits() {
    let site = Site::started();
    let keys = "rlimits = { nofile = 1073741824 }\n[constraints]\nstrict = true\n";
    site.put("job", &(shell("", "sleep 1000") + keys));
    let report = site.await_state("job", "failed");
    assert_eq!((&report["platform_sla"], &report["pid"]), (&false.into(), &Value::Null), "{report:#}");
    let last = events(&report).last().copied().unwrap_or_default();
    assert!(last.contains("Cannot raise rlimits.nofile to 1073741824"), "{report:#}");
}
