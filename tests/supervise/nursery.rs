//! The process that wrappers are forked from: whatever becomes of it, nothing is lost and nothing runs twice.

use std::fs;

use ffrtmp::model::signal::Signal;
use serde_json::json;

use super::harness::{Site, identify, lives, names, send, shell, sleeper};
use super::wait::await_true;

#[test]
fn a_forked_wrapper_shows_itself_as_what_it_is() {
    let site = Site::started();
    site.put("a", &sleeper(""));
    let live = site.running("a");
    let wrapper = site.wrapper("a", &live);
    let run = site.run_dir("a", &live);
    let line = fs::read_to_string(format!("/proc/{}/cmdline", wrapper.pid)).expect("it lives");
    let line = line.trim_end_matches('\0');
    assert_eq!(line, format!("ffrtmp\0detached\0--run-dir\0{}", run.display()));
    let status = fs::read_to_string(format!("/proc/{}/status", wrapper.pid)).expect("it lives");
    assert!(status.contains(&format!("PPid:\t{}\n", site.nursery().pid)), "{status}");
    // It holds the lock, and nothing of the nursery's or of another run.
    let open: Vec<String> = names(format!("/proc/{}/fd", wrapper.pid).as_ref())
        .into_iter()
        .filter_map(|fd| fs::read_link(format!("/proc/{}/fd/{fd}", wrapper.pid)).ok())
        .map(|target| target.display().to_string())
        .filter(|target| target != "/dev/null")
        .collect();
    assert_eq!(open, [run.join("wrapper.lock").display().to_string()]);
    site.term();
}

#[test]
fn its_death_ends_nobody_and_the_next_start_has_a_new_one() {
    let site = Site::started();
    let go = site.path("go");
    let script = format!("until [ -e {} ]; do sleep 0.02; done; exit 7", go.display());
    site.put("a", &shell("", &script));
    let live = site.running("a");
    let (nursery, wrapper) = (site.nursery(), site.wrapper("a", &live));
    send(&nursery, Signal::KILL);
    await_true("it is gone", || !lives(&nursery));
    site.put("b", &sleeper(""));
    site.running("b");
    assert_ne!(site.nursery(), nursery);
    site.assert_untouched("a", &live);
    assert!(lives(&wrapper));
    fs::write(&go, "").expect("written");
    let report = site.await_state("a", "failed");
    assert_eq!(
        (&report["exit_code"], &report["exit_observed_by"]),
        (&json!(7), &json!("parent")),
        "{report:#}"
    );
    site.term();
}

#[test]
fn one_that_is_stopped_is_replaced_and_what_it_was_asked_for_is_started_once() {
    let site = Site::started();
    site.put("a", &sleeper(""));
    let live = site.running("a");
    let nursery = site.nursery();
    send(&nursery, Signal::from_number(libc::SIGSTOP).expect("a signal"));
    site.put("b", &sleeper(""));
    // Nothing was started, so the start is owed: as with any shortage of the host.
    site.running("b");
    assert_eq!(site.runs("b"), 1);
    await_true("it is gone", || !lives(&nursery));
    site.assert_untouched("a", &live);
    site.term();
}

#[test]
fn it_ends_with_its_supervisor_and_the_wrappers_do_not() {
    let site = Site::started();
    site.put("a", &sleeper(""));
    let live = site.running("a");
    let (nursery, wrapper) = (site.nursery(), site.wrapper("a", &live));
    site.kill();
    await_true("it is gone", || !lives(&nursery));
    assert!(lives(&wrapper) && live.lives());
    site.start();
    site.assert_untouched("a", &live);
    // A successor that starts nothing needs none.
    let supervisor = site.supervisor_pid();
    let children =
        fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).expect("children");
    assert_eq!(
        children.trim(),
        "",
        "{:?}",
        children.split_whitespace().map(|pid| identify(pid.parse().expect("a pid"))).collect::<Vec<_>>()
    );
    site.term();
}
