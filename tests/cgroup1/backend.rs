//! The backend by itself: cgroups, limits and their values in the kernel's files.

use std::fs;
use std::time::Duration;

use ffrtmp::linux::cgroup::{self, Before};
use ffrtmp::model::cgroup::{Cgroup, Controller};
use ffrtmp::model::constraints::{ConstraintName as Name, Constraints};
use ffrtmp::model::process::{BootId, ProcessIdentity};
use serde_json::json;

use super::cpu::Counted;
use super::ground::{Ground, assert_in_force, disk, is_here, of, reason, wanted};
use crate::harness::{await_some, await_true, identify};

const MIB: u64 = 1 << 20;

/// Holds so many MiB, and says so.
const HOLDS: &str = "$| = 1; $x = 'x' x (shift() << 20); print 'r'; sleep 1000";

#[test]
fn each_limit_is_in_the_kernels_files_and_goes_back_to_its_default() {
    if !is_here("each_limit_is_in_the_kernels_files_and_goes_back_to_its_default") {
        return;
    }
    let ground = Ground::new("limits");
    let job = ground.job("job");
    let fresh = job.limits();
    let cpu = job.read("cpuset.cpus").split([',', '-']).next().expect("a CPU").to_owned();
    let disk = disk().expect("a disk");
    let all = wanted(json!({
        "cpu": {"max": {"quota_us": 20_000, "period_us": 40_000}}, "cpu_weight": 200,
        "memory_limit": 64 * MIB, "memory_swap": 8 * MIB, "io_weight": 75,
        "io_max": [format!("{disk} rbps=1048576 wiops=100")], "tasks_max": 20, "cpus": cpu,
    }));
    let list = cgroup::apply(&job.cgroup, &all, Before::Fresh);
    assert_in_force(&list);
    assert_eq!(list.len(), 8);
    assert_eq!(list, cgroup::read_back(&job.cgroup, &all));
    let expected = [
        ("cpu.cfs_quota_us", "20000".to_owned()),
        ("cpu.cfs_period_us", "40000".into()),
        ("cpu.shares", "2048".into()),
        ("memory.limit_in_bytes", (64 * MIB).to_string()),
        ("memory.memsw.limit_in_bytes", (72 * MIB).to_string()),
        ("blkio.bfq.weight", "750".into()),
        ("blkio.throttle.read_bps_device", format!("{disk} 1048576")),
        ("blkio.throttle.write_bps_device", String::new()),
        ("blkio.throttle.read_iops_device", String::new()),
        ("blkio.throttle.write_iops_device", format!("{disk} 100")),
        ("pids.max", "20".into()),
        ("cpuset.cpus", cpu),
    ];
    for file in job.limits() {
        assert!(expected.contains(&file), "{file:?} in {list:#?}");
    }
    assert_eq!(of(&list, Name::CpuMax).actual.as_deref(), Some("20000 40000"));
    // One key of one device is dropped: the kernel would keep it.
    let less = Constraints { io_max: Some(vec![format!("{disk} wiops=100")]), ..all.clone() };
    assert_in_force(&cgroup::apply(&job.cgroup, &less, Before::Was(&all)));
    assert_eq!(job.read("blkio.throttle.read_bps_device"), "");

    let list = cgroup::apply(&job.cgroup, &Constraints::default(), Before::Was(&less));
    assert_eq!((list, job.limits()), (vec![], fresh.clone()));
    assert_in_force(&cgroup::apply(&job.cgroup, &all, Before::Fresh));
    let list = cgroup::apply(&job.cgroup, &Constraints::default(), Before::Unknown);
    assert_eq!((list, job.limits()), (vec![], fresh));
    assert!(cgroup::remove(&job.cgroup).expect("removed"));
}

