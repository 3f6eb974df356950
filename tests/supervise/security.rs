//! What the user of a job can do to others: nothing. Each attempt is made by a real other user, so these
//! tests need root; modes and links are tested by anybody.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use ffrtmp::model::signal::Signal;
use nix::unistd::Uid;

use crate::harness::{DEADLINE, STUBBORN, Site, await_true, chmod, identify, lives, shell, sleeper};

/// A user that has nothing to do with the one that runs these tests.
const NOBODY: u32 = 65534;

/// Groups of the supervisor that no other user may get to keep.
const GROUPS: &str = "0,4,27";

fn is_root(test: &str) -> bool {
    let root = Uid::effective().is_root();
    if !root {
        println!("SKIPPED {test}: only root can start a job as another user");
    }
    root
}

/// A folder that anybody may enter, as `/var/lib` is: it is the state's own mode that has to keep others out.
fn open_site() -> Site {
    let site = Site::new();
    chmod(&site.root, 0o755);
    site
}

/// Starts a supervisor with a past: no umask, ignored signals, an open file, a secret in its environment,
/// and, for root, groups.
fn start_carelessly(site: &Site) {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "umask 0; trap '' HUP USR1 PIPE; exec 9< /etc/passwd; exec \"$0\" \"$@\""]);
    if Uid::effective().is_root() {
        command.args(["setpriv", "--groups", GROUPS]);
    }
    command.arg(env!("CARGO_BIN_EXE_ffrtmp-sup")).env("SECRET", "hunter2");
    site.start_command(command, &site.root, &[]);
}

/// A supervisor that is expected not to begin.
fn refused(site: &Site) -> Output {
    let wrapper = env!("CARGO_BIN_EXE_ffrtmp");
    let mut child = site
        .command(&["supervise", "--wrapper", wrapper])
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    // One that begins after all would never end.
    let begin = Instant::now();
    while child.try_wait().expect("our child").is_none() && begin.elapsed() < DEADLINE {
        sleep(Duration::from_millis(2));
    }
    let _ = child.kill();
    let output = child.wait_with_output().expect("our child");
    assert_eq!(output.status.code(), Some(2), "{}", text_of(&output));
    output
}

