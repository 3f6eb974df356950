//! Schedules and a clock that is set: only on a machine whose clock nobody else reads.

use std::fs;
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};
use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_settime};

use super::ground::{ALL, Ground, in_lane};
use crate::harness::{await_true, nice_of_threads, sleeper};

/// Sets the wall clock of this machine, which is not a real one.
fn set(to: Timestamp) {
    let processor = fs::read_to_string("/proc/cpuinfo").expect("proc");
    assert!(processor.contains("User Mode Linux"), "the clock of a real machine is not ours to set");
    clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(to.as_second(), 0)).expect("we are root");
}

#[test]
fn a_window_begins_and_ends_at_once_when_the_clock_is_set_into_it_and_out_of_it() {
    if !in_lane("a_window_begins_and_ends_at_once_when_the_clock_is_set_into_it_and_out_of_it") {
        return;
    }
    let ground = Ground::new("clock", ALL);
    ground.supervise();
    let (before, running_since) = (Timestamp::now(), Instant::now());
    let hours = |n: i64| before + SignedDuration::from_hours(n);
    let time = |at: Timestamp| at.strftime("%H:%M").to_string();
    ground.put(
        "job",
        &sleeper(&format!(
            "constraints = {{ nice = 5, cpu_quota = 50 }}\n[[schedule]]\ntimezone = \"UTC\"\nfrom = \"{}\"\n\
             to = \"{}\"\nconstraints = {{ nice = 1, cpu_quota = 20 }}\n",
            time(hours(2)),
            time(hours(4))
        )),
    );
    let live = ground.running("job");
    let in_force = || (nice_of_threads(live.pid()), ground.unit.child("jobs").child("job").read("cpu.max"));
    assert_eq!(in_force(), (vec![5], "50000 100000".into()));

    set(hours(3));
    let asked = Instant::now();
    await_true("the window is in force", || in_force() == (vec![1], "20000 100000".into()));
    println!("in force {:?} after the clock was set", asked.elapsed());
    set(before + SignedDuration::try_from(running_since.elapsed()).expect("short"));
    let asked = Instant::now();
    await_true("the window is over", || in_force() == (vec![5], "50000 100000".into()));
    println!("over {:?} after the clock was set back", asked.elapsed());
    ground.await_event("job", "changed in place: constraints.nice 1 -> 5");
    ground.assert_untouched("job", &live);
}
