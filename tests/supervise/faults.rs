//! What a host can be out of: room on a disk, a disk that can be written, descriptors, processes; and what
//! a disk can make of records. Workloads run on, the condition is one alarm, and what could not be done is
//! made up for when it is over.
//!
//! Disks are tmpfs mounts in a mount namespace of the test's own thread, which nothing else of the machine
//! sees.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use ffrtmp::model::signal::Signal;
use serde_json::Value;

use crate::harness::{Live, Site, await_true, chmod, identify, lives, send, shell, sleeper};

/// How the alarm of every condition begins to say what it means.
const ALARM: &str = "workloads run on, and what cannot be done is tried again every 5 s and on SIGHUP";

/// A user that nobody is, so that no other process counts as its.
const NOBODY_ELSE: u32 = 54_321;

fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let done = Command::new(program).args(arguments).output().map_err(|error| error.to_string())?;
    let complaint = String::from_utf8_lossy(&done.stderr).trim().to_owned();
    if done.status.success() { Ok(()) } else { Err(complaint) }
}

/// A folder with a disk of its own below it, for the state. Dropped after the site on it.
struct Ground {
    folder: tempfile::TempDir,
    state: String,
}

impl Ground {
    /// In a namespace of this thread's own, and of what it starts. `Err`: why that cannot be had here.
    fn new(options: &str) -> Result<Self, String> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)
            .map_err(|errno| format!("no mount namespace to be had: {errno}"))?;
        run("mount", &["--make-rprivate", "/"])?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let state = folder.path().join("state");
        fs::create_dir(&state).map_err(|error| error.to_string())?;
        let state = state.display().to_string();
        run("mount", &["-t", "tmpfs", "-o", options, "tmpfs", &state])?;
        chmod(Path::new(&state), 0o700);
        Ok(Self { folder, state })
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Err(why) = run("umount", &["--lazy", &self.state]) {
            eprintln!("left behind: {} is still mounted: {why}", self.state);
        }
    }
}