fn text_of(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Everything below a folder, itself included.
fn all_below(folder: &Path) -> Vec<PathBuf> {
    let mut all = vec![folder.to_owned()];
    for entry in fs::read_dir(folder).expect("read").flatten() {
        match entry.file_type().expect("a type").is_dir() {
            true => all.extend(all_below(&entry.path())),
            false => all.push(entry.path()),
        }
    }
    all
}

#[test]
fn everything_that_is_written_is_its_owners_alone_whatever_the_umask() {
    let site = open_site();
    start_carelessly(&site);
    site.put("lives", &sleeper(""));
    site.put("ends", &shell("", "echo said; exit 3"));
    site.put("deaf", &shell("[stop]\ntimeout = \"60s\"", STUBBORN));
    site.running("lives");
    let deaf = site.running("deaf");
    site.await_output("deaf", "ready");
    site.await_state("ends", "failed");
    site.put("deaf", &shell("enabled = false\n[stop]\ntimeout = \"60s\"", STUBBORN));
    let stop = site.run_dir("deaf", &deaf).join("stop.json");
    await_true("its stop is recorded", || stop.exists());
    let all: Vec<PathBuf> =
        ["state", "run"].iter().flat_map(|folder| all_below(&site.path(folder))).collect();
    for name in [
        "supervisor.lock",
        "wrapper.lock",
        "spec.json",
        "started.json",
        "stop.json",
        "exited.json",
        "ends.log",
        "ends.json",
    ] {
        assert!(all.iter().any(|path| path.ends_with(name)), "{name} is in none of {all:?}");
    }
    for path in &all {
        // Reports are replaced while we look.
        let Ok(meta) = path.symlink_metadata() else { continue };
        let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
        let found = (meta.permissions().mode() & 0o7777, meta.uid());
        assert_eq!(found, (wanted, Uid::effective().as_raw()), "{}", path.display());
    }
    for base in site.cgroup_bases() {
        for dir in all_below(&base).into_iter().filter(|path| path.is_dir()) {
            let mode = dir.metadata().expect("a cgroup").permissions().mode();
            assert_eq!(mode & 0o022, 0, "{}: who may write there can leave its limits", dir.display());
        }
    }
}

#[test]
fn folders_that_others_may_write_are_refused_before_anything_is_done() {
    let site = open_site();
    site.put("job", &sleeper(""));
    let folders = ["state", "run", "state/runs", "state/logs", "state/reports", "state/reports/history"];
    for folder in folders {
        let path = site.path(folder);
        fs::create_dir_all(&path).expect("made");
        for parent in folders {
            let _ = site.path(parent).is_dir().then(|| chmod(&site.path(parent), 0o700));
        }
        // In a folder with the sticky bit nobody can replace what is there, but anybody adds to it.
        for mode in [0o777, 0o1777, 0o720] {
            chmod(&path, mode);
            let text = text_of(&refused(&site));
            let wanted = [path.display().to_string(), format!("(mode {mode:04o})"), "chmod go-w".into()];
            assert!(wanted.iter().all(|part| text.contains(part)), "{folder} {mode:o}: {text}");
        }
        chmod(&path, 0o700);
        if Uid::effective().is_root() {
            chown(&path, Some(NOBODY), None).expect("changed");
            let text = text_of(&refused(&site));
            assert!(text.contains(&format!("{} belongs to uid {NOBODY}", path.display())), "{text}");
            chown(&path, Some(0), None).expect("changed");
        }
    }
    chmod(&site.root, 0o777);
    let text = text_of(&refused(&site));
    assert!(text.contains(&format!("{} is writable by everybody", site.root.display())), "{text}");
    chmod(&site.root, 0o755);
    assert_eq!(site.runs("job"), 0);
    site.start();
    site.running("job");
}

#[test]
fn links_in_the_place_of_locks_and_logs_are_not_followed() {
    let site = open_site();
    let precious = site.path("precious");
    fs::write(&precious, "precious").expect("written");
    fs::create_dir_all(site.path("state/logs")).expect("made");
    chmod(&site.path("state"), 0o700);
    let lock = site.path("state/supervisor.lock");
    symlink(&precious, &lock).expect("linked");
    let text = text_of(&refused(&site));
    assert!(text.contains(&lock.display().to_string()), "{text}");
    fs::remove_file(&lock).expect("removed");
    symlink(&precious, site.path("state/logs/job.log")).expect("linked");
    site.start();
    site.put("job", &shell("", "echo said"));
    let report = site.await_report("job", "its end", |report| report["ended_at"].is_string());
    assert_eq!(report["platform_sla_reason"], "setup_failed", "{report:#}");
    assert_eq!(fs::read_to_string(&precious).expect("read"), "precious");
}

/// The lines of `/proc/PID/status`, by name.
fn status_of(pid: u32, name: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn another_users_job_has_nothing_of_the_supervisors() {
    if !is_root("another_users_job_has_nothing_of_the_supervisors") {
        return;
    }
    let site = open_site();
    start_carelessly(&site);
    assert_eq!(status_of(site.supervisor_pid(), "Groups").replace(' ', ","), GROUPS, "what this test needs");
    let text = |user: &str| format!("[exec]\ncommand = [\"/bin/sleep\", \"1000\"]\n{user}");
    site.put("other", &text("user = \"nobody\""));
    site.put("numbers", &text("user = \"54321\"\ngroup = \"54322\"\numask = \"077\""));
    site.put("same", &text(""));
    let other = site.running("other").pid();
    let numbers = site.running("numbers").pid();
    let same = site.running("same").pid();
    let all = |id: u32| [id; 4].map(|id| id.to_string()).join(" ");
    for (pid, uid, gid, umask) in [(other, NOBODY, NOBODY, "0022"), (numbers, 54321, 54322, "0077")] {
        assert_eq!(status_of(pid, "Uid"), all(uid));
        assert_eq!(status_of(pid, "Gid"), all(gid));
        assert_eq!(status_of(pid, "Groups"), gid.to_string(), "none of the supervisor's");
        assert_eq!((status_of(pid, "NoNewPrivs"), status_of(pid, "Umask")), ("1".into(), umask.into()));
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert_eq!(status_of(pid, set), "0000000000000000", "{set}");
        }
    }
    assert_eq!((status_of(same, "NoNewPrivs"), status_of(same, "Uid")), ("0".into(), all(0)));
    for pid in [other, numbers, same] {
        for set in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
            assert_eq!(status_of(pid, set), "0000000000000000", "{set}");
        }
        let mut files: Vec<String> = crate::harness::names(Path::new(&format!("/proc/{pid}/fd")));
        files.sort();
        assert_eq!(files, ["0", "1", "2"], "no lock, no pipe, nothing of ours");
        for file in files {
            let about = fs::read_to_string(format!("/proc/{pid}/fdinfo/{file}")).expect("it lives");
            assert!(!about.contains("lock:"), "{about}");
        }
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("it lives");
        let environment = String::from_utf8_lossy(&environment).into_owned();
        let names: Vec<&str> =
            environment.split_terminator('\0').filter_map(|v| v.split('=').next()).collect();
        assert!(names.contains(&"PATH") && names.contains(&"FFRTMP_JOB"), "{names:?}");
        assert!(!environment.contains("hunter2") && !names.contains(&"SECRET"), "{names:?}");
        assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).expect("it lives"), Path::new("/"));
        assert_eq!(fs::read_link(format!("/proc/{pid}/fd/0")).expect("it lives"), Path::new("/dev/null"));
    }
}

