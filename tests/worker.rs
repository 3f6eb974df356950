//! Worker agents: those of `examples/worker`, run as they are, with real ffmpeg, and what a master gets back.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

#[path = "shared/wait.rs"]
mod wait;

/// A child that is gone with its test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent with a folder of its own; nothing is kept anywhere else.
struct Agent {
    program: PathBuf,
    temp: TempDir,
}

impl Drop for Agent {
    /// A test that failed lets its workload go and end, while there is a folder for its result.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _ = fs::write(self.path("go"), "");
            let begin = Instant::now();
            let ended = || self.result("long.json").is_none_or(|result| !result["exit_reason"].is_null());
            while !ended() && begin.elapsed() < Duration::from_secs(10) {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }
}

impl Agent {
    fn new(program: &str) -> Self {
        let temp = tempfile::tempdir().expect("tempdir");
        fs::create_dir(temp.path().join("queue")).expect("queue");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/worker").join(program);
        Self { program, temp }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.temp.path().join(name)
    }

    fn queue(&self, name: &str, document: &Value) {
        fs::write(self.path("queue").join(name), document.to_string()).expect("queued");
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env_remove("WRAPPER_ENABLED")
            .env("FFRTMP", env!("CARGO_BIN_EXE_ffrtmp"))
            .env("FFRTMP_ROOT", self.path("root"));
        command
    }

    fn folder(&self) -> &str {
        self.temp.path().to_str().expect("UTF-8")
    }

