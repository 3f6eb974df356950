//! The detached wrapper, as the supervisor uses it: the real binary, a run directory, a lock, a pipe.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use ffrtmp::linux::cgroup::mounts::Mounts;
use ffrtmp::linux::clock;
use ffrtmp::linux::priority::{self, Members};
use ffrtmp::linux::process::{self, PidFd};
use ffrtmp::model::cgroup::{Cgroup, Controller};
use ffrtmp::model::constraints::{Backend, ConstraintName, Constraints, CpuLimit, IoClass};
use ffrtmp::model::cpus::CpuSet;
use ffrtmp::model::exit::{Ended, ExitReason, Stage, StartError, Verdict, WaitStatus, judge};
use ffrtmp::model::history::StartHistory;
use ffrtmp::model::ids::{JobId, RunId};
use ffrtmp::model::job::{
    Exec, Intent, Job, Lifecycle, LogBounds, OnRemove, Output, Restart, RestartPolicy, SendTo, Stop,
    Timeouts, Workload,
};
use ffrtmp::model::process::{Pid, ProcessIdentity};
use ffrtmp::model::rlimit::{Resource, Rlimit};
use ffrtmp::model::signal::Signal;
use ffrtmp::model::time::WallTime;
use ffrtmp::model::units::ByteSize;
use ffrtmp::runs::dir::{self, RunDir};
use ffrtmp::runs::record::{Exited, Spec, Started, VERSION};
use ffrtmp::wrapper::launch;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tempfile::TempDir;

#[allow(dead_code, reason = "each suite uses its part of it")]
#[path = "shared/wait.rs"]
mod wait;

use wait::{DEADLINE, await_some};

/// A place for runs, and the spec of one that a test changes as it likes.
struct Place {
    dir: TempDir,
    spec: Spec,
}

