//! `plan` and `status`, the log, a disk that does not take reports, and an idle supervisor.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use ffrtmp::model::signal::Signal;
use serde_json::Value;

use crate::harness::{Site, await_some, await_true, nice_of_threads, shell, sleeper};

#[test]
fn a_plan_says_what_would_be_done_and_does_nothing() {
    let site = Site::started();
    for job in ["edited", "removed", "restarted", "same"] {
        site.put(job, &sleeper("[constraints]\nnice = 1"));
    }
    let live = ["edited", "removed", "restarted", "same"].map(|job| site.running(job));
    let nothing = site.run(&["plan"]);
    assert_eq!(nothing.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&nothing.stdout), "0 changes, 4 jobs unchanged\n");

    // A folder that is not in force yet.
    let candidate = site.path("candidate");
    fs::create_dir_all(candidate.join("jobs.d")).expect("made");
    let put = |job: &str, text: &str| {
        fs::write(candidate.join(format!("jobs.d/{job}.toml")), text).expect("written");
    };
    put("edited", &sleeper("[constraints]\nnice = 5"));
    put("restarted", "[constraints]\nnice = 1\n[exec]\ncommand = [\"/bin/sleep\", \"2000\"]\n");
    put("same", &sleeper("[constraints]\nnice = 1"));
    put("new", &sleeper(""));
    let arguments = ["plan", candidate.to_str().expect("a path")];
    let changes = site.run(&arguments);
    let text = String::from_utf8_lossy(&changes.stdout).into_owned();
    assert_eq!(changes.status.code(), Some(3), "{text}");
    let expected = "\
~ edited     change in place: constraints.nice
    constraints.nice (in place): 1 -> 5
+ new        start: starting
- removed    stop: its file was removed
! restarted  restart: exec.command
    exec.command (restart): [\"/bin/sleep\", \"1000\"] -> [\"/bin/sleep\", \"2000\"]
4 changes, 1 job unchanged\n";
    assert_eq!(text, expected);
    let plan = site.json(&[arguments[0], arguments[1], "--json"]);
    assert_eq!(
        (&plan["schema"], &plan["changes"], &plan["unchanged"]),
        (&"ffrtmp.plan/1".into(), &4.into(), &1.into())
    );
    let actions: Vec<&str> = plan["steps"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|step| step["action"].as_str().expect("a text"))
        .collect();
    assert_eq!(actions, ["change", "start", "stop", "restart"]);

    put("same", "[exec]\ncommand = [");
    let errors = site.run(&arguments);
    let text = String::from_utf8_lossy(&errors.stdout).into_owned();
    assert_eq!(errors.status.code(), Some(1), "{text}");
    assert!(text.contains("same.toml:2:"), "{text}");
    assert_eq!(site.run(&["plan", "/no/such/folder"]).status.code(), Some(2));

    site.settle();
    for (job, live) in ["edited", "removed", "restarted", "same"].iter().zip(&live) {
        site.assert_untouched(job, live);
        assert_eq!(nice_of_threads(live.pid()), [1]);
    }
}

#[test]
fn a_status_is_a_table_that_fits_or_a_document() {
    let site = Site::started();
    site.put("a-rather-long-name-for-a-channel-that-is-declared-here", &sleeper(""));
    site.put("broken", &format!("{}[constraints]\nnice = 99\n", sleeper("")));
    site.put("clip", &shell("", "exit 3"));
    let live = site.running("a-rather-long-name-for-a-channel-that-is-declared-here");
    site.await_state("clip", "failed");
    site.await_log("broken.toml:5:");

    let document = site.json(&["status", "--json"]);
    assert_eq!(document["supervisor_pid"], site.supervisor_pid());
    let jobs: Vec<(&str, &str)> = document["jobs"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|row| (row["job"].as_str().expect("a text"), row["state"].as_str().expect("a text")))
        .collect();
    assert_eq!(jobs[0], ("a-rather-long-name-for-a-channel-that-is-declared-here", "running"));
    assert_eq!(jobs[1..], [("broken", "invalid"), ("clip", "failed")]);
    assert_eq!(document["jobs"][0]["pid"], live.pid());

    let details = String::from_utf8(site.run(&["status", "clip"]).stdout).expect("text");
    assert!(
        details.contains("failed with exit code 3") && details.contains("/bin/sh -c exit 3"),
        "{details}"
    );
    let unknown = site.run(&["status", "no-such-job"]);
    assert_eq!(unknown.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("no-such-job"));

    // As on a terminal of 80 columns; script(1) gives us one.
    let line = format!(
        "stty cols 80 rows 24; '{}' --root '{}' status",
        env!("CARGO_BIN_EXE_ffrtmp-sup"),
        site.root.display()
    );
    let script = Command::new("script").args(["-qec", &line, "/dev/null"]).stdin(Stdio::null()).output();
    let Ok(script) = script else {
        println!("SKIPPED: no script(1) here to make a terminal");
        return;
    };
    let table = String::from_utf8_lossy(&script.stdout).replace('\r', "");
    let rows: Vec<&str> = table.lines().take_while(|line| !line.starts_with("error:")).collect();
    assert!(rows[0].starts_with("JOB ") && rows[0].contains("STATE"), "{table}");
    assert_eq!(rows.len(), 4, "{table}");
    for row in &rows {
        assert!(row.chars().count() <= 80, "{} columns: {row}", row.chars().count());
    }
    assert!(rows[1].starts_with("a-rather-l") && rows[1].contains("…  running "), "{table}");
    assert!(rows[1].contains(&live.pid().to_string()) && rows[2].contains("file not in force"), "{table}");
}

