//! Records that are gone while workloads run: nothing is started twice, and no end is lost.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;
use serde_json::Value;

use crate::harness::{Live, Site, await_some, await_true, events, identify, lives, send, shell};

const FAST: &str = "lifecycle = \"continuous\"\n[restart]\ndelay = \"10ms\"";

/// Every process of this site's jobs that leads one: what tells a double.
fn copies(site: &Site, job: &str) -> Vec<u32> {
    let marked = ffrtmp::linux::marked::topmost("FFRTMP_STATE", site.path("state").to_str().expect("UTF-8"));
    let of_job =
        marked.expect("proc").into_iter().filter(|marked| marked.variable("FFRTMP_JOB") == Some(job));
    of_job.map(|marked| marked.process.pid.as_raw().unsigned_abs()).collect()
}

fn adopted(report: &Value) -> bool {
    events(report).iter().any(|event| event.contains("adopted"))
}

/// The state folder is deleted and the supervisor killed; `also` does more.
fn state_is_lost(also: impl Fn(&Site, &Live)) {
    let site = Site::started();
    site.put("live", &shell(FAST, "echo ready; exec sleep 1000"));
    let live = site.running("live");
    site.await_output("live", "ready");
    site.kill();
    also(&site, &live);
    fs::remove_dir_all(site.path("state")).expect("removed");
    site.start();
    let report = site.await_report("live", "its adoption", adopted);
    assert_eq!((&report["pid"], &report["state"]), (&live.pid().into(), &"running".into()), "{report:#}");
    assert_eq!(report["run_id"], live.run, "it is the same run");
    assert!(report["usage"]["cpu_sec"].is_null(), "nobody saw what it used: {report:#}");
    site.settle();
    assert_eq!(copies(&site, "live"), [live.pid()], "{}", site.log());
    // It is governed like any other: over the next supervisor, at its end, and after it.
    site.kill();
    site.start();
    site.settle();
    assert_eq!(copies(&site, "live"), [live.pid()]);
    live.signal(Signal::KILL);
    let report = site.await_history("live", &live.run);
    assert!(adopted(&report), "{report:#}");
    let next = await_some("it starts again", || {
        let report = site.report("live").filter(|report| report["run_id"] != live.run)?;
        identify(report["pid"].as_u64()?.try_into().ok()?)
    });
    assert_eq!(copies(&site, "live"), [next.pid.as_raw().unsigned_abs()]);
}

#[test]
fn a_deleted_state_folder_starts_nothing_twice() {
    state_is_lost(|_, _| ());
}

#[test]
fn a_deleted_state_folder_and_dead_wrappers_start_nothing_twice() {
    state_is_lost(|site, live| site.kill_wrapper("live", live));
}

#[test]
fn what_a_cleaner_removed_is_made_again_and_the_end_is_reported() {
    let site = Site::started();
    let go = site.path("go");
    let script = format!("until [ -e {} ]; do sleep 0.02; done; exit 7", go.display());
    site.put("job", &shell("", &script));
    let live = site.running("job");
    for folder in ["state/reports", "run"] {
        fs::remove_dir_all(site.path(folder)).expect("removed");
    }
    fs::write(&go, "").expect("written");
    let report = site.await_report("job", "its end", |report| report["state"] == "failed");
    assert_eq!(
        (&report["exit_code"], &report["run_id"]),
        (&7.into(), &live.run.as_str().into()),
        "{report:#}"
    );
    assert_eq!(site.await_history("job", &live.run)["exit_code"], 7);
}

#[test]
fn a_deleted_lock_is_made_again_before_another_supervisor_can_take_it() {
    let site = Site::started();
    let lock = site.path("state/supervisor.lock");
    fs::remove_file(&lock).expect("removed");
    // A start is enough for it to be noticed.
    site.put("job", &shell("", "exec sleep 1000"));
    let live = site.running("job");
    await_true("the lock is there again", || lock.exists());
    let second = site.run(&["supervise"]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && said.contains("another supervisor"), "{said}");
    assert!(live.lives());
}

/// Ends with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that says it is a job of this site.
struct Impostor(Ended);

impl Impostor {
    fn new(state: &Path, uid: u32) -> Self {
        let mut sleep = Command::new("/bin/sleep");
        sleep.arg("1000").env("FFRTMP_STATE", state).env("FFRTMP_JOB", "job").env("FFRTMP_RUN_ID", "x");
        Self(Ended(sleep.uid(uid).stdin(Stdio::null()).spawn().expect("sleep")))
    }
}

#[test]
fn a_process_of_another_user_is_no_workload_of_ours_whatever_it_says() {
    if !nix::unistd::Uid::effective().is_root() {
        println!("SKIPPED a process of another user: needs root");
        return;
    }
    let site = Site::new();
    let impostor = Impostor::new(&site.path("state"), 65534);
    await_true("it says so", || copies(&site, "job") == [impostor.0.0.id()]);
    site.start();
    site.put("job", &shell("", "exec sleep 1000"));
    assert_ne!(site.running("job").pid(), impostor.0.0.id());
}

