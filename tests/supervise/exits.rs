//! From a file in `jobs.d` to a report: how a run begins, what it finds, how its end is told.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ffrtmp::linux::exits::ExitWatch;
use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;
use serde_json::Value;

use crate::harness::{Live, Site, await_true, events, identify, names, send, shell, sleeper};

/// Waits until a job's run is over, and gives its report.
fn ended(site: &Site, job: &str) -> Value {
    site.await_report(job, "its end", |report| !report["exit_reason"].is_null())
}

#[test]
fn a_renamed_file_starts_at_once_and_its_report_is_current_at_every_stage() {
    let site = Site::started();
    site.put(
        "clip",
        &shell(
            "intent = \"test\"\nsla_eligible = true\ntags = { customer = \"acme\" }",
            "until [ -e go ]; do sleep 0.02; done; exit 0",
        )
        .replace("[exec]", &format!("[exec]\nworking_dir = \"{}\"", site.root.display())),
    );
    let live = site.running("clip");
    let report = site.report("clip").expect("a report");
    assert_eq!(events(&report), ["starting".to_owned(), format!("running, pid {}", live.pid())]);
    assert_eq!(report["events"][0]["state"], "starting");
    assert!(report["started_at"].is_string(), "{report:#}");
    for open in [
        "ended_at",
        "duration_sec",
        "exit_code",
        "signal",
        "exit_observed_by",
        "exit_reason",
        "platform_sla",
        "next_start_at",
    ] {
        assert!(report[open].is_null(), "{open} is not known while it runs: {report:#}");
    }
    assert!(site.history("clip").is_empty(), "a run that lives is no history");

    fs::write(site.path("go"), "").expect("written");
    let report = site.await_state("clip", "completed");
    let keys: BTreeSet<&str> = report.as_object().expect("an object").keys().map(String::as_str).collect();
    let contract = "schema job_id run_id mode state intent sla_eligible tags command pid started_at ended_at \
        duration_sec exit_code signal exit_observed_by exit_reason platform_sla platform_sla_reason constraints drift_corrected usage restarts \
        events next_start_at";
    assert_eq!(keys, contract.split_whitespace().collect());
    let text = |key: &str| report[key].as_str().unwrap_or_else(|| panic!("{key} is a text: {report:#}"));
    assert_eq!((text("schema"), text("job_id")), ("ffrtmp.report/1", "clip"));
    assert_eq!((text("mode"), text("intent")), ("run", "test"));
    assert_eq!((text("exit_reason"), text("platform_sla_reason")), ("success", "success"));
    assert_eq!((&report["sla_eligible"], &report["platform_sla"]), (&true.into(), &true.into()));
    assert_eq!((&report["exit_code"], &report["signal"]), (&0.into(), &Value::Null));
    assert_eq!(text("exit_observed_by"), "parent");
    assert_eq!((&report["pid"], &report["restarts"]), (&live.pid().into(), &0.into()));
    assert_eq!(report["tags"]["customer"], "acme");
    assert_eq!(report["command"][0], "/bin/sh");
    assert!(text("started_at").ends_with('Z') && text("ended_at") >= text("started_at"), "{report:#}");
    let seconds = report["duration_sec"].as_f64().expect("seconds");
    assert!(seconds > 0.0 && seconds < 20.0, "{seconds}");
    for used in ["cpu_sec", "memory_peak_bytes", "io_read_bytes", "io_write_bytes"] {
        assert!(report["usage"][used].is_number(), "{used}: {report:#}");
    }
    assert!(report["usage"]["memory_peak_bytes"].as_u64() > Some(100_000));
    assert_eq!(site.await_history("clip", &live.run), report, "history keeps the same");
}

#[test]
fn failures_of_the_workload_and_of_the_set_up_are_told_apart() {
    let site = Site::started();
    site.put("code", &shell("", "exit 3"));
    site.put("missing", "[exec]\ncommand = [\"ffmpge\", \"-i\", \"x\"]\n");
    site.put("no-env", &sleeper("").replace("[exec]", "[exec]\nenv_files = [\"/no/such.env\"]"));
    site.put("killed", &sleeper(""));
    let told = |report: &Value| {
        let word = |key: &str| report[key].as_str().unwrap_or("null").to_owned();
        let sla = report["platform_sla"].as_bool().expect("known at the end");
        (word("state"), word("exit_reason"), word("signal"), report["exit_code"].as_u64(), sla)
    };
    let expected = |state: &str, reason: &str, signal: &str, code, sla| {
        (state.to_owned(), reason.to_owned(), signal.to_owned(), code, sla)
    };
    assert_eq!(told(&ended(&site, "code")), expected("failed", "error", "null", Some(3), true));

    let missing = ended(&site, "missing");
    assert_eq!(told(&missing), expected("failed", "error", "null", None, false));
    assert!(events(&missing).last().is_some_and(|text| text.contains("\"ffmpge\"")), "{missing:#}");
    assert_eq!((&missing["pid"], &missing["started_at"]), (&Value::Null, &Value::Null), "it never ran");

    let no_env = ended(&site, "no-env");
    assert_eq!(told(&no_env), expected("failed", "error", "null", None, false));
    assert!(events(&no_env).last().is_some_and(|text| text.contains("/no/such.env")), "{no_env:#}");

    site.running("killed").signal(Signal::KILL);
    assert_eq!(told(&ended(&site, "killed")), expected("killed", "signal", "SIGKILL", None, true));
}

