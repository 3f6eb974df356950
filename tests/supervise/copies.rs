//! A state folder that is copied or moved while jobs run, and everything of ours that is killed at once: nothing is
//! doubled, and nobody governs what is another's.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;

use crate::harness::{Live, Site, await_true, events, lives, send, shell, sleeper};

const FAST: &str = "lifecycle = \"continuous\"\n[restart]\ndelay = \"10ms\"";

/// With the cgroups that this machine has, and without.
const BACKENDS: [&str; 2] = ["auto", "none"];

fn use_backend(site: &Site, backend: &str) {
    fs::write(site.path("supervisor.toml"), format!("[cgroup]\nbackend = \"{backend}\"\n")).expect("written");
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp");
    assert!(done.success());
}

/// Every process that carries the mark of a site's state, the topmost of each workload.
fn workloads(site: &Site) -> usize {
    let state = site.path("state");
    ffrtmp::linux::marked::topmost("FFRTMP_STATE", state.to_str().expect("UTF-8")).expect("proc").len()
}

/// That no supervisor begins there, and what it says.
fn refused(site: &Site) -> String {
    let supervise = site.command(&["supervise", "--wrapper", env!("CARGO_BIN_EXE_ffrtmp")]);
    // One that begins would never end.
    let mut limited = Command::new("timeout");
    limited.args(["--kill-after", "5", "30"]).arg(supervise.get_program()).args(supervise.get_args());
    let done = limited.stdin(Stdio::null()).output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert_eq!(done.status.code(), Some(2), "{said}");
    assert!(said.contains("is a copy of"), "{said}");
    said
}

#[test]
fn on_a_copy_of_a_state_in_use_no_supervisor_begins_and_nobody_notices() {
    for backend in BACKENDS {
        let site = Site::new();
        use_backend(&site, backend);
        site.start();
        site.put("live", &shell(FAST, "echo ready; exec sleep 1000"));
        site.put("clip", &sleeper(""));
        let [live, clip] = ["live", "clip"].map(|job| site.running(job));
        site.await_output("live", "ready");

        let other = Site::new();
        use_backend(&other, backend);
        copy(&site.path("state"), &other.path("state"));
        fs::remove_file(other.path("state/supervisor.lock")).expect("removed");
        // It declares one of the jobs otherwise, and the other one not at all: either would be ended.
        other.put("live", &shell(FAST, "exec sleep 2000"));
        let said = refused(&other);
        assert!(said.contains(&format!("its supervisor is pid {}", site.supervisor_pid())), "{said}");
        site.kill();
        assert!(refused(&other).contains("is one of its workloads"));
        for (job, live) in [("live", &live), ("clip", &clip)] {
            site.kill_wrapper(job, live);
        }
        assert!(refused(&other).contains("is one of its workloads"));
        assert_eq!((workloads(&site), workloads(&other)), (2, 0));
        site.start();
        site.settle();
        for (job, live) in [("live", &live), ("clip", &clip)] {
            site.assert_untouched(job, live);
        }

        // A later run, in a cgroup of the same name, of which the copy knows nothing.
        live.signal(Signal::KILL);
        let next = site.running_anew("live", &live);
        assert!(refused(&other).contains("its supervisor is pid"));
        // Without the records it is a root of its own, with a workload of its own.
        fs::remove_dir_all(other.path("state/runs")).expect("removed");
        other.start();
        let own = other.running("live");
        other.remove("live");
        own.await_end();
        site.settle();
        site.assert_untouched("live", &next);
        site.assert_untouched("clip", &clip);
    }
}