#[test]
fn a_log_for_machines_has_one_object_a_line_with_job_run_and_pid() {
    let site = Site::new();
    site.start_with(&["--log-format", "json"]);
    site.put("job", &sleeper(""));
    let live = site.running("job");
    site.put("broken", "nonsense");
    site.await_log("broken.toml:1:");
    site.put("job", &sleeper("enabled = false"));
    live.await_end();
    site.await_history("job", &live.run);
    site.term();
    let lines: Vec<Value> =
        site.log().lines().map(|line| serde_json::from_str(line).expect("an object")).collect();
    let find = |text: &str| {
        let said = |line: &&Value| line["message"].as_str().is_some_and(|message| message.contains(text));
        lines.iter().find(said).unwrap_or_else(|| panic!("nobody said {text:?}: {lines:#?}"))
    };
    let running = find("running");
    assert_eq!((&running["job"], &running["run"]), (&"job".into(), &live.run.clone().into()), "{running}");
    assert_eq!((&running["pid"], &running["level"]), (&live.pid().to_string().into(), &"INFO".into()));
    assert!(running["timestamp"].is_string());
    assert_eq!(find("SIGTERM sent")["pid"], live.pid().to_string());
    assert_eq!(find("broken.toml:1:")["level"], "ERROR");
    assert_eq!(find("stopped because")["run"], live.run);
}

#[test]
fn while_reports_cannot_be_written_jobs_run_on_and_none_is_lost() {
    let site = Site::started();
    fs::write(site.path("state/reports/history/job"), "in the way").expect("written");
    site.put("job", &sleeper("[restart]\npolicy = \"always\"\ndelay = \"50ms\"\nmax_delay = \"50ms\""));
    site.put("other", &sleeper(""));
    let (first, other) = (site.running("job"), site.running("other"));
    first.signal(Signal::KILL);
    let second = site.running_anew("job", &first);
    site.await_log("reports cannot be written");
    assert!(site.log().contains("history/job"), "it says where: {}", site.log());
    second.signal(Signal::KILL);
    let third = site.running_anew("job", &second);
    site.settle();
    assert_eq!(site.said("reports cannot be written"), 1, "one alarm: {}", site.log());
    assert!(site.run_dir("job", &first).exists(), "the record stays until the report is there");
    site.assert_untouched("other", &other);

    fs::remove_file(site.path("state/reports/history/job")).expect("removed");
    for run in [&first, &second] {
        assert_eq!(site.await_history("job", &run.run)["signal"], "SIGKILL");
    }
    site.await_log("reports can be written again");
    await_true("the records may go", || !site.run_dir("job", &first).exists());
    site.assert_untouched("job", &third);
}

#[test]
fn a_report_that_was_not_written_is_written_by_the_next_supervisor() {
    let site = Site::started();
    site.put("job", &sleeper("[restart]\npolicy = \"always\"\ndelay = \"50ms\""));
    let first = site.running("job");
    fs::write(site.path("state/reports/history/job"), "in the way").expect("written");
    first.signal(Signal::TERM);
    let second = site.running_anew("job", &first);
    site.await_log("reports cannot be written");
    site.term();
    fs::remove_file(site.path("state/reports/history/job")).expect("removed");
    site.start();
    let report = site.await_history("job", &first.run);
    assert_eq!((&report["signal"], &report["state"]), (&"SIGTERM".into(), &"killed".into()), "{report:#}");
    site.settle();
    site.assert_untouched("job", &second);
    await_true("the record may go", || !site.run_dir("job", &first).exists());
}

