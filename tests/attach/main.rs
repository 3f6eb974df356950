//! Processes that somebody else started, taken over by the real wrapper: all threads, true exits, and
//! everything as it was when they are let go. What needs cgroups is in tests/cgroup1 and tests/cgroup2.

#[allow(dead_code, reason = "the suites of cgroups use the rest")]
mod ground;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "../shared/wait.rs"]
mod wait;

use std::process::Command;

use ffrtmp::linux::attach;
use ffrtmp::linux::process::current;
use ffrtmp::model::attached::Place;
use ffrtmp::model::constraints::{ConstraintName as Name, Constraints};
use ffrtmp::model::exit::{Ended, Stage};
use ffrtmp::model::process::ProcessIdentity;
use serde_json::json;

use ground::{
    Observation, Stranger, attributes, await_some, identify, no_tree, of, oom_score_adj, pid, wanted,
};

fn nice(value: i8) -> Constraints {
    wanted(json!({"nice": value}))
}

/// Whether this machine has the encoder.
fn ffmpeg_is_here(test: &str) -> bool {
    let there = Command::new("ffmpeg").arg("-version").output().is_ok();
    if !there {
        println!("SKIPPED {test}: no ffmpeg here");
    }
    there
}

#[test]
fn every_thread_is_constrained_and_gets_back_what_it_had() {
    if !ffmpeg_is_here("every_thread_is_constrained_and_gets_back_what_it_had") {
        return;
    }
    let mut encoder = Stranger::encoder();
    let before = attributes(encoder.pid());
    let all = wanted(json!({"nice": 7, "oom_score_adj": 300, "cpus": "0", "io_class": {"best_effort": 6}}));
    let mut run = Observation::begin(&encoder.process(), false, &no_tree(), all.clone());
    let started = run.started();
    assert_eq!(started.process, encoder.process());
    assert!(started.constraints.len() == 4 && started.constraints.iter().all(|status| status.applied));
    assert!(run.attached.command[0].ends_with("ffmpeg"), "{:?}", run.attached.command);
    for (nice, cpus, io) in attributes(encoder.pid()) {
        assert_eq!((nice, cpus.as_str(), io), (7, "0", 0x4006));
    }
    assert_eq!(oom_score_adj(encoder.pid()), 300);
    assert!(run.dir.wrapper_lives().expect("the lock"));

    // A key less: what it had before, and not a default.
    let fewer = Constraints { cpus: None, oom_score_adj: None, ..all.clone() };
    let list = run.enforce(&fewer, &all);
    assert!(list.len() == 2 && list.iter().all(|status| status.applied), "{list:#?}");
    assert_eq!(oom_score_adj(encoder.pid()), i32::from(run.attached.before[0].oom_score_adj.expect("read")));
    for (n, (nice, cpus, _)) in attributes(encoder.pid()).into_iter().enumerate() {
        assert_eq!((nice, &cpus), (7, &before[n].1));
    }
    // Killed: nothing happens to the process, and it can be let go all the same, and again.
    run.kill_wrapper();
    assert!(encoder.lives());
    for _ in 0..2 {
        assert_eq!(run.release(&fewer), [""; 0]);
        assert_eq!(attributes(encoder.pid()), before);
    }
}

#[test]
fn what_is_born_meanwhile_gets_what_the_process_had() {
    // A process with a nice of its own, and a child with another.
    let script =
        "renice -n 3 -p $$ >/dev/null; nice -n 2 sleep 1000 & echo $!; read x; sleep 1000 & echo $!; wait";
    let mut parent = Stranger::shell(script);
    let first: u32 = parent.line().parse().expect("a number");
    await_some("it is nice", || {
        (attributes(first) == [(5, attributes(first)[0].1.clone(), 0)]).then_some(())
    });
    let run = Observation::begin(&parent.process(), false, &no_tree(), nice(9));
    assert!(run.statuses().iter().all(|status| status.applied));
    assert_eq!((attributes(parent.pid())[0].0, attributes(first)[0].0), (9, 9));
    parent.go_on();
    let second: u32 = parent.line().parse().expect("a number");
    assert_eq!(attributes(second)[0].0, 9, "it inherits");
    assert_eq!(run.release(&nice(9)), [""; 0]);
    assert_eq!((attributes(parent.pid())[0].0, attributes(first)[0].0, attributes(second)[0].0), (3, 5, 3));
    for child in [first, second] {
        kill(&identify(child));
    }
}

fn kill(process: &ProcessIdentity) {
    let signal = ffrtmp::model::signal::Signal::KILL;
    let pidfd = ffrtmp::linux::process::PidFd::open(process).expect("proc").expect("it lives");
    assert!(pidfd.send(signal).expect("ours"));
}