impl Place {
    fn new(command: &[&str]) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let exec = Exec {
            command: command.iter().map(|&argument| argument.into()).collect(),
            working_dir: None,
            env: BTreeMap::new(),
            env_files: Vec::new(),
            user: None,
            group: None,
            umask: None,
            rlimits: BTreeMap::new(),
            output: Output::File,
            log: LogBounds::default(),
        };
        let job = Job {
            id: JobId::new("job").expect("a name"),
            description: None,
            profiles: Vec::new(),
            lifecycle: Lifecycle::Oneshot,
            intent: Intent::Test,
            sla_eligible: true,
            tags: BTreeMap::new(),
            workload: Workload::Exec(exec),
            constraints: Constraints::default(),
            schedule: Vec::new(),
            active: None,
            restart: Restart {
                policy: RestartPolicy::Never,
                delay: Duration::from_secs(1),
                max_delay: Duration::from_secs(1),
                reset_after: Duration::from_secs(1),
                limit: None,
                success_exit_codes: BTreeSet::from([0]),
            },
            stop: Stop {
                signal: Signal::TERM,
                send: SendTo::Main,
                timeout: DEADLINE,
                on_remove: OnRemove::Stop,
            },
            timeouts: Timeouts::default(),
            needs: Vec::new(),
        };
        let spec = Spec {
            version: VERSION,
            run_id: RunId::new(1_700_000_000_000, 7),
            boot_id: process::boot_id().expect("proc"),
            created: clock::now(),
            job: job.into(),
            environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
            log: dir.path().join("logs/job.log"),
            history: StartHistory::default(),
            open_files: None,
            cgroup: None,
            limits: Vec::new(),
            released: false,
            before: None,
            attached: None,
        };
        Self { dir, spec }
    }

    fn shell(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }

    fn exec(&mut self) -> &mut Exec {
        match &mut Arc::make_mut(&mut self.spec.job).workload {
            Workload::Exec(exec) => exec,
            Workload::Attach(_) => panic!("the tests start their workloads"),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The log, without the line that says where the run begins.
    fn log(&self) -> String {
        let log = fs::read_to_string(&self.spec.log).unwrap_or_default();
        let mark = format!("-- run {}, started ", self.spec.run_id);
        log.split_inclusive('\n').filter(|line| !line.starts_with(&mark)).collect()
    }

    /// Starts the wrapper, and waits until the program runs or cannot.
    fn start(&self) -> Run {
        let (dir, lock) = RunDir::create(&self.path("runs"), &self.spec).expect("a run directory");
        let program = Path::new(env!("CARGO_BIN_EXE_ffrtmp"));
        let (child, ready) = launch::execute(program, &dir, lock).expect("the wrapper starts");
        let mut run = Run { dir, child, wrapper: None, main: None };
        run.wrapper = process::identify(run.wrapper_pid()).expect("proc");
        await_end(ready);
        run.main = run.dir.started().expect("a good record").map(|started| started.process);
        run
    }

    /// Starts a workload that ends by itself, and waits for it.
    fn finish(&self) -> Exited {
        self.start().wait()
    }

    /// Starts a workload that cannot be started.
    fn refused(&self) -> StartError {
        let mut run = self.start();
        match run.wait().ended {
            Ended::NotStarted(error) => error,
            other => panic!("it was started: {other:?}, and said: {}", self.log()),
        }
    }
}

fn await_end(mut ready: PipeReader) {
    let mut bytes = Vec::new();
    let mut fds = [PollFd::new(ready.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::NONE).expect("the pipe");
    ready.read_to_end(&mut bytes).expect("the pipe");
    assert!(bytes.is_empty(), "nothing but its end is said through the pipe");
}

/// A run, ended with everything that belongs to it when the test is over.
struct Run {
    dir: RunDir,
    child: Child,
    wrapper: Option<ProcessIdentity>,
    main: Option<ProcessIdentity>,
}

impl Run {
    fn wrapper_pid(&self) -> Pid {
        Pid::new(self.child.id()).expect("a pid")
    }

    fn wrapper(&self) -> &ProcessIdentity {
        self.wrapper.as_ref().expect("the wrapper was seen")
    }

    fn main(&self) -> &ProcessIdentity {
        self.main.as_ref().expect("the workload was started")
    }

    fn started(&self) -> Started {
        self.dir.started().expect("a good record").expect("started.json")
    }

    /// Waits for the wrapper to end.
    fn wait(&mut self) -> Exited {
        let status = await_some("the wrapper ends", || self.child.try_wait().expect("our child"));
        assert_eq!(status.code(), Some(0), "the wrapper did its work");
        self.dir.exited().expect("a good record").expect("exited.json before the wrapper is gone")
    }

    fn family(&self) -> Vec<ProcessIdentity> {
        process::family(self.wrapper()).expect("proc")
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(main) = &self.main {
            process::kill_family(self.wrapper.as_ref(), main).expect("everything is ours to end");
        }
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }
}

fn lives(process: &ProcessIdentity) -> bool {
    let zombie = process::is_zombie(process).expect("proc");
    !zombie && PidFd::open(process).expect("proc").is_some()
}

#[test]
fn exit_codes_are_recorded_with_what_was_used() {
    for code in [0, 3] {
        let exited = Place::shell(&format!("exit {code}")).finish();
        assert_eq!(exited.ended, Ended::Waited { status: code << 8 });
        assert!(exited.usage.cpu_sec.is_some_and(|seconds| seconds < 10.0));
        assert!(exited.usage.memory_peak_bytes.is_some_and(|bytes| bytes > 100_000));
        assert!(exited.usage.io_read_bytes.is_some() && exited.usage.io_write_bytes.is_some());
    }
}

#[test]
fn a_death_by_signal_is_recorded_as_one() {
    let Ended::Waited { status } = Place::shell("kill -KILL $$").finish().ended else { panic!("it ran") };
    assert_eq!(WaitStatus::from_raw(status), Some(WaitStatus::Signaled(Signal::KILL)));
}

#[test]
fn started_json_names_workload_and_wrapper() {
    let place = Place::new(&["sleep", "60"]);
    let mut run = place.start();
    let started = run.started();
    assert_eq!(started.process, *run.main());
    assert_eq!(started.wrapper, *run.wrapper());
    assert_eq!(started.run_id, run.dir.run_id().expect("its name"));
    let name = fs::read_to_string(format!("/proc/{}/comm", started.process.pid)).expect("proc");
    assert_eq!(name.trim(), "sleep", "the program runs when the pipe is closed");
    let mode = |name: &str| fs::metadata(run.dir.path.join(name)).expect("stat").permissions().mode() & 0o777;
    assert_eq!(
        (mode(dir::STARTED), mode(dir::SPEC), mode(dir::LOCK), mode("")),
        (0o600, 0o600, 0o600, 0o700)
    );
    assert!(run.dir.wrapper_lives().expect("the lock"));
    PidFd::open(&started.process).expect("proc").expect("it lives").send(Signal::TERM).expect("ours");
    run.wait();
    assert!(!run.dir.wrapper_lives().expect("the lock"));
}

#[test]
fn a_missing_program_is_named_with_where_it_was_looked_for() {
    let error = Place::new(&["ffmpge", "-i", "x"]).refused();
    assert_eq!((error.stage, error.errno), (Stage::Exec, Some(libc::ENOENT)));
    assert!(
        error.detail.starts_with("program \"ffmpge\" not found in PATH (/usr/bin:/bin)"),
        "{}",
        error.detail
    );
    let error = Place::new(&["/no/such/program"]).refused();
    assert!(error.detail.contains("\"/no/such/program\" does not exist"), "{}", error.detail);
}

#[test]
fn a_file_that_cannot_be_executed_is_told_from_one_that_is_missing() {
    let mut place = Place::new(&[]);
    let script = place.path("script");
    let mut try_with = |content: &str, mode: u32| {
        fs::write(&script, content).expect("written");
        fs::set_permissions(&script, fs::Permissions::from_mode(mode)).expect("changed");
        place.exec().command = vec![script.to_str().expect("a path").into()];
        place.spec.run_id = RunId::new(mode.into(), content.len().try_into().expect("short"));
        place.refused()
    };
    let error = try_with("#!/bin/sh\n", 0o644);
    assert_eq!((error.stage, error.errno), (Stage::Exec, Some(libc::EACCES)));
    assert!(error.detail.contains("not executable"), "{}", error.detail);
    let error = try_with("#!/no/such/interpreter\n", 0o755);
    assert!(error.detail.contains("its interpreter"), "{}", error.detail);
    let error = try_with("exit 0\n", 0o755);
    assert_eq!((error.stage, error.errno), (Stage::Exec, Some(libc::ENOEXEC)));
}

#[test]
fn a_program_that_may_not_run_in_one_directory_is_looked_for_in_the_next() {
    let mut place = Place::new(&["tool"]);
    for (dir, mode) in [("a", 0o644), ("b", 0o755)] {
        let tool = place.path(dir).join("tool");
        fs::create_dir(place.path(dir)).expect("made");
        fs::write(&tool, "#!/bin/sh\nexit 5\n").expect("written");
        fs::set_permissions(&tool, fs::Permissions::from_mode(mode)).expect("changed");
    }
    let path = |names: &[&str]| {
        let dirs: Vec<String> = names.iter().map(|name| place.path(name).display().to_string()).collect();
        vec![("PATH".into(), dirs.join(":"))]
    };
    let (both, first) = (path(&["none", "a", "b"]), path(&["a", "none"]));
    place.spec.environment = both;
    assert_eq!(place.finish().ended, Ended::Waited { status: 5 << 8 });
    place.spec.environment = first;
    place.spec.run_id = RunId::new(2, 2);
    assert_eq!(place.refused().errno, Some(libc::EACCES));
}

#[test]
fn a_missing_working_directory_is_named() {
    let mut place = Place::shell("exit 0");
    place.exec().working_dir = Some("/no/such/dir".into());
    let error = place.refused();
    assert_eq!((error.stage, error.errno), (Stage::WorkingDir, Some(libc::ENOENT)));
    assert!(error.detail.contains("working directory /no/such/dir: No such file"), "{}", error.detail);
    assert!(error.detail.contains("exec.working_dir"), "{}", error.detail);
}

#[test]
fn an_unknown_user_is_named() {
    let mut place = Place::shell("exit 0");
    place.exec().user = Some("no-such-user".into());
    let error = place.refused();
    assert_eq!(error.stage, Stage::User);
    assert!(error.detail.contains("\"no-such-user\" does not exist"), "{}", error.detail);
}

#[test]
fn another_user_is_become_wholly() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED: only root can start a job as another user");
        return;
    }
    let mut place = Place::shell("id -u; id -g; id -G; grep NoNewPrivs /proc/self/status");
    (place.exec().user, place.exec().group) = (Some("65534".into()), Some("65533".into()));
    place.finish();
    let log = place.log();
    let lines: Vec<&str> = log.lines().collect();
    let [user, group, groups, no_new_privileges] = lines[..] else { panic!("four lines, not {log:?}") };
    assert_eq!((user, group, no_new_privileges), ("65534", "65533", "NoNewPrivs:\t1"));
    assert!(!groups.split(' ').any(|group| group == "0"), "root's groups are gone: {groups}");
}

