//! Exits on a kernel that tells them only while they are zombies: Linux 6.1 knows no `PIDFD_GET_INFO`, and
//! this one has no process events.

use ffrtmp::model::signal::Signal;
use nix::sys::prctl::set_child_subreaper;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use serde_json::Value;

use super::ground::{ALL, Ground, in_lane};
use crate::harness::{Live, await_true, identify, lives, send, shell, sleeper};

/// Makes this test the process to which orphans come, as long as it is held: nobody else reaps them.
struct Subreaper;

impl Subreaper {
    fn new() -> Self {
        set_child_subreaper(true).expect("prctl");
        Self
    }

    fn reap(&self, live: &Live) {
        waitpid(Pid::from_raw(live.process.pid.as_raw()), None).expect("it came to us");
    }
}

impl Drop for Subreaper {
    fn drop(&mut self) {
        set_child_subreaper(false).expect("prctl");
    }
}

/// Has jobs run without their wrappers, under a supervisor that is not their parent either.
fn orphaned<'a>(ground: &Ground, _reaper: &Subreaper, jobs: &[(&'a str, String)]) -> Vec<(&'a str, Live)> {
    ground.supervise();
    let mut all = Vec::new();
    for (job, text) in jobs {
        ground.put(job, text);
        all.push((*job, ground.running(job)));
    }
    let wrappers = all.iter().map(|(job, live)| ground.wrapper(job, live)).collect::<Vec<_>>();
    ground.kill();
    for wrapper in wrappers {
        send(&wrapper, Signal::KILL);
        await_true("the wrapper is gone", || !lives(&wrapper));
        // Where its nursery was still there, the kernel has reaped it; else it came to us.
        let _ = waitpid(Pid::from_raw(wrapper.pid.as_raw()), None);
    }
    ground.supervise();
    ground.settle();
    for (job, live) in &all {
        ground.assert_untouched(job, live);
    }
    all
}

fn end(report: &Value) -> [&Value; 4] {
    ["state", "exit_code", "signal", "exit_observed_by"].map(|key| &report[key])
}

/// Ends when it is told to, with this code.
fn ending_with(code: u8) -> String {
    shell("", &format!("trap 'exit {code}' TERM; while :; do sleep 0.05; done"))
}

#[test]
fn an_orphan_tells_its_exit_as_a_zombie() {
    if !in_lane("an_orphan_tells_its_exit_as_a_zombie") {
        return;
    }
    let ground = Ground::new("zombies", ALL);
    let reaper = Subreaper::new();
    let jobs = [("code-0", ending_with(0)), ("code-7", ending_with(7)), ("signal", sleeper(""))];
    let expected = [
        ["completed".into(), 0.into(), Value::Null, "zombie".into()],
        ["failed".into(), 7.into(), Value::Null, "zombie".into()],
        ["killed".into(), Value::Null, "SIGTERM".into(), "zombie".into()],
    ];
    for ((job, live), expected) in orphaned(&ground, &reaper, &jobs).iter().zip(&expected) {
        live.signal(Signal::TERM);
        // Nobody reaps it: its report does not wait for that.
        let report = ground.ended(job);
        assert_eq!(end(&report), expected.each_ref(), "{report:#}");
        assert!(report["usage"]["cpu_sec"].is_number(), "{report:#}");
        assert!(identify(live.pid()).is_some_and(|found| found == live.process), "it is a zombie");
        reaper.reap(live);
    }
}

#[test]
fn an_orphan_that_was_reaped_before_anybody_looked_is_unknown() {
    if !in_lane("an_orphan_that_was_reaped_before_anybody_looked_is_unknown") {
        return;
    }
    let ground = Ground::new("reaped", ALL);
    let reaper = Subreaper::new();
    let signal = |number| Signal::from_number(number).expect("a signal");
    let jobs = [("code-0", ending_with(0)), ("code-7", ending_with(7)), ("signal", sleeper(""))];
    for (job, live) in orphaned(&ground, &reaper, &jobs) {
        ground.signal_supervisor(signal(libc::SIGSTOP));
        live.signal(Signal::TERM);
        reaper.reap(&live);
        ground.signal_supervisor(signal(libc::SIGCONT));
        let report = ground.ended(job);
        assert_eq!(end(&report), [&"unknown".into(), &Value::Null, &Value::Null, &Value::Null], "{report:#}");
        assert_eq!(report["platform_sla_reason"], "exit_lost", "{report:#}");
    }
}
