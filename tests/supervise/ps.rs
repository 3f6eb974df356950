//! `ffrtmp ps`: everybody who is governed, by whom, as root and as somebody else; and what a stranger can plant.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ffrtmp::linux::clock;
use ffrtmp::linux::process::boot_id;
use ffrtmp::model::ids::RunId;
use ffrtmp::model::signal::Signal;
use ffrtmp::runs::dir::RunDir;
use ffrtmp::runs::record::{Spec, Started, VERSION};
use nix::sys::stat::Mode;
use serde_json::{Value, json};

use super::harness::{Site, await_some, await_true, identify, sleeper};

/// A program that ends when this does, as its standard input does.
struct Guest(Child);

impl Guest {
    fn start(program: impl AsRef<Path>, args: &[&str]) -> Self {
        let mut command = Command::new(program.as_ref());
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("it starts"))
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

const UNTIL_TOLD: [&str; 3] = ["/bin/sh", "-c", "read line"];

/// What `ffrtmp ps` prints for us; it may not take for ever.
fn ps(site: &Site, args: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["--signal=KILL", "20", env!("CARGO_BIN_EXE_ffrtmp"), "ps", "--root"]).arg(&site.root);
    let output = command.args(args).stdin(Stdio::null()).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "137 is what comes of SIGKILL");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The runs of this site that are governed: other tests have theirs.
fn governed(site: &Site) -> Vec<Value> {
    let document: Value = serde_json::from_str(&ps(site, &["--json"])).expect("one JSON document");
    assert_eq!(document["schema"], "ffrtmp.ps/1");
    let ours =
        |row: &&Value| row["run_dir"].as_str().is_some_and(|dir| Path::new(dir).starts_with(&site.root));
    document["governed"].as_array().expect("a list").iter().filter(ours).cloned().collect()
}

fn row<'a>(rows: &'a [Value], job: &str) -> &'a Value {
    rows.iter().find(|row| row["job_id"] == job).unwrap_or_else(|| panic!("no {job} in {rows:#?}"))
}

#[test]
fn everybody_who_is_governed_is_listed_with_who_does_it() {
    let site = Site::started();
    let root = site.root.to_str().expect("UTF-8").to_owned();
    for job in ["channel", "orphan"] {
        site.put(job, &sleeper("[constraints]\nnice = 5"));
    }
    let (channel, orphan) = (site.running("channel"), site.running("orphan"));
    let wrapper = env!("CARGO_BIN_EXE_ffrtmp");
    let run = ["run", "--root", &root, "--job-id", "Encode:1", "--nice", "3", "--"];
    let encode = Guest::start(wrapper, &[&run[..], &UNTIL_TOLD].concat());
    let stranger = Guest::start(UNTIL_TOLD[0], &UNTIL_TOLD[1..]);
    let pid = stranger.0.id().to_string();
    let taken = Guest::start(
        wrapper,
        &["attach", "--root", &root, "--job-id", "taken", "--nice", "4", "--pid", &pid],
    );
    let lost = site.wrapper("orphan", &orphan);
    super::harness::send(&lost, Signal::KILL);
    let rows = await_some("all four are there", || {
        let rows = governed(&site);
        let all = rows.len() == 4 && rows.iter().all(|row| row["stage"] == "running");
        (all && rows.iter().any(|row| row["by"] == "orphaned")).then_some(rows)
    });

    let user = nix::unistd::User::from_uid(nix::unistd::geteuid()).ok().flatten().map(|user| user.name);
    for (job, by, nice) in [
        ("Encode:1", "run", "3"),
        ("channel", "supervisor", "5"),
        ("orphan", "orphaned", "5"),
        ("taken", "attach", "4"),
    ] {
        let row = row(&rows, job);
        assert_eq!(row["by"], by, "{row:#}");
        assert_eq!(row["wrapper"].is_null(), by == "orphaned", "{row:#}");
        assert_eq!(row["user"].as_str().map(str::to_owned), user, "{row:#}");
        assert!(row["usage"]["cpu_sec"].as_f64().is_some_and(|sec| sec < 60.0), "{row:#}");
        assert!(row["memory_bytes"].as_u64().is_some_and(|bytes| bytes > 0), "{row:#}");
        assert!(row["running_sec"].as_f64().is_some_and(|sec| sec < 600.0), "{row:#}");
        let constraint = &row["constraints"][0];
        assert_eq!((&constraint["name"], &constraint["actual"]), (&json!("nice"), &json!(nice)), "{row:#}");
        assert_eq!(constraint["applied"], true, "{row:#}");
    }
    assert_eq!(row(&rows, "channel")["pid"], channel.pid());
    assert_eq!(row(&rows, "channel")["command"], json!(["/bin/sleep", "1000"]));
    let keeper = site.wrapper("channel", &channel);
    assert_eq!(row(&rows, "channel")["wrapper"]["pid"], keeper.pid.as_raw());
    assert_eq!(row(&rows, "taken")["pid"], stranger.0.id());
    assert_eq!(row(&rows, "taken")["wrapper"]["pid"], taken.0.id());
    assert_eq!(row(&rows, "Encode:1")["command"], json!(UNTIL_TOLD));

    let table = ps(&site, &[]);
    let head = table.lines().next().expect("a line");
    assert_eq!(
        head.split_whitespace().collect::<Vec<_>>(),
        ["JOB", "PID", "BY", "USER", "TIME", "CPU", "MEMORY", "LIMITS", "COMMAND"]
    );
    let line = table.lines().find(|line| line.contains(&format!(" {} ", channel.pid()))).expect("its line");
    let column = |name: &str| head.find(name).expect("a column");
    assert!(line.starts_with("channel ") && line[column("BY")..].starts_with("supervisor "), "{table}");
    assert!(line[column("LIMITS")..].starts_with("nice=5 "), "{table}");
    assert_eq!(&line[column("COMMAND")..], "/bin/sleep 1000", "{table}");

    // A run of the command line whose keeper is lost. Without a cgroup, which nobody would remove.
    let run = ["run", "--root", &root, "--job-id", "lost", "--cgroup", "none", "--"];
    let lost = Guest::start(wrapper, &[&run[..], &UNTIL_TOLD].concat());
    let seen = |by: &str| {
        let rows = governed(&site);
        let running = |row: &&Value| row["job_id"] == "lost" && row["stage"] == "running" && row["by"] == by;
        rows.iter().find(running).cloned()
    };
    let before = await_some("it runs", || seen("run"));
    let keeper =
        before["wrapper"]["pid"].as_u64().and_then(|pid| identify(pid.try_into().ok()?)).expect("a keeper");
    super::harness::send(&keeper, Signal::KILL);
    let after = await_some("it is an orphan", || seen("orphaned"));
    assert_eq!((&after["pid"], &after["run_id"]), (&before["pid"], &before["run_id"]));

    // Who ends is governed by nobody.
    drop((encode, stranger, taken, lost));
    site.remove("channel");
    await_true("it is stopped", || governed(&site).iter().all(|row| row["job_id"] == "orphan"));
}

