//! How a workload is ended: its signal once, then time, then SIGKILL to all that is left.

use std::fs;

use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;

use crate::harness::{
    COUNTS_SIGNALS, DELETION, STUBBORN, Site, await_some, await_true, events, identify, lives, send, shell,
};

#[test]
fn what_ignores_its_signal_is_killed_after_the_timeout_with_its_children() {
    let site = Site::started();
    site.put("deaf", &shell("[stop]\ntimeout = \"300ms\"", STUBBORN));
    let live = site.running("deaf");
    site.await_output("deaf", "ready");
    let child = site.output("deaf").trim().rsplit(' ').next().and_then(|pid| identify(pid.parse().ok()?));
    let child = child.expect("the workload's own child");
    site.put("deaf", &shell("enabled = false\n[stop]\ntimeout = \"300ms\"", STUBBORN));
    live.await_end();
    await_true("its child ends", || !lives(&child));
    let report = site.await_history("deaf", &live.run);
    assert_eq!((&report["state"], &report["signal"]), (&"killed".into(), &"SIGKILL".into()), "{report:#}");
    assert_eq!((&report["exit_reason"], &report["platform_sla"]), (&"signal".into(), &true.into()));
    assert_eq!(report["platform_sla_reason"], "stopped_on_request");
    assert!(report["duration_sec"].as_f64() >= Some(0.3), "not before its time: {report:#}");
    let said = events(&report);
    assert_eq!(said.iter().filter(|text| text.contains("SIGTERM sent to pid")).count(), 1, "{report:#}");
    // One that takes its time to die may be counted twice.
    assert!(said.iter().any(|text| text.contains("SIGKILL to")), "{report:#}");
}

#[test]
fn a_stop_in_progress_survives_the_supervisor_without_a_signal_too_many_or_too_few() {
    let site = Site::started();
    let text = shell("[stop]\ntimeout = \"20s\"", IDLE_AND_DEAF);
    site.put("deaf", &text);
    let live = site.running("deaf");
    site.await_output("deaf", "ready");
    site.put("deaf", &format!("enabled = false\n{text}"));
    await_true("the signal arrives", || site.terms("deaf") == 1);
    site.kill();
    assert!(site.run_dir("deaf", &live).join("stop.json").exists());
    site.start();
    site.settle();
    assert_eq!(site.status("deaf")["state"], "stopping");
    assert_eq!(site.terms("deaf"), 1, "it is known to have got it");
    site.await_event("deaf", "a second time");
    site.kill();
    site.start();
    live.await_end();
    let report = site.await_history("deaf", &live.run);
    assert_eq!((site.terms("deaf"), &report["signal"]), (2, &"SIGKILL".into()), "{report:#}");
    assert_eq!(report["platform_sla_reason"], "stopped_on_request", "its successor knows who asked");
    assert_eq!(told_twice(&report), 1, "{report:#}");
}

/// It notes its signals, obeys none, and does nothing.
const IDLE_AND_DEAF: &str = "trap 'echo TERM' TERM; sleep 1000 & echo ready; while :; do wait; done";

/// How many events of a report tell of a second signal.
fn told_twice(report: &serde_json::Value) -> usize {
    events(report).iter().filter(|text| text.contains("a second time: no CPU time used")).count()
}

/// Who is told a second time: only who does nothing about the first. Each of them has twelve seconds, so that
/// half of that is long on a slow machine, too.
#[test]
fn only_what_does_nothing_about_its_signal_gets_it_again() {
    let obeys_the_second = "trap 'echo TERM; n=x$n; [ $n = xx ] && exit 255' TERM; sleep 1000 & echo ready
        while :; do wait; done";
    let busy = "trap 'echo TERM' TERM; echo ready; while :; do :; done";
    // Takes longer than half of its time.
    let writes = "trap 'echo TERM; asked=1' TERM; echo ready; until [ $asked ]; do sleep 0.02; done
        for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do echo closing; sleep 0.4; done; exit 255";
    let jobs = [("second", obeys_the_second), ("deaf", IDLE_AND_DEAF), ("busy", busy), ("writes", writes)];
    let site = Site::started();
    let text = |script: &str| shell("[stop]\ntimeout = \"12s\"", script);
    for (job, script) in jobs {
        site.put(job, &text(script));
    }
    let lives = jobs.map(|(job, script)| {
        site.await_output(job, "ready");
        (job, script, site.running(job))
    });
    for (job, script, _) in &lives {
        site.put(job, &format!("enabled = false\n{}", text(script)));
    }
    for (job, _, live) in &lives {
        live.await_end();
        let report = site.await_history(job, &live.run);
        let lasted = until_the_end(&report, "SIGTERM sent to pid");
        let seen = (site.terms(job), told_twice(&report), report["exit_code"].as_u64(), lasted);
        match *job {
            "second" => assert!(matches!(seen, (2, 1, Some(255), 6000..)), "{seen:?} {report:#}"),
            "deaf" => assert!(matches!(seen, (2, 1, None, 12_000..)), "{seen:?} {report:#}"),
            "busy" => assert!(matches!(seen, (1, 0, None, 12_000..)), "{seen:?} {report:#}"),
            _ => assert!(matches!(seen, (1, 0, Some(255), 6400..)), "{seen:?} {report:#}"),
        }
        assert_eq!(report["platform_sla_reason"], "stopped_on_request");
    }
}