#[test]
fn output_is_appended_in_the_working_directory_with_the_umask() {
    let mut place = Place::shell("echo out; echo err >&2; pwd; umask");
    place.exec().working_dir = Some("/usr".into());
    place.exec().umask = Some(0o027);
    fs::create_dir(place.path("logs")).expect("made");
    fs::write(&place.spec.log, "before\n").expect("written");
    place.finish();
    assert_eq!(place.log(), "before\nout\nerr\n/usr\n0027\n");
}

#[test]
fn each_run_is_marked_in_its_log_on_a_line_of_its_own() {
    let place = Place::shell("echo out");
    fs::create_dir(place.path("logs")).expect("made");
    fs::write(&place.spec.log, "cut off").expect("written");
    let before = clock::now().wall;
    place.finish();
    let log = fs::read_to_string(&place.spec.log).expect("a log");
    let lines: Vec<&str> = log.lines().collect();
    let [cut, mark, out] = lines[..] else { panic!("three lines, not {log:?}") };
    assert_eq!((cut, out), ("cut off", "out"));
    let rest = mark.strip_prefix(&format!("-- run {}, started ", place.spec.run_id)).expect(mark);
    let time = rest.strip_suffix(" --").expect(mark);
    let time: WallTime = serde_json::from_value(time.into()).expect(mark);
    assert_eq!(rest, format!("{time} --"), "milliseconds, in UTC");
    assert!(before.unix_ms() <= time.unix_ms() && time <= clock::now().wall, "{mark}");
}

#[test]
fn output_goes_nowhere_else() {
    let mut place = Place::shell("readlink /proc/self/fd/1 > \"$OUT\"; echo lost");
    let out = place.path("out");
    place.exec().output = Output::Null;
    place.spec.environment.push(("OUT".into(), out.display().to_string()));
    place.finish();
    assert!(!place.spec.log.exists(), "no log was asked for");
    assert!(out.exists());
}

#[test]
fn a_log_that_is_no_file_is_refused() {
    let place = Place::shell("echo hello");
    fs::create_dir(place.path("logs")).expect("made");
    fs::write(place.path("precious"), "").expect("written");
    std::os::unix::fs::symlink(place.path("precious"), &place.spec.log).expect("linked");
    assert_eq!(place.refused().stage, Stage::Output);
    assert_eq!(fs::read(place.path("precious")).expect("read"), b"");
}

#[test]
fn without_a_journal_its_output_goes_to_the_file_and_that_is_told() {
    if Path::new("/run/systemd/journal/stdout").exists() {
        println!("SKIPPED: this machine has a journal");
        return;
    }
    let mut place = Place::shell("echo hello");
    place.exec().output = Output::Journal;
    let mut run = place.start();
    run.wait();
    assert_eq!(place.log(), "hello\n");
    assert!(run.started().notes.iter().any(|note| note.contains("journal cannot be reached")));
}

#[test]
fn standard_input_is_empty_and_no_descriptor_is_inherited() {
    // What a careless parent leaks: a descriptor that is not close-on-exec.
    let leak = fs::File::open("/dev/null").expect("opened");
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("set");
    let place = Place::shell("readlink /proc/$$/fd/0; cat; exec ls /proc/self/fd");
    place.finish();
    assert_eq!(place.log(), "/dev/null\n0\n1\n2\n3\n", "3 is the directory that ls reads");
}

