//! Job files, the supervisor where systemd would have put it, and what the kernel then does.

use std::fs;

use super::ground::{ALL, Ground, in_lane};
use crate::harness::sleeper;

#[test]
fn jobs_stay_in_what_was_delegated_and_leave_nothing() {
    if !in_lane("jobs_stay_in_what_was_delegated_and_leave_nothing") {
        return;
    }
    let ground = Ground::new("delegated", ALL);
    ground.supervise();
    ground.put("idle", &sleeper(""));
    let live = ground.running("idle");
    let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", live.pid())).expect("proc");
    assert!(cgroup.starts_with("0::/delegated.slice/ffrtmp.service/"), "{cgroup}");
}