#[test]
fn the_true_exit_of_a_process_that_is_not_our_child() {
    let exit = |end: &dyn Fn(&mut Stranger)| {
        let mut stranger = Stranger::shell("echo r; read x; exit 7");
        stranger.line();
        let mut run = Observation::begin(&stranger.process(), false, &no_tree(), Constraints::default());
        end(&mut stranger);
        stranger.reap();
        run.wait()
    };
    let exited = exit(&|stranger| stranger.go_on());
    assert_eq!(exited.ended, Ended::Waited { status: 7 << 8 });
    assert!(exited.observed_by.is_some(), "{exited:?}");
    let exited = exit(&|stranger| stranger.signal(libc::SIGKILL));
    assert_eq!(exited.ended, Ended::Waited { status: libc::SIGKILL });
}

#[test]
fn what_it_used_counts_from_when_it_was_taken_over() {
    let mut stranger =
        Stranger::shell("i=0; while [ $i -lt 300000 ]; do i=$((i+1)); done; echo r; read x; exit 0");
    stranger.line();
    let before = attach::cpu_sec(&stranger.process()).expect("it lives");
    assert!(before > 0.05, "{before}");
    let mut run = Observation::begin(&stranger.process(), false, &no_tree(), Constraints::default());
    stranger.go_on();
    let exited = run.wait();
    stranger.reap();
    assert!(
        exited.usage.cpu_sec.is_some_and(|used| used < before / 2.0),
        "{:?}, before {before}",
        exited.usage
    );
    assert_eq!(exited.usage.memory_peak_bytes, None, "nobody measured it");
}

#[test]
fn strict_is_all_or_nothing() {
    let mut stranger = Stranger::new(&["sleep", "1000"]);
    let before = attributes(stranger.pid());
    let limits = wanted(json!({"nice": 6, "memory_limit": 1 << 30, "strict": true}));
    let mut run = Observation::begin(&stranger.process(), false, &no_tree(), limits);
    let error = run.refused();
    assert_eq!(error.stage, Stage::Constraint);
    assert!(error.detail.contains("memory_limit is not in force: this test uses no cgroup"), "{error:?}");
    assert_eq!(attributes(stranger.pid()), before, "and it is as it was");
    assert!(stranger.lives());
    assert_eq!(run.dir.started().expect("a good record"), None);
}

#[test]
fn a_process_that_is_gone_is_named() {
    let mut stranger = Stranger::new(&["sleep", "1000"]);
    let process = stranger.process();
    let (attached, cgroup) = attach::survey(&process, false, &no_tree(), "job").expect("it lives");
    stranger.signal(libc::SIGKILL);
    stranger.reap();
    let gone = format!("process {} does not exist", process.pid);
    let error = attach::survey(&process, false, &no_tree(), "job").expect_err("it is gone");
    assert_eq!((error.kind(), error.to_string()), (std::io::ErrorKind::NotFound, gone.clone()));
    let mut run = Observation::of_survey(attached, cgroup, nice(3));
    let error = run.refused();
    assert_eq!((error.stage, error.detail), (Stage::Attach, gone));
    assert_eq!(run.release(&nice(3)), [""; 0], "there is nothing to restore");
}

#[test]
fn some_processes_are_never_taken_over() {
    let me = current().expect("proc");
    let refused = |process: &ProcessIdentity| {
        let error = attach::survey(process, true, &no_tree(), "job").expect_err("it may not be governed");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        error.to_string()
    };
    assert!(refused(&identify(1)).contains("is the init of this host: it is never taken over"));
    assert!(refused(&me).contains("is this program"), "{}", refused(&me));
    let parent = std::os::unix::process::parent_id();
    if parent > 1 {
        assert!(refused(&identify(parent)).contains("descends from"));
    }
    // Where kernel threads can be seen, their parent is kthreadd.
    if let Some(kernel) = ffrtmp::linux::process::identify(pid(2)).expect("proc")
        && std::fs::read_to_string("/proc/2/comm").is_ok_and(|name| name.trim() == "kthreadd")
    {
        assert!(refused(&kernel).contains("a thread of the kernel"));
    }
}

#[test]
fn without_a_cgroup_the_limits_say_why_and_the_attributes_hold() {
    let stranger = Stranger::new(&["sleep", "1000"]);
    let limits = wanted(json!({"nice": 4, "cpu": {"quota": 50}}));
    let run = Observation::begin(&stranger.process(), true, &no_tree(), limits.clone());
    assert_eq!(*run.place(), Place::None("this test uses no cgroup".into()));
    let list = run.statuses();
    assert!(of(&list, Name::Nice).applied && !of(&list, Name::CpuQuota).applied, "{list:#?}");
    assert_eq!(of(&list, Name::CpuQuota).reason.as_deref(), Some("this test uses no cgroup"));
    assert_eq!(attach::read_back(&run.attached, None, &limits), list);
}