#[test]
fn the_wrapper_itself_keeps_nothing_but_its_lock() {
    let leak = fs::File::open("/dev/null").expect("opened");
    nix::fcntl::fcntl(&leak, nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty())).expect("set");
    let place = Place::new(&["sleep", "60"]);
    let run = place.start();
    let fds = fs::read_dir(format!("/proc/{}/fd", run.wrapper().pid)).expect("proc");
    let mut targets: Vec<String> = fds
        .map(|fd| fs::read_link(fd.expect("an entry").path()).expect("a link").display().to_string())
        .collect();
    targets.sort();
    let lock = run.dir.path.join(dir::LOCK).display().to_string();
    let (locks, others): (Vec<_>, Vec<_>) = targets.into_iter().partition(|target| *target == lock);
    assert_eq!(locks.len(), 1);
    assert_eq!(others, ["/dev/null", "/dev/null", "/dev/null"]);
    let cwd = fs::read_link(format!("/proc/{}/cwd", run.wrapper().pid)).expect("proc");
    assert_eq!(cwd, Path::new("/"));
}

#[test]
fn the_environment_is_exactly_the_specs() {
    let mut place = Place::new(&["env"]);
    place.spec.environment = vec![("A".into(), "1".into()), ("B".into(), "x y\u{fc}".into())];
    place.finish();
    assert_eq!(place.log(), "A=1\nB=x y\u{fc}\n");
}

#[test]
fn signals_are_as_a_program_expects_them() {
    let place = Place::new(&["cat", "/proc/self/status"]);
    place.finish();
    let log = place.log();
    let masks: Vec<&str> =
        log.lines().filter(|line| line.starts_with("Sig") && !line.starts_with("SigQ")).collect();
    assert_eq!(masks.len(), 4, "pending, blocked, ignored, caught: {log}");
    assert!(masks.iter().all(|line| line.ends_with("\t0000000000000000")), "{masks:?}");
}

#[test]
fn priorities_are_in_force_before_the_first_instruction() {
    let mut place = Place::new(&["cut", "-d ", "-f19", "/proc/self/stat"]);
    Arc::make_mut(&mut place.spec.job).constraints =
        Constraints { nice: Some(7), oom_score_adj: Some(300), ..Default::default() };
    let mut run = place.start();
    run.wait();
    assert_eq!(place.log(), "7\n");
    let constraints = run.started().constraints;
    let told: Vec<_> =
        constraints.iter().map(|c| (c.name, c.requested.as_str(), c.applied, c.actual.as_deref())).collect();
    assert_eq!(
        told,
        [
            (ConstraintName::Nice, "7", true, Some("7")),
            (ConstraintName::OomScoreAdj, "300", true, Some("300"))
        ]
    );
    let mut place = Place::new(&["cat", "/proc/self/oom_score_adj"]);
    Arc::make_mut(&mut place.spec.job).constraints.oom_score_adj = Some(300);
    place.finish();
    assert_eq!(place.log(), "300\n");
}

/// The CPUs that this process may run on, as the kernel lists them.
fn own_cpus() -> CpuSet {
    let status = fs::read_to_string("/proc/self/status").expect("proc");
    let line = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    CpuSet::parse(line.expect("a list")).expect("a list")
}

#[test]
fn cpus_and_io_class_are_in_force_before_the_first_instruction() {
    let last = own_cpus().iter().last().expect("a CPU").to_string();
    let mut place = Place::shell("grep Cpus_allowed_list /proc/$$/status; ionice -p $$");
    Arc::make_mut(&mut place.spec.job).constraints = Constraints {
        cpus: Some(CpuSet::parse(&last).expect("a list")),
        io_class: Some(IoClass::BestEffort(6)),
        ..Default::default()
    };
    let mut run = place.start();
    run.wait();
    assert_eq!(place.log(), format!("Cpus_allowed_list:\t{last}\nbest-effort: prio 6\n"));
    let constraints = run.started().constraints;
    let told: Vec<_> = constraints.iter().map(|c| (c.name, c.applied, c.actual.as_deref())).collect();
    assert_eq!(
        told,
        [
            (ConstraintName::Cpus, true, Some(last.as_str())),
            (ConstraintName::IoClass, true, Some("best-effort:6"))
        ]
    );
    assert!(constraints.iter().all(|status| status.backend == Backend::Process));
}

/// What is not asked for is the kernel's default, whatever the supervisor was started with; the CPUs are
/// those that its administrator left it.
#[test]
fn without_a_constraint_nothing_of_the_supervisors_own_io_class_is_inherited() {
    let place = Place::shell("ionice -p $$; grep Cpus_allowed_list /proc/$$/status");
    // The class of a thread is inherited by what it starts.
    let log = std::thread::scope(|scope| {
        let started = scope.spawn(|| {
            let me = fs::read_link("/proc/thread-self").expect("proc");
            let me = me.file_name().and_then(|name| name.to_str()).expect("a number").to_owned();
            let ionice = std::process::Command::new("ionice").args(["-c", "3", "-p", &me]).status();
            assert!(ionice.expect("ionice runs").success());
            place.finish();
            place.log()
        });
        started.join().expect("no panic")
    });
    let expected = format!("none: prio 0\nCpus_allowed_list:\t{}\n", own_cpus());
    assert_eq!(log, expected);
}

