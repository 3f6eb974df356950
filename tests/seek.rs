//! Who is found for attach jobs, among real processes: once with the kernel's events, once without.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ffrtmp::linux::{clock, process};
use ffrtmp::model::ids::JobId;
use ffrtmp::model::job::{Attach, Match, Target};
use ffrtmp::model::process::{Pid, ProcessIdentity};
use ffrtmp::supervisor::seek::{Found, Seeker};

/// Longer than anything takes that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is seen sooner was told, or looked for: everybody is looked at only every half a minute.
const NOTICED: Duration = Duration::from_secs(15);

/// Processes of ours, which end with it.
struct Ground {
    folder: tempfile::TempDir,
    children: Vec<Child>,
}

impl Ground {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().expect("tempdir"), children: Vec::new() }
    }

    /// A program of this name that does what another does.
    fn program(&self, like: &str, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        if !path.exists() {
            fs::copy(like, &path).expect("copy");
        }
        path
    }

    fn start(&mut self, program: &Path, args: &[&str]) -> ProcessIdentity {
        let child = Command::new(program).args(args).stdin(Stdio::piped()).spawn().expect("start");
        let process = identify(child.id());
        self.children.push(child);
        process
    }

    fn sleeper(&mut self, name: &str) -> ProcessIdentity {
        let program = self.program("/bin/sleep", name);
        self.start(&program, &["600"])
    }

    /// Ends a process of ours, and waits for it.
    fn end(&mut self, process: &ProcessIdentity) {
        let of = |child: &mut Child| child.id() == process.pid.as_raw().cast_unsigned();
        let at = self.children.iter_mut().position(of).expect("ours");
        let mut child = self.children.swap_remove(at);
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    /// Writes a pid file, as a daemon does.
    fn pid_file(&self, text: &str) -> PathBuf {
        let path = self.folder.path().join("x.pid");
        let fresh = self.folder.path().join("x.pid.new");
        fs::write(&fresh, text).expect("write");
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)).expect("chmod");
        fs::rename(&fresh, &path).expect("rename");
        path
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        for child in &mut self.children {
            drop(child.stdin.take());
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn identify(number: u32) -> ProcessIdentity {
    let pid = Pid::new(number).expect("a pid");
    process::identify(pid).expect("proc").expect("alive")
}

fn job(name: &str) -> JobId {
    JobId::new(name).expect("a name")
}

fn rule(fit: Match) -> Attach {
    Attach { target: Target::Match(fit.into()), all: false, relocate: false }
}

fn named(name: &str) -> Attach {
    rule(Match { name: Some(name.into()), ..Match::default() })
}

fn rules<const N: usize>(rules: [(&str, Attach); N]) -> BTreeMap<JobId, Attach> {
    rules.into_iter().map(|(name, attach)| (job(name), attach)).collect()
}

fn processes(list: &[&ProcessIdentity]) -> Found {
    Found::Processes(list.iter().map(|process| (*process).clone()).collect())
}

/// Runs a test with the kernel's events, where they are to be had, and without.
fn in_both_modes(name: &str, test: impl AsyncFn(&mut Seeker)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
    runtime.block_on(async {
        let mut seeker = Seeker::scanning();
        test(&mut seeker).await;
        assert!(!seeker.is_told());
        let mut seeker = Seeker::new();
        seeker.set_rules(rules([("probe", named("no-such-process"))]));
        match seeker.is_told() {
            true => test(&mut seeker).await,
            false => println!("SKIPPED {name} with events: the kernel does not tell of processes here"),
        }
    });
}

/// Does as the supervisor's loop does until a job's processes are these.
async fn until(seeker: &mut Seeker, name: &str, wanted: &Found) -> BTreeSet<JobId> {
    let (begin, mut changed) = (Instant::now(), BTreeSet::new());
    loop {
        let now = clock::boot();
        changed.append(&mut seeker.look(now));
        let found = seeker.found(&job(name));
        if found == *wanted {
            return changed;
        }
        assert!(begin.elapsed() < PATIENCE, "{name}: waited in vain for {wanted:?}, there is {found:?}");
        step(seeker).await;
    }
}

/// Waits for the next event or the next time to look.
async fn step(seeker: &Seeker) {
    let wake = seeker.wake().map_or(PATIENCE, |at| at.since(clock::boot()));
    tokio::select! {
        () = seeker.readable() => {}
        () = tokio::time::sleep(wake) => {}
    }
}

#[test]
fn who_comes_is_found_and_who_goes_is_not_any_more() {
    in_both_modes("who_comes_is_found_and_who_goes_is_not_any_more", async |seeker| {
        let mut ground = Ground::new();
        let first = ground.sleeper("seek-comes");
        seeker.set_rules(rules([("a", named("seek-comes")), ("b", named("seek-other"))]));
        until(seeker, "a", &processes(&[&first])).await;
        assert_eq!(seeker.found(&job("b")), processes(&[]));
        // The same rules again cost nothing and change nothing.
        seeker.set_rules(rules([("a", named("seek-comes")), ("b", named("seek-other"))]));
        assert_eq!(seeker.look(clock::boot()), BTreeSet::new());
        let begin = Instant::now();
        let other = ground.sleeper("seek-other");
        let changed = until(seeker, "b", &processes(&[&other])).await;
        assert!(begin.elapsed() < NOTICED, "{:?}", begin.elapsed());
        assert_eq!(changed, [job("b")].into());
        let second = ground.sleeper("seek-comes");
        until(seeker, "a", &processes(&[&first, &second])).await;
        ground.end(&first);
        until(seeker, "a", &processes(&[&second])).await;
        ground.end(&second);
        until(seeker, "a", &processes(&[])).await;
    });
}

#[test]
fn who_becomes_another_program_is_found_then() {
    in_both_modes("who_becomes_another_program_is_found_then", async |seeker| {
        let mut ground = Ground::new();
        let program = ground.program("/bin/sleep", "seek-a-name-that-is-longer");
        seeker.set_rules(rules([
            ("long", named("seek-a-name-that-is-longer")),
            ("cut", named("seek-a-name-tha")),
            ("not", named("seek-a-name-that-is-other")),
        ]));
        seeker.look(clock::boot());
        let script = format!("exec {} 600", program.display());
        let found = ground.start(Path::new("/bin/sh"), &["-c", &script]);
        until(seeker, "long", &processes(&[&found])).await;
        assert_eq!(seeker.found(&job("cut")), processes(&[&found]));
        assert_eq!(seeker.found(&job("not")), processes(&[]));
    });
}

#[test]
fn a_process_forked_by_one_that_fits_is_found_too() {
    in_both_modes("a_process_forked_by_one_that_fits_is_found_too", async |seeker| {
        let mut ground = Ground::new();
        seeker.set_rules(rules([("a", named("seek-forks"))]));
        seeker.look(clock::boot());
        let shell = ground.program("/bin/sh", "seek-forks");
        let script = "exec 3<&0; (echo $$ >/dev/null; read x <&3) & echo $!; wait";
        let mut child = Command::new(shell)
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut reader, &mut line).expect("a number");
        let (parent, forked) = (identify(child.id()), identify(line.trim().parse().expect("a number")));
        ground.children.push(child);
        // In the same clock tick the smaller number is the older.
        until(seeker, "a", &processes(&[&parent, &forked])).await;
        // Its end lets the other one go, too.
        let writer = ground.children.last_mut().and_then(|child| child.stdin.as_mut()).expect("piped");
        writer.write_all(b"x\n").expect("write");
        until(seeker, "a", &processes(&[])).await;
    });
}

