//! Processes that somebody else started: found, taken over without being disturbed, told of, let go.
//!
//! Each test has programs of its own name and place, so that no rule finds anybody else's process.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use ffrtmp::linux::clock;
use ffrtmp::model::exit::{Ended, Stage, StartError};
use ffrtmp::model::process::ProcessIdentity;
use ffrtmp::model::signal::Signal;
use ffrtmp::runs::record::Exited;
use serde_json::Value;

use super::harness::{Site, await_true, events, identify, lives, nice_of_threads, send, sleeper};

/// A program in the site's folder that nobody else runs: a shell.
fn program(site: &Site, name: &str) -> PathBuf {
    let path = site.path(name);
    fs::copy("/bin/sh", &path).expect("copied");
    path
}

/// A process of ours that is no workload of the supervisor's.
struct Stranger {
    child: Child,
    process: ProcessIdentity,
}

impl Stranger {
    /// It ends with the code that it is told (`tell`), or with 0 at the end of its input.
    fn start(program: &Path) -> Self {
        Self::run(program, "read code; exit ${code:-0}")
    }

    fn run(program: &Path, script: &str) -> Self {
        Self::run_in(Path::new("/"), program, script)
    }

    fn run_in(folder: &Path, program: &Path, script: &str) -> Self {
        let mut command = Command::new(program);
        command
            .current_dir(folder)
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let child = command.spawn().expect("it starts");
        let process = identify(child.id()).expect("our child");
        Self { child, process }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    fn lives(&self) -> bool {
        lives(&self.process)
    }

    /// Has it end with this code; its zombie stays until this is dropped.
    fn tell(&mut self, code: u8) {
        use std::io::Write;
        let mut stdin = self.child.stdin.take().expect("not told before");
        stdin.write_all(format!("{code}\n").as_bytes()).expect("written");
    }

    fn reap(&mut self) {
        self.child.wait().expect("our child");
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn by_pid(pid: u32, keys: &str) -> String {
    format!("{keys}\n[attach]\npid = {pid}\n")
}

fn by_exe(program: &Path, keys: &str, more: &str) -> String {
    format!("{keys}\n[attach]\n{more}\nmatch = {{ exe = {:?} }}\n", program.display().to_string())
}

/// That the job governs this process.
fn governs(site: &Site, job: &str, stranger: &Stranger) -> Value {
    let pid = Value::from(stranger.pid());
    site.await_report(job, "the process taken over", |report| {
        report["state"] == "running" && report["pid"] == pid && report["started_at"].is_string()
    })
}

#[test]
fn a_running_process_is_governed_and_its_exit_code_told() {
    let site = Site::started();
    let mut stranger = Stranger::start(&program(&site, "worker"));
    site.put("a", &by_pid(stranger.pid(), "constraints.nice = 7"));
    let report = governs(&site, "a", &stranger);
    assert_eq!((&report["mode"], &report["command"][1]), (&"attach".into(), &"-c".into()), "{report:#}");
    assert_eq!(report["constraints"][0]["applied"], true, "{report:#}");
    assert_eq!(nice_of_threads(stranger.pid()), [7]);
    stranger.tell(7);
    let report = site.await_state("a", "failed");
    assert_eq!((&report["exit_code"], &report["exit_reason"]), (&7.into(), &"error".into()), "{report:#}");
    assert!(["zombie", "pidfd"].contains(&report["exit_observed_by"].as_str().expect("known")), "{report:#}");
    assert_eq!(report["platform_sla"], true);
    // A number means one process: nothing more happens.
    site.settle();
    assert_eq!(site.runs("a"), 1);
}

#[test]
fn an_exit_is_known_although_somebody_else_reaped_it_and_nobody_supervised() {
    let site = Site::started();
    let mut stranger = Stranger::start(&program(&site, "worker"));
    site.put("a", &by_pid(stranger.pid(), ""));
    governs(&site, "a", &stranger);
    site.kill();
    stranger.tell(3);
    stranger.reap();
    site.start();
    let report = site.await_state("a", "failed");
    assert_eq!(report["exit_code"], 3, "{report:#}");
}

#[test]
fn a_process_that_is_let_go_is_as_it_was() {
    let site = Site::started();
    let stranger = Stranger::run(&program(&site, "worker"), "read code");
    site.put("a", &by_pid(stranger.pid(), "[constraints]\nnice = 7\noom_score_adj = 300"));
    governs(&site, "a", &stranger);
    assert_eq!(super::harness::oom_score_adj(stranger.pid()), 300);
    site.remove("a");
    let report = site.await_event("a", "let go");
    assert!(stranger.lives());
    assert_eq!(nice_of_threads(stranger.pid()), [0], "{report:#}");
    assert_eq!(super::harness::oom_score_adj(stranger.pid()), 0);
    assert_eq!((&report["state"], &report["exit_reason"]), (&"running".into(), &Value::Null), "{report:#}");
    assert_eq!(report["platform_sla_reason"], "detached_workload_continues");
    await_true("nothing is left of the run", || !site.path("state/runs/a").exists());
    // And it may be taken over again.
    site.put("a", &by_pid(stranger.pid(), "constraints.nice = 3"));
    await_true("governed again", || nice_of_threads(stranger.pid()) == [3]);
}

#[test]
fn a_rule_takes_what_appears_later_and_then_the_next() {
    let site = Site::started();
    let program = program(&site, "worker");
    site.put("a", &by_exe(&program, "constraints.nice = 5", ""));
    site.settle();
    assert_eq!((site.runs("a"), site.status("a")["state"].clone()), (0, "waiting".into()));
    let mut first = Stranger::start(&program);
    let before = governs(&site, "a", &first);
    first.tell(4);
    let report = site.await_history("a", before["run_id"].as_str().expect("a run"));
    assert_eq!(report["exit_code"], 4, "{report:#}");
    let second = Stranger::start(&program);
    governs(&site, "a", &second);
    assert_eq!(nice_of_threads(second.pid()), [5]);
}

#[test]
fn a_rule_for_all_governs_each_as_a_run_of_its_own() {
    let site = Site::started();
    let program = program(&site, "worker");
    let mut early = Stranger::start(&program);
    site.put("many", &by_exe(&program, "constraints.nice = 5", "all = true"));
    let of = |stranger: &Stranger| format!("many@{}", stranger.pid());
    governs(&site, &of(&early), &early);
    let late = Stranger::start(&program);
    governs(&site, &of(&late), &late);
    assert_eq!(site.status("many")["state"], "rule");
    early.tell(9);
    let report = site.await_state(&of(&early), "failed");
    assert_eq!(report["exit_code"], 9, "{report:#}");
    await_true("nothing is left of it", || !site.path("state/runs").join(of(&early)).exists());
    // An edit in place reaches each.
    site.put("many", &by_exe(&program, "constraints.nice = 6", "all = true"));
    await_true("tuned", || nice_of_threads(late.pid()) == [6]);
    site.remove("many");
    site.await_event(&of(&late), "let go");
    assert!(late.lives());
    assert_eq!(nice_of_threads(late.pid()), [0]);
}

#[test]
fn of_two_jobs_that_claim_a_process_the_first_keeps_it() {
    let site = Site::started();
    let stranger = Stranger::start(&program(&site, "worker"));
    site.put("first", &by_pid(stranger.pid(), "constraints.nice = 4"));
    governs(&site, "first", &stranger);
    site.put("second", &by_pid(stranger.pid(), "constraints.nice = 9"));
    site.await_log("job first governs it already");
    site.settle();
    assert_eq!((nice_of_threads(stranger.pid()), site.runs("second")), (vec![4], 0));
    let note = site.status("second")["note"].to_string();
    assert!(note.contains("first") && note.contains(&stranger.pid().to_string()), "{note}");
    site.remove("first");
    governs(&site, "second", &stranger);
    await_true("governed by the second", || nice_of_threads(stranger.pid()) == [9]);
}

#[test]
fn a_process_that_never_was_is_reported() {
    let site = Site::started();
    let mut gone = Stranger::start(&program(&site, "worker"));
    gone.tell(0);
    gone.reap();
    let pid = gone.pid();
    site.put("a", &by_pid(pid, ""));
    let report = site.await_state("a", "failed");
    let told = format!("process {pid} does not exist");
    assert!(events(&report).iter().any(|event| event.contains(&told)), "{report:#}");
    assert_eq!((&report["platform_sla"], &report["pid"]), (&true.into(), &Value::Null), "{report:#}");
}

#[test]
fn neither_we_nor_what_is_ours_is_ever_taken_over() {
    let site = Site::started();
    site.put("mine", &sleeper(""));
    let live = site.running("mine");
    let wrapper = site.wrapper("mine", &live).pid.as_raw().unsigned_abs();
    for (job, pid) in
        [("init", 1), ("ourselves", site.supervisor_pid()), ("wrapper", wrapper), ("twice", live.pid())]
    {
        site.put(job, &by_pid(pid, "constraints.nice = 9"));
        if pid == 1 {
            // Refused by the file's own rules.
            site.await_log("init.toml");
        } else if job != "twice" {
            site.await_state(job, "failed");
        }
    }
    site.settle();
    assert_eq!(nice_of_threads(live.pid()), [0]);
    assert_eq!(nice_of_threads(wrapper), [0]);
    assert_eq!(
        site.runs("twice") + usize::from(site.report("twice").is_some_and(|r| r["state"] == "running")),
        site.runs("twice")
    );
    site.assert_untouched("mine", &live);
}

#[test]
fn wrapper_and_supervisor_may_die_and_the_process_does_not_notice() {
    let site = Site::started();
    let mut stranger = Stranger::start(&program(&site, "worker"));
    site.put("a", &by_pid(stranger.pid(), "constraints.nice = 5"));
    governs(&site, "a", &stranger);
    let live = site.running("a");
    send(&site.wrapper("a", &live), Signal::KILL);
    site.await_event("a", "the wrapper was lost");
    site.kill();
    site.start();
    site.settle();
    assert!(stranger.lives());
    assert_eq!((site.running("a"), nice_of_threads(stranger.pid())), (live, vec![5]));
    // Still governed in place.
    site.put("a", &by_pid(stranger.pid(), "constraints.nice = 6"));
    await_true("tuned", || nice_of_threads(stranger.pid()) == [6]);
    stranger.tell(5);
    let report = site.await_state("a", "failed");
    assert_eq!(report["exit_code"], 5, "{report:#}");
}

#[test]
fn its_command_is_told_after_an_edit_and_by_every_supervisor() {
    let site = Site::started();
    let program = program(&site, "worker");
    let stranger = Stranger::start(&program);
    site.put("a", &by_pid(stranger.pid(), "constraints.nice = 5"));
    let command = governs(&site, "a", &stranger)["command"].clone();
    assert_eq!(command[0], program.display().to_string());
    site.put("a", &by_pid(stranger.pid(), "constraints.nice = 6"));
    let report = site.await_event("a", "changed in place");
    assert_eq!((&report["command"], &report["mode"]), (&command, &"attach".into()), "{report:#}");
    site.kill();
    site.start();
    site.put("a", &by_pid(stranger.pid(), "intent = \"test\"\nconstraints.nice = 6"));
    let report = site.await_report("a", "the other edit", |report| report["intent"] == "test");
    assert_eq!((&report["command"], &report["mode"]), (&command, &"attach".into()), "{report:#}");
}

#[test]
fn a_supervisor_that_was_down_while_the_file_went_lets_go_at_its_next_start() {
    let site = Site::started();
    let stranger = Stranger::start(&program(&site, "worker"));
    site.put("a", &by_pid(stranger.pid(), "constraints.nice = 5"));
    governs(&site, "a", &stranger);
    site.kill();
    site.remove("a");
    site.start();
    site.await_event("a", "let go");
    assert!(stranger.lives());
    assert_eq!(nice_of_threads(stranger.pid()), [0]);
}

#[test]
fn an_edit_of_the_rule_looks_for_its_process_anew() {
    let site = Site::started();
    let (one, other) = (program(&site, "one"), program(&site, "other"));
    let (first, second) = (Stranger::start(&one), Stranger::start(&other));
    site.put("a", &by_exe(&one, "constraints.nice = 5", ""));
    governs(&site, "a", &first);
    site.put("a", &by_exe(&other, "constraints.nice = 5", ""));
    governs(&site, "a", &second);
    assert!(first.lives());
    assert_eq!((nice_of_threads(first.pid()), nice_of_threads(second.pid())), (vec![0], vec![5]));
}

#[test]
fn a_pid_file_names_its_process_whenever_it_is_there() {
    let site = Site::started();
    let program = program(&site, "worker");
    let file = site.path("worker.pid");
    site.put("a", &format!("constraints.nice = 5\n[attach]\npid_file = {:?}\n", file.display().to_string()));
    site.await_log("worker.pid");
    let mut first = Stranger::start(&program);
    fs::write(&file, format!("{}\n", first.pid())).expect("written");
    governs(&site, "a", &first);
    first.tell(2);
    site.await_report("a", "its exit", |report| report["exit_code"] == 2);
    let second = Stranger::start(&program);
    fs::write(&file, format!("{}\n", second.pid())).expect("written");
    governs(&site, "a", &second);
}

/// Processes that end at once, some while they are looked at; each waits as a zombie until it is reaped.
fn short_lived(program: &Path, count: usize) -> Vec<Child> {
    let start = |n: usize| {
        let mut command = Command::new(program);
        // Every third one lives for so long that its end falls into its take-over.
        let script = format!("sleep 0.0{}", if n.is_multiple_of(3) { n % 10 } else { 0 });
        command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().expect("it starts")
    };
    let children = (0..count).map(start).collect();
    std::thread::sleep(std::time::Duration::from_millis(200));
    children
}

/// That nothing tells of a process that was never governed, and that nothing is left of it.
fn assert_no_ghosts(site: &Site) {
    for name in super::harness::names(&site.path("state/reports")) {
        let Some(job) = name.strip_suffix(".json") else { continue };
        let report = site.report(job).expect("a report");
        // One that ended after it had been taken over is a run, and its exit is known.
        assert!(report["started_at"].is_string() && report["pid"].is_u64(), "{report:#}");
        assert!(["running", "completed"].contains(&report["state"].as_str().expect("a state")), "{report:#}");
    }
    for job in super::harness::names(&site.path("state/reports/history")) {
        for run in super::harness::names(&site.path("state/reports/history").join(&job)) {
            let path = site.path("state/reports/history").join(&job).join(run);
            let text = fs::read_to_string(&path).expect("a report");
            let report: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(report["state"], "completed", "{report:#}");
        }
    }
    let log = site.log();
    // The files that `settle` waits with are broken on purpose.
    for line in log.lines().filter(|line| !line.contains("/barrier-")) {
        assert!(!line.contains("ERROR") && !line.contains("did not converge"), "{line}");
    }
}

#[test]
fn processes_that_ended_too_early_are_no_runs() {
    for all in ["", "all = true"] {
        let site = Site::started();
        let program = program(&site, "worker");
        site.put("a", &by_exe(&program, "constraints.nice = 5", all));
        let governed = |stranger: &Stranger| {
            let job = if all.is_empty() { "a".to_owned() } else { format!("a@{}", stranger.pid()) };
            (governs(&site, &job, stranger), job)
        };
        let mut first = Stranger::start(&program);
        let (report, before) = governed(&first);
        first.tell(0);
        let run = report["run_id"].as_str().expect("a run");
        site.await_history(&before, run);
        for mut child in (0..3).flat_map(|_| short_lived(&program, 12)).collect::<Vec<_>>() {
            child.wait().expect("our child");
        }
        let stranger = Stranger::start(&program);
        let (_, job) = governed(&stranger);
        assert!(site.history(&before).iter().any(|name| name.contains(run)), "what did run is not forgotten");
        assert_eq!(nice_of_threads(stranger.pid()), [5]);
        assert_no_ghosts(&site);
        await_true("only its run is left", || super::harness::names(&site.path("state/runs")) == [&*job]);
    }
}

#[test]
fn a_wrapper_that_came_too_late_is_no_run_for_the_next_supervisor_either() {
    let site = Site::started();
    let program = program(&site, "worker");
    let mut stranger = Stranger::start(&program);
    site.put("a", &by_exe(&program, "constraints.nice = 5", ""));
    governs(&site, "a", &stranger);
    let live = site.running("a");
    site.kill();
    site.kill_wrapper("a", &live);
    stranger.tell(0);
    stranger.reap();
    // As its wrapper leaves it that finds nobody, and a supervisor that was killed then.
    let folder = site.run_dir("a", &live);
    fs::remove_file(folder.join("started.json")).expect("removed");
    fs::remove_file(site.path("state/reports/a.json")).expect("removed");
    let error = StartError { stage: Stage::Attach, errno: Some(libc::ESRCH), detail: "it is gone".into() };
    let run = serde_json::from_value(live.run.clone().into()).expect("an id");
    let exited = Exited::unmeasured(run, clock::now(), Ended::NotStarted(error));
    site.write_record("a", &live, "exited.json", &serde_json::to_value(exited).expect("JSON"));
    site.start();
    site.settle();
    assert!(!folder.exists());
    assert_eq!((site.report("a"), site.runs("a")), (None, 0));
    let next = Stranger::start(&program);
    governs(&site, "a", &next);
}

#[test]
fn a_rule_asks_for_a_folder_and_an_age_and_rules_others_out() {
    let site = Site::started();
    let program = program(&site, "worker");
    let folder = |name: &str| {
        let path = site.path(name);
        fs::create_dir_all(&path).expect("made");
        path
    };
    let in_folder = |name: &str, script: &str| Stranger::run_in(&folder(name), &program, script);
    let old = in_folder("media", "read code");
    std::thread::sleep(std::time::Duration::from_millis(4200));
    let rule = format!(
        "constraints.nice = 5\n[attach]\nall = true\n[attach.match]\nexe = {program:?}\nworking_dir = {:?}\n\
         max_runtime = \"4s\"\nnot = {{ args = [\"no-such-word\", \"secret\"], working_dir = {:?} }}\n",
        folder("media"),
        folder("media/test"),
    );
    site.put("many", &rule);
    site.settle();
    let others = [
        in_folder("elsewhere", "read code"),
        in_folder("media/test/deep", "read code"),
        in_folder("media", ": secret; read code"),
        old,
    ];
    // The last one, so that the others were looked at.
    for meant in [in_folder("media", "read code"), in_folder("media/live", "read code")] {
        governs(&site, &format!("many@{}", meant.pid()), &meant);
        assert_eq!(nice_of_threads(meant.pid()), [5]);
    }
    for (n, other) in others.iter().enumerate() {
        assert_eq!(nice_of_threads(other.pid()), [0], "the one with number {n}");
    }
}