#[test]
fn quota_and_period_change_together_below_a_quota_of_the_cgroup_above() {
    if !is_here("quota_and_period_change_together_below_a_quota_of_the_cgroup_above") {
        return;
    }
    let ground = Ground::new("quota");
    let job = ground.job("job");
    let above = job.dir(Controller::Cpu).parent().expect("a base").to_owned();
    fs::write(above.join("cpu.cfs_quota_us"), "100000").expect("written");
    let max = |quota: u64, period: u64| {
        let cpu = json!({"cpu": {"max": {"quota_us": quota, "period_us": period}}});
        cgroup::apply(&job.cgroup, &wanted(cpu), Before::Unknown)
    };
    // In one order, writing the second of each pair last, some of these would pass through more than 100 %.
    for (quota, period) in
        [(100_000, 100_000), (10_000, 10_000), (1_000_000, 1_000_000), (5_000, 5_000), (50_000, 100_000)]
    {
        assert_in_force(&max(quota, period));
    }
    let list = max(300_000, 150_000);
    assert_eq!(of(&list, Name::CpuMax).actual.as_deref(), Some("50000 100000"), "the old one stays");
    assert!(reason(&list, Name::CpuMax).contains("a cgroup above it may have less"), "{list:#?}");
    assert_eq!(job.read("cpu.cfs_period_us"), "100000");
    assert_in_force(&cgroup::apply(&job.cgroup, &wanted(json!({"cpu": {"quota": 0}})), Before::Unknown));
}

#[test]
fn a_limit_below_what_is_in_use_keeps_the_old_one_and_kills_nobody() {
    if !is_here("a_limit_below_what_is_in_use_keeps_the_old_one_and_kills_nobody") {
        return;
    }
    let ground = Ground::new("below");
    let job = ground.job("job");
    let limits =
        |limit: u64, swap: u64| wanted(json!({"memory_limit": limit * MIB, "memory_swap": swap * MIB}));
    assert_in_force(&cgroup::apply(&job.cgroup, &limits(128, 0), Before::Fresh));
    let mut holder = job.spawn(&["perl", "-e", HOLDS, "40"]);
    assert_eq!(holder.await_output(), b'r');
    // On a busy machine it may first be told that the kernel is still at it.
    let list = await_some("an answer", || {
        let list = cgroup::apply(&job.cgroup, &limits(16, 0), Before::Was(&limits(128, 0)));
        (!reason(&list, Name::MemoryLimit).contains("still taking")).then_some(list)
    });
    assert!(!of(&list, Name::MemoryLimit).applied);
    assert_eq!(of(&list, Name::MemoryLimit).actual, Some((128 * MIB).to_string()));
    let told = reason(&list, Name::MemoryLimit);
    assert!(told.starts_with("memory_limit 16MiB is below what the job uses"), "{told}");
    assert!(told.contains(&format!("so {} stays", 128 * MIB)), "{told}");
    // Up and down, with swap or without, in whichever order the kernel wants it.
    let mut was = limits(16, 0);
    for (limit, swap) in [(256, 0), (64, 512), (512, 0), (96, 0), (64, 1024)] {
        let now = limits(limit, swap);
        assert_in_force(&cgroup::apply(&job.cgroup, &now, Before::Was(&was)));
        assert_eq!(job.number("memory.memsw.limit_in_bytes"), (limit + swap) * MIB);
        was = now;
    }
    // With memory_limit gone, there is nothing for memory_swap to be added to.
    let now = wanted(json!({"memory_swap": 0}));
    let list = cgroup::apply(&job.cgroup, &now, Before::Was(&was));
    assert!(list.len() == 1 && reason(&list, Name::MemorySwap).contains("needs a memory_limit"), "{list:#?}");
    assert!(job.number("memory.memsw.limit_in_bytes") > 1 << 60);
    assert!(holder.lives());
}