/// All that a job's user may try against the supervisor, its wrapper, its records and others' logs.
const ATTEMPTS: &str = r#"
try() { name=$1; shift; if said=$(sh -c "$*" 2>&1); then echo "DONE $name"; else echo "refused $name"; fi; }
export R=$S/runs/hostile/$FFRTMP_RUN_ID W=$PPID H=$$
try 'look into the state' 'ls $S'
try 'read its own spec' 'cat $R/spec.json'
try 'forge an exit record' 'echo forged > $R/exited.json'
try 'forge one by rename' 'echo forged > /tmp/.forged-$$; mv /tmp/.forged-$$ $R/exited.json; s=$?; rm -f /tmp/.forged-$$; exit $s'
try 'change its start record' 'echo forged >> $R/started.json'
try 'plant a run' 'mkdir $S/runs/hostile/19bfcd3a000-00000007'
try 'plant a job' 'mkdir $S/runs/other'
try 'take the lock of its wrapper' 'flock -n $R/wrapper.lock true'
try 'take the lock of the supervisor' 'flock -n $S/supervisor.lock true'
try 'truncate the lock of the supervisor' ': > $S/supervisor.lock'
try 'write into the log of another' 'echo x >> $S/logs/neighbour.log'
try 'make a log' 'touch $S/logs/more.log'
try 'replace its log by a link' 'ln -sf /etc/passwd $S/logs/hostile.log'
try 'remove its log' 'rm -f $S/logs/hostile.log && [ ! -e $S/logs/hostile.log ] && ls $S/logs'
try 'open its log anew' ': > /proc/$H/fd/1'
try 'change the mode of its log' 'chmod 666 /proc/$H/fd/1'
try 'forge a report' 'echo forged > $S/reports/hostile.json'
try 'declare a job' 'touch $J/mine.toml'
try 'signal its wrapper' 'kill -0 $W'
try 'end its wrapper' 'kill -KILL $W'
try 'stop its wrapper' 'kill -STOP $W'
try 'signal the supervisor' 'kill -0 $P'
try 'end the supervisor' 'kill -KILL $P'
try 'list what its wrapper has open' 'ls /proc/$W/fd'
try 'use what its wrapper has open' ': < /proc/$W/fd/3'
try 'read the memory of its wrapper' 'head -c 1 /proc/$W/auxv'
try 'write the memory of its wrapper' ': >> /proc/$W/mem'
try 'read the environment of the supervisor' 'cat /proc/$P/environ'
try 'limit its wrapper' 'prlimit --pid $W --nofile=1'
try 'slow the supervisor' 'renice -n 19 -p $P'
try 'have its wrapper killed for memory' 'echo 1000 > /proc/$W/oom_score_adj'
try 'leave its cgroups' 'for f in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/*/tasks; do echo 0 > $f && exit; done; exit 1'
echo over
exec sleep 1000
"#;