/// Milliseconds from the first event that says this to the end of the run.
fn until_the_end(report: &serde_json::Value, text: &str) -> i64 {
    let time = |value: &serde_json::Value| {
        value.as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time").as_millisecond()
    };
    let list = report["events"].as_array().expect("events");
    let said = list.iter().find(|event| event["message"].as_str().is_some_and(|said| said.contains(text)));
    time(&report["ended_at"]) - time(&said.expect("the event")["at"])
}

/// Leaves its parents and its session, as daemons do; obeys its signal.
const DAEMON: &str = "(setsid sh -c 'trap \"echo obeys; exit\" TERM; echo daemon $$
    while :; do sleep 0.05; done' &)\n";

/// The same, and ignores its signal.
const DEAF_DAEMON: &str = "(setsid sh -c 'trap \"\" TERM; echo daemon $$; sleep 1000; :' &)\n";

/// Its time: whoever is to obey has plenty, also on a slow machine.
fn patience(daemon: &str) -> &'static str {
    if daemon == DEAF_DAEMON { "[stop]\ntimeout = \"1s\"" } else { "[stop]\ntimeout = \"30s\"" }
}

/// The daemon that a job has printed the number of.
fn daemon_of(site: &Site, job: &str) -> ProcessIdentity {
    await_some("its daemon", || {
        let output = site.output(job);
        identify(output.lines().find_map(|line| line.strip_prefix("daemon ")?.parse().ok())?)
    })
}

#[test]
fn daemons_are_found_and_end_with_their_job() {
    for backend in ["auto", "none"] {
        let site = Site::new();
        let settings = format!("[cgroup]\nbackend = \"{backend}\"\n");
        fs::write(site.path("supervisor.toml"), settings).expect("written");
        site.start();
        let text = |keys: &str, daemon: &str, main: &str| {
            shell(&format!("{keys}\n{}", patience(daemon)), &format!("{daemon}{main}"))
        };
        site.put("stopped", &text("", DAEMON, "exec sleep 1000"));
        site.put("deaf", &text("", DEAF_DAEMON, "exec sleep 1000"));
        let ends = "until [ -e \"$GO\" ]; do sleep 0.02; done; exit 3";
        let go = site.path("go");
        site.put("ends", &format!("{}env = {{ GO = {go:?} }}\n", text("", DAEMON, ends)));
        let jobs = ["stopped", "deaf", "ends"].map(|job| (job, site.running(job), daemon_of(&site, job)));
        site.put("stopped", &text("enabled = false", DAEMON, "exec sleep 1000"));
        site.put("deaf", &text("enabled = false", DEAF_DAEMON, "exec sleep 1000"));
        fs::write(go, "").expect("written");
        for (job, live, daemon) in &jobs {
            let report = site.await_history(job, &live.run);
            assert!(!lives(daemon), "{backend}: {job}: {report:#}");
            let obeyed = site.output(job).matches("obeys").count();
            assert_eq!(obeyed, usize::from(*job != "deaf"), "{backend}: {job}: one signal, and its time");
        }
    }
}