#[test]
fn what_the_job_can_give_back_is_no_reason_to_refuse() {
    if !is_here("what_the_job_can_give_back_is_no_reason_to_refuse") {
        return;
    }
    let ground = Ground::new("cache");
    let job = ground.job("job");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let fill = format!(
        "dd if=/dev/zero of={} bs=1M count=100 conv=fsync; echo r; sleep 1000",
        file.path().display()
    );
    let mut writer = job.spawn(&["sh", "-c", &fill]);
    assert_eq!(writer.await_output(), b'r');
    assert!(job.number("memory.usage_in_bytes") > 80 * MIB);
    let limit = wanted(json!({"memory_limit": 32 * MIB}));
    // A slow disk may take longer than the supervisor waits; then it is tried again.
    await_true("the limit is in force", || cgroup::apply(&job.cgroup, &limit, Before::Fresh)[0].applied);
    assert!(job.number("memory.usage_in_bytes") <= 32 * MIB && writer.lives());
}

#[test]
fn what_the_kernel_refuses_is_told_and_the_rest_is_in_force() {
    if !is_here("what_the_kernel_refuses_is_told_and_the_rest_is_in_force") {
        return;
    }
    let ground = Ground::new("refused");
    let job = ground.job("job");
    let cpus = job.read("cpuset.cpus");
    let odd = wanted(json!({
        "cpus": "1000", "io_max": ["999:999 rbps=1"], "memory_high": 1, "cpu_weight": 10_000, "tasks_max": 7
    }));
    let list = cgroup::apply(&job.cgroup, &odd, Before::Fresh);
    assert!(reason(&list, Name::Cpus).contains("online"), "{list:#?}");
    assert!(reason(&list, Name::Cpus).contains(&format!("it is {cpus}")), "{list:#?}");
    assert!(reason(&list, Name::IoMax).contains("lsblk"), "{list:#?}");
    assert!(reason(&list, Name::MemoryHigh).contains("memory_limit"), "{list:#?}");
    assert!(of(&list, Name::CpuWeight).applied && of(&list, Name::TasksMax).applied, "{list:#?}");
    // A disk that is gone does not take the others with it.
    let disk = disk().expect("a disk");
    let gone = wanted(json!({"io_max": ["999:999 rbps=1"]}));
    let now = wanted(json!({"io_max": [format!("{disk} rbps=4096")]}));
    assert_in_force(&cgroup::apply(&job.cgroup, &now, Before::Was(&gone)));
    // Of some CPUs, those that are there.
    let list = cgroup::apply(&job.cgroup, &wanted(json!({"cpus": "0,1000"})), Before::Fresh);
    assert!(reason(&list, Name::Cpus).starts_with("Cannot use CPU 1000, using 0: "), "{list:#?}");
    // Behind our back.
    fs::write(job.path("pids.max"), "max").expect("written");
    let list = cgroup::read_back(&job.cgroup, &odd);
    assert_eq!(of(&list, Name::TasksMax).actual.as_deref(), Some("max"));
    assert!(!of(&list, Name::TasksMax).applied);
    // A hierarchy less.
    let Cgroup::V1 { mut dirs } = job.cgroup.clone() else { panic!("version 1") };
    dirs.remove(&Controller::Pids);
    let list = cgroup::apply(&Cgroup::V1 { dirs }, &odd, Before::Fresh);
    assert!(reason(&list, Name::TasksMax).contains("the pids controller is not available"), "{list:#?}");
    assert!(of(&list, Name::CpuWeight).applied, "{list:#?}");
}