#[test]
fn a_hostile_job_can_do_nothing_to_others() {
    if !is_root("a_hostile_job_can_do_nothing_to_others") {
        return;
    }
    let site = open_site();
    start_carelessly(&site);
    site.put("neighbour", &shell("", "echo mine; exec sleep 1000"));
    let neighbour = site.running("neighbour");
    site.await_output("neighbour", "mine");
    let supervisor = identify(site.supervisor_pid()).expect("our child");
    let env = format!(
        "user = \"nobody\"\nenv = {{ S = {:?}, J = {:?}, P = \"{}\" }}\n",
        site.path("state"),
        site.path("jobs.d"),
        supervisor.pid
    );
    site.put("hostile", &(shell("", ATTEMPTS) + &env));
    let live = site.running("hostile");
    assert_eq!(status_of(live.pid(), "Uid").split(' ').next(), Some("65534"));
    site.await_output("hostile", "over");
    let said = site.output("hostile");
    let made = ATTEMPTS.matches("\ntry '").count();
    assert_eq!((said.matches("refused ").count(), said.contains("DONE")), (made, false), "{said}");
    let wrapper = site.wrapper("hostile", &live);
    assert!(lives(&wrapper) && lives(&supervisor) && neighbour.lives());
    assert_eq!(crate::harness::names(&site.path("state/logs")), ["hostile.log", "neighbour.log"]);
    assert_eq!(site.output("neighbour"), "mine\n");
    // Its true end is told.
    live.signal(Signal::from_name("SIGUSR1").expect("a signal"));
    let report = site.await_history("hostile", &live.run);
    assert_eq!((&report["signal"], &report["state"]), (&"SIGUSR1".into(), &"killed".into()), "{report:#}");
}

/// The supervisor ends what belongs to a job, and nobody else of its user, whatever the job does to its
/// sessions, groups and parents.
#[test]
fn a_job_that_is_killed_draws_nobody_into_its_end() {
    if !is_root("a_job_that_is_killed_draws_nobody_into_its_end") {
        return;
    }
    let bystander = || {
        let mut command = Command::new("/bin/sleep");
        command.arg("1000").uid(NOBODY).gid(NOBODY).process_group(0).spawn().expect("it starts")
    };
    for backend in ["auto", "none"] {
        let site = Site::new();
        fs::write(site.path("supervisor.toml"), format!("[cgroup]\nbackend = \"{backend}\"\n"))
            .expect("written");
        site.start();
        let mut stranger = bystander();
        let script = "trap '' TERM; (setsid sh -c 'trap \"\" TERM; echo at $$; sleep 1000; :' &)
             (setsid setsid sleep 1001 & echo at $!)
             echo ready; wait; sleep 1000; :";
        let text = |keys: &str| {
            shell(&format!("{keys}\n[stop]\ntimeout = \"300ms\""), script) + "user = \"nobody\"\n"
        };
        site.put("job", &text(""));
        let live = site.running("job");
        await_true("all of it runs", || site.output("job").matches("at ").count() == 2);
        site.await_output("job", "ready");
        let output = site.output("job");
        let pids = output.lines().filter_map(|line| line.strip_prefix("at ")?.parse().ok());
        let own: Vec<_> = pids.filter_map(identify).collect();
        site.put("job", &text("enabled = false"));
        live.await_end();
        site.await_history("job", &live.run);
        let unharmed = identify(stranger.id()).is_some_and(|stranger| lives(&stranger));
        stranger.kill().expect("our child");
        stranger.wait().expect("our child");
        assert!(unharmed, "{backend}: {}", site.log());
        assert!(!own.iter().any(lives), "{backend}: {}", site.log());
    }
}
