//! When a job comes back, when it does not, and what is told of it.

use ffrtmp::model::time::WallTime;
use serde_json::Value;

use crate::harness::{Site, await_some, await_true, events, shell, sleeper};

const FAST: &str = "[restart]\ndelay = \"100ms\"\nmax_delay = \"400ms\"\n";

fn ms(value: &Value) -> i64 {
    serde_json::from_value::<WallTime>(value.clone()).expect("a time").unix_ms()
}

#[test]
fn a_continuous_job_comes_back_with_growing_pauses() {
    let site = Site::started();
    site.put("live", &shell(&format!("lifecycle = \"continuous\"\n{FAST}"), "exit 0"));
    let runs = await_some("five ended runs", || Some(site.history("live")).filter(|runs| runs.len() >= 5));
    let reports: Vec<Value> = runs.iter().map(|run| site.await_history("live", run)).collect();
    for (report, n) in reports.iter().zip(0..) {
        assert_eq!((&report["restarts"], &report["state"]), (&n.into(), &"failed".into()), "{report:#}");
        assert_eq!(report["exit_code"], 0, "exit 0 is no success for a continuous job");
    }
    let mut jitter = Vec::new();
    for (pair, least) in reports.windows(2).zip([100, 200, 400, 400]) {
        let (ended, began) = (ms(&pair[0]["ended_at"]), ms(&pair[1]["events"][0]["at"]));
        assert!(began >= ended + least - 2, "a pause of {} ms instead of {least}", began - ended);
        // On a busy machine the exit may be seen when the pause is over; then the next start is now.
        if pair[0]["next_start_at"].is_null() {
            continue;
        }
        let planned = ms(&pair[0]["next_start_at"]);
        assert!(began >= planned - 2, "it starts when it was said to: {planned}, {began}");
        // Two clocks are read one after the other.
        let extra = planned - ended - least;
        assert!((-2..=least / 10 + 2).contains(&extra), "jitter of {extra} ms on {least}");
        jitter.push(extra);
    }
    let same = jitter.iter().all(|extra| extra == &jitter[0]);
    assert!(!same || jitter.len() < 3, "jitter keeps jobs that fell together apart: {jitter:?}");
}

#[test]
fn a_pause_is_told_and_survives_the_supervisor() {
    let site = Site::started();
    site.put(
        "live",
        &shell("lifecycle = \"continuous\"\n[restart]\ndelay = \"50m\"\nmax_delay = \"50m\"", "exit 1"),
    );
    let report = site.await_report("live", "its next start", |report| report["next_start_at"].is_string());
    let status = site.status("live");
    assert_eq!(status["next_start_at"], report["next_start_at"]);
    assert!(status["note"].as_str().is_some_and(|note| note.contains("starts again in ")), "{status:#}");
    let table = String::from_utf8(site.run(&["status"]).stdout).expect("text");
    assert!(table.contains("starts again in "), "{table}");
    site.term();
    site.start();
    site.settle();
    assert_eq!(site.runs("live"), 1);
    let after = site.report("live").expect("a report");
    assert!((ms(&after["next_start_at"]) - ms(&report["next_start_at"])).abs() < 1000, "{after:#}");
    // A shorter pause is in force at once, an edit in place though nothing runs.
    site.put(
        "live",
        &shell("lifecycle = \"continuous\"\n[restart]\ndelay = \"10ms\"\nmax_delay = \"50m\"", "exit 1"),
    );
    await_true("the second run", || site.runs("live") > 1);
}

#[test]
fn a_job_that_reached_its_limit_is_given_up_and_says_so() {
    let site = Site::started();
    let keys =
        "[restart]\npolicy = \"on-failure\"\ndelay = \"10ms\"\nlimit = { starts = 3, within = \"10m\" }";
    site.put("bad", &shell(keys, "exit 1"));
    let report = site.await_report("bad", "giving up", |report| {
        report["restarts"] == 2 && !report["exit_reason"].is_null()
    });
    assert!(report["next_start_at"].is_null());
    site.await_event("bad", "restart.limit");
    site.await_log("restart.limit");
    let note = site.status("bad")["note"].clone();
    assert!(note.as_str().is_some_and(|note| note.contains("restart.limit")), "{note}");
    site.settle();
    assert_eq!(site.runs("bad"), 3);
    site.put("bad", &shell(keys, "exit 2"));
    site.await_report("bad", "a new beginning", |report| report["exit_code"] == 2);
}

#[test]
fn the_policy_says_after_which_exits_a_job_comes_back() {
    let site = Site::started();
    for policy in ["never", "on-failure", "always"] {
        for code in [0, 1] {
            let keys = format!("[restart]\npolicy = \"{policy}\"\ndelay = \"50ms\"\nmax_delay = \"50ms\"");
            site.put(&format!("{policy}-{code}"), &shell(&keys, &format!("exit {code}")));
        }
    }
    for again in ["on-failure-1", "always-0", "always-1"] {
        await_true(&format!("{again} comes back"), || site.runs(again) >= 4);
    }
    for once in ["never-0", "never-1", "on-failure-0"] {
        let report = site.await_report(once, "its end", |report| !report["exit_reason"].is_null());
        assert_eq!((site.runs(once), &report["next_start_at"]), (1, &Value::Null), "{once}");
    }
}

#[test]
fn a_oneshot_that_completed_runs_again_only_after_an_edit_of_exec() {
    let site = Site::started();
    site.put("clip", &shell("", "exit 0"));
    let first = site.await_state("clip", "completed");
    site.term();
    site.start();
    site.put("clip", &shell("description = \"edited\"\n[constraints]\nnice = 5", "exit 0"));
    site.settle();
    assert_eq!((site.runs("clip"), site.report("clip")), (1, Some(first)));
    site.put("clip", &shell("", "exit 0 # again"));
    await_true("the second run", || site.runs("clip") == 2);
}

#[test]
fn an_edited_continuous_job_does_not_wait_out_its_pause() {
    let site = Site::started();
    site.put(
        "live",
        &shell("lifecycle = \"continuous\"\n[restart]\ndelay = \"50m\"\nmax_delay = \"50m\"", "exit 1"),
    );
    site.await_state("live", "failed");
    site.put("live", &sleeper("lifecycle = \"continuous\""));
    site.running("live");
    let report = site.report("live").expect("a report");
    assert!(events(&report)[0].contains("after an edit"), "{report:#}");
}

#[test]
fn a_job_that_goes_away_during_its_pause_has_no_next_start() {
    let site = Site::started();
    let text = shell("lifecycle = \"continuous\"\n[restart]\ndelay = \"50m\"\nmax_delay = \"50m\"", "exit 1");
    for job in ["disabled", "removed"] {
        site.put(job, &text);
        site.await_report(job, "its next start", |report| report["next_start_at"].is_string());
    }
    site.put("disabled", &format!("enabled = false\n{text}"));
    site.remove("removed");
    for job in ["disabled", "removed"] {
        site.await_report(job, "that it does not start", |report| report["next_start_at"].is_null());
    }
}