/// How often the supervisor's threads have gone to sleep by themselves.
fn sleeps(site: &Site) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{}/task", site.supervisor_pid())).expect("proc");
    let of_thread = |entry: fs::DirEntry| {
        let status = fs::read_to_string(entry.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse::<u64>().ok()
    };
    tasks.filter_map(|entry| of_thread(entry.expect("proc"))).sum()
}

#[test]
fn an_idle_supervisor_does_not_wake() {
    let site = Site::started();
    for n in 0..20 {
        site.put(&format!("job-{n}"), &sleeper("lifecycle = \"continuous\""));
    }
    for n in 0..20 {
        site.running(&format!("job-{n}"));
    }
    // An orphaned workload is watched as quietly as one with a wrapper.
    let orphan = site.running("job-0");
    site.kill_wrapper("job-0", &orphan);
    site.await_event("job-0", "the wrapper was lost");
    // The next resync is half a minute away then.
    site.settle_by_scan();
    let quiet = Duration::from_millis(300);
    await_some("quiet", || {
        let before = sleeps(&site);
        sleep(quiet);
        (sleeps(&site) == before).then_some(())
    });
    let before = sleeps(&site);
    sleep(Duration::from_secs(3));
    assert!(sleeps(&site) - before <= 2, "woke {} times", sleeps(&site) - before);
}

#[test]
fn a_relative_root_is_as_good_as_an_absolute_one() {
    let site = Site::new();
    site.start_in(&site.root, Path::new("."), &[]);
    site.put("clip", &shell("", "echo hello"));
    site.await_state("clip", "completed");
    assert_eq!(site.output("clip"), "hello\n", "its output goes to the folder, too");
}

/// Cgroups that `doctor` made and left, in any hierarchy.
fn left_by_doctor(dir: &Path, found: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            if entry.file_name().to_string_lossy().contains("doctor") {
                found.push(entry.path());
            }
            left_by_doctor(&entry.path(), found);
        }
    }
}

#[test]
fn doctor_tries_every_constraint_and_leaves_nothing() {
    let site = Site::started();
    let output = site.run(&["doctor", "--json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("one JSON document");
    assert_eq!(told["supervisor"]["pid"], site.supervisor_pid(), "{told:#}");
    let constraints = told["constraints"].as_array().expect("a list");
    let names: Vec<&str> = constraints.iter().filter_map(|status| status["name"].as_str()).collect();
    for name in
        ["cpu_quota", "cpu_weight", "memory_limit", "io_weight", "tasks_max", "cpus", "nice", "oom_score_adj"]
    {
        assert_eq!(names.iter().filter(|known| **known == name).count(), 1, "{name}: {told:#}");
    }
    for status in constraints {
        assert_eq!(status["reason"].is_null(), status["applied"] == true, "{status:#}");
    }
    let all = constraints.iter().all(|status| status["applied"] == true);
    assert_eq!(output.status.code(), Some(i32::from(!all)));
    // What it offers from here is what the supervisor of this test chose from here.
    let chosen = &told["supervisor"]["cgroups"]["backend"];
    let offered =
        told["tried"].as_array().expect("a list").iter().find(|tried| !tried["controllers"].is_null());
    assert_eq!(offered.map_or("none".into(), |tried| tried["backend"].clone()), *chosen, "{told:#}");

    // How logs are rotated here, and on which folder that was tried.
    let folder = site.path("state/logs");
    let means = ffrtmp::logs::rotate::try_out(&folder).expect("tried");
    assert_eq!(told["logs"]["rotation"], serde_json::to_value(means).expect("JSON"), "{told:#}");
    assert_eq!(told["logs"]["folder"], folder.to_str().expect("UTF-8"));
    assert!(crate::harness::names(&folder).is_empty(), "nothing is left there");
    let elsewhere = Site::new();
    let told = elsewhere.json(&["doctor", "--json"]);
    assert_eq!(
        (&told["logs"]["rotation"], told["logs"]["reason"].is_string()),
        (&Value::Null, true),
        "{told:#}"
    );

    let text = String::from_utf8(site.run(&["doctor"]).stdout).expect("text");
    assert!(text.contains("memory_limit") && text.contains("Tried from here"), "{text}");
    assert!(text.contains(&format!("Logs in {}", folder.display())), "{text}");
    let mut left = Vec::new();
    left_by_doctor(Path::new("/sys/fs/cgroup"), &mut left);
    assert!(left.is_empty(), "{left:?}");
}