#[test]
fn a_state_folder_that_goes_under_a_supervisor_costs_no_end_and_no_start() {
    for wrapper_lives in [true, false] {
        let site = Site::started();
        let go = site.path("go");
        let script = format!("until [ -e {} ]; do sleep 0.02; done; exit 7", go.display());
        site.put("live", &shell(FAST, &script));
        site.put("clip", &shell("", &script));
        let [live, clip] = ["live", "clip"].map(|job| site.running(job));
        let wrapper = site.wrapper("live", &live);
        fs::remove_dir_all(site.path("state")).expect("removed");
        if !wrapper_lives {
            send(&wrapper, Signal::KILL);
            await_true("the wrapper is gone", || !lives(&wrapper));
        }
        // Everything is looked at, and nothing is started beside what runs.
        site.settle_by_scan();
        for (job, run) in [("live", &live), ("clip", &clip)] {
            assert_eq!(copies(&site, job), [run.pid()], "{}", site.log());
        }
        fs::write(&go, "").expect("written");
        for (job, run) in [("live", &live), ("clip", &clip)] {
            let report = site.await_history(job, &run.run);
            let told = report["exit_code"] == 7 || (!wrapper_lives && report["state"] == "unknown");
            assert!(told, "{report:#}");
        }
        fs::remove_file(&go).expect("removed");
        let next = site.running_anew("live", &live);
        site.settle();
        assert_eq!(copies(&site, "live"), [next.pid()]);
        assert!(copies(&site, "clip").is_empty(), "a oneshot that ended is not run twice");
    }
}

#[test]
fn a_second_supervisor_is_refused_also_right_after_the_lock_was_deleted() {
    let site = Site::started();
    site.put("job", &shell("", "exec sleep 1000"));
    let live = site.running("job");
    site.settle();
    fs::remove_file(site.path("state/supervisor.lock")).expect("removed");
    let second = site.run(&["supervise", "--wrapper", env!("CARGO_BIN_EXE_ffrtmp")]);
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(second.status.code() == Some(2) && said.contains("another supervisor"), "{said}");
    site.settle();
    site.assert_untouched("job", &live);
}

#[test]
fn of_two_supervisors_on_a_state_that_was_deleted_the_first_leaves_before_it_signals() {
    let site = Site::started();
    site.put("job", &shell(FAST, "echo ready; exec sleep 1000"));
    let live = site.running("job");
    site.await_output("job", "ready");
    site.settle();
    fs::remove_dir_all(site.path("state")).expect("removed");
    let said = site.path("second.log");
    let mut second = site.command(&["supervise", "--wrapper", env!("CARGO_BIN_EXE_ffrtmp")]);
    let second = Ended(second.stderr(fs::File::create(&said).expect("made")).spawn().expect("it starts"));
    let says = |text: &str| fs::read_to_string(&said).unwrap_or_default().contains(text);
    await_true("the second adopts what runs", || says("adopted"));
    assert!(live.lives());
    // Both see this, and either would end the run for it.
    site.put("job", &shell(FAST, "exec sleep 2000"));
    let next = site.running_anew("job", &live);
    site.await_log("this one leaves");
    assert_eq!(site.said("sent to pid"), 0, "ffmpeg drops its output at the second: {}", site.log());
    assert!(says("sent to pid"));
    assert_eq!(copies(&site, "job"), [next.pid()]);
    drop(second);
}

#[test]
fn a_root_is_the_same_by_whatever_path_it_is_reached() {
    let site = Site::new();
    let link = site.path("link");
    std::os::unix::fs::symlink(&site.root, &link).expect("linked");
    site.start_in(Path::new("/"), &link, &[]);
    site.put("live", &shell(FAST, "exec sleep 1000"));
    let live = site.running("live");
    site.kill();
    fs::remove_dir_all(site.path("state")).expect("removed");
    site.start();
    let report = site.await_report("live", "its adoption", adopted);
    assert_eq!(report["pid"], live.pid());
}

/// A run that ended, was followed by another, and has left a process in a session of its own.
fn with_an_escaped_process(site: &Site) -> (Live, ProcessIdentity) {
    fs::write(site.path("supervisor.toml"), "[cgroup]\nbackend = \"none\"\n").expect("written");
    site.start();
    let once = site.path("once");
    // Only the first run has one.
    let script = format!("mkdir {} && {{ setsid sleep 1000 & echo $! .; }}; exec sleep 2000", once.display());
    site.put("live", &shell(FAST, &script));
    let first = site.running("live");
    site.await_output("live", " .");
    let escaped = site.output("live").split(' ').next().and_then(|pid| identify(pid.parse().ok()?));
    let escaped = escaped.expect("a child");
    await_true("it has a session of its own", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", escaped.pid)).expect("proc");
        stat.split(' ').nth(5) == Some(&escaped.pid.to_string())
    });
    site.kill_wrapper("live", &first);
    first.signal(Signal::KILL);
    site.await_history("live", &first.run);
    let second = site.running_anew("live", &first);
    assert!(lives(&escaped), "nothing finds it");
    (second, escaped)
}

#[test]
fn what_escaped_from_an_earlier_run_is_not_taken_for_the_job() {
    let site = Site::new();
    let (second, escaped) = with_an_escaped_process(&site);
    site.kill();
    site.start();
    site.await_log("took over 1 running workload");
    second.signal(Signal::KILL);
    let third = site.running_anew("live", &second);
    assert_ne!(third.process, escaped, "{}", site.log());
    send(&escaped, Signal::KILL);
}

#[test]
fn of_two_runs_without_records_the_later_one_is_the_job() {
    let site = Site::new();
    let (second, escaped) = with_an_escaped_process(&site);
    site.kill();
    fs::remove_dir_all(site.path("state")).expect("removed");
    site.start();
    let report = site.await_report("live", "its adoption", adopted);
    assert_eq!(report["pid"], second.pid());
    send(&escaped, Signal::KILL);
}