#[test]
fn a_workload_that_forks_without_end_is_ended_and_nothing_is_left_of_it() {
    if !is_here("a_workload_that_forks_without_end_is_ended_and_nothing_is_left_of_it") {
        return;
    }
    let ground = Ground::new("forks");
    let job = ground.job("tasks");
    assert_in_force(&cgroup::apply(&job.cgroup, &wanted(json!({"tasks_max": 100})), Before::Fresh));
    // Each ends at once and leaves two behind.
    let script = "f() { trap '' TERM HUP; f & f & exit; }; f & echo r; sleep 1000";
    let mut bomb = job.spawn(&["/bin/sh", "-c", script]);
    assert_eq!(bomb.await_output(), b'r');
    await_true("it has met its limit", || job.count("pids.events", "max") > 0);
    // Part of it goes into a cgroup of its own.
    for dir in [Controller::Pids, Controller::Memory].map(|controller| job.dir(controller).join("below")) {
        fs::create_dir(&dir).expect("made");
        fs::write(dir.join("cgroup.procs"), bomb.pid().to_string()).expect("moved");
    }
    let main = ffrtmp::model::process::Pid::new(bomb.pid()).expect("a number");
    assert!(cgroup::procs(&job.cgroup).expect("read").contains(&main));
    assert!(!cgroup::remove(&job.cgroup).expect("in use"));
    bomb.end();
    assert!(cgroup::remove(&job.cgroup).expect("removed"));
    assert!(!job.dir(Controller::Cpu).exists() && !job.dir(Controller::Pids).exists());
    assert_eq!(cgroup::procs(&job.cgroup).expect("gone is empty"), []);
    cgroup::kill(&job.cgroup).expect("gone is dead");
    assert!(cgroup::remove(&job.cgroup).expect("gone is removed"));
}

#[test]
fn a_cgroup_that_is_in_use_is_shared_without_the_limits_of_before() {
    if !is_here("a_cgroup_that_is_in_use_is_shared_without_the_limits_of_before") {
        return;
    }
    let ground = Ground::new("shared");
    let first = ground.job("job");
    let fresh = first.limits();
    let limits = wanted(json!({"tasks_max": 9, "cpu": {"quota": 20}, "memory_limit": 64 * MIB}));
    assert_in_force(&cgroup::apply(&first.cgroup, &limits, Before::Fresh));
    let mut left = first.spawn(&["sh", "-c", "echo r; exec sleep 1000"]);
    assert_eq!(left.await_output(), b'r');
    // Neither is it removed with the empty ones.
    ground.sweep(&[]);
    assert!(first.dir(Controller::Memory).exists());
    let second = ground.job("job");
    assert_eq!((second.limits(), &second.cgroup), (fresh, &first.cgroup));

    let process: ProcessIdentity = identify(left.pid()).expect("it lives");
    assert!(cgroup::holds(&second.cgroup, &process).expect("read"));
    let other = ProcessIdentity { boot_id: BootId("another".into()), ..process.clone() };
    assert!(!cgroup::holds(&second.cgroup, &other).expect("read"));
    // Out of one hierarchy is out of the cgroup: its limits are not those of the job any more.
    let base = second.dir(Controller::Memory).parent().expect("a base").to_owned();
    fs::write(base.join("cgroup.procs"), left.pid().to_string()).expect("moved");
    assert!(!cgroup::holds(&second.cgroup, &process).expect("read"));
    let back = second.dir(Controller::Memory).join("cgroup.procs");
    fs::write(back, left.pid().to_string()).expect("moved");
    left.end();
}

#[test]
fn a_base_that_was_removed_is_made_again() {
    if !is_here("a_base_that_was_removed_is_made_again") {
        return;
    }
    let ground = Ground::new("again");
    let job = ground.job("job");
    assert!(cgroup::remove(&job.cgroup).expect("removed"));
    for controller in ground.controllers() {
        fs::remove_dir(job.dir(controller).parent().expect("a base")).expect("removed");
    }
    let job = ground.job("job");
    let mut inside = job.spawn(&["sh", "-c", "echo r; exec sleep 1000"]);
    // It is in the cpuset as well, which takes nobody without CPUs.
    assert_eq!(inside.await_output(), b'r');
}

#[test]
fn a_quota_is_kept() {
    if !is_here("a_quota_is_kept") {
        return;
    }
    let ground = Ground::new("kept");
    let job = ground.job("job");
    assert_in_force(&cgroup::apply(&job.cgroup, &wanted(json!({"cpu": {"quota": 20}})), Before::Fresh));
    job.put_first();
    let _busy = job.spawn(&["sh", "-c", "while :; do :; done"]);
    job.assert_held_to(25.0, Duration::from_secs(2));
}