#[test]
fn what_others_govern_is_left_out_and_said_so() {
    if !nix::unistd::geteuid().is_root() {
        println!("SKIPPED what_others_govern_is_left_out_and_said_so: only root may become somebody else");
        return;
    }
    let site = Site::started();
    site.put("channel", &sleeper(""));
    site.running("channel");
    // Where everybody can execute it.
    let folder = tempfile::tempdir().expect("a directory");
    super::harness::chmod(folder.path(), 0o755);
    let program = folder.path().join("ffrtmp");
    fs::copy(env!("CARGO_BIN_EXE_ffrtmp"), &program).expect("copied");
    let mut command = Command::new(&program);
    command.args(["ps", "--root", "/nonexistent"]).uid(65534).gid(65534).current_dir("/").env_clear();
    let output = command.output().expect("it starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("channel"), "{text}");
    let last = text.lines().last().expect("a line");
    assert!(last.starts_with("not shown: ") && last.ends_with("only root may look into them"), "{text}");
    assert_eq!((output.stderr.len(), output.status.code()), (0, Some(0)));
}

/// A process of that name with a lock and records of its own making: what it says is not believed where the
/// kernel knows better, and does nothing to whoever reads it.
#[test]
fn a_strangers_records_hold_nobody_up() {
    let site = Site::new();
    let trap = site.path("trap");
    fs::create_dir(&trap).expect("made");
    for file in ["cgroup.procs", "cpu.stat", "memory.current", "cpu.max"] {
        nix::unistd::mkfifo(&trap.join(file), Mode::S_IRWXU).expect("made");
    }
    let now = clock::now();
    let spec: Spec = serde_json::from_value(json!({
        "version": VERSION, "run_id": RunId::new(now.wall.unix_ms(), 1), "boot_id": boot_id().expect("proc"),
        "created": now, "environment": [], "log": "", "history": {"restarts": 0, "backoff": 0, "recent": []},
        "cgroup": {"v2": {"dir": trap, "wrappers": trap, "backend": "cgroup-v2"}},
        "job": {
            "id": "bait", "lifecycle": "oneshot", "intent": "production", "sla_eligible": true,
            "workload": {"exec": {"command": ["/bin/\u{1b}[2Jclear"]}}, "constraints": {"cpu": {"quota": 50}},
            "restart": {"policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1, "success_exit_codes": [0]},
            "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "stop"},
        },
    }))
    .expect("a spec");
    let (run, lock) = RunDir::create(&site.path("elsewhere"), &spec).expect("made");
    let program = site.path("ffrtmp");
    fs::copy("/bin/sh", &program).expect("copied");
    let mut command = Command::new(&program);
    // It keeps the lock as its standard error.
    command.args(["-c", "read line"]).stdin(Stdio::piped()).stderr(Stdio::from(OwnedFd::from(lock)));
    let bait = Guest(command.spawn().expect("it starts"));
    let process = identify(bait.0.id()).expect("our child");
    let started = Started {
        version: VERSION,
        run_id: spec.run_id.clone(),
        at: now,
        process: process.clone(),
        wrapper: process,
        constraints: Vec::new(),
        notes: Vec::new(),
        baseline: Some(serde_json::from_value(json!({})).expect("none")),
    };
    run.write_started(&started).expect("written");
    drop(command);
    await_true("it executes", || identify(bait.0.id()).is_some() && governed(&site).len() == 1);
    let rows = governed(&site);
    let row = row(&rows, "bait");
    assert_eq!((&row["by"], &row["constraints"][0]["applied"]), (&json!("run"), &json!(false)), "{row:#}");
    let table = ps(&site, &[]);
    assert!(table.contains("/bin/\\u{1b}[2Jclear") && !table.contains('\u{1b}'), "{table:?}");
    // A record that is damaged is named, and holds up nothing either.
    fs::write(run.path.join("spec.json"), "{").expect("written");
    let document: Value = serde_json::from_str(&ps(&site, &["--json"])).expect("JSON");
    let problems = document["problems"].as_array().expect("a list");
    assert!(
        problems.iter().any(|why| why.as_str().is_some_and(|why| why.contains("elsewhere/bait"))),
        "{document:#}"
    );
}
