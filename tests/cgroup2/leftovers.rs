//! What is left of a supervisor that was killed with all that it had, where several share the root of the hierarchy.
//! This machine has no other supervisor, so that `doctor --clean` can be run for real.

use std::fs;
use std::path::{Path, PathBuf};

use ffrtmp::model::signal::Signal;

use super::ground::in_lane;
use crate::harness::{Site, await_true, lives, send, sleeper};

/// The cgroups of supervisors that are at the root.
fn bases() -> Vec<PathBuf> {
    let entries = fs::read_dir("/sys/fs/cgroup").expect("mounted").flatten();
    let ours = entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("ffrtmp-"));
    ours.map(|entry| entry.path()).collect()
}

#[test]
fn doctor_cleans_up_after_a_supervisor_that_is_gone_and_nobody_else() {
    if !in_lane("doctor_cleans_up_after_a_supervisor_that_is_gone_and_nobody_else") {
        return;
    }
    // Of tests before this one.
    let before = bases().len();
    let (site, other) = (Site::started(), Site::started());
    let sleeper = sleeper("lifecycle = \"continuous\"\n[constraints]\ncpu_quota = 50");
    site.put("job", &sleeper);
    let live = site.running("job");
    let clean = || site.json(&["doctor", "--json", "--clean"]);
    let nothing = |why: &str| {
        let found = clean();
        assert_eq!((&found["leftovers"], &found["removed"]), (&serde_json::json!([]), &0.into()), "{why}");
    };
    nothing("both live, one of them with nothing in its cgroups");
    let wrapper = site.wrapper("job", &live);
    site.kill();
    nothing("its job lives");
    assert!(live.lives());
    send(&wrapper, Signal::KILL);
    live.signal(Signal::KILL);
    await_true("nothing of it lives", || !lives(&wrapper) && !live.lives());
    let found = || site.json(&["doctor", "--json"])["leftovers"].clone();
    await_true("doctor finds it", || found().as_array().is_some_and(|found| found.len() == 1));
    let found = found()[0].clone();
    // It, `jobs`, the job's, and `wrappers`.
    assert_eq!(found["cgroups"], 4, "{found:#}");
    let base = Path::new(found["dirs"][0].as_str().expect("a path"));
    assert!(base.is_dir() && bases().len() == before + 2);
    let text = String::from_utf8(site.run(&["doctor"]).stdout).expect("UTF-8");
    let told =
        "4 cgroups of 1 supervisor that live no more, all empty: `ffrtmp-sup doctor --clean` removes them";
    assert!(text.contains(told), "{text}");
    assert_eq!(clean()["removed"], 4);
    assert!(!base.exists() && bases().len() == before + 1);
    // The other one goes on.
    other.put("job", &sleeper);
    other.running("job");
    other.remove("job");
    await_true("its job ended", || other.history("job").len() == 1);
    other.term();
    assert_eq!(bases().len(), before);
}
