//! What is left of a supervisor that was killed with all that it had: found, and removed. The search sees the whole
//! machine, on which there may be others; what is removed here is this test's own.

use std::fs;
use std::path::PathBuf;

use ffrtmp::config::paths::Layout;
use ffrtmp::linux::cgroup::leftovers::{self, Leftover};
use ffrtmp::linux::cgroup::mounts::Mounts;
use ffrtmp::model::signal::Signal;
use ffrtmp::supervisor::cgroups::{instance_of, live_instances};

use super::ground::is_here;
use crate::harness::{Site, await_true, send, sleeper};

/// What is left of a site's supervisor.
fn left_of(site: &Site) -> Option<Leftover> {
    let instance = instance_of(&Layout::under(&site.root));
    let below = leftovers::hierarchies(&Mounts::read().expect("proc"));
    leftovers::find(&below, live_instances).into_iter().find(|found| found.instance == instance)
}

#[test]
fn cgroups_of_a_root_are_left_over_once_nothing_of_it_lives() {
    if !is_here("cgroups_of_a_root_are_left_over_once_nothing_of_it_lives") {
        return;
    }
    let site = Site::started();
    // Empty, and alive.
    let bases = site.cgroup_bases();
    assert!(!bases.is_empty() && left_of(&site).is_none());
    let jobs = ["a", "cpu.max"];
    jobs.iter().for_each(|job| site.put(job, &sleeper("lifecycle = \"continuous\"")));
    let live = jobs.map(|job| site.running(job));
    let wrappers: Vec<_> = jobs.iter().zip(&live).map(|(job, live)| site.wrapper(job, live)).collect();
    site.kill();
    assert!(left_of(&site).is_none(), "its jobs live");
    // A wrapper that outlived its workload would remove the cgroup.
    wrappers.iter().for_each(|wrapper| send(wrapper, Signal::KILL));
    live.iter().for_each(|live| live.signal(Signal::KILL));
    await_true("nothing is in its cgroups any more", || left_of(&site).is_some());

    let stranger = bases[0].join("Not A Job");
    fs::create_dir(&stranger).expect("made");
    assert!(left_of(&site).is_none(), "not all of it is a supervisor's");
    fs::remove_dir(&stranger).expect("removed");

    let found = left_of(&site).expect("just seen");
    let sorted = |mut dirs: Vec<PathBuf>| {
        dirs.sort();
        dirs
    };
    assert_eq!(sorted(found.dirs.clone()), sorted(bases.clone()));
    assert_eq!(found.cgroups, bases.len() * (1 + jobs.len()));
    // It comes back to life in between: what is in use stays, and the job in it.
    site.start();
    let again = site.running("a");
    assert!(leftovers::remove(&found).expect("looked at") > 0);
    site.settle();
    site.assert_untouched("a", &again);
    let wrapper = site.wrapper("a", &again);
    let other = site.running("cpu.max");
    let second = site.wrapper("cpu.max", &other);
    site.kill();
    [wrapper, second].iter().for_each(|wrapper| send(wrapper, Signal::KILL));
    [again, other].iter().for_each(|live| live.signal(Signal::KILL));
    await_true("nothing is in its cgroups any more", || left_of(&site).is_some());
    let found = left_of(&site).expect("just seen");
    assert_eq!(leftovers::remove(&found).expect("removed"), 0);
    assert!(site.cgroup_bases().is_empty() && left_of(&site).is_none());
}