#[test]
fn cpus_that_are_not_there_are_told_or_strictly_refused() {
    let own = own_cpus();
    let mut place = Place::shell("grep Cpus_allowed_list /proc/$$/status");
    Arc::make_mut(&mut place.spec.job).constraints.cpus =
        Some(CpuSet::parse(&format!("{own},9999")).expect("a list"));
    let mut run = place.start();
    assert_eq!(run.wait().ended, Ended::Waited { status: 0 });
    let [status] = &run.started().constraints[..] else { panic!("one status") };
    assert_eq!((status.applied, status.actual.as_deref()), (false, Some(own.to_string().as_str())));
    assert!(status.reason.as_deref().is_some_and(|reason| reason.contains("CPU 9999")), "{status:?}");

    Arc::make_mut(&mut place.spec.job).constraints.cpus = Some(CpuSet::parse("9999").expect("a list"));
    place.spec.run_id = RunId::new(2, 2);
    let mut run = place.start();
    assert_eq!(run.wait().ended, Ended::Waited { status: 0 });
    let [status] = &run.started().constraints[..] else { panic!("one status") };
    assert!(status.reason.as_deref().is_some_and(|reason| reason.contains("cpus to 9999")), "{status:?}");

    Arc::make_mut(&mut place.spec.job).constraints.strict = true;
    place.spec.run_id = RunId::new(3, 3);
    let error = place.refused();
    assert_eq!(error.stage, Stage::Constraint);
    assert!(error.detail.contains("cpus") && error.detail.contains("strict"), "{}", error.detail);
}

#[test]
fn limits_hold_before_the_first_instruction_and_are_read_back_of_another_user_too() {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED limits of another user: only root can start a job as one");
    }
    for user in [None, Some("nobody").filter(|_| root)] {
        let mut place = Place::shell("ulimit -Sn; ulimit -Hn; ulimit -Sc; ulimit -St; ulimit -Ht");
        place.exec().user = user.map(String::from);
        let limit = |soft, hard| Rlimit { soft: Some(soft), hard: Some(hard) };
        place.exec().rlimits = BTreeMap::from([
            (Resource::Nofile, limit(200, 300)),
            (Resource::Core, limit(0, 0)),
            (Resource::Cpu, limit(60, 65)),
        ]);
        Arc::make_mut(&mut place.spec.job).constraints =
            Constraints { nice: Some(3), strict: true, ..Default::default() };
        let mut run = place.start();
        assert_eq!(run.wait().ended, Ended::Waited { status: 0 });
        assert_eq!(place.log(), "200\n300\n0\n60\n65\n", "{user:?}");
        let constraints = run.started().constraints;
        let told: Vec<_> = constraints
            .iter()
            .map(|c| (c.name.as_str(), c.requested.as_str(), c.applied, c.actual.as_deref()))
            .collect();
        assert_eq!(
            told,
            [
                ("nice", "3", true, Some("3")),
                ("rlimits.core", "0", true, Some("0")),
                ("rlimits.cpu", "1m:1m5s", true, Some("1m:1m5s")),
                ("rlimits.nofile", "200:300", true, Some("200:300")),
            ]
        );
    }
}

#[test]
fn a_limit_that_is_too_high_is_told_and_gets_as_near_as_it_may_or_is_strictly_refused() {
    let mut place = Place::shell("ulimit -Sn; ulimit -Hn");
    let hard = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).expect("ours").1;
    // Above fs.nr_open: not for anybody.
    let wanted = Rlimit { soft: Some(1 << 30), hard: Some(1 << 30) };
    place.exec().rlimits = BTreeMap::from([(Resource::Nofile, wanted)]);
    let mut run = place.start();
    assert_eq!(run.wait().ended, Ended::Waited { status: 0 });
    assert_eq!(place.log(), format!("{hard}\n{hard}\n"));
    let [status] = &run.started().constraints[..] else { panic!("one status") };
    assert_eq!((status.applied, status.actual.as_deref()), (false, Some(hard.to_string().as_str())));
    let reason = status.reason.as_deref().unwrap_or_default();
    assert!(reason.starts_with("Cannot raise rlimits.nofile to 1073741824"), "{reason}");
    assert!(reason.contains(&format!("using {hard}")) && reason.contains("CAP_SYS_RESOURCE"), "{reason}");

    Arc::make_mut(&mut place.spec.job).constraints.strict = true;
    place.spec.run_id = RunId::new(2, 2);
    let error = place.refused();
    assert_eq!(error.stage, Stage::Constraint);
    assert!(error.detail.contains("rlimits.nofile is not in force"), "{}", error.detail);
}

#[test]
fn a_user_with_too_many_processes_is_told_of_the_limit() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED a_user_with_too_many_processes: only root can start a job as another user");
        return;
    }
    let mut place = Place::new(&["true"]);
    place.exec().user = Some("nobody".into());
    let first = Place { spec: place.spec.clone(), dir: tempfile::tempdir().expect("a directory") };
    let mut first = Place { spec: Spec { log: first.path("log"), ..first.spec.clone() }, ..first };
    first.exec().command = ["/bin/sh", "-c", "sleep 60 & sleep 60"].map(String::from).into();
    let running = first.start();
    await_some("it forks", || Some(()).filter(|()| running.family().len() == 3));
    place.exec().rlimits = BTreeMap::from([(Resource::Nproc, Rlimit { soft: Some(1), hard: Some(1) })]);
    let error = place.refused();
    assert!(
        error.detail.contains("RLIMIT_NPROC") && error.detail.contains("exec.rlimits.nproc"),
        "{error:?}"
    );
}

#[test]
fn what_the_kernel_refuses_is_told_and_does_not_stop_the_job() {
    // Whether this is refused depends on privileges; what is told has to be what is so.
    let mut place = Place::shell("cut -d' ' -f19 /proc/self/stat; cat /proc/self/oom_score_adj");
    Arc::make_mut(&mut place.spec.job).constraints =
        Constraints { nice: Some(-5), oom_score_adj: Some(-900), ..Default::default() };
    let mut run = place.start();
    assert_eq!(run.wait().ended, Ended::Waited { status: 0 });
    let log = place.log();
    for (status, actual) in run.started().constraints.iter().zip(log.lines()) {
        assert_eq!(status.actual.as_deref(), Some(actual));
        assert_eq!(status.applied, status.requested == actual);
        assert_eq!(status.reason.is_none(), status.applied);
        if let Some(reason) = &status.reason {
            assert!(reason.starts_with("Cannot ") && reason.contains(&format!("using {actual}")), "{reason}");
        }
    }
}

