//! Jobs that fail as fast as they can start, beside jobs that need the supervisor in time.

use crate::harness::{STUBBORN, Site, await_some, await_true, lives, shell};

/// As many as the loop could not serve beside anything else before it was fair.
const STORM: usize = 60;

const FAILING: &str = "lifecycle = \"continuous\"\n[restart]\ndelay = \"100ms\"\nmax_delay = \"100ms\"\n\
    [exec]\ncommand = [\"/bin/false\"]\n";

/// A supervisor amid a storm.
fn storm() -> Site {
    let site = Site::started();
    for n in 0..STORM {
        site.put(&format!("a-storm-{n}"), FAILING);
    }
    // All of them came back at least once: it blows.
    await_true("the storm blows", || {
        (0..STORM).all(|n| site.report(&format!("a-storm-{n}")).is_some_and(|report| report["restarts"] != 0))
    });
    site
}

fn still_blows(site: &Site) {
    let restarts = || site.report("a-storm-0").and_then(|report| report["restarts"].as_u64());
    let before = restarts();
    await_true("the storm goes on", || restarts() > before);
}

#[test]
fn a_crash_loop_of_others_delays_no_stop_no_time_out_and_no_new_job() {
    let site = Site::started();
    site.put("z-deaf", &shell("[stop]\ntimeout = \"2s\"", STUBBORN));
    site.put("z-long", &shell("[timeouts]\nrun = \"6s\"", "sleep 1000"));
    let (deaf, long) = (site.running("z-deaf"), site.running("z-long"));
    for n in 0..STORM {
        site.put(&format!("a-storm-{n}"), FAILING);
    }
    still_blows(&site);
    // A deletion is noticed, confirmed, asked for and enforced.
    site.remove("z-deaf");
    site.put("z-new", &shell("", "exit 0"));
    site.await_report("z-new", "its end", |report| report["state"] == "completed");
    await_true("the deaf job is killed", || !lives(&deaf.process));
    await_true("the time-out of a run holds", || !lives(&long.process));
    let report = site.await_history("z-long", &long.run);
    assert_eq!(report["exit_reason"], "timeout", "{report:#}");
    still_blows(&site);
}

#[test]
fn an_edit_in_place_takes_effect_amid_a_storm_and_the_storm_ends_with_its_files() {
    let site = storm();
    site.put("z-calm", &shell("", "sleep 1000"));
    let live = site.running("z-calm");
    site.put("z-calm", &shell("[constraints]\nnice = 7", "sleep 1000"));
    site.await_event("z-calm", "constraints.nice");
    assert!(live.lives());
    // Who waits for its turn says so; with this many there is always one.
    await_true("one is queued", || {
        String::from_utf8_lossy(&site.run(&["status"]).stdout).contains("queued to start")
    });
    (0..STORM).for_each(|n| site.remove(&format!("a-storm-{n}")));
    let gone = |n: usize| !site.path("state/runs").join(format!("a-storm-{n}")).exists();
    await_true("nothing of the storm is left", || (0..STORM).all(gone));
    site.term();
    assert!(live.lives());
}

#[test]
fn the_supervisor_leaves_at_once_amid_a_storm() {
    let site = storm();
    // It waits for the end of a loop that is never empty.
    site.term();
    site.await_log("leaving");
}

#[test]
fn a_job_that_floods_its_log_stays_within_its_bound_and_runs_on() {
    let site = Site::new();
    std::fs::write(site.path("supervisor.toml"), "[logs]\nmax_size = \"1MiB\"\nkeep = 2\n").expect("written");
    site.start();
    site.put(
        "flood",
        &shell("", "while :; do echo 'Non-monotonic DTS; this line comes again and again'; done"),
    );
    let live = site.running("flood");
    let size = |name: &str| {
        std::fs::metadata(site.path("state/logs").join(name)).map(|meta| {
            // On disk: where only blocks are given back, the length goes on growing.
            std::os::unix::fs::MetadataExt::blocks(&meta) * 512
        })
    };
    await_true("two older pieces, and the third", || site.said("flood.log: rotated") > 3);
    assert!(size("flood.log.2").is_ok() && size("flood.log.3").is_err());
    assert!(live.lives(), "it noticed nothing");
    live.signal(ffrtmp::model::signal::Signal::KILL);
    live.await_end();
    let newest = await_some("the last look", || size("flood.log").ok().filter(|size| *size < 2 << 20));
    assert!(newest < 2 << 20);
}
