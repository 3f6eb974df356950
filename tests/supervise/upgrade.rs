//! Another version takes the supervisor's place, in its process, and other versions left what it finds.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use ffrtmp::model::signal::Signal;
use ffrtmp::supervisor::lock;
use serde_json::Value;

use crate::harness::{Live, Site, await_true, identify, lives, send, shell, sleeper};

/// Our two programs, in a folder of their own where they can be replaced.
struct Installed {
    supervisor: PathBuf,
    wrapper: PathBuf,
}

impl Installed {
    fn on(site: &Site) -> Self {
        let installed = Self { supervisor: site.path("bin/ffrtmp-sup"), wrapper: site.path("bin/ffrtmp") };
        fs::create_dir(site.path("bin")).expect("made");
        installed.install();
        installed
    }

    /// Puts fresh copies in their place, as a package manager does.
    fn install(&self) {
        for (from, to) in [
            (env!("CARGO_BIN_EXE_ffrtmp-sup"), &self.supervisor),
            (env!("CARGO_BIN_EXE_ffrtmp"), &self.wrapper),
        ] {
            replace(to, &fs::read(from).expect("read"));
        }
    }

    fn start(&self, site: &Site) -> u32 {
        let mut command = Command::new(&self.supervisor);
        command.current_dir("/");
        site.start_command(command, &site.root, &["--wrapper", self.wrapper.to_str().expect("UTF-8")])
    }
}

/// Replaces a program by a rename.
fn replace(program: &Path, bytes: &[u8]) {
    let draft = program.with_extension("new");
    fs::write(&draft, bytes).expect("written");
    fs::set_permissions(&draft, fs::Permissions::from_mode(0o755)).expect("changed");
    fs::rename(draft, program).expect("renamed");
}

fn exe(pid: u32) -> PathBuf {
    fs::read_link(format!("/proc/{pid}/exe")).expect("proc")
}

fn open_descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).expect("proc").count()
}

/// The masks of signals in `/proc/PID/status`.
fn blocked_signals(pid: u32) -> String {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("proc");
    status.lines().find_map(|line| line.strip_prefix("SigBlk:")).expect("a mask").trim().to_owned()
}

fn upgrade(site: &Site) {
    let before = site.said("supervising, pid");
    site.signal_supervisor(Signal::from_number(libc::SIGUSR2).expect("a signal"));
    await_true("the next program supervises", || site.said("supervising, pid") > before);
}

/// Ends with this code as soon as the file is there.
fn waits_for(file: &Path, code: u32) -> String {
    shell("", &format!("until [ -e {} ]; do sleep 0.02; done; exit {code}", file.display()))
}

#[test]
fn a_new_version_takes_over_in_the_same_process_and_loses_no_child() {
    let site = Site::new();
    let installed = Installed::on(&site);
    let pid = installed.start(&site);
    let jobs: Vec<String> = (0..20).map(|n| format!("job-{n}")).collect();
    jobs.iter().for_each(|job| site.put(job, &sleeper("")));
    site.put("later", &waits_for(&site.path("go"), 7));
    site.put("limits", &shell("", "ulimit -Sn; exec sleep 1000"));
    // This one's wrapper dies: it becomes the supervisor's own child.
    site.put("orphan", &waits_for(&site.path("orphan-goes"), 9));
    let lives_before: Vec<Live> = jobs.iter().map(|job| site.running(job)).collect();
    let (later, orphan) = (site.running("later"), site.running("orphan"));
    site.running("limits");
    send(&site.wrapper("orphan", &orphan), Signal::KILL);
    site.await_event("orphan", "the wrapper was lost");
    let (descriptors, old) = (open_descriptors(pid), exe(pid));
    let inode = |path: &Path| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).expect("stat"));
    let old_inode = inode(Path::new(&format!("/proc/{pid}/exe")));

    installed.install();
    upgrade(&site);
    assert_eq!(exe(pid), old, "the path is the same");
    assert_ne!(inode(Path::new(&format!("/proc/{pid}/exe"))), old_inode, "the program is not");
    assert_eq!(site.supervisor_pid(), pid);
    assert_eq!(site.json(&["status", "--json"])["supervisor_pid"], pid);
    site.await_log("took over 23 running workloads");
    site.settle();
    for (job, live) in jobs.iter().zip(&lives_before) {
        site.assert_untouched(job, live);
    }
    assert_eq!(blocked_signals(pid), "0000000000000000", "it hears what it is told");

    // What ends now is told with its code, also by who is a child of the supervisor.
    fs::write(site.path("go"), "").expect("written");
    fs::write(site.path("orphan-goes"), "").expect("written");
    assert_eq!(site.await_history("later", &later.run)["exit_code"], 7);
    assert_eq!(site.await_history("orphan", &orphan.run)["exit_code"], 9);

    // As often as it is done, nothing piles up, and the limit that workloads get stays what it was.
    upgrade(&site);
    site.settle();
    site.put("limits-after", &shell("", "ulimit -Sn; exec sleep 1000"));
    site.running("limits-after");
    await_true("both say it", || {
        !site.output("limits").is_empty() && !site.output("limits-after").is_empty()
    });
    assert_eq!(site.output("limits"), site.output("limits-after"));
    await_true("descriptors are as many as before", || open_descriptors(pid) <= descriptors);
    let refused = site.run(&["supervise", "--wrapper", env!("CARGO_BIN_EXE_ffrtmp")]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains(&format!("(pid {pid})")), "{refused:?}");
    site.term();
}