#[test]
fn a_limit_without_a_cgroup_is_reported_or_strictly_refused() {
    let mut place = Place::shell("exit 0");
    Arc::make_mut(&mut place.spec.job).constraints.cpu = Some(CpuLimit::Quota(200));
    let mut run = place.start();
    assert_eq!(run.wait().ended, Ended::Waited { status: 0 });
    let [status] = &run.started().constraints[..] else { panic!("one status") };
    assert_eq!(
        (status.name, status.applied, status.backend),
        (ConstraintName::CpuQuota, false, Backend::None)
    );
    assert!(status.reason.as_deref().is_some_and(|reason| reason.contains("no cgroup")), "{status:?}");

    Arc::make_mut(&mut place.spec.job).constraints.strict = true;
    place.spec.run_id = RunId::new(2, 2);
    let error = place.refused();
    assert_eq!(error.stage, Stage::Constraint);
    assert!(error.detail.contains("cpu_quota") && error.detail.contains("strict"), "{}", error.detail);
}

#[test]
fn priorities_change_while_it_runs_in_every_process_and_go_back() {
    let place = Place::shell("sleep 60 & exec sleep 61");
    let run = place.start();
    let child = await_some("its child", || process::family(run.main()).expect("proc").pop());
    let values = || {
        [run.main(), &child].map(|process| {
            let stat = fs::read_to_string(format!("/proc/{}/stat", process.pid)).expect("proc");
            let oom = fs::read_to_string(format!("/proc/{}/oom_score_adj", process.pid)).expect("proc");
            let nice = stat.rsplit_once(')').expect("a name").1.split_whitespace().nth(16).map(String::from);
            (nice.expect("field 19"), oom.trim().to_owned())
        })
    };
    let before = values();
    let wanted = Constraints { nice: Some(9), oom_score_adj: Some(400), ..Default::default() };
    let all = Members::Family(run.main());
    let statuses = priority::apply(all, &wanted, None, &[]);
    assert!(statuses.len() == 2 && statuses.iter().all(|status| status.applied), "{statuses:?}");
    assert_eq!(values(), [("9".into(), "400".into()), ("9".into(), "400".into())]);
    // What neither asks for is left alone.
    assert_eq!(priority::apply(all, &Constraints::default(), None, &[]), []);
    assert_eq!(values(), [("9".into(), "400".into()), ("9".into(), "400".into())]);
    // What is asked for no longer goes back to 0, or it is told why not.
    let left = priority::apply(all, &Constraints::default(), Some(&wanted), &[]);
    if left.is_empty() && before[0] == ("0".into(), "0".into()) {
        assert_eq!(values(), before);
    }
    assert!(
        left.iter().all(|status| status.requested == "default (0)" && status.reason.is_some()),
        "{left:?}"
    );
}

#[test]
fn the_wrapper_is_deaf_to_group_signals_and_its_group_is_not_the_workloads() {
    let mut place = Place::shell("mkfifo \"$FIFO\"; read line < \"$FIFO\"; exit 7");
    let fifo = place.path("fifo");
    place.spec.environment.push(("FIFO".into(), fifo.display().to_string()));
    let mut run = place.start();
    let group = nix::unistd::Pid::from_raw(run.wrapper().pid.as_raw());
    for signal in ["SIGHUP", "SIGINT", "SIGQUIT", "SIGTERM", "SIGPIPE"] {
        nix::sys::signal::killpg(group, signal.parse::<nix::sys::signal::Signal>().expect("a signal"))
            .expect("the wrapper leads a group");
    }
    await_some("the workload made its pipe", || fifo.exists().then_some(()));
    // Opening waits for the workload to read: if it were dead, for ever.
    assert!(lives(run.main()));
    fs::OpenOptions::new().write(true).open(&fifo).expect("opened").write_all(b"go\n").expect("written");
    assert_eq!(run.wait().ended, Ended::Waited { status: 7 << 8 });
}

#[test]
fn a_killed_wrapper_frees_its_lock_and_the_workload_lives_on() {
    let place = Place::new(&["sleep", "60"]);
    let mut run = place.start();
    assert!(run.dir.wrapper_lives().expect("the lock"));
    let group = nix::unistd::Pid::from_raw(run.wrapper().pid.as_raw());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).expect("the wrapper leads a group");
    assert_eq!(run.child.wait().expect("our child").signal(), Some(libc::SIGKILL));
    assert!(!run.dir.wrapper_lives().expect("the lock"));
    assert!(lives(run.main()));
    assert!(run.dir.exited().expect("no record").is_none(), "nobody saw an exit");
    // Nobody's child any more, and still to be ended.
    assert_eq!(process::kill_family(run.wrapper.as_ref(), run.main()).expect("ours"), 1);
    await_some("the workload ends", || (!lives(run.main())).then_some(()));
}

#[test]
fn the_exit_is_recorded_before_leftovers_are_waited_for() {
    let mut place = Place::shell("trap '' TERM; sleep 60 & exit 4");
    Arc::make_mut(&mut place.spec.job).stop.timeout = Duration::from_secs(60);
    let run = place.start();
    let exited = await_some("exited.json", || run.dir.exited().expect("a good record"));
    assert_eq!(exited.ended, Ended::Waited { status: 4 << 8 });
    assert!(run.dir.wrapper_lives().expect("the lock"), "it still has a leftover to end");
}