    /// Runs the agent until its queue is empty.
    fn once(&self, wrapper_enabled: Option<&str>) -> String {
        let mut command = self.command(&["--once", self.folder()]);
        command.envs(wrapper_enabled.map(|value| ("WRAPPER_ENABLED", value)));
        // Into a file: one that is in the way of nobody, should the agent not end.
        let file = fs::File::create(self.path("said")).expect("create");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("dup"))
            .stderr(file)
            .spawn()
            .map(Killed)
            .expect("the agent starts");
        let status = wait::await_some("the agent ends", || child.0.try_wait().expect("our child"));
        let said = self.read("said");
        assert!(status.success(), "{said}");
        said
    }

    fn result(&self, name: &str) -> Option<Value> {
        let text = fs::read_to_string(self.path("results").join(name)).ok()?;
        Some(serde_json::from_str(&text).expect("a result is whole"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default().trim().to_owned()
    }

    fn list(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder").flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned()
}

/// Each agent, where what it needs is there.
fn agents(test: &str, also: &[&str]) -> Vec<&'static str> {
    let there = |program: &&str| Command::new(program).arg("-version").stdin(Stdio::null()).output().is_ok();
    let all = [("agent.sh", "sh"), ("agent.py", "python3")];
    all.into_iter()
        .filter(|(agent, interpreter)| {
            let missing = also.iter().chain([interpreter]).find(|program| !there(program));
            if let Some(missing) = missing {
                println!("SKIPPED {test} with {agent}: there is no {missing}");
            }
            missing.is_none()
        })
        .map(|(agent, _)| agent)
        .collect()
}

/// The compatibility table of docs/worker.md, on real media: who is governed, and what the result says.
#[test]
fn documents_are_run_as_the_compatibility_table_says() {
    for program in agents("documents_are_run_as_the_compatibility_table_says", &["ffmpeg"]) {
        let agent = Agent::new(program);
        let documents = |names: &[(&str, Option<bool>)]| {
            for (name, enabled) in names {
                // How nice it is, and where; then it becomes ffmpeg.
                let script = "nice > \"$1.nice\"; cat /proc/self/cgroup > \"$1.cgroup\"; exec ffmpeg -nostdin -loglevel error -y -f lavfi -i \
                              testsrc2=size=160x120:rate=25:duration=1 -c:v mpeg4 \"$1.mp4\"";
                let file = agent.path(name);
                let mut document = json!({
                    "job_id": name, "scenario_name": "mpeg4",
                    "command": ["sh", "-c", script, "sh", file.to_str().expect("UTF-8")],
                    "sla_eligible": true,
                    "wrapper_constraints": {"nice_priority": 17},
                });
                if let Some(enabled) = enabled {
                    document["wrapper_enabled"] = json!(enabled);
                }
                agent.queue(&format!("{name}.json"), &document);
            }
        };
        let own = Command::new("nice").output().expect("nice");
        let own = String::from_utf8_lossy(&own.stdout).trim().to_owned();
        let check = |name: &str, governed: bool| {
            let result = agent.result(&format!("{name}.json")).unwrap_or_else(|| panic!("{program} {name}"));
            let log = agent.read(&format!("logs/{name}.json.log"));
            let told = format!("{program} {name}: {result:#}\n{log}");
            assert_eq!(
                (&result["job_id"], &result["scenario_name"]),
                (&json!(name), &json!("mpeg4")),
                "{told}"
            );
            assert_eq!(
                result["analyzer_output"],
                json!({"status": "success", "wrapper": governed, "platform_sla": true}),
                "{told}"
            );
            let metrics = &result["metrics"];
            assert_eq!(
                (&metrics["exit_code"], &metrics["wrapper_enabled"], &metrics["platform_sla"]),
                (&json!(0), &json!(governed), &json!(true)),
                "{told}"
            );
            assert!(metrics["pid"].as_u64().is_some_and(|pid| pid > 1), "{told}");
            assert!(metrics["exec_duration"].as_f64().is_some_and(|seconds| seconds > 0.0), "{told}");
            assert!(metrics["cpu_sec"].as_f64().is_some_and(|seconds| seconds > 0.0), "{told}");
            assert_eq!(result["report"]["sla_eligible"], json!(true), "{told}");
            let constraints: Vec<(&Value, &Value)> = result["report"]["constraints"]
                .as_array()
                .expect("constraints")
                .iter()
                .map(|status| (&status["name"], &status["applied"]))
                .collect();
            let (nice, asked) = match governed {
                true => ("17", vec![(json!("nice"), json!(true))]),
                false => (own.as_str(), vec![]),
            };
            assert_eq!(agent.read(&format!("{name}.nice")), nice, "{told}");
            assert_eq!(constraints, asked.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>(), "{told}");
            let cgroup = agent.read(&format!("{name}.cgroup"));
            let beside = fs::read_to_string("/proc/self/cgroup").expect("readable");
            // Only a cgroup counts throttling. Without one there is nothing to see.
            let has_cgroup = !result["report"]["usage"]["cpu_throttled_periods"].is_null();
            assert_eq!(cgroup == beside.trim(), !has_cgroup, "{cgroup}\n{told}");
            assert!(governed || !has_cgroup, "{told}");
            assert!(!has_cgroup || cgroup.contains(name), "its cgroup bears its name: {cgroup}\n{told}");
            let media = fs::metadata(agent.path(&format!("{name}.mp4"))).expect("media");
            assert!(media.len() > 1000, "{told}");
        };
        documents(&[("missing", None), ("off", Some(false)), ("on", Some(true))]);
        let said = agent.once(None);
        check("missing", false);
        check("off", false);
        check("on", true);
        assert!(said.contains("on.json ended with 0"), "{said}");
        documents(&[("missing2", None), ("off2", Some(false))]);
        agent.once(Some("yes"));
        check("missing2", true);
        check("off2", false);
        assert_eq!((agent.list("queue"), agent.list("running")), (vec![], vec![]), "{program}");
    }
}

#[test]
fn failures_are_told_and_documents_that_cannot_be_run_are_put_aside() {
    for program in agents("failures_are_told_and_documents_that_cannot_be_run_are_put_aside", &[]) {
        let agent = Agent::new(program);
        agent.queue("a-fails.json", &json!({"job_id": "fails", "command": ["sh", "-c", "exit 3"]}));
        agent.queue("b-bad.json", &json!({"command": ["x"], "wrapper_constraints": {"cpu_weight": "high"}}));
        agent.queue("c-none.json", &json!({"command": ["/nonexistent/ffmpeg"], "wrapper_enabled": true}));
        agent.queue(
            "d-slow.json",
            &json!({"ID": "slow", "command": ["sleep", "600"], "parameters": {"resource_limits": {"timeout_sec": 0.2}}}),
        );
        agent.once(None);
        let fails = agent.result("a-fails.json").expect("a result");
        assert_eq!((&fails["metrics"]["exit_code"], &fails["exit_reason"]), (&json!(3), &json!("error")));
        assert_eq!(fails["platform_sla_reason"], json!("workload_failed"));
        assert_eq!(agent.list("rejected"), ["b-bad.json", "b-bad.json.txt"], "{program}");
        let why = agent.read("rejected/b-bad.json.txt");
        assert!(why.contains("$.wrapper_constraints.cpu_weight: \"high\" is not a number"), "{why}");
        let none = agent.result("c-none.json").expect("a result");
        assert_eq!((&none["metrics"]["exit_code"], &none["job_id"]), (&Value::Null, &json!("unknown")));
        assert_eq!(none["analyzer_output"]["status"], "error", "{none:#}");
        let slow = agent.result("d-slow.json").expect("a result");
        assert_eq!((&slow["exit_reason"], &slow["job_id"]), (&json!("timeout"), &json!("slow")), "{slow:#}");
        assert_eq!(agent.list("running"), [] as [&str; 0]);
    }
}

#[test]
fn one_document_from_standard_input_gives_one_result_on_standard_output() {
    use std::io::Write;
    for program in agents("one_document_from_standard_input_gives_one_result_on_standard_output", &[]) {
        let agent = Agent::new(program);
        let mut child = agent
            .command(&["-"])
            .env("WRAPPER_ENABLED", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("starts");
        let document = json!({"id": "in", "command": ["sh", "-c", "echo not for the master; exit 4"]});
        child.stdin.take().expect("piped").write_all(document.to_string().as_bytes()).expect("written");
        let output = child.wait_with_output().expect("ends");
        assert_eq!(output.status.code(), Some(4), "{}", text(&output));
        let result: Value = serde_json::from_slice(&output.stdout).expect("one document, and nothing else");
        assert_eq!((&result["id"], &result["metrics"]["wrapper_enabled"]), (&json!("in"), &json!(true)));
    }
}

/// The agent and the `ffrtmp run` that it waits for are killed: the workload goes on, its result is written when
/// it ends, and the next agent does not start it again.
#[test]
fn a_killed_agent_loses_nothing() {
    for program in agents("a_killed_agent_loses_nothing", &[]) {
        let agent = Agent::new(program);
        let (go, begun) = (agent.path("go"), agent.path("begun"));
        // It waits to be let go, and no longer than its folder is there.
        let script =
            "echo begun >> \"$2\"; while [ -e \"$2\" ] && [ ! -e \"$1\" ]; do sleep 0.05; done; exit 5";
        let paths = [&go, &begun].map(|path| path.to_str().expect("UTF-8"));
        let document = json!({
            "job_id": "long", "wrapper_enabled": true, "command": ["sh", "-c", script, "sh", paths[0], paths[1]],
        });
        agent.queue("long.json", &document);
        let mut process = agent
            .command(&[agent.folder()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map(Killed)
            .expect("starts");
        wait::await_true("the workload runs", || begun.exists());
        wait::await_true("its result says so", || {
            agent.result("long.json").is_some_and(|result| result["report"]["state"] == "running")
        });
        let pid = process.0.id();
        let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("children");
        let callers: Vec<i32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        assert_eq!(callers.len(), 1, "{program} waits for one ffrtmp run: {children:?}");
        process.0.kill().expect("killed");
        process.0.wait().expect("gone");
        kill(Pid::from_raw(callers[0]), Signal::SIGKILL).expect("ffrtmp run is killed");
        // Neither has a say any more; the next agent finds it, and leaves it alone.
        let said = agent.once(None);
        assert!(said.contains("long.json goes on"), "{said}");
        assert_eq!(agent.list("running"), ["long.json"]);
        fs::write(&go, "").expect("go");
        wait::await_true("the last result is written", || {
            agent.result("long.json").is_some_and(|result| result["exit_reason"] == "error")
        });
        let result = agent.result("long.json").expect("a result");
        assert_eq!(result["metrics"]["exit_code"], json!(5), "{result:#}");
        agent.once(None);
        assert_eq!(
            (agent.list("running"), agent.read("begun").as_str()),
            (vec![], "begun"),
            "once, and settled"
        );
    }
}