#[test]
fn an_exit_in_the_very_moment_of_an_upgrade_is_told_with_its_code() {
    let site = Site::started();
    let pid = site.supervisor_pid();
    let (lock, done) = (site.path("state/supervisor.lock"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Nobody else could have become the supervisor in between.
        let watcher = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert_eq!(lock::holder(&lock), Some(pid), "the lock is free, or another's");
            }
        });
        let over = Over(&done);
        (0..20).for_each(|round| end_while_upgrading(&site, round));
        drop(over);
        watcher.join().expect("it was held all the time");
    });
    assert_eq!(site.supervisor_pid(), pid);
    site.term();
}

/// Says so when it is dropped, also where a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A workload ends before, while or after the programs are exchanged; of every second one the supervisor is
/// the parent.
fn end_while_upgrading(site: &Site, round: u32) {
    let (job, go) = (format!("job-{round}"), site.path(&format!("go-{round}")));
    site.put(&job, &waits_for(&go, round + 1));
    let live = site.running(&job);
    if round % 2 == 1 {
        send(&site.wrapper(&job, &live), Signal::KILL);
        site.await_event(&job, "the wrapper was lost");
    }
    // It looks every 20 ms.
    fs::write(&go, "").expect("written");
    std::thread::sleep(std::time::Duration::from_millis(u64::from(round)));
    upgrade(site);
    let report = site.await_history(&job, &live.run);
    assert_eq!(report["exit_code"], round + 1, "{report:#}\n{}", site.log());
    site.remove(&job);
}

#[test]
fn a_signal_that_comes_while_the_programs_are_exchanged_is_obeyed_and_ends_nobody() {
    let site = Site::started();
    site.put("job", &sleeper(""));
    let live = site.running("job");
    let [usr2, hup] = [libc::SIGUSR2, libc::SIGHUP].map(|n| Signal::from_number(n).expect("a signal"));
    for _ in 0..10 {
        let begun = site.said("supervising, pid");
        site.signal_supervisor(usr2);
        for _ in 0..20 {
            site.signal_supervisor(hup);
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        await_true("the next program supervises", || site.said("supervising, pid") > begun);
    }
    site.settle_by_scan();
    site.assert_untouched("job", &live);
    site.signal_supervisor(usr2);
    // In whichever of the two programs it arrives.
    site.term();
    site.assert_untouched("job", &live);
}

#[test]
fn a_program_that_cannot_take_over_is_refused_and_the_old_one_runs_on() {
    let site = Site::new();
    let installed = Installed::on(&site);
    let pid = installed.start(&site);
    site.put("job", &sleeper(""));
    let live = site.running("job");
    let usr2 = Signal::from_number(libc::SIGUSR2).expect("a signal");
    let bad: [(&[u8], &str); 4] = [
        (
            b"#!/bin/sh\necho 'error while loading shared libraries' >&2; exit 127\n",
            "loading shared libraries",
        ),
        (b"\x7fELF but no more than that", "--version: "),
        (b"#!/bin/sh\necho 'something-else 1.0'\n", "that is no ffrtmp-sup"),
        // It tells its version, and cannot be executed.
        (b"#!/bin/sh\nchmod -x \"$0\"; echo 'ffrtmp-sup 9.9.9'\n", "cannot execute"),
    ];
    for (round, (program, why)) in bad.into_iter().enumerate() {
        replace(&installed.supervisor, program);
        site.signal_supervisor(usr2);
        await_true("it is refused", || site.said("upgrade refused, still running") > round);
        site.await_log(why);
        // It goes on as if nothing had happened: signals, limits, edits.
        await_true("it hears what it is told", || blocked_signals(pid) == "0000000000000000");
        site.settle_by_scan();
        site.assert_untouched("job", &live);
    }
    fs::remove_file(&installed.supervisor).expect("removed");
    site.signal_supervisor(usr2);
    await_true("it is refused", || site.said("upgrade refused, still running") > 4);
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("proc");
    let files = limits.lines().find(|line| line.starts_with("Max open files")).expect("a limit");
    let numbers: Vec<&str> = files.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "raised again, for every run takes a descriptor");
    installed.install();
    upgrade(&site);
    site.settle();
    site.assert_untouched("job", &live);
}

