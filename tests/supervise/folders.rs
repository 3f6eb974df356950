//! The folders themselves: missing, late, replaced, retargeted. Whatever happens to them, jobs run on.

use std::fs;
use std::os::unix::fs::symlink;

use crate::harness::{COUNTS_SIGNALS, DELETION, Live, Site, await_true, nice_of_threads, shell, sleeper};

fn job(nice: i32) -> String {
    shell(&format!("[constraints]\nnice = {nice}"), COUNTS_SIGNALS)
}

fn begin(site: &Site) -> Live {
    site.put("job", &job(1));
    let live = site.running("job");
    site.await_output("job", "ready");
    live
}

/// That an edit in the folder, as it is now, is seen at once, and nothing happened to the job.
fn assert_watched(site: &Site, live: &Live, nice: i32) {
    site.put("job", &job(nice));
    await_true("the edit is in force", || nice_of_threads(live.pid())[0] == i64::from(nice));
    site.assert_untouched("job", live);
    assert_eq!(site.terms("job"), 0);
}

#[test]
fn a_missing_folder_is_told_and_awaited() {
    let site = Site::new();
    fs::remove_dir(site.path("jobs.d")).expect("removed");
    fs::remove_dir(site.path("profiles.d")).expect("removed");
    site.start();
    site.await_log("until that is mended, all stays as it is");
    assert!(site.log().contains(&site.path("jobs.d").display().to_string()));
    fs::create_dir(site.path("jobs.d")).expect("made");
    fs::create_dir(site.path("profiles.d")).expect("made");
    let live = begin(&site);
    site.await_log("valid again");
    site.put_profile("calm", "[constraints]\nnice = 5\n");
    site.put("calm", &sleeper("profiles = [\"calm\"]"));
    assert_eq!(nice_of_threads(site.running("calm").pid()), [5]);
    assert_watched(&site, &live, 2);
}

#[test]
fn while_the_folder_is_gone_everything_runs_on() {
    let site = Site::started();
    let live = begin(&site);
    fs::rename(site.path("jobs.d"), site.path("drafts/away")).expect("renamed");
    site.await_log("until that is mended, all stays as it is");
    let errors = site.json(&["status", "--json"])["errors"].to_string();
    assert!(errors.contains("jobs.d"), "{errors}");
    std::thread::sleep(DELETION);
    site.settle_by_scan();
    site.assert_untouched("job", &live);
    fs::rename(site.path("drafts/away"), site.path("jobs.d")).expect("renamed");
    site.await_log("valid again");
    assert_watched(&site, &live, 2);
}

#[test]
fn a_folder_that_is_deleted_and_made_again_is_watched_again() {
    let site = Site::started();
    let live = begin(&site);
    fs::remove_dir_all(site.path("jobs.d")).expect("removed");
    fs::create_dir(site.path("jobs.d")).expect("made");
    assert_watched(&site, &live, 2);
}

#[test]
fn a_folder_that_is_replaced_is_obeyed_as_a_whole() {
    let site = Site::started();
    site.put("gone", &sleeper(""));
    let (live, gone) = (begin(&site), site.running("gone"));
    fs::create_dir(site.path("next")).expect("made");
    fs::write(site.path("next/job.toml"), job(2)).expect("written");
    fs::write(site.path("next/new.toml"), sleeper("")).expect("written");
    // A release is swapped in.
    fs::rename(site.path("jobs.d"), site.path("drafts/last")).expect("renamed");
    fs::rename(site.path("next"), site.path("jobs.d")).expect("renamed");
    site.running("new");
    await_true("the edit is in force", || nice_of_threads(live.pid())[0] == 2);
    gone.await_end();
    assert_watched(&site, &live, 3);
}

#[test]
fn a_folder_that_is_a_link_can_point_elsewhere() {
    let site = Site::new();
    fs::remove_dir(site.path("jobs.d")).expect("removed");
    for release in ["v1", "v2"] {
        fs::create_dir(site.path(release)).expect("made");
    }
    symlink("v1", site.path("jobs.d")).expect("linked");
    site.start();
    let live = begin(&site);
    fs::write(site.path("v2/job.toml"), job(2)).expect("written");
    symlink("v2", site.path("drafts/link")).expect("linked");
    fs::rename(site.path("drafts/link"), site.path("jobs.d")).expect("renamed");
    await_true("the edit is in force", || nice_of_threads(live.pid())[0] == 2);
    assert_watched(&site, &live, 3);
}

#[test]
fn a_hangup_looks_at_everything_again() {
    let site = Site::started();
    fs::create_dir(site.path("far")).expect("made");
    fs::write(site.path("far/job.toml"), job(1)).expect("written");
    symlink(site.path("far/job.toml"), site.job_file("job")).expect("linked");
    let live = site.running("job");
    site.await_output("job", "ready");
    // Behind a link into a folder that nobody watches, no event tells of an edit.
    site.replace(&site.path("far/job.toml"), &job(2));
    site.settle();
    assert_eq!(nice_of_threads(live.pid())[0], 1, "a hint would make this test pointless");
    site.settle_by_scan();
    await_true("the edit is in force", || nice_of_threads(live.pid())[0] == 2);
    site.assert_untouched("job", &live);
}