#[test]
fn what_changes_without_a_word_is_noticed_soon_after_the_start() {
    in_both_modes("what_changes_without_a_word_is_noticed_soon_after_the_start", async |seeker| {
        // Orphans come to us, and our name is that of this test's program.
        nix::sys::prctl::set_child_subreaper(true).expect("prctl");
        let own = fs::read_to_string("/proc/self/comm").expect("proc").trim().to_owned();
        let ground = Ground::new();
        let sleep = ground.program("/bin/sleep", "seek-orphan");
        let fit = Match { name: Some("seek-orphan".into()), parent: Some(own), ..Match::default() };
        seeker.set_rules(rules([("a", rule(fit))]));
        seeker.look(clock::boot());
        let script = format!("{} 600 & echo $!; read x", sleep.display());
        let mut shell = Command::new("/bin/sh")
            .args(["-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("start");
        let mut line = String::new();
        let mut reader = std::io::BufReader::new(shell.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut reader, &mut line).expect("a number");
        let orphan = identify(line.trim().parse().expect("a number"));
        // It is seen while it has another parent.
        let seen = Instant::now();
        while fs::read_to_string(format!("/proc/{}/comm", orphan.pid)).expect("alive") != "seek-orphan\n" {
            assert!(seen.elapsed() < PATIENCE);
            tokio::task::yield_now().await;
        }
        seeker.look(clock::boot());
        assert_eq!(seeker.found(&job("a")), processes(&[]));
        drop(shell.stdin.take());
        shell.wait().expect("our child");
        let begin = Instant::now();
        until(seeker, "a", &processes(&[&orphan])).await;
        assert!(begin.elapsed() < NOTICED, "{:?}", begin.elapsed());
        let pidfd = process::PidFd::open(&orphan).expect("pidfd").expect("alive");
        pidfd.send(ffrtmp::model::signal::Signal::KILL).expect("ours");
        let pid = nix::unistd::Pid::from_raw(orphan.pid.as_raw());
        nix::sys::wait::waitpid(pid, None).expect("our child now");
    });
}

#[test]
fn a_least_time_is_waited_for() {
    in_both_modes("a_least_time_is_waited_for", async |seeker| {
        let mut ground = Ground::new();
        let least = Duration::from_millis(1200);
        let fit = Match { name: Some("seek-waits".into()), min_runtime: Some(least), ..Match::default() };
        seeker.set_rules(rules([("a", rule(fit))]));
        seeker.look(clock::boot());
        let begin = Instant::now();
        let found = ground.sleeper("seek-waits");
        until(seeker, "a", &processes(&[&found])).await;
        // The kernel counts in hundredths of a second.
        assert!(begin.elapsed() + Duration::from_millis(20) >= least, "{:?}", begin.elapsed());
        assert!(begin.elapsed() < NOTICED, "{:?}", begin.elapsed());
    });
}

#[test]
fn what_we_started_is_nobodys_candidate() {
    in_both_modes("what_we_started_is_nobodys_candidate", async |seeker| {
        let mut ground = Ground::new();
        let sleep = ground.program("/bin/sleep", "seek-child");
        // A wrapper by its name, and a workload whose wrapper is not there any more.
        let script = format!("{} 600 & echo $!; wait", sleep.display());
        let mut start = |shell: &str| {
            let shell = ground.program("/bin/sh", shell);
            let mut child =
                Command::new(shell).args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("start");
            let mut line = String::new();
            let mut reader = std::io::BufReader::new(child.stdout.take().expect("piped"));
            std::io::BufRead::read_line(&mut reader, &mut line).expect("a number");
            let (parent, sleeper) = (identify(child.id()), identify(line.trim().parse().expect("a number")));
            ground.children.push(child);
            (parent, sleeper)
        };
        let (_, of_wrapper) = start("ffrtmp");
        let (main, of_main) = start("seek-main");
        let all = [("a", named("seek-child")), ("main", named("seek-main")), ("ours", named("ffrtmp"))];
        seeker.set_rules(rules(all));
        until(seeker, "a", &processes(&[&of_main])).await;
        assert_eq!(seeker.found(&job("main")), processes(&[&main]));
        assert_eq!(seeker.found(&job("ours")), processes(&[]));
        seeker.set_governed(HashSet::from([main.clone()]));
        assert_eq!(seeker.look(clock::boot()), [job("a"), job("main")].into());
        assert_eq!(seeker.found(&job("a")), processes(&[]));
        assert_eq!(seeker.found(&job("main")), processes(&[]));
        // It was let go.
        seeker.set_governed(HashSet::new());
        until(seeker, "a", &processes(&[&of_main])).await;
        for sleeper in [of_wrapper, of_main] {
            let pidfd = process::PidFd::open(&sleeper).expect("pidfd").expect("alive");
            pidfd.send(ffrtmp::model::signal::Signal::KILL).expect("ours");
        }
    });
}

#[test]
fn a_number_means_one_process_and_never_another() {
    in_both_modes("a_number_means_one_process_and_never_another", async |seeker| {
        let mut ground = Ground::new();
        let by = |pid: u32| Attach {
            target: Target::Pid(Pid::new(pid).expect("a pid")),
            all: false,
            relocate: false,
        };
        let sleeper = ground.sleeper("seek-number");
        let own = std::process::id();
        let thread = std::thread::spawn(|| {
            std::thread::park_timeout(PATIENCE);
        });
        let tasks = fs::read_dir("/proc/self/task").expect("proc").flatten();
        let tasks = tasks.filter_map(|task| task.file_name().to_str()?.parse().ok());
        let other = tasks.filter(|task| *task != own).last().expect("a thread");
        let number = sleeper.pid.as_raw().cast_unsigned();
        seeker.set_rules(rules([
            ("lives", by(number)),
            ("none", by(4_194_304)),
            ("init", by(1)),
            ("self", by(own)),
            ("thread", by(other)),
        ]));
        until(seeker, "lives", &processes(&[&sleeper])).await;
        assert_eq!(seeker.found(&job("none")), Found::NoSuchProcess("process 4194304 does not exist".into()));
        let refused = |name: &str| match seeker.found(&job(name)) {
            Found::Refused(why) => why,
            found => panic!("{name}: {found:?}"),
        };
        assert!(refused("init").starts_with("process 1 is the host's init"));
        assert_eq!(refused("self"), format!("process {own} is this supervisor"));
        assert_eq!(refused("thread"), format!("{other} is the number of a thread, not of a process"));
        assert_eq!(seeker.wake(), None);
        thread.thread().unpark();
        thread.join().expect("a thread");
        seeker.set_governed(HashSet::from([sleeper.clone()]));
        let why = format!("process {number} is part of a workload that is governed already");
        assert_eq!(seeker.found(&job("lives")), Found::Refused(why));
        seeker.set_governed(HashSet::new());
        ground.end(&sleeper);
        until(seeker, "lives", &Found::NoSuchProcess(format!("process {number} has ended"))).await;
    });
}

#[test]
fn a_kernel_thread_is_refused() {
    let is_kernel = fs::read_to_string("/proc/2/comm").is_ok_and(|name| name == "kthreadd\n");
    if !is_kernel {
        println!("SKIPPED a_kernel_thread_is_refused: they are not to be seen here");
        return;
    }
    in_both_modes("a_kernel_thread_is_refused", async |seeker| {
        let two = Pid::new(2).expect("a pid");
        let by_number = Attach { target: Target::Pid(two), all: false, relocate: false };
        seeker.set_rules(rules([("number", by_number), ("name", named("kthreadd"))]));
        let why = Found::Refused("process 2 is a thread of the kernel's".into());
        until(seeker, "number", &why).await;
        assert_eq!(seeker.found(&job("name")), processes(&[]));
    });
}

#[test]
fn a_pid_file_is_read_again_when_it_changes() {
    in_both_modes("a_pid_file_is_read_again_when_it_changes", async |seeker| {
        let mut ground = Ground::new();
        let path = ground.folder.path().join("x.pid");
        let shown = path.display();
        let attach = Attach { target: Target::PidFile(path.clone()), all: false, relocate: false };
        seeker.set_rules(rules([("a", attach)]));
        let missing = format!("cannot read {shown}: No such file or directory (os error 2)");
        until(seeker, "a", &Found::Unreadable(missing)).await;
        ground.pid_file("");
        until(seeker, "a", &Found::Unreadable(format!("{shown} is empty: a process number is wanted"))).await;
        let first = ground.sleeper("seek-file");
        ground.pid_file(&first.pid.to_string());
        until(seeker, "a", &processes(&[&first])).await;
        assert_eq!(seeker.wake(), None, "a process that lives needs no look");
        ground.end(&first);
        let gone = format!("process {}, which {shown} names, does not exist", first.pid);
        until(seeker, "a", &Found::Unreadable(gone)).await;
        let second = ground.sleeper("seek-file");
        ground.pid_file(&format!("{}\n", second.pid));
        until(seeker, "a", &processes(&[&second])).await;
        ground.end(&second);
        ground.pid_file("1\n");
        until(
            seeker,
            "a",
            &Found::Refused("process 1 is the host's init, of which everything else descends".into()),
        )
        .await;
    });
}

#[test]
fn without_rules_nothing_is_open_and_nothing_wakes() {
    in_both_modes("without_rules_nothing_is_open_and_nothing_wakes", async |seeker| {
        let mut ground = Ground::new();
        let sleeper = ground.sleeper("seek-nothing");
        seeker.set_rules(rules([("a", named("seek-nothing"))]));
        until(seeker, "a", &processes(&[&sleeper])).await;
        seeker.set_rules(BTreeMap::new());
        assert_eq!(seeker.look(clock::boot()), [job("a")].into());
        assert_eq!((seeker.wake(), seeker.is_told()), (None, false));
        assert_eq!(seeker.look(clock::boot()), BTreeSet::new());
        assert_eq!(seeker.found(&job("a")), processes(&[]));
    });
}
