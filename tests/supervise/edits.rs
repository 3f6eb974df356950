//! Edits of a job that runs: in place where that can be done, by a restart where it cannot.

use std::fs;

use crate::harness::{
    COUNTS_SIGNALS, Site, await_true, events, nice_of_threads, oom_score_adj, shell, sleeper,
};

/// A process with several threads that is surely here: a supervisor that has nothing to do.
fn threads(site: &Site, keys: &str) -> String {
    let (program, root) = (env!("CARGO_BIN_EXE_ffrtmp-sup"), site.path("inner"));
    fs::create_dir_all(root.join("jobs.d")).expect("made");
    let root = root.display();
    format!("{keys}\n[exec]\ncommand = [\"{program}\", \"--root\", \"{root}\", \"supervise\"]\n")
}

#[test]
fn priorities_change_in_the_kernel_on_every_thread_and_go_back_to_their_defaults() {
    let site = Site::started();
    site.put("job", &threads(&site, "[constraints]\nnice = 3\noom_score_adj = 200"));
    let live = site.running("job");
    site.await_output("job", "supervising");
    assert!(nice_of_threads(live.pid()).len() > 1, "it has several threads");
    let all = |nice| nice_of_threads(live.pid()).iter().all(|of_thread| *of_thread == nice);
    assert!(all(3));
    assert_eq!(oom_score_adj(live.pid()), 200);

    site.put("job", &threads(&site, "[constraints]\nnice = 7\noom_score_adj = 400"));
    await_true("the new values are in force", || all(7) && oom_score_adj(live.pid()) == 400);
    let report = site.await_event("job", "changed in place: constraints.oom_score_adj 200 -> 400");
    let applied = |report: &serde_json::Value, name: &str| {
        let list = report["constraints"].as_array().expect("a list").clone();
        list.into_iter().find(|status| status["name"] == name).unwrap_or_default()
    };
    let nice = applied(&report, "nice");
    assert_eq!(
        (&nice["requested"], &nice["applied"], &nice["actual"]),
        (&"7".into(), &true.into(), &"7".into())
    );
    assert_eq!(applied(&report, "oom_score_adj")["actual"], "400");
    site.assert_untouched("job", &live);

    site.put("job", &threads(&site, ""));
    let report = site.await_event("job", "changed in place: constraints.nice 7 -> unset");
    assert_eq!(oom_score_adj(live.pid()), 0);
    if applied(&report, "nice").is_null() {
        assert!(all(0), "the report has nothing to complain of");
    } else {
        println!("SKIPPED: this user may not give a process its priority back");
    }
    site.assert_untouched("job", &live);
    site.settle();
    site.assert_untouched("job", &live);
}

#[test]
fn everything_but_exec_is_changed_in_place() {
    let site = Site::started();
    site.put("job", &shell("", COUNTS_SIGNALS));
    let live = site.running("job");
    site.await_output("job", "ready");
    let keys = "description = \"d\"\nintent = \"soak\"\nsla_eligible = true\ntags = { a = \"b\" }\n\
        [restart]\npolicy = \"on-failure\"\n[stop]\ntimeout = \"3s\"\non_remove = \"leave\"\n[timeouts]\nrun = \"9h\"";
    site.put("job", &shell(keys, COUNTS_SIGNALS));
    let report = site.await_event("job", "timeouts.run");
    assert_eq!((&report["intent"], &report["tags"]["a"]), (&"soak".into(), &"b".into()), "{report:#}");
    site.settle();
    site.assert_untouched("job", &live);
    assert_eq!(site.terms("job"), 0);
}

