//! That the machine under these tests does what they rest on: a quota holds, a limit ends a hog, and a
//! cgroup is told when a child of it was out of memory.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use super::cpu::Counted;
use super::ground::{ALL, ENCODER, Ground, in_lane};

#[test]
fn a_quota_holds_an_encoder_to_its_share() {
    if !in_lane("a_quota_holds_an_encoder_to_its_share") {
        return;
    }
    let ground = Ground::new("quota", ALL);
    ground.unit.enable(&["cpu"]);
    let jobs = ground.unit.make("jobs");
    let mut encoder = jobs.spawn(ENCODER);
    jobs.assert_not_held();

    jobs.write("cpu.max", "50000 100000");
    jobs.assert_held_to(55.0, Duration::from_secs(4));

    jobs.write("cgroup.kill", "1");
    assert_eq!(encoder.wait().expect("our child").signal(), Some(libc::SIGKILL));
}

#[test]
fn a_memory_limit_ends_a_hog_and_says_whose_limit_it_was() {
    if !in_lane("a_memory_limit_ends_a_hog_and_says_whose_limit_it_was") {
        return;
    }
    let ground = Ground::new("memory", ALL);
    ground.unit.enable(&["memory"]);
    let jobs = ground.unit.make("jobs");
    let count = |key| jobs.count("memory.events.local", key);

    jobs.write("memory.max", "64M");
    let hog = jobs.spawn(&["tail", "/dev/zero"]).wait().expect("our child");
    assert_eq!(hog.signal(), Some(libc::SIGKILL));
    assert_eq!((count("oom"), count("oom_kill")), (1, 1), "by its own limit");

    jobs.write("memory.max", "max");
    ground.slice.write("memory.max", "64M");
    let hog = jobs.spawn(&["tail", "/dev/zero"]).wait().expect("our child");
    assert_eq!(hog.signal(), Some(libc::SIGKILL));
    assert_eq!((count("oom"), count("oom_kill")), (1, 2), "by that of an ancestor");
    assert_eq!(ground.slice.count("memory.events.local", "oom"), 1);
}
