//! What is left of a job after its end: nothing, whatever it did.

use ffrtmp::model::signal::Signal;

use super::ground::{ALL, Cgroup, Ground, in_lane};
use crate::harness::{await_true, events, send, shell};

/// Says `ready`, ignores SIGTERM, and keeps three chains of processes going, each of which is a new process
/// in a new session at every moment. The number of tasks is limited for the test's own sake.
const FORKING: &str = "use POSIX; $SIG{TERM} = $SIG{HUP} = \"IGNORE\"; $| = 1; print \"ready\\n\"; \
                       for (1 .. 3) { next if fork; while (1) { POSIX::setsid(); \
                       my $child = fork; defined $child or select(undef, undef, undef, 0.01); \
                       POSIX::_exit(0) if $child } } sleep 1 while 1";

fn forking(keys: &str) -> String {
    format!(
        "{keys}\n[constraints]\ntasks_max = 30\n[stop]\ntimeout = \"300ms\"\n\
         [exec]\ncommand = [\"perl\", \"-e\", '{FORKING}']\n"
    )
}

/// Waits until no process but the main one is what it was.
fn await_forks(cgroup: &Cgroup) {
    await_true("all have been started", || cgroup.procs().len() > 3);
    let first = cgroup.procs();
    await_true("all others are new", || {
        let now = cgroup.procs();
        now.len() > 3 && now.iter().filter(|pid| first.contains(pid)).count() == 1
    });
}

#[test]
fn a_workload_that_forks_as_fast_as_it_can_is_ended_whole() {
    if !in_lane("a_workload_that_forks_as_fast_as_it_can_is_ended_whole") {
        return;
    }
    let ground = Ground::new("forking", ALL);
    ground.supervise();
    ground.put("job", &forking(""));
    let (live, cgroup) = ground.in_cgroup("job");
    await_forks(&cgroup);
    ground.put("job", &forking("enabled = false"));
    let report = ground.ended("job");
    assert_eq!((&report["state"], &report["signal"]), (&"killed".into(), &"SIGKILL".into()), "{report:#}");
    assert!(events(&report).iter().any(|event| event.contains("still there after stop.timeout")));
    assert!(!live.lives());
    await_true("its cgroup is gone", || !cgroup.exists());
}

/// Frozen, so that no signal but SIGKILL reaches it, and without the wrapper to which orphans come: what
/// keeps its processes together is the cgroup alone.
#[test]
fn a_frozen_workload_is_ended_whole_without_its_wrapper() {
    if !in_lane("a_frozen_workload_is_ended_whole_without_its_wrapper") {
        return;
    }
    let ground = Ground::new("frozen", ALL);
    ground.supervise();
    ground.put("job", &forking(""));
    let (live, cgroup) = ground.in_cgroup("job");
    await_forks(&cgroup);
    send(&ground.wrapper("job", &live), Signal::KILL);
    ground.await_event("job", "the wrapper was lost");
    cgroup.write("cgroup.freeze", "1");
    await_true("it is frozen", || cgroup.count("cgroup.events", "frozen") == 1);
    assert!(live.lives());
    ground.put("job", &forking("enabled = false"));
    let report = ground.ended("job");
    assert_eq!((&report["state"], &report["signal"]), (&"killed".into(), &"SIGKILL".into()), "{report:#}");
    await_true("its cgroup is gone", || !cgroup.exists());
}

#[test]
fn what_the_main_process_leaves_behind_is_ended() {
    if !in_lane("what_the_main_process_leaves_behind_is_ended") {
        return;
    }
    let ground = Ground::new("leftover", ALL);
    ground.supervise();
    // One that obeys, one that does not, and one in a cgroup of the workload's own making.
    let script = "read -r own </proc/self/cgroup; own=/sys/fs/cgroup${own#0::}
        setsid sleep 1000 &
        setsid sh -c 'trap \"\" TERM; sleep 1000; sleep 1000' &
        mkdir $own/below; setsid sh -c \"echo 0 >$own/below/cgroup.procs; exec sleep 1000\" &
        until read -r pid <$own/below/cgroup.procs; do :; done
        echo gone; exit 3";
    ground.put("job", &shell("[stop]\ntimeout = \"300ms\"", script));
    let report = ground.ended("job");
    assert_eq!((&report["state"], &report["exit_code"]), (&"failed".into(), &3.into()), "{report:#}");
    assert_eq!(ground.output("job"), "gone\n");
    await_true("its cgroup is gone", || !ground.job("job").exists());
}

#[test]
fn a_run_after_another_has_the_limits_of_its_own_file_only() {
    if !in_lane("a_run_after_another_has_the_limits_of_its_own_file_only") {
        return;
    }
    let ground = Ground::new("anew", ALL);
    ground.supervise();
    let job = |keys: &str, seconds: u32| {
        format!("{keys}\n[stop]\ntimeout = \"300ms\"\n[exec]\ncommand = [\"sleep\", \"{seconds}\"]\n")
    };
    ground.put("job", &job("[constraints]\ncpu_quota = 50\ntasks_max = 9", 1000));
    let (live, cgroup) = ground.in_cgroup("job");
    // Limits and command change together: the run is replaced.
    ground.put("job", &job("[constraints]\ncpu_quota = 30", 1001));
    ground.running_anew("job", &live);
    assert_eq!(cgroup.read("cpu.max"), "30000 100000");
    assert_eq!(cgroup.read("pids.max"), "max");
}