#[test]
fn an_exit_that_cannot_be_written_is_not_given_up() {
    let place = Place::new(&["sleep", "60"]);
    let mut run = place.start();
    let obstacle = run.dir.path.join(dir::EXITED);
    fs::create_dir(&obstacle).expect("made");
    PidFd::open(run.main()).expect("proc").expect("it lives").send(Signal::TERM).expect("ours");
    await_some("the workload ends and is reaped", || {
        process::identify(run.main().pid).expect("proc").is_none().then_some(())
    });
    assert!(run.dir.wrapper_lives().expect("the lock"));
    fs::remove_dir(&obstacle).expect("removed");
    assert_eq!(run.wait().ended, Ended::Waited { status: libc::SIGTERM });
    let hidden = fs::read_dir(&run.dir.path)
        .expect("read")
        .filter(|entry| entry.as_ref().expect("an entry").file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0, "no attempt left its temporary file");
}

#[test]
fn leftovers_get_their_signal_then_sigkill() {
    // Both are orphans in sessions of their own; one obeys, one does not. Should nobody end them, they
    // end by themselves.
    let mut place = Place::shell(
        "setsid sh -c 'trap \"echo obeyed; exit\" TERM; echo $$; : >$READY; for i in $(seq 600); do sleep 0.05; done' &
         (trap '' TERM; setsid sleep 60 & echo $!)
         until [ -e $READY ]; do sleep 0.02; done; exit 0",
    );
    place.spec.environment.push(("READY".into(), place.path("ready").display().to_string()));
    Arc::make_mut(&mut place.spec.job).stop.timeout = Duration::from_secs(5);
    let mut run = place.start();
    assert_eq!(run.wait().ended, Ended::Waited { status: 0 });
    let log = place.log();
    assert_eq!(log.lines().filter(|&line| line == "obeyed").count(), 1, "{log}");
    let pids: Vec<Pid> = log.lines().filter_map(|line| line.parse().ok().and_then(Pid::new)).collect();
    assert_eq!(pids.len(), 2, "{log}");
    for pid in pids {
        assert_eq!(process::identify(pid).expect("proc"), None);
    }
}

#[test]
fn kill_family_ends_what_keeps_forking_and_what_slipped_away() {
    let place = Place::shell(
        "(setsid sleep 60 &)
         (setsid sh -c 'for i in $(seq 1000); do sleep 30 & sleep 0.01; done' &)
         for i in $(seq 1000); do sleep 30 & sleep 0.01; done; sleep 60",
    );
    let mut run = place.start();
    // Some of them are about to end by themselves.
    let seen = await_some("it forks", || Some(run.family()).filter(|family| family.len() > 30));
    let killed = process::kill_family(run.wrapper.as_ref(), run.main()).expect("ours");
    assert!(killed > 20, "{killed}");
    let Ended::Waited { status } = run.wait().ended else { panic!("it ran") };
    assert_eq!(WaitStatus::from_raw(status), Some(WaitStatus::Signaled(Signal::KILL)));
    assert!(!seen.iter().any(lives));
}

#[test]
fn a_run_without_a_readable_spec_says_so() {
    for content in ["{\"version\": 1", "{\"version\": 99}", "[]"] {
        let place = Place::shell("exit 0");
        let (dir, lock) = RunDir::create(&place.path("runs"), &place.spec).expect("a run directory");
        fs::write(dir.path.join(dir::SPEC), content).expect("damaged");
        let program = Path::new(env!("CARGO_BIN_EXE_ffrtmp"));
        let (child, ready) = launch::execute(program, &dir, lock).expect("the wrapper starts");
        let mut run = Run { dir, child, wrapper: None, main: None };
        await_end(ready);
        let exited = run.wait();
        assert_eq!(exited.run_id, place.spec.run_id, "the directory's name tells the run");
        let Ended::NotStarted(error) = exited.ended else { panic!("it was started") };
        assert_eq!(error.stage, Stage::Record);
        assert!(error.detail.contains("spec.json"), "{}", error.detail);
    }
}

#[test]
fn what_is_not_asked_for_is_not_inherited_from_us_either() {
    let mut case = Place::shell("nice; ulimit -Sn");
    case.spec.open_files = Some(77);
    // Of this thread only, and the wrapper's from its start.
    let thread = u32::try_from(nix::unistd::gettid().as_raw()).ok().and_then(Pid::new).expect("a thread");
    ffrtmp::linux::sys::set_nice(thread, 3).expect("a higher nice value is always allowed");
    let ended = case.finish();
    assert_eq!(ended.ended, Ended::Waited { status: 0 }, "{}", case.log());
    assert_eq!(case.log(), "0\n77\n");
}

/// A cgroup in each hierarchy of version 1, `outer/job`, of a test's own; gone at its end.
struct Version1 {
    outer: BTreeMap<Controller, PathBuf>,
}

impl Version1 {
    /// None where this host has no such hierarchies, or we may not use them.
    fn new(test: &str) -> Option<Self> {
        let v1 = Mounts::read().expect("proc").v1;
        let name = format!("ffrtmp-test-{test}-{}", std::process::id());
        let mut made = Self { outer: BTreeMap::new() };
        for (controller, hierarchy) in v1.into_iter().filter(|(c, _)| *c != Controller::Cpuset) {
            let outer = hierarchy.own.join(&name);
            if outer.is_dir() || fs::create_dir(&outer).is_ok() {
                made.outer.insert(controller, outer);
            }
        }
        let all = [Controller::Memory, Controller::Cpuacct, Controller::Pids];
        if !all.iter().all(|controller| made.outer.contains_key(controller)) {
            println!("SKIPPED {test}: no hierarchies of cgroup v1 here that are ours to use");
            return None;
        }
        Some(made)
    }

