//! Supervisors come and go, workloads stay: what the next one finds, and what it makes of it.

use std::fs;
use std::process::{Command, Stdio};

use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;
use serde_json::Value;

use crate::harness::{
    COUNTS_SIGNALS, Live, Site, await_true, events, identify, lives, names, nice_of_threads, shell, sleeper,
};

/// Ends a run's processes while no supervisor runs, its wrapper first, so that nobody records an exit.
fn end_unseen(site: &Site, job: &str, live: &Live) {
    site.kill_wrapper(job, live);
    live.signal(Signal::KILL);
    live.await_end();
}

#[test]
fn workloads_outlive_supervisors_and_the_next_one_takes_them_over() {
    let site = Site::started();
    site.put("job", &shell("lifecycle = \"continuous\"", COUNTS_SIGNALS));
    let live = site.running("job");
    site.await_output("job", "ready");
    let before = site.report("job").expect("a report");
    for signal in [Signal::TERM, Signal::KILL, Signal::from_number(libc::SIGINT).expect("a signal")] {
        let ended = site.end_supervisor(signal);
        assert_eq!(ended.code(), (signal != Signal::KILL).then_some(0), "{signal}");
        assert!(live.lives(), "{signal}");
        let alone = site.json(&["status", "--json"]);
        assert_eq!((&alone["supervisor_pid"], &alone["jobs"][0]["state"]), (&Value::Null, &"running".into()));
        let pid = site.start();
        site.await_log("took over 1 running workload");
        site.settle();
        site.assert_untouched("job", &live);
        assert_eq!(site.json(&["status", "--json"])["supervisor_pid"], pid);
    }
    let after = site.report("job").expect("a report");
    assert_eq!((&after["events"], &after["started_at"]), (&before["events"], &before["started_at"]));
    assert_eq!((site.runs("job"), site.terms("job")), (1, 0));
    live.signal(Signal::KILL);
    let report = site.await_history("job", &live.run);
    assert_eq!((&report["signal"], &report["platform_sla"]), (&"SIGKILL".into(), &true.into()), "{report:#}");
}

#[test]
fn an_exit_while_no_supervisor_ran_is_reported_by_the_next() {
    let site = Site::started();
    let go = |code: i32| format!("until [ -e {}/go ]; do sleep 0.02; done; exit {code}", site.root.display());
    site.put("good", &shell("", &go(0)));
    site.put("bad", &shell("", &go(5)));
    site.put("live", &shell("lifecycle = \"continuous\"\n[restart]\ndelay = \"10ms\"", &go(6)));
    let live = ["good", "bad", "live"].map(|job| site.running(job));
    site.kill();
    fs::write(site.path("go"), "").expect("written");
    live.iter().for_each(Live::await_end);
    fs::remove_file(site.path("go")).expect("removed");
    assert!(site.history("good").is_empty(), "nobody is there to report");
    site.start();
    for ((job, live), code) in ["good", "bad", "live"].iter().zip(&live).zip([0, 5, 6]) {
        let report = site.await_history(job, &live.run);
        assert_eq!(
            (&report["exit_code"], &report["platform_sla"]),
            (&code.into(), &true.into()),
            "{report:#}"
        );
        assert!(report["usage"]["cpu_sec"].is_number(), "{report:#}");
    }
    site.running_anew("live", &live[2]);
    site.settle();
    assert_eq!((site.runs("good"), site.runs("bad")), (1, 1), "a oneshot is not run twice");
}

#[test]
fn what_was_edited_meanwhile_is_put_right_on_take_over() {
    let site = Site::started();
    for job in ["edited", "reniced", "removed", "disabled", "exec"] {
        site.put(job, &sleeper("[constraints]\nnice = 1"));
    }
    let [edited, reniced, removed, disabled, exec] =
        ["edited", "reniced", "removed", "disabled", "exec"].map(|job| site.running(job));
    site.term();
    site.put("edited", &sleeper("[constraints]\nnice = 5"));
    site.remove("removed");
    site.put("disabled", &sleeper("enabled = false"));
    site.put("exec", &shell("", "sleep 1000; exit 0"));
    // Somebody else changed what the job asks for: that is put right as well.
    let renice = Command::new("renice").args(["-n", "9", "-p", &reniced.pid().to_string()]).output();
    assert!(renice.is_ok_and(|output| output.status.success()));
    site.start();
    await_true("the edit is in force", || nice_of_threads(edited.pid()) == [5]);
    if nix::unistd::geteuid().is_root() {
        await_true("what is declared is in force", || nice_of_threads(reniced.pid()) == [1]);
    } else {
        println!("SKIPPED: only root can give a process its priority back");
    }
    disabled.await_end();
    site.running_anew("exec", &exec);
    removed.await_end();
    assert_eq!(site.await_history("removed", &removed.run)["platform_sla_reason"], "stopped_on_request");
    site.settle();
    site.assert_untouched("edited", &edited);
    site.assert_untouched("reniced", &reniced);
}