#[test]
fn what_is_left_of_a_run_without_a_wrapper_gets_its_signal_and_its_time_too() {
    let site = Site::started();
    if site.cgroup_bases().is_empty() {
        let test = "what_is_left_of_a_run_without_a_wrapper_gets_its_signal_and_its_time_too";
        return println!(
            "SKIPPED {test}: no cgroups of version 1 here, and only a cgroup knows what is left"
        );
    }
    let text = |daemon: &str| shell(patience(daemon), &format!("{daemon}exec sleep 1000"));
    site.put("orderly", &text(DAEMON));
    site.put("deaf", &text(DEAF_DAEMON));
    site.put("unseen", &text(DAEMON));
    let jobs = ["orderly", "deaf", "unseen"].map(|job| (job, site.running(job), daemon_of(&site, job)));
    for (job, live, _) in &jobs {
        send(&site.wrapper(job, live), Signal::KILL);
        site.await_event(job, "the wrapper was lost");
    }
    for (job, live, daemon) in &jobs {
        if *job == "unseen" {
            // By any supervisor: the next one finds it.
            site.kill();
        }
        live.signal(Signal::KILL);
        live.await_end();
        if !site.is_supervised() {
            site.start();
        }
        let report = site.await_history(job, &live.run);
        assert!(!lives(daemon), "{job}: {report:#}");
        let said = events(&report).join("\n");
        assert!(said.contains("ended; SIGTERM sent to") && said.contains("that it left behind"), "{said}");
        let killed = said.contains("SIGKILL to");
        let obeyed = site.output(job).matches("obeys").count();
        assert_eq!((killed, obeyed), if *job == "deaf" { (true, 0) } else { (false, 1) }, "{job}: {said}");
    }
}

#[test]
fn a_run_that_takes_longer_than_it_may_is_stopped_for_a_timeout() {
    let site = Site::started();
    site.put("slow", &shell("[stop]\ntimeout = \"60s\"\n[timeouts]\nrun = \"3s\"", COUNTS_SIGNALS));
    let live = site.running("slow");
    let report = site.await_history("slow", &live.run);
    assert_eq!(
        (&report["exit_reason"], &report["platform_sla"]),
        (&"timeout".into(), &true.into()),
        "{report:#}"
    );
    assert_eq!((&report["state"], &report["exit_code"]), (&"killed".into(), &0.into()));
    let seconds = report["duration_sec"].as_f64().expect("seconds");
    assert!(seconds >= 3.0, "{seconds}");
    assert_eq!(site.terms("slow"), 1);
    site.settle();
    assert_eq!(site.runs("slow"), 1);
}

#[test]
fn a_timeout_that_is_set_while_the_job_runs_counts_from_its_start() {
    let site = Site::started();
    site.put("slow", &shell("", "sleep 1000"));
    let live = site.running("slow");
    site.put("slow", &shell("[timeouts]\nrun = \"1ms\"", "sleep 1000"));
    live.await_end();
    assert_eq!(site.await_history("slow", &live.run)["exit_reason"], "timeout");
}

#[test]
fn the_signal_is_the_jobs_own() {
    let site = Site::started();
    let script = "trap 'echo INT; exit 0' INT; echo ready; sleep 1000 & wait";
    site.put("obs", &shell("[stop]\nsignal = \"SIGINT\"\ntimeout = \"5s\"", script));
    let live = site.running("obs");
    site.await_output("obs", "ready");
    fs::remove_file(site.job_file("obs")).expect("removed");
    live.await_end();
    let report = site.await_history("obs", &live.run);
    assert_eq!((&report["state"], &report["exit_code"]), (&"completed".into(), &0.into()), "{report:#}");
    assert_eq!(site.output("obs"), "ready\nINT\n", "what is left of it is ended, too");
}

#[test]
fn a_signal_from_somebody_else_is_no_request_of_ours() {
    let site = Site::started();
    site.put("job", &shell("", "sleep 1000; exit 0"));
    let live = site.running("job");
    live.signal(Signal::TERM);
    let report = site.await_history("job", &live.run);
    assert_eq!((&report["state"], &report["signal"]), (&"killed".into(), &"SIGTERM".into()));
    assert_eq!(report["platform_sla_reason"], "workload_failed");
}

#[test]
fn a_job_that_is_declared_again_while_it_is_being_ended_starts_again() {
    let site = Site::started();
    site.put("job", &shell("", COUNTS_SIGNALS));
    let before = site.running("job");
    site.await_output("job", "ready");
    site.put("job", &format!("enabled = false\n{}", shell("", COUNTS_SIGNALS)));
    await_true("the signal arrives", || site.terms("job") == 1);
    site.put("job", &shell("", COUNTS_SIGNALS));
    site.running_anew("job", &before);
    assert_eq!(site.await_history("job", &before.run)["platform_sla_reason"], "stopped_on_request");
    assert_eq!(site.terms("job"), 1);
}

#[test]
fn what_was_let_go_is_not_ended_by_the_next_supervisor() {
    let site = Site::started();
    site.put("job", &shell("", COUNTS_SIGNALS));
    let live = site.running("job");
    site.await_output("job", "ready");
    // Let go by the very edit that says so.
    site.put("job", &shell("enabled = false\n[stop]\non_remove = \"leave\"", COUNTS_SIGNALS));
    site.await_event("job", "let go");
    site.term();
    site.remove("job");
    site.start();
    std::thread::sleep(DELETION);
    site.settle_by_scan();
    assert!(live.lives(), "{}", site.log());
    assert_eq!(site.terms("job"), 0);
}