    /// The cgroup of a run.
    fn cgroup(&self) -> Cgroup {
        let dirs: BTreeMap<Controller, PathBuf> =
            self.outer.iter().map(|(controller, outer)| (*controller, outer.join("job"))).collect();
        for dir in dirs.values().filter(|dir| !dir.is_dir()) {
            fs::create_dir(dir).expect("made");
        }
        Cgroup::V1 { dirs }
    }

    fn limit_memory(&self, below: &str, limit: &str) {
        let file = self.outer[&Controller::Memory].join(below).join("memory.limit_in_bytes");
        fs::write(file, limit).expect("written");
    }
}

impl Drop for Version1 {
    fn drop(&mut self) {
        for outer in self.outer.values() {
            // The wrapper has removed the inner one; a test that failed may have left it.
            let _ = fs::remove_dir(outer.join("job"));
            if let Err(error) = fs::remove_dir(outer)
                && outer.is_dir()
            {
                eprintln!("left behind: {}: {error}", outer.display());
            }
        }
    }
}

fn verdict(place: &Place, exited: &Exited) -> Verdict {
    judge(&place.spec.job, &exited.ended, None, exited.evidence.as_ref())
}

#[test]
fn version_1_tells_whose_memory_limit_was_reached() {
    let Some(version1) = Version1::new("version_1_tells_whose_memory_limit_was_reached") else { return };
    let mut place = Place::new(&["tail", "/dev/zero"]);
    Arc::make_mut(&mut place.spec.job).constraints.memory_limit = Some(ByteSize(20 << 20));
    place.spec.cgroup = Some(version1.cgroup());
    version1.limit_memory("job", "20M");
    let exited = place.finish();
    let own = verdict(&place, &exited);
    assert_eq!(
        (own.reason, own.platform_sla, own.platform_sla_reason),
        (ExitReason::Oom, true, "workload_oom")
    );
    assert!(own.message.contains("memory_limit 20MiB, with up to 20MiB in use"), "{}", own.message);
    assert_eq!((exited.usage.oom_kills, exited.usage.memory_peak_bytes), (Some(1), Some(20 << 20)));
    assert!(exited.usage.cpu_sec.is_some_and(|cpu| cpu > 0.0));

    place.spec.run_id = RunId::new(1, 1);
    place.spec.cgroup = Some(version1.cgroup());
    version1.limit_memory("", "20M");
    let above = verdict(&place, &place.finish());
    assert_eq!((above.reason, above.platform_sla), (ExitReason::Oom, false), "{above:?}");
    let file = version1.outer[&Controller::Memory].join("memory.limit_in_bytes").display().to_string();
    assert!(above.platform_sla_reason == "ancestor_oom" && above.message.contains(&file), "{above:?}");

    place.exec().command = vec!["sleep".into(), "60".into()];
    place.spec.run_id = RunId::new(1, 2);
    place.spec.cgroup = Some(version1.cgroup());
    let mut run = place.start();
    PidFd::open(run.main()).expect("proc").expect("it lives").send(Signal::KILL).expect("ours");
    let sent = verdict(&place, &run.wait());
    assert_eq!((sent.reason, sent.platform_sla), (ExitReason::Signal, true));
    assert!(sent.message.contains("the kernel counted no kill for memory"), "{}", sent.message);
}

#[test]
fn version_1_tells_of_a_child_that_was_killed_and_of_refused_tasks() {
    let test = "version_1_tells_of_a_child_that_was_killed_and_of_refused_tasks";
    let Some(version1) = Version1::new(test) else { return };
    let mut place = Place::shell("tail /dev/zero; exit 7");
    place.spec.cgroup = Some(version1.cgroup());
    version1.limit_memory("job", "20M");
    let child = verdict(&place, &place.finish());
    assert_eq!(
        (child.reason, child.exit_code, child.platform_sla),
        (ExitReason::Oom, Some(7), true),
        "{child:?}"
    );

    let mut place = Place::shell("sleep 60 & sleep 60 & sleep 60 & sleep 60 & wait");
    Arc::make_mut(&mut place.spec.job).constraints.tasks_max = Some(3);
    place.spec.cgroup = Some(version1.cgroup());
    fs::write(version1.outer[&Controller::Pids].join("job/pids.max"), "3").expect("written");
    let refused = verdict(&place, &place.finish());
    assert_eq!((refused.reason, refused.platform_sla_reason), (ExitReason::CgroupLimit, "workload_limit"));
    assert!(refused.message.contains("constraints.tasks_max (3)"), "{}", refused.message);
}

#[test]
fn without_a_cgroup_nobody_guesses_who_sent_a_sigkill() {
    let place = Place::new(&["sleep", "60"]);
    let mut run = place.start();
    PidFd::open(run.main()).expect("proc").expect("it lives").send(Signal::KILL).expect("ours");
    let exited = run.wait();
    let verdict = verdict(&place, &exited);
    assert_eq!((verdict.reason, verdict.platform_sla), (ExitReason::Signal, true));
    assert_eq!(exited.usage.oom_kills, None, "nobody counted");
    // Other tests are killed for memory at the same time, or not.
    let known = ["the kernel counted no kill for memory", "whether it was killed for memory is not known"];
    assert!(known.iter().any(|text| verdict.message.contains(text)), "{}", verdict.message);
}