#[test]
fn a_workload_finds_its_environment_its_instance_and_its_output_file() {
    let site = Site::started();
    fs::write(site.path("a.env"), "FROM_FILE=file\nBOTH=file\n").expect("written");
    fs::create_dir(site.path("state/logs")).unwrap_or_default();
    fs::write(site.path("state/logs/channel@a.log"), "before\n").expect("written");
    let root = site.root.display();
    site.put(
        "channel",
        &format!(
            "instances = [\"a\", \"b\"]\n[exec]\nworking_dir = \"{root}\"\n\
             command = [\"/bin/sh\", \"-c\", 'echo $FROM_FILE $BOTH %i %n 100%% $FFRTMP_JOB; pwd; echo err >&2']\n\
             env = {{ BOTH = \"table-%i\" }}\nenv_files = [\"{root}/%i.env\", \"-{root}/none.env\"]\n"
        ),
    );
    assert_eq!(ended(&site, "channel@a")["state"], "completed");
    assert_eq!(
        site.output("channel@a"),
        format!("before\nfile table-a a channel@a 100% channel@a\n{root}\nerr\n")
    );
    let b = ended(&site, "channel@b");
    assert!(events(&b).last().is_some_and(|text| text.contains("b.env")), "it has no env file: {b:#}");
}

#[test]
fn as_many_ended_runs_are_kept_as_supervisor_toml_says() {
    let site = Site::new();
    fs::write(site.path("supervisor.toml"), "[reports]\nkeep = 2\n").expect("written");
    site.start();
    let mut runs = Vec::new();
    for n in 0..4 {
        site.put("clip", &shell("", &format!("exit {n}")));
        let report = site.await_report("clip", "this run's end", |report| report["exit_code"] == n);
        runs.push(report["run_id"].as_str().expect("a text").to_owned());
        let run = runs.last().expect("one");
        site.await_history("clip", run);
    }
    await_true("history is pruned", || site.history("clip") == runs[2..]);
    let last = &runs[3..];
    await_true("run directories but the last are removed", || names(&site.path("state/runs/clip")) == last);
}

#[test]
fn without_its_wrapper_a_workload_runs_on_and_its_exit_is_not_lost() {
    let site = Site::started();
    site.put(
        "orphan",
        &shell("", "until [ -e /proc/$PPID/none ]; do sleep 0.05; [ -e \"$GO\" ] && exit 7; done")
            .replace("[exec]", &format!("[exec]\nenv = {{ GO = \"{}\" }}", site.path("go").display())),
    );
    let live = site.running("orphan");
    site.kill_wrapper("orphan", &live);
    site.await_event("orphan", "the wrapper was lost");
    site.assert_untouched("orphan", &live);
    assert_eq!(site.status("orphan")["state"], "running");
    fs::write(site.path("go"), "").expect("written");
    let report = ended(&site, "orphan");
    assert_eq!((&report["exit_code"], &report["platform_sla"]), (&7.into(), &true.into()), "{report:#}");
    assert!(report["exit_observed_by"] == "parent" || report["exit_observed_by"] == "zombie", "{report:#}");
}

/// What tells of a process that is not our child and was reaped before anybody looked: the word that
/// reports have for it, or null where this kernel does not tell.
fn teller_of_the_reaped() -> Value {
    let mut child =
        Command::new("/bin/sh").args(["-c", "read go"]).stdin(Stdio::piped()).spawn().expect("sh");
    let process = identify(child.id()).expect("it waits");
    let watch = ExitWatch::open(&process).expect("proc").expect("it lives");
    drop(child.stdin.take());
    child.wait().expect("our child");
    let seen = watch.look().expect("looked").expect("it ended");
    serde_json::to_value(seen.by).expect("a word")
}

/// Whether a process that ended is reaped by whoever its parent is now. Some first processes never do that.
fn is_reaped(process: &ProcessIdentity) -> bool {
    let begin = Instant::now();
    while identify(process.pid.as_raw().unsigned_abs()).is_some_and(|found| found == *process) {
        if begin.elapsed() > Duration::from_secs(15) {
            return false;
        }
        sleep(Duration::from_millis(5));
    }
    true
}

/// Has something happen while the supervisor cannot look.
fn unseen<T>(site: &Site, act: impl FnOnce() -> T) -> T {
    site.signal_supervisor(Signal::from_number(libc::SIGSTOP).expect("a signal"));
    let done = act();
    site.signal_supervisor(Signal::from_number(libc::SIGCONT).expect("a signal"));
    done
}

/// A sleeper whose supervisor and wrapper were killed.
fn alone(site: &Site, job: &str) -> Live {
    site.put(job, &sleeper(""));
    let live = site.running(job);
    site.kill();
    site.kill_wrapper(job, &live);
    live
}