/// A live encoder whose file is only readable once it was allowed to end.
fn encoder(output: &std::path::Path) -> String {
    format!(
        "ffmpeg -nostdin -loglevel error -re -f lavfi -i testsrc=size=160x120:rate=25 -pix_fmt yuv420p -y {}",
        output.display()
    )
}

fn is_readable(file: &std::path::Path) -> bool {
    let probe =
        std::process::Command::new("ffprobe").args(["-v", "error", "-show_format"]).arg(file).output();
    probe.expect("ffprobe").status.success()
}

/// Who waits behind a shell or a script never heard the signal that this got; it hears it before SIGKILL.
#[test]
fn what_is_behind_a_shell_may_finish_its_file() {
    let site = Site::started();
    let file = |job: &str| site.path(&format!("{job}.mp4"));
    // A shell that waits for its command does nothing about SIGINT; this script swallows its signal.
    let swallows = |job: &str| {
        format!(
            "exec python3 -c 'import signal, subprocess, sys, time\n\
             signal.signal(signal.SIGTERM, lambda *_: None)\n\
             subprocess.call(sys.argv[1].split())\n\
             time.sleep(1000)' '{}'",
            encoder(&file(job))
        )
    };
    let jobs = [
        ("loop", "SIGINT", format!("while true; do {}; sleep 1000; done", encoder(&file("loop")))),
        ("pipe", "SIGINT", format!("yes | {}; sleep 1000", encoder(&file("pipe")))),
        ("script", "SIGTERM", swallows("script")),
    ];
    let keys = |signal: &str| format!("[stop]\ntimeout = \"9s\"\nsignal = \"{signal}\"");
    let script = |text: &str| text.replace("'''", "");
    let lives: Vec<_> = jobs
        .iter()
        .map(|(job, signal, text)| {
            site.put(job, &shell(&keys(signal), &script(text)));
            (*job, site.running(job))
        })
        .collect();
    for (job, _) in &lives {
        await_true("it encodes", || fs::metadata(file(job)).is_ok_and(|meta| meta.len() > 0));
    }
    lives.iter().for_each(|(job, _)| site.remove(job));
    for (job, live) in &lives {
        live.await_end();
        let report = site.await_history(job, &live.run);
        let said = events(&report);
        let told =
            said.iter().filter(|text| text.contains("sent to what the main process did not end")).count();
        assert_eq!(told, 1, "{report:#}");
        assert!(
            said.iter().any(|text| text.contains("did not end") && text.contains("ffmpeg (pid ")),
            "{report:#}"
        );
        assert!(is_readable(&file(job)), "{job}: {report:#}");
    }
}

/// Those who want systemd's way: nobody waits for a step that comes later.
#[test]
fn everybody_gets_the_signal_at_once_where_that_is_asked_for() {
    let site = Site::started();
    let child = "sh -c 'trap \"echo child; exit\" TERM; echo ready; while :; do sleep 0.02; done'";
    let script = format!("trap '' TERM; {child} & wait; echo main; exit 3");
    let text = shell(
        "[stop]\nsend = \"group\"\ntimeout = \"60s\"",
        &script.replace("trap '' TERM; ", "trap 'echo mine' TERM; "),
    );
    site.put("all", &text);
    let live = site.running("all");
    site.await_output("all", "ready");
    site.remove("all");
    live.await_end();
    site.await_output("all", "child");
    let report = site.await_history("all", &live.run);
    let said = events(&report);
    assert!(said.iter().any(|text| text.contains("more of the job: ")), "{report:#}");
    assert!(!said.iter().any(|text| text.contains("did not end")), "{report:#}");
}

#[test]
fn what_a_job_leaves_behind_is_named_and_a_pipeline_that_follows_is_not() {
    let site = Site::started();
    site.put("leaves", &shell("", "sleep 1000 & exit 3"));
    site.put("pipe", &shell("", "yes | head -n 1"));
    let report = site.await_report("leaves", "its end", |report| report["state"] == "failed");
    let said = events(&report);
    assert!(said.contains(&"1 process left behind: sleep; SIGTERM sent"), "{report:#}");
    assert_eq!(report["exit_code"], 3);
    let report = site.await_report("pipe", "its end", |report| report["state"] == "completed");
    assert!(!events(&report).iter().any(|text| text.contains("left behind")), "{report:#}");
}