#[test]
fn a_report_tells_of_earlier_edits_also_after_a_take_over() {
    let site = Site::started();
    site.put("job", &sleeper("[constraints]\nnice = 1\noom_score_adj = 100"));
    let live = site.running("job");
    site.put("job", &sleeper("[constraints]\nnice = 5"));
    let edited = site.await_report("job", "the edit", |report| report["constraints"][0]["actual"] == "5");
    assert_eq!(edited["constraints"].as_array().map(Vec::len), Some(1), "{edited:#}");
    site.kill();
    site.start();
    site.await_log("took over 1 running workload");
    site.settle();
    site.assert_untouched("job", &live);
    assert_eq!(site.report("job"), Some(edited));
}

#[test]
fn a_second_supervisor_is_refused_with_the_firsts_pid() {
    let site = Site::started();
    site.put("job", &sleeper(""));
    let live = site.running("job");
    let wrapper = env!("CARGO_BIN_EXE_ffrtmp");
    let refused = site.run(&["supervise", "--wrapper", wrapper]);
    assert_eq!(refused.status.code(), Some(2));
    let text = String::from_utf8(refused.stderr).expect("text");
    assert!(text.contains(&format!("(pid {})", site.supervisor_pid())), "{text}");
    site.settle();
    site.assert_untouched("job", &live);
}

#[test]
fn a_run_that_was_recorded_and_never_began_is_started() {
    let site = Site::started();
    site.put("job", &sleeper(""));
    let live = site.running("job");
    site.kill();
    end_unseen(&site, "job", &live);
    // As after a crash between the record and the start of the wrapper.
    fs::remove_file(site.run_dir("job", &live).join("started.json")).expect("removed");
    fs::remove_file(site.path("state/reports/job.json")).expect("removed");
    site.start();
    let after = site.running_anew("job", &live);
    assert_ne!(after.pid(), live.pid());
    await_true("what never began leaves nothing", || !site.run_dir("job", &live).exists());
    assert!(site.history("job").is_empty());
}

#[test]
fn a_run_that_was_half_removed_is_no_run_although_its_report_names_it() {
    let site = Site::started();
    site.put("job", &sleeper(""));
    let live = site.running("job");
    site.kill();
    end_unseen(&site, "job", &live);
    // As a supervisor leaves it that was killed while it removed the run of a job that was not declared any more.
    for record in ["spec.json", "started.json"] {
        fs::remove_file(site.run_dir("job", &live).join(record)).expect("removed");
    }
    site.start();
    let after = site.running_anew("job", &live);
    assert_ne!(after.pid(), live.pid());
    await_true("nothing of it is left", || !site.run_dir("job", &live).exists());
}

