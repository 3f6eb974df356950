//! Records that are gone while workloads run: nothing is started twice, and no end is lost.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ffrtmp::model::signal::Signal;
use serde_json::Value;

use crate::harness::{Live, Site, await_some, await_true, events, identify, shell};

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

/// A process that says it is a job of this site.
struct Impostor(Child);

impl Impostor {
    fn new(state: &Path, uid: u32) -> Self {
        let mut sleep = Command::new("/bin/sleep");
        sleep.arg("1000").env("FFRTMP_STATE", state).env("FFRTMP_JOB", "job").env("FFRTMP_RUN_ID", "x");
        Self(sleep.uid(uid).stdin(Stdio::null()).spawn().expect("sleep"))
    }
}

impl Drop for Impostor {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
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
    await_true("it says so", || copies(&site, "job") == [impostor.0.id()]);
    site.start();
    site.put("job", &shell("", "exec sleep 1000"));
    assert_ne!(site.running("job").pid(), impostor.0.id());
}
