//! Attributes of processes, on every thread of a real transcoder: I/O class and CPUs, and how they change.

use std::fs;
use std::process::Command;

use ffrtmp::model::cpus::CpuSet;
use serde_json::Value;

use crate::harness::{Site, await_true};

/// A transcoder with several threads that has work for as long as it is let.
fn transcoder(constraints: &str) -> String {
    let source = "testsrc2=size=320x240:rate=10";
    format!(
        "[exec]\ncommand = [\"ffmpeg\", \"-nostdin\", \"-loglevel\", \"error\", \"-re\", \"-f\", \"lavfi\", \"-i\", \
         \"{source}\", \"-c:v\", \"mpeg4\", \"-threads\", \"4\", \"-f\", \"null\", \"-\"]\n\
         [constraints]\n{constraints}\n"
    )
}

fn threads(pid: u32) -> Vec<String> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("proc");
    tasks.map(|task| task.expect("proc").file_name().into_string().expect("a number")).collect()
}

/// What ionice(1) says of each thread.
fn io_classes(pid: u32) -> Vec<String> {
    let ionice = Command::new("ionice").arg("-p").args(threads(pid)).output().expect("ionice runs");
    String::from_utf8_lossy(&ionice.stdout).lines().map(|line| line.trim().to_owned()).collect()
}

/// The CPUs of each thread, as the kernel lists them.
fn cpus_of_threads(pid: u32) -> Vec<String> {
    let of_thread = |thread: String| {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).ok()?;
        Some(status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"))?.trim().to_owned())
    };
    threads(pid).into_iter().filter_map(of_thread).collect()
}

/// The CPUs that this process may run on.
fn own_cpus() -> CpuSet {
    let list = cpus_of_threads(std::process::id()).swap_remove(0);
    CpuSet::parse(&list).expect("a list")
}

fn status_of(report: &Value, name: &str) -> Value {
    let list = report["constraints"].as_array().expect("a list");
    list.iter().find(|status| status["name"] == name).cloned().unwrap_or_default()
}

#[test]
fn every_thread_of_a_transcoder_gets_its_io_class_and_cpus_and_loses_them_again() {
    if let Some(missing) = ["ffmpeg", "ionice"].into_iter().find(|program| {
        !Command::new(program).arg("--help").output().is_ok_and(|output| output.status.success())
    }) {
        println!("SKIPPED every_thread_of_a_transcoder_gets_its_io_class_and_cpus: no {missing} here");
        return;
    }
    let all = own_cpus();
    let (first, last) = (all.iter().next().expect("one"), all.iter().last().expect("one"));

    let site = Site::started();
    site.put("job", &transcoder(&format!("cpus = \"{first}\"\nio_class = \"idle\"")));
    let live = site.running("job");
    await_true("it has several threads", || threads(live.pid()).len() >= 4);
    let told = |name: &str, value: &str| {
        let site = &site;
        let (name, value) = (name.to_owned(), value.to_owned());
        move || {
            let status = status_of(&site.report("job").unwrap_or_default(), &name);
            assert!(status["reason"].is_null(), "{status:#}");
            status["actual"] == value && status["applied"] == true
        }
    };
    let in_force = |cpus: &str, class: &str| {
        let every = |values: Vec<String>, wanted: &str| {
            values.len() >= 4 && values.iter().all(|value| value == wanted)
        };
        every(cpus_of_threads(live.pid()), cpus) && every(io_classes(live.pid()), class)
    };
    let (first, last) = (first.to_string(), last.to_string());
    await_true("all threads have inherited both", || in_force(&first, "idle"));
    await_true("the report says so", told("cpus", &first));

    site.put("job", &transcoder(&format!("cpus = \"{last}\"\nio_class = \"best-effort:2\"")));
    await_true("the new values are in force", || in_force(&last, "best-effort: prio 2"));
    await_true("the report says so", told("cpus", &last));
    await_true("the report says so", told("io_class", "best-effort:2"));

    site.put("job", &transcoder(""));
    await_true("both are as if they had never been set", || in_force(&all.to_string(), "none: prio 0"));
    let report = site.await_event("job", "constraints.io_class best-effort:2 -> unset");
    assert_eq!(report["constraints"], Value::Array(Vec::new()), "{report:#}");
    site.assert_untouched("job", &live);
}

#[test]
fn a_cpu_that_is_not_there_is_told_and_a_real_one_put_right() {
    let site = Site::started();
    let one = own_cpus().iter().next().expect("one").to_string();
    let sleeper = |cpus: &str| {
        format!("[exec]\ncommand = [\"/bin/sleep\", \"1000\"]\n[constraints]\ncpus = \"{cpus}\"\n")
    };
    site.put("job", &sleeper(&format!("{one},9999")));
    let live = site.running("job");
    let report = site.report("job").expect("a report");
    let status = status_of(&report, "cpus");
    assert_eq!((&status["applied"], &status["actual"]), (&false.into(), &one.as_str().into()), "{status:#}");
    assert!(status["reason"].as_str().is_some_and(|reason| reason.contains("CPU 9999")), "{status:#}");
    site.await_log(&format!("cpus {one},9999 is not in force: Cannot use CPU 9999"));
    site.put("job", &sleeper(&one));
    let report = site.await_event("job", &format!("changed in place: constraints.cpus {one},9999 -> {one}"));
    assert_eq!(status_of(&report, "cpus")["applied"], true);
    site.assert_untouched("job", &live);
}