#[test]
fn a_cgroup_that_a_copied_record_names_is_left_alone() {
    for backend in BACKENDS {
        let (site, other) = (Site::new(), Site::new());
        use_backend(&site, backend);
        use_backend(&other, backend);
        site.start();
        let (end, stay) = (site.path("end"), site.path("stay"));
        let script = format!(
            "[ -e {} ] && exec sleep 1000; until [ -e {} ]; do sleep 0.02; done; exit 7",
            stay.display(),
            end.display()
        );
        site.put("job", &shell(FAST, &script));
        let first = site.running("job");
        site.kill();
        fs::write(&end, "").expect("written");
        fs::write(&stay, "").expect("written");
        let record = site.run_dir("job", &first).join("exited.json");
        await_true("its wrapper records the end", || record.exists());
        copy(&site.path("state"), &other.path("state"));
        fs::remove_file(other.path("state/supervisor.lock")).expect("removed");
        // Now the job has another run, in the cgroup that the copied record names.
        site.start();
        let next = site.running_anew("job", &first);
        // There the end is not reported yet, and its cgroup not closed.
        other.start();
        other.await_history("job", &first.run);
        other.settle();
        await_true("the record is forgotten", || !other.path("state/runs/job").exists());
        site.settle();
        site.assert_untouched("job", &next);
    }
}

#[test]
fn a_state_that_was_moved_is_taken_over() {
    for wrapper_lives in [true, false] {
        let (site, other) = (Site::started(), Site::new());
        site.put("live", &shell(FAST, "exec sleep 1000"));
        let live = site.running("live");
        site.kill();
        if !wrapper_lives {
            site.kill_wrapper("live", &live);
        }
        fs::rename(site.path("state"), other.path("state")).expect("renamed");
        other.put("live", &shell(FAST, "exec sleep 1000"));
        other.start();
        other.await_log("took over 1 running workload");
        other.settle();
        other.assert_untouched("live", &live);
        other.remove("live");
        live.await_end();
        other.await_history("live", &live.run);
    }
}

/// Everything of ours goes at one moment, and the workloads stay.
fn kill_all(site: &Site, jobs: &[(&str, &Live)]) {
    let wrappers: Vec<ProcessIdentity> = jobs.iter().map(|(job, live)| site.wrapper(job, live)).collect();
    let nursery = site.nursery();
    wrappers.iter().chain([&nursery]).for_each(|process| send(process, Signal::KILL));
    site.kill();
    await_true("all of them are gone", || !wrappers.iter().chain([&nursery]).any(lives));
}

#[test]
fn supervisor_nursery_and_all_wrappers_killed_at_once_double_and_lose_nothing() {
    for backend in BACKENDS {
        let site = Site::new();
        use_backend(&site, backend);
        site.start();
        let go = site.path("go");
        let ends = format!("until [ -e {} ]; do sleep 0.02; done; exit 7", go.display());
        site.put("live", &shell(FAST, "sleep 1000 & wait"));
        site.put("ends", &shell("", &ends));
        site.put("unseen", &shell("", "exec sleep 1000"));
        let [live, ending, unseen] = ["live", "ends", "unseen"].map(|job| site.running(job));
        kill_all(&site, &[("live", &live), ("ends", &ending), ("unseen", &unseen)]);
        assert!([&live, &ending, &unseen].iter().all(|live| live.lives()));
        // One ends while nobody is there.
        unseen.signal(Signal::KILL);
        unseen.await_end();
        site.start();
        site.await_log("took over 2 running workloads");
        let report = site.await_history("unseen", &unseen.run);
        assert!(report["exit_reason"] == "unknown" || report["signal"] == "SIGKILL", "{report:#}");
        site.settle();
        assert_eq!(workloads(&site), 2, "{}", site.log());
        for (job, live) in [("live", &live), ("ends", &ending)] {
            site.assert_untouched(job, live);
            assert!(
                events(&site.report(job).expect("a report")).iter().any(|e| e.contains("wrapper was lost"))
            );
        }
        fs::write(&go, "").expect("written");
        let report = site.await_history("ends", &ending.run);
        assert!(report["exit_reason"] == "unknown" || report["exit_code"] == 7, "{report:#}");
        // What is governed without a wrapper ends as a whole, and is not started again.
        site.remove("live");
        live.await_end();
        site.await_history("live", &live.run);
        await_true("nothing is left of any of them", || workloads(&site) == 0);
        for (job, runs) in [("live", 1), ("ends", 1), ("unseen", 1)] {
            assert_eq!(site.runs(job), runs, "{job}");
        }
    }
}