#[test]
fn a_run_of_an_earlier_boot_is_unknown_and_a_continuous_job_goes_on() {
    let site = Site::started();
    site.put("live", &sleeper("lifecycle = \"continuous\"\n[restart]\ndelay = \"50m\"\nmax_delay = \"50m\""));
    site.put("clip", &sleeper(""));
    let lives = ["live", "clip"].map(|job| (job, site.running(job)));
    site.kill();
    // The machine was started anew: the processes are gone, and the records name another boot.
    for (job, live) in &lives {
        end_unseen(&site, job, live);
        let mut spec = site.record(job, live, "spec.json");
        spec["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
        site.write_record(job, live, "spec.json", &spec);
        let mut started = site.record(job, live, "started.json");
        for who in ["process", "wrapper"] {
            started[who]["boot_id"] = spec["boot_id"].clone();
        }
        site.write_record(job, live, "started.json", &started);
    }
    site.start();
    for (job, live) in &lives {
        let report = site.await_history(job, &live.run);
        assert_eq!(
            (&report["state"], &report["exit_reason"]),
            (&"unknown".into(), &"unknown".into()),
            "{report:#}"
        );
        assert_eq!((&report["exit_code"], &report["duration_sec"]), (&Value::Null, &Value::Null));
        assert_eq!(report["platform_sla"], false);
        assert_eq!(report["platform_sla_reason"], "host_rebooted");
    }
    site.running_anew("live", &lives[0].1);
    site.settle();
    assert_eq!(site.runs("clip"), 1, "whether it had completed, nobody knows");
}

#[test]
fn whoever_has_a_workloads_number_now_is_left_alone() {
    let site = Site::started();
    site.put("job", &sleeper(""));
    let live = site.running("job");
    site.kill();
    end_unseen(&site, "job", &live);
    let mut stranger = Command::new("/bin/sleep").arg("1000").spawn().expect("it starts");
    let mut started = site.record("job", &live, "started.json");
    for who in ["process", "wrapper"] {
        started[who]["pid"] = stranger.id().into();
    }
    site.write_record("job", &live, "started.json", &started);
    // Everything that leads to a signal: an edit of exec, a removal, a timeout.
    site.put("job", &shell("[stop]\ntimeout = \"1ms\"\n[timeouts]\nrun = \"1ms\"", "exit 0"));
    site.start();
    let report = site.await_history("job", &live.run);
    assert_eq!(
        (&report["exit_reason"], &report["platform_sla"]),
        (&"unknown".into(), &false.into()),
        "{report:#}"
    );
    await_true("the edited job runs", || site.runs("job") > 1);
    site.remove("job");
    std::thread::sleep(crate::harness::DELETION);
    site.settle_by_scan();
    let unharmed = identify(stranger.id()).is_some_and(|stranger| lives(&stranger));
    stranger.kill().expect("our child");
    stranger.wait().expect("our child");
    assert!(unharmed, "{}", site.log());
}

#[test]
fn the_first_event_of_a_run_and_its_edits_are_kept_over_a_take_over() {
    let site = Site::started();
    site.put("job", &sleeper("[constraints]\nnice = 1"));
    site.running("job");
    site.put("job", &sleeper("[constraints]\nnice = 2"));
    site.await_event("job", "changed in place: constraints.nice 1 -> 2");
    site.kill();
    site.start();
    site.put("job", &sleeper("[constraints]\nnice = 3"));
    let report = site.await_event("job", "changed in place: constraints.nice 2 -> 3");
    let said = events(&report);
    assert_eq!(said[0], "starting");
    assert_eq!(said.iter().filter(|text| text.starts_with("running, pid")).count(), 1, "{report:#}");
    assert!(said.contains(&"changed in place: constraints.nice 1 -> 2"), "{report:#}");
}

#[test]
fn a_supervisor_that_is_killed_again_and_again_neither_doubles_nor_loses_a_job() {
    let site = Site::new();
    let jobs: Vec<String> = (0..12).map(|n| format!("job-{n}")).collect();
    jobs.iter().for_each(|job| site.put(job, &shell("", "echo $$; exec sleep 1000")));
    for pause in [0, 2, 5, 9, 14, 20, 30, 45] {
        site.start();
        std::thread::sleep(std::time::Duration::from_millis(pause));
        site.kill();
    }
    site.start();
    for job in &jobs {
        let live = site.running(job);
        // It is recorded before its first instruction.
        site.await_output(job, &format!("{}\n", live.pid()));
        let begun = site.output(job);
        let living: Vec<u32> = begun
            .lines()
            .filter_map(|pid| identify(pid.parse().ok()?).filter(lives))
            .map(|process| process.pid.as_raw().unsigned_abs())
            .collect();
        assert_eq!(living, [live.pid()], "of {begun:?}");
        assert_eq!(begun.lines().count(), 1, "{job} was started twice: {begun:?}");
    }
}

/// Records as another boot of some machine left them: of a process that has this number and this start time
/// here, too, for which nobody is to blame.
fn of_another_boot(site: &Site, job: &str, live: &Live, stranger: &ProcessIdentity) {
    let boot = "00000000-0000-0000-0000-000000000000";
    let mut spec = site.record(job, live, "spec.json");
    spec["boot_id"] = boot.into();
    site.write_record(job, live, "spec.json", &spec);
    let mut started = site.record(job, live, "started.json");
    for who in ["process", "wrapper"] {
        started[who] = serde_json::to_value(stranger).expect("JSON");
        started[who]["boot_id"] = boot.into();
    }
    site.write_record(job, live, "started.json", &started);
}

#[test]
fn what_another_boot_or_another_machine_left_is_never_matched_with_what_runs_here() {
    let site = Site::started();
    let keys = "lifecycle = \"continuous\"\n[restart]\ndelay = \"10ms\"\n[stop]\ntimeout = \"1ms\"";
    let jobs = ["restored", "foreign", "edited"];
    jobs.iter().for_each(|job| site.put(job, &sleeper(keys)));
    let live_before = jobs.map(|job| site.running(job));
    site.kill();
    let mut stranger =
        Command::new("/bin/sleep").arg("1000").stdout(Stdio::null()).spawn().expect("it starts");
    let identity = identify(stranger.id()).expect("our child");
    for (job, live) in jobs.iter().zip(&live_before) {
        end_unseen(&site, job, live);
        of_another_boot(&site, job, live, &identity);
    }
    // Of one there is no file here, and the other one's asks for a restart, so for a stop of what runs.
    site.remove("foreign");
    site.put("edited", &shell(keys, "exec sleep 2000"));
    site.start();
    for (job, live) in jobs.iter().zip(&live_before) {
        let report = site.await_history(job, &live.run);
        assert_eq!((&report["state"], &report["exit_code"]), (&"unknown".into(), &Value::Null), "{report:#}");
        assert_eq!(report["platform_sla_reason"], "host_rebooted");
        assert!(!events(&report).iter().any(|text| text.contains("sent to pid")), "{report:#}");
    }
    for (job, live) in [("restored", &live_before[0]), ("edited", &live_before[2])] {
        site.running_anew(job, live);
    }
    std::thread::sleep(crate::harness::DELETION);
    site.settle_by_scan();
    let unharmed = lives(&identity);
    stranger.kill().expect("our child");
    stranger.wait().expect("our child");
    assert!(unharmed, "{}", site.log());
    // Each once, and what nobody declares not at all.
    assert_eq!(["restored", "foreign", "edited"].map(|job| site.runs(job)), [2, 1, 2], "{}", site.log());
    assert!(!site.path("state/runs/foreign").exists(), "nothing is kept of a job that nobody declares");
}

#[test]
fn a_wall_clock_that_was_set_back_changes_neither_what_runs_nor_what_is_newest() {
    let site = Site::started();
    fs::write(site.path("supervisor.toml"), "[reports]\nkeep = 2\n").expect("written");
    let keys = "lifecycle = \"continuous\"\n[restart]\ndelay = \"10ms\"";
    site.put("live", &sleeper(keys));
    site.put("done", &shell("", "exit 3"));
    let live = site.running("live");
    site.await_state("done", "failed");
    site.kill();
    // All that was recorded was recorded ten years from now.
    let later = |record: &mut Value, at: &str| record[at]["wall"] = "2036-01-01T00:00:00.000Z".into();
    for (name, at) in [("spec.json", "created"), ("started.json", "at")] {
        let mut record = site.record("live", &live, name);
        later(&mut record, at);
        site.write_record("live", &live, name, &record);
    }
    // The one that ended has its name from that time, too, and so have the reports of those before.
    let old = names(&site.path("state/runs/done")).pop().expect("a run");
    let future = "1e48a7a1800-00000001";
    let (runs, history) = (site.path("state/runs/done"), site.path("state/reports/history/done"));
    fs::rename(runs.join(&old), runs.join(future)).expect("renamed");
    for name in ["spec.json", "started.json", "exited.json"] {
        let path = runs.join(future).join(name);
        let mut record: Value = serde_json::from_slice(&fs::read(&path).expect("read")).expect("JSON");
        record["run_id"] = future.into();
        fs::write(&path, record.to_string()).expect("written");
    }
    for before in ["1e48a7a1700-00000001.json", "1e48a7a1800-00000001.json"] {
        fs::copy(history.join(format!("{old}.json")), history.join(before)).expect("copied");
    }
    site.start();
    site.await_log("took over 1 running workload");
    site.settle();
    site.assert_untouched("live", &live);
    // It goes on from there: the next run is the newer one, and its report is not the one to go.
    site.put("done", &shell("", "exit 4"));
    let report = site.await_report("done", "the next run", |report| report["exit_code"] == 4);
    let next = report["run_id"].as_str().expect("a run").to_owned();
    assert!(next.as_str() > future, "{next}");
    site.await_history("done", &next);
    live.signal(Signal::KILL);
    let report = site.await_history("live", &live.run);
    let lasted = report["duration_sec"].as_f64().expect("seconds");
    assert!((0.0..60.0).contains(&lasted), "by the clock that does not jump: {lasted}");
    site.running_anew("live", &live);
    site.settle();
    assert_eq!(site.runs("live"), 2);
    assert_eq!(site.history("done"), ["1e48a7a1800-00000001", next.as_str()]);
}

#[test]
fn what_a_lost_wrapper_would_have_ended_is_ended_without_a_cgroup_too() {
    let site = Site::new();
    fs::write(site.path("supervisor.toml"), "[cgroup]\nbackend = \"none\"\n").expect("written");
    site.start();
    site.put("job", &shell("", "sleep 1000 & echo child $! .; wait"));
    let live = site.running("job");
    site.await_output("job", " .");
    let output = site.output("job");
    let child = output.split(' ').nth(1).and_then(|pid| identify(pid.parse().ok()?)).expect("a child");
    end_unseen(&site, "job", &live);
    site.await_history("job", &live.run);
    await_true("the child is ended", || !lives(&child));
}