#[test]
fn wrappers_whose_program_is_replaced_or_gone_run_on_and_are_taken_over() {
    let site = Site::new();
    let installed = Installed::on(&site);
    installed.start(&site);
    let go = site.path("go");
    for job in ["upgraded", "restarted"] {
        site.put(job, &waits_for(&go, 5));
    }
    let lives_before = ["upgraded", "restarted"].map(|job| site.running(job));
    let wrapper = |job: &str, live: &Live| site.wrapper(job, live).pid.as_raw().unsigned_abs();
    installed.install();
    upgrade(&site);
    site.settle();
    // The old wrappers execute a file that has no name any more, new ones the new file.
    let old = exe(wrapper("upgraded", &lives_before[0]));
    assert!(old.to_string_lossy().ends_with(" (deleted)"), "{old:?}");
    site.put("new", &sleeper(""));
    let new = site.running("new");
    assert_eq!(exe(wrapper("new", &new)), installed.wrapper);
    // And from one supervisor to the next, with no wrapper program there at all for a while.
    fs::remove_file(&installed.wrapper).expect("removed");
    site.kill();
    installed.install();
    installed.start(&site);
    site.settle();
    for (job, live) in ["upgraded", "restarted"].iter().zip(&lives_before) {
        site.assert_untouched(job, live);
    }
    fs::write(&go, "").expect("written");
    for (job, live) in ["upgraded", "restarted"].iter().zip(&lives_before) {
        assert_eq!(site.await_history(job, &live.run)["exit_code"], 5);
    }
}

#[test]
fn records_of_an_older_version_lack_what_came_later_and_are_taken_over_all_the_same() {
    let site = Site::started();
    let go = site.path("go");
    site.put("job", &waits_for(&go, 6));
    site.put("orphan", &sleeper("lifecycle = \"continuous\""));
    let (live, orphan) = (site.running("job"), site.running("orphan"));
    site.kill();
    for (job, live) in [("job", &live), ("orphan", &orphan)] {
        for (name, later) in [
            ("spec.json", &["open_files", "cgroup", "limits", "released", "sum"][..]),
            ("started.json", &["notes", "baseline", "sum"]),
        ] {
            let mut record = site.record(job, live, name);
            let fields = record.as_object_mut().expect("an object");
            later.iter().for_each(|field| drop(fields.remove(*field)));
            // And one that a newer version may add.
            fields.insert("from_the_future".into(), Value::Bool(true));
            site.write_record(job, live, name, &record);
        }
    }
    send(&site.wrapper("orphan", &orphan), Signal::KILL);
    site.start();
    site.await_log("took over 2 running workloads");
    site.settle();
    site.assert_untouched("job", &live);
    assert!(orphan.lives());
    fs::write(&go, "").expect("written");
    assert_eq!(site.await_history("job", &live.run)["exit_code"], 6);
    orphan.signal(Signal::KILL);
    let report = site.await_history("orphan", &orphan.run);
    assert_eq!(report["job_id"], "orphan");
    site.running_anew("orphan", &orphan);
}

#[test]
fn records_of_a_newer_version_are_left_alone_and_nothing_is_started_beside_them() {
    let site = Site::started();
    site.put("job", &sleeper(""));
    site.put("other", &sleeper(""));
    let (live, other) = (site.running("job"), site.running("other"));
    site.kill();
    let known = site.record("job", &live, "spec.json");
    let mut newer = known.clone();
    newer["version"] = 2.into();
    site.write_record("job", &live, "spec.json", &newer);
    site.start();
    site.await_log("spec.json: has version 2, known is 1; it was written by a newer ffrtmp");
    site.settle();
    site.settle_by_scan();
    assert!(live.lives());
    assert_eq!((site.runs("job"), site.said("has version 2")), (1, 1), "{}", site.log());
    assert_eq!(site.record("job", &live, "spec.json"), newer, "it is left as it is");
    site.assert_untouched("other", &other);
    // The version that wrote it would find all as it was.
    site.write_record("job", &live, "spec.json", &known);
    site.settle_by_scan();
    site.await_log("its records can be read again");
    site.put("job", &sleeper("[constraints]\nnice = 3"));
    site.await_event("job", "changed in place: constraints.nice");
    site.assert_untouched("job", &live);
    assert!(identify(live.pid()).is_some_and(|process| lives(&process)));
}