/// Runs a test on a disk of its own, in a thread of its own: a mount namespace belongs to a thread.
pub fn with_disk(name: &str, options: &str, test: impl FnOnce(&Site, &Path) + Send) {
    let outcome = std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let ground = Ground::new(options)?;
            let site = Site::at(ground.folder.path());
            // So small a disk is never above its reserve.
            site.replace(&site.path("supervisor.toml"), "[disk]\nreserve = \"0B\"\n");
            test(&site, Path::new(&ground.state));
            Ok::<(), String>(())
        });
        thread.join()
    });
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(why)) => println!("SKIPPED {name}: {why}"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The job file of a workload that ends with this code as soon as a file is there.
fn waits_for(file: &Path, code: u32) -> String {
    shell("", &format!("until [ -e {} ]; do sleep 0.02; done; exit {code}", file.display()))
}

/// Jobs that live through a condition, each in another way.
struct Jobs {
    steady: Live,
    ends: Live,
    orphan: Live,
    go: PathBuf,
}

impl Jobs {
    fn begin(site: &Site) -> Self {
        let go = site.path("go");
        site.put("steady", &sleeper(""));
        site.put("ends", &waits_for(&go, 7));
        site.put("orphan", &waits_for(&go, 9));
        let orphan = site.running("orphan");
        send(&site.wrapper("orphan", &orphan), Signal::KILL);
        site.await_event("orphan", "the wrapper was lost");
        Self { steady: site.running("steady"), ends: site.running("ends"), orphan, go }
    }

    /// While the condition lasts: two of them end, and another is declared.
    fn go_on(&self, site: &Site) {
        fs::write(&self.go, "").expect("written");
        self.ends.await_end();
        self.orphan.await_end();
        site.put("new", &sleeper(""));
    }

    /// Nothing was lost, doubled or disturbed.
    fn assert_made_up_for(&self, site: &Site) {
        assert_eq!(site.await_history("ends", &self.ends.run)["exit_code"], 7);
        assert_eq!(site.await_history("orphan", &self.orphan.run)["exit_code"], 9);
        site.running("new");
        site.assert_untouched("steady", &self.steady);
        for job in ["steady", "ends", "orphan", "new"] {
            assert_eq!(site.runs(job), 1, "{job}: {}", site.log());
        }
    }

    /// A supervisor that comes later sees it all the same way.
    fn assert_the_next_one_agrees(&self, site: &Site) {
        site.kill();
        site.start();
        site.settle();
        self.assert_made_up_for(site);
    }
}

/// That the condition is told once, with its cause and what to do, however often it is tried again.
fn assert_one_alarm(site: &Site, cause: &str, advice: &str) {
    site.await_log(ALARM);
    // Four more attempts, of which nothing may be told.
    site.settle_by_scan();
    site.settle_by_scan();
    let log = site.log();
    let bad: Vec<&str> = log.lines().filter(|line| line.contains("ERROR") || line.contains("WARN")).collect();
    let of_it: Vec<&&str> = bad.iter().filter(|line| line.contains(cause)).collect();
    assert_eq!(of_it.len(), 1, "{cause:?} is to be told once: {bad:#?}");
    assert!(of_it[0].contains(ALARM) && of_it[0].contains(advice), "{}", of_it[0]);
}

#[test]
fn a_full_disk_is_one_alarm_and_what_it_kept_back_is_made_up_for() {
    with_disk("a_full_disk", "size=1m", |site, state| {
        site.start();
        let jobs = Jobs::begin(site);
        let filler = state.join("filler");
        let mut file = fs::File::create(&filler).expect("made");
        while file.write_all(&[0; 512]).is_ok() {}
        drop(file);
        jobs.go_on(site);
        // Their room was reserved when they began.
        for (job, live) in [("ends", &jobs.ends), ("orphan", &jobs.orphan)] {
            let record = site.run_dir(job, live).join("exited.json");
            await_true("the exit is recorded on the full disk", || record.exists());
        }
        assert_one_alarm(site, "No space left on device", "free space on that file system");
        let alarm = site.log().lines().find(|line| line.contains(ALARM)).map(str::to_owned);
        assert!(alarm.is_some_and(|alarm| alarm.contains(&state.display().to_string())), "it names the path");
        await_true("nothing ran, so there is no run", || site.runs("new") == 0);
        // An edit waits for the disk, and is made up for, too.
        site.put("steady", &sleeper("[constraints]\nnice = 2"));
        fs::remove_file(&filler).expect("removed");
        site.settle_by_scan();
        site.await_log("no space on the disk resolved");
        site.await_event("steady", "changed in place: constraints.nice");
        jobs.assert_made_up_for(site);
        jobs.assert_the_next_one_agrees(site);
    });
}

#[test]
fn a_disk_that_became_read_only_is_one_alarm_and_what_it_kept_back_is_made_up_for() {
    with_disk("a_read_only_disk", "size=4m", |site, state| {
        site.start();
        let jobs = Jobs::begin(site);
        let state = state.to_str().expect("UTF-8");
        // On top, as files that are open for writing keep the one below from changing.
        run("mount", &["--bind", state, state]).expect("mounted");
        run("mount", &["-o", "remount,bind,ro", state]).expect("mounted");
        jobs.go_on(site);
        let status = site.status("ends");
        assert_eq!(status["state"], "ended", "{status:#}");
        let cause = "ended, cannot be recorded: the file system is read-only";
        assert!(status["note"].as_str().is_some_and(|note| note.contains(cause)), "{status:#}");
        site.signal_supervisor(Signal::from_number(libc::SIGHUP).expect("a signal"));
        site.await_log(cause);
        assert_one_alarm(site, "Read-only file system", "mount it read-write");
        await_true("nothing ran, so there is no run", || site.runs("new") == 0);
        run("umount", &[state]).expect("unmounted");
        site.settle_by_scan();
        site.await_log("a read-only file system resolved");
        jobs.assert_made_up_for(site);
        jobs.assert_the_next_one_agrees(site);
    });
}

#[test]
fn without_descriptors_nothing_is_taken_for_what_it_is_not() {
    let site = Site::started();
    let jobs = Jobs::begin(&site);
    let pid = site.supervisor_pid().to_string();
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("proc");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let before = files.split_whitespace().nth(3).expect("a number").to_owned();
    let set = |soft: &str| run("prlimit", &["--pid", &pid, &format!("--nofile={soft}:")]);
    if let Err(why) = set("3") {
        return println!("SKIPPED without_descriptors: {why}");
    }
    jobs.go_on(&site);
    assert_one_alarm_but_for_files(&site);
    assert!(site.history("ends").is_empty() && site.runs("new") == 0, "{}", site.log());
    set(&before).expect("as it was");
    site.settle_by_scan();
    site.await_log("no descriptors resolved");
    jobs.assert_made_up_for(&site);
    jobs.assert_the_next_one_agrees(&site);
}

/// Beside the alarm, what is wrong with job files and folders is told where that always is.
fn assert_one_alarm_but_for_files(site: &Site) {
    site.await_log(ALARM);
    // Four more attempts, of which nothing may be told.
    site.settle_by_scan();
    site.settle_by_scan();
    assert_eq!(site.said(ALARM), 1, "{}", site.log());
    let log = site.log();
    let of_runs = |line: &&str| line.contains("Too many open files") && !line.contains("s.d");
    assert_eq!(log.lines().filter(of_runs).count(), 1, "{log}");
    assert!(log.contains("raise the supervisor's limit (LimitNOFILE="), "{log}");
}

#[test]
fn a_refused_fork_is_one_alarm_and_the_start_is_owed() {
    let name = "a_refused_fork";
    if !nix::unistd::geteuid().is_root() {
        return println!("SKIPPED {name}: only root can be a user that has no other process");
    }
    let site = Site::new();
    let as_user = |program: &Path| {
        let id = NOBODY_ELSE.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs"]).arg(program);
        command
    };
    // Where that user gets at it: the folder that tests are built in may be closed to others.
    let (supervisor, wrapper) = (site.path("ffrtmp-sup"), site.path("ffrtmp"));
    fs::copy(env!("CARGO_BIN_EXE_ffrtmp-sup"), &supervisor).expect("copied");
    fs::copy(env!("CARGO_BIN_EXE_ffrtmp"), &wrapper).expect("copied");
    for path in [site.root.clone(), supervisor.clone(), wrapper.clone()] {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("changed");
    }
    chown(&site.root, Some(NOBODY_ELSE), Some(NOBODY_ELSE)).expect("changed");
    if let Err(why) =
        as_user(Path::new("true")).output().map_err(|error| error.to_string()).and_then(|done| {
            let said = String::from_utf8_lossy(&done.stderr).into_owned();
            if done.status.success() { Ok(()) } else { Err(said) }
        })
    {
        return println!("SKIPPED {name}: {why}");
    }
    let wrapper = wrapper.to_str().expect("UTF-8");
    let pid = site.start_command(as_user(&supervisor), &site.root, &["--wrapper", wrapper]).to_string();
    site.put("steady", &sleeper(""));
    let steady = site.running("steady");
    let nursery = site.nursery().pid.to_string();
    let limit = |soft: &str| {
        for pid in [&pid, &nursery] {
            let done =
                as_user(Path::new("prlimit")).args(["--pid", pid, &format!("--nproc={soft}:")]).output();
            assert!(done.is_ok_and(|done| done.status.success()), "prlimit");
        }
    };
    limit("1");
    site.put("new", &sleeper(""));
    assert_one_alarm(&site, "Resource temporarily unavailable", "TasksMax=");
    // An attempt leaves nothing.
    await_true("nothing ran, so there is no run", || site.runs("new") == 0);
    limit("4096");
    site.settle_by_scan();
    site.await_log("no processes resolved");
    site.running("new");
    assert_eq!(site.runs("new"), 1);
    site.assert_untouched("steady", &steady);
    site.term();
}

/// While the file named by `NO_MEMORY` exists, no process is made for want of memory (posix_spawn(3)).
const NO_MEMORY: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <spawn.h>
#include <stdlib.h>
#include <unistd.h>
int posix_spawnp(pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, char *const arguments[], char *const environment[]) {
    if (access(getenv("NO_MEMORY"), F_OK) == 0) return ENOMEM;
    int (*real)() = dlsym(RTLD_NEXT, "posix_spawnp");
    return real(pid, file, actions, attributes, arguments, environment);
}
"#;

#[test]
fn without_memory_for_a_wrapper_the_start_is_owed() {
    let site = Site::new();
    let (source, library, none) = (site.path("spawn.c"), site.path("spawn.so"), site.path("none"));
    fs::write(&source, NO_MEMORY).expect("written");
    let arguments = ["-shared", "-fPIC", "-w", "-o"].map(Path::new);
    let made = Command::new("cc").args(arguments).args([&library, &source]).arg("-ldl").output();
    if !made.is_ok_and(|made| made.status.success()) {
        return println!("SKIPPED without_memory_for_a_wrapper: no C compiler here");
    }
    let [library, file] = [&library, &none].map(|path| path.to_str().expect("UTF-8"));
    site.start_with_env(&[("LD_PRELOAD", library), ("NO_MEMORY", file)]);
    site.put("steady", &sleeper(""));
    let steady = site.running("steady");
    fs::write(&none, "").expect("written");
    // Then there is none to fork it, either.
    send(&site.nursery(), Signal::KILL);
    site.put("new", &sleeper(""));
    assert_one_alarm(&site, "Cannot allocate memory", "memory");
    await_true("nothing ran, so there is no run", || site.runs("new") == 0);
    fs::remove_file(&none).expect("removed");
    site.settle_by_scan();
    site.await_log("no memory resolved");
    site.running("new");
    assert_eq!(site.runs("new"), 1);
    site.assert_untouched("steady", &steady);
    site.term();
}

/// Cuts a record in half.
fn damage(site: &Site, job: &str, live: &Live, name: &str) {
    let path = site.run_dir(job, live).join(name);
    let bytes = fs::read(&path).expect("a record");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
}

#[test]
fn damaged_records_are_told_and_nothing_runs_twice_beside_them() {
    let site = Site::started();
    let go = site.path("go");
    let keys = "lifecycle = \"continuous\"\n[restart]\ndelay = \"10ms\"";
    let jobs = ["spec", "started", "both", "exited"];
    jobs.iter().for_each(|job| {
        let script = format!("until [ -e {} ]; do sleep 0.02; done; exit 7", go.display());
        site.put(job, &shell(keys, &script));
    });
    let live = jobs.map(|job| site.running(job));
    let [spec, started, both, exited] = &live;
    let wrappers = [0, 1, 2, 3].map(|n: usize| site.wrapper(jobs[n], &live[n]));
    site.kill();
    damage(&site, "spec", spec, "spec.json");
    damage(&site, "started", started, "started.json");
    // Nobody can tell who this one is any more, but something is in its cgroup.
    damage(&site, "both", both, "started.json");
    let in_cgroup = site.record("both", both, "spec.json")["cgroup"] != Value::Null;
    send(&wrappers[2], Signal::KILL);
    exited.signal(Signal::KILL);
    await_true("its end is recorded", || site.run_dir("exited", exited).join("exited.json").exists());
    await_true("its wrapper is gone", || !lives(&wrappers[3]));
    damage(&site, "exited", exited, "exited.json");
    site.start();
    site.settle();
    for _ in 0..3 {
        site.settle_by_scan();
    }
    for (job, live) in jobs.iter().zip(&live).take(if in_cgroup { 3 } else { 2 }) {
        assert!(live.lives(), "{job}: {}", site.log());
        assert_eq!(site.runs(job), 1, "{job}: {}", site.log());
    }
    assert_eq!((site.said("spec.json: is damaged"), site.said("started.json: is damaged")), (1, 2));
    let lost = site.await_history("exited", &exited.run);
    assert_eq!((&lost["exit_reason"], &lost["exit_code"]), (&"unknown".into(), &Value::Null), "{lost:#}");
    assert_eq!(lost["platform_sla_reason"], "exit_lost");
    site.running_anew("exited", exited);

    // Where something lived beside a damaged record, it is over when that ends.
    fs::write(&go, "").expect("written");
    live.iter().for_each(Live::await_end);
    fs::remove_file(&go).expect("removed");
    assert_eq!(site.await_history("started", &started.run)["exit_code"], 7);
    await_true("the wrapper is gone", || !lives(&wrappers[0]));
    site.settle_by_scan();
    for (job, live) in jobs.iter().zip(&live) {
        site.running_anew(job, live);
    }
}

#[test]
fn records_that_are_damaged_under_a_living_supervisor_are_written_anew() {
    let site = Site::started();
    let go = site.path("go");
    site.put("job", &waits_for(&go, 9));
    let live = site.running("job");
    let wrapper = site.wrapper("job", &live);
    damage(&site, "job", &live, "spec.json");
    damage(&site, "job", &live, "started.json");
    send(&wrapper, Signal::KILL);
    site.await_event("job", "the wrapper was lost");
    site.assert_untouched("job", &live);
    assert_eq!(site.said("is damaged"), 2, "{}", site.log());
    assert_eq!(site.record("job", &live, "started.json")["process"]["pid"], live.pid());
    site.kill();
    site.start();
    site.settle();
    site.assert_untouched("job", &live);
    assert!(identify(live.pid()).is_some());
    fs::write(&go, "").expect("written");
    // Its parent is somebody else now; what the kernel tells of it is another test's matter.
    live.await_end();
    site.await_report("job", "its end", |report| report["exit_reason"] != Value::Null);
    assert_eq!(site.runs("job"), 1);
}