/// The end of a report: code, signal, who told it, and the state.
fn end(report: &Value) -> [Value; 4] {
    ["exit_code", "signal", "exit_observed_by", "state"].map(|key| report[key].clone())
}

/// The same where nothing told it.
fn lost() -> [Value; 4] {
    [Value::Null, Value::Null, Value::Null, "unknown".into()]
}

#[test]
fn without_any_wrapper_the_next_supervisor_is_told_the_exit_by_the_kernel() {
    let teller = teller_of_the_reaped();
    let site = Site::started();
    let go = site.path("go");
    let script = |code: u8| format!("until [ -e {} ]; do sleep 0.02; done; exit {code}", go.display());
    for code in [0, 7] {
        site.put(&format!("code-{code}"), &shell("", &script(code)));
    }
    site.put("signal", &sleeper(""));
    let jobs = ["code-0", "code-7", "signal"];
    let live = jobs.map(|job| site.running(job));
    for (job, live) in jobs.iter().zip(&live) {
        send(&site.wrapper(job, live), Signal::KILL);
        site.await_event(job, "the wrapper was lost");
    }
    site.kill();
    site.start();
    site.settle();
    for (job, live) in jobs.iter().zip(&live) {
        site.assert_untouched(job, live);
    }
    let reaped = unseen(&site, || {
        fs::write(&go, "").expect("written");
        live[2].signal(Signal::TERM);
        live.iter().for_each(Live::await_end);
        live.iter().all(|live| is_reaped(&live.process))
    });
    let teller = if reaped { teller } else { "zombie".into() };
    let told = |code: Value, signal: Value, state: &str| match &teller {
        Value::Null => lost(),
        teller => [code, signal, teller.clone(), state.into()],
    };
    let null = Value::Null;
    assert_eq!(end(&ended(&site, "code-0")), told(0.into(), null.clone(), "completed"), "{}", site.log());
    assert_eq!(end(&ended(&site, "code-7")), told(7.into(), null.clone(), "failed"));
    assert_eq!(end(&ended(&site, "signal")), told(null, "SIGTERM".into(), "killed"));
}

#[test]
fn an_orphan_that_ends_under_the_eyes_of_a_later_supervisor_is_reported_at_once() {
    let site = Site::started();
    let live = alone(&site, "orphan");
    site.start();
    site.settle();
    site.assert_untouched("orphan", &live);
    live.signal(Signal::TERM);
    let report = ended(&site, "orphan");
    // Whoever is first: its parent, who reaps it, or the supervisor, who looks.
    let mut tellers = vec![Value::from("zombie"), teller_of_the_reaped()];
    tellers.retain(|teller| *teller == report["exit_observed_by"]);
    assert_eq!(tellers.len(), 1, "{report:#}");
    if !report["exit_observed_by"].is_null() {
        assert_eq!(
            (&report["signal"], &report["state"]),
            (&"SIGTERM".into(), &"killed".into()),
            "{report:#}"
        );
    }
}

#[test]
fn wrapper_and_workload_that_go_at_once_take_no_exit_with_them() {
    let site = Site::started();
    for job in ["ours", "taken-over"] {
        site.put(job, &sleeper(""));
    }
    let taken_over = site.running("taken-over");
    let end_at_once = |job: &str, live: &Live| {
        site.kill_wrapper(job, live);
        live.signal(Signal::KILL);
        live.await_end();
    };
    // Its wrapper is the supervisor's child, and so is what the wrapper leaves.
    let ours = site.running("ours");
    unseen(&site, || end_at_once("ours", &ours));
    let report = ended(&site, "ours");
    assert_eq!((&report["signal"], &report["exit_observed_by"]), (&"SIGKILL".into(), &"parent".into()));
    assert!(report["usage"]["cpu_sec"].is_number(), "{report:#}");
    site.kill();
    site.start();
    site.settle();
    let reaped = unseen(&site, || {
        end_at_once("taken-over", &taken_over);
        is_reaped(&taken_over.process)
    });
    let report = ended(&site, "taken-over");
    let expected = match teller_of_the_reaped().as_str() {
        _ if !reaped => [Value::Null, "SIGKILL".into(), "zombie".into(), "killed".into()],
        Some("pidfd") => [Value::Null, "SIGKILL".into(), "pidfd".into(), "killed".into()],
        _ => lost(),
    };
    assert_eq!(end(&report), expected, "{report:#}");
}

#[test]
fn an_exit_that_nobody_saw_is_unknown_and_the_platforms_fault() {
    let site = Site::started();
    let live = alone(&site, "orphan");
    live.signal(Signal::TERM);
    live.await_end();
    if !is_reaped(&live.process) {
        println!("SKIPPED: nobody reaps orphans here, so their exits can be seen for ever");
        return;
    }
    site.start();
    let report = ended(&site, "orphan");
    assert_eq!(end(&report), lost(), "{report:#}");
    assert_eq!(report["exit_reason"], "unknown");
    assert_eq!(
        (&report["platform_sla"], &report["platform_sla_reason"]),
        (&false.into(), &"exit_lost".into())
    );
}