#[test]
fn an_edit_of_exec_restarts_with_one_signal() {
    let site = Site::started();
    site.put("job", &shell("[restart]\ndelay = \"50m\"\nmax_delay = \"50m\"", COUNTS_SIGNALS));
    let before = site.running("job");
    site.await_output("job", "ready");
    site.put("job", &sleeper("[restart]\ndelay = \"50m\"\nmax_delay = \"50m\""));
    let after = site.running_anew("job", &before);
    assert!(!before.lives() && after.pid() != before.pid());
    let report = site.await_history("job", &before.run);
    assert_eq!(
        (&report["state"], &report["exit_reason"]),
        (&"completed".into(), &"success".into()),
        "{report:#}"
    );
    assert_eq!(report["platform_sla_reason"], "stopped_on_request");
    assert_eq!((site.terms("job"), site.output("job").matches("bye").count()), (1, 1));
    let report = site.report("job").expect("a report");
    assert_eq!(
        (&report["restarts"], events(&report)[0]),
        (&0.into(), "starting after an edit"),
        "{report:#}"
    );
    site.settle();
    site.assert_untouched("job", &after);
}

#[test]
fn a_second_edit_during_a_stop_sends_no_second_signal_and_the_last_one_counts() {
    let site = Site::started();
    site.put("job", &shell("", COUNTS_SIGNALS));
    let before = site.running("job");
    site.await_output("job", "ready");
    site.put("job", &shell("", "echo second; sleep 1000"));
    await_true("the signal arrives", || site.terms("job") == 1);
    site.put("job", &shell("", "echo third; sleep 1000"));
    site.running_anew("job", &before);
    site.await_output("job", "third");
    assert_eq!(
        (site.terms("job"), site.output("job").contains("second")),
        (1, false),
        "{}",
        site.output("job")
    );
}

#[test]
fn a_profile_changes_all_its_jobs_in_place_and_a_broken_one_none() {
    let site = Site::new();
    site.put_profile("calm", "[constraints]\nnice = 3\n");
    let jobs = ["one", "two"];
    jobs.iter().for_each(|job| site.put(job, &sleeper("profiles = [\"calm\"]")));
    site.put("other", &sleeper(""));
    site.start();
    let live = jobs.map(|job| site.running(job));
    let other = site.running("other");
    let all = |nice: i64| live.iter().all(|live| nice_of_threads(live.pid()) == [nice]);
    assert!(all(3));
    site.put_profile("calm", "[constraints]\nnice = 6\n");
    await_true("both have the new value", || all(6));

    site.put_profile("calm", "[constraints]\nnice = 99\n");
    site.await_log("calm.toml:2:");
    site.settle();
    assert!(all(6), "the last good version stays in force");
    let errors = site.json(&["status", "--json"])["errors"].to_string();
    assert!(errors.contains("calm.toml:2:"), "{errors}");

    site.put_profile("calm", "[constraints]\nnice = 9\n");
    await_true("both have the mended value", || all(9));
    fs::remove_file(site.path("profiles.d/calm.toml")).expect("removed");
    // Its jobs' files are wrong now, and what runs is left alone.
    site.await_log("no profile `calm`");
    site.settle();
    assert!(all(9));
    jobs.iter().zip(&live).for_each(|(job, live)| site.assert_untouched(job, live));
    site.assert_untouched("other", &other);
}

#[test]
fn a_built_in_profile_can_be_replaced() {
    let site = Site::started();
    site.put("job", &sleeper("profiles = [\"low-priority\"]"));
    let live = site.running("job");
    assert_eq!((nice_of_threads(live.pid()), oom_score_adj(live.pid())), (vec![10], 500));
    site.put_profile("low-priority", "[constraints]\nnice = 4\n");
    await_true("the replacement is in force", || nice_of_threads(live.pid()) == [4]);
    await_true("what it does not ask for is taken back", || oom_score_adj(live.pid()) == 0);
    site.assert_untouched("job", &live);
}

#[test]
fn instances_come_and_go_with_the_list() {
    let site = Site::started();
    site.put("ch", &sleeper("instances = [\"a\", \"b\"]"));
    let (a, b) = (site.running("ch@a"), site.running("ch@b"));
    site.put("ch", &sleeper("instances = [\"b\", \"c\"]"));
    site.running("ch@c");
    a.await_end();
    assert_eq!(site.await_history("ch@a", &a.run)["platform_sla_reason"], "stopped_on_request");
    site.settle();
    site.assert_untouched("ch@b", &b);
}
