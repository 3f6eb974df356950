//! `ffrtmp run`: what whoever calls it sees of it, and what the workload gets.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    COUNTS_SIGNALS, FFRTMP, Site, all_here, assert_says, await_some, await_true, constraint, events,
    find_program, homes, is_root, limits_are_here, lives, read_json, send, signal, skipped, unique,
};
use crate::terminal::{SIZE, Terminal};

/// Numbers that differ from run to run, made the same.
fn shape(text: &str) -> String {
    let pid = regex::Regex::new("PID [0-9]+").expect("good");
    let duration = regex::Regex::new(r"duration=[0-9]+\.[0-9]s").expect("good");
    let text = duration.replace_all(&pid.replace_all(text, "PID N"), "duration=N.Ns").into_owned();
    let summary = regex::Regex::new(r"runtime=[0-9]+s (.*) pid=[0-9]+").expect("good");
    summary.replace_all(&text, "runtime=Ns $1 pid=N").into_owned()
}

// How it ends.

#[test]
fn the_exit_code_is_that_of_the_workload() {
    let site = Site::new();
    for code in [0, 1, 2, 3, 42, 77, 100, 123, 124, 125, 126, 127, 128, 129, 137, 143, 254, 255] {
        let done = site.run(&["--quiet", "sh", "-c", &format!("exit {code}")]);
        assert_eq!((done.code(), done.err.as_str()), (Some(code), ""), "{done:?}");
    }
}

#[test]
fn a_signal_that_ends_the_workload_is_128_and_its_number() {
    let site = Site::new();
    for name in ["HUP", "INT", "QUIT", "ABRT", "KILL", "USR1", "SEGV", "PIPE", "TERM", "XCPU"] {
        let number = name.parse::<nix::sys::signal::Signal>();
        let number = number.or_else(|_| format!("SIG{name}").parse()).expect("a signal") as i32;
        let done = site.run(&["--report", "report", "sh", "-c", &format!("ulimit -c 0; kill -{name} $$")]);
        assert_eq!(done.code(), Some(128 + number), "{name}: {done:?}");
        let said = format!("Process exited: signal=SIG{name}, reason=signal,");
        assert!(done.err.contains(&said), "{name}: {}", done.err);
        let report = read_json(&site.path("report")).expect("a report");
        assert_says(
            &report,
            &[
                ("signal", json!(format!("SIG{name}"))),
                ("exit_code", Value::Null),
                ("state", json!("killed")),
                ("platform_sla", json!(true)),
            ],
        );
    }
}

/// 125 it failed itself, 126 there is no executing it, 127 there is no such program.
#[test]
fn what_cannot_be_run_has_the_codes_of_env_and_timeout() {
    let site = Site::new();
    site.write("data", "no program");
    let cases: [(&[&str], i32, &str); 10] = [
        (
            &["--env", "PATH=/usr/bin:/bin", "--", "no-such-program"],
            127,
            "Error: program \"no-such-program\" not found in PATH",
        ),
        (&["--", "/nonexistent/program"], 127, "Error: program \"/nonexistent/program\" does not exist"),
        (&["--", "./data"], 126, "Error: program \"./data\" is not executable"),
        (&["--", "/"], 126, "Error: program \"/\""),
        (&["--workdir", "/nonexistent", "true"], 125, "Error: working directory /nonexistent: No such file"),
        (&["--user", "no-such-user", "true"], 125, "no-such-user"),
        (&["--nice", "-21", "true"], 125, "Error: --nice is -21, "),
        (&["--profile", "low-priorty", "true"], 125, "low-priority"),
        (&["--cpu-qota", "50", "--", "true"], 125, "--cpu-quota"),
        (&["--job-id"], 125, "--job-id"),
    ];
    for (arguments, code, said) in cases {
        let done = site.run(arguments);
        assert_eq!(done.code(), Some(code), "{arguments:?}: {done:?}");
        assert!(done.err.contains(said), "{arguments:?}: {}", done.err);
        assert!(!done.err.contains("exec.") && !done.err.contains("timeouts."), "{}", done.err);
    }
}

#[test]
fn a_start_that_failed_is_in_the_report() {
    let site = Site::new();
    for (program, code) in [("/nonexistent/program", 127), ("/etc/passwd", 126)] {
        let done = site.run(&["--json", "--sla-eligible", "--", program]);
        assert_eq!(done.code(), Some(code));
        assert_says(
            &done.json(),
            &[
                ("state", json!("failed")),
                ("exit_code", Value::Null),
                ("pid", Value::Null),
                ("started_at", Value::Null),
                ("platform_sla", json!(false)),
                ("platform_sla_reason", json!("setup_failed")),
            ],
        );
    }
}

// What it says.

#[test]
fn its_messages_have_the_known_form() {
    let site = Site::new();
    let echo = find_program("echo").expect("echo").display().to_string();
    let done = site.shell("ffrtmp run -- echo \"Hello from wrapper\" 2>&1");
    let form = format!(
        "[wrapper] RUN mode: {echo} [Hello from wrapper]
[wrapper] Job: unknown, Intent: production, SLA: false
[wrapper] Started PID N
Hello from wrapper
[wrapper] Process exited: code=0, reason=success, duration=N.Ns
JOB unknown | sla=COMPLIANT | reason=success | runtime=Ns | exit=0 | pid=N
"
    );
    assert_eq!(shape(&done.out), form);
    let id = ["--job-id", "form-1", "--intent", "soak", "--sla-eligible"];
    let done = site.run(&[id.as_slice(), &["--", "/bin/sh", "-c", "exit 3"]].concat());
    let form = "[wrapper] RUN mode: /bin/sh [-c exit 3]
[wrapper] Job: form-1, Intent: soak, SLA: true
[wrapper] Started PID N
[wrapper] Process exited: code=3, reason=error, duration=N.Ns
JOB form-1 | sla=COMPLIANT | reason=workload_failed | runtime=Ns | exit=3 | pid=N
";
    assert_eq!((shape(&done.err).as_str(), done.out.as_str()), (form, ""));
}

/// What the reference's users look for in logs.
fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or_default()
}

#[test]
fn its_last_line_says_of_each_end_what_the_report_says() {
    let site = Site::new();
    let cases: [(&[&str], &str); 4] = [
        (&["sh", "-c", "exit 7"], " | exit=7 | pid=PID"),
        // An exit code of a process that has none is not invented.
        (&["sh", "-c", "kill -KILL $$"], " | exit=- | pid=PID | signal=SIGKILL"),
        (&["--timeout", "0.2", "sleep", "1000"], " | exit=- | pid=PID | signal=SIGTERM"),
        (&["--sla-eligible", "/nonexistent/program"], " | exit=- | pid=-"),
    ];
    for (arguments, end) in cases {
        let line = [["--json", "--job-id", "line-1", "--cgroup", "none"].as_slice(), arguments].concat();
        let done = site.run(&line);
        let report = done.json();
        let sla = if report["platform_sla"] == true { "COMPLIANT" } else { "VIOLATION" };
        let reason = report["platform_sla_reason"].as_str().expect("a text");
        let runtime = report["duration_sec"].as_f64().map_or("-".into(), |lasted| format!("{lasted:.0}s"));
        let end = end.replace("PID", &report["pid"].to_string());
        let expected = format!("JOB line-1 | sla={sla} | reason={reason} | runtime={runtime}{end}");
        assert_eq!(last_line(&done.err), expected, "{done:?}");
        assert_eq!(done.err.matches("| sla=").count(), 1, "{done:?}");
    }
    let done = site.run(&["sleep", "1.1"]);
    assert!(last_line(&done.err).contains(" | runtime=1s | "), "{done:?}");
    // The end of one that was let go is nobody's to tell.
    let gate = site.gate("gate");
    let running = site.start_run(&["cat", "gate"]);
    running.workload();
    running.signal(libc::SIGTERM);
    let done = running.wait();
    assert!(!done.err.contains("| sla="), "{done:?}");
    gate.open();
}

/// Whoever is slow to read what it says, before the workload begins, does not make that run longer.
#[test]
fn what_comes_before_the_program_is_not_part_of_its_run() {
    use nix::fcntl::{FcntlArg, fcntl};
    const HELD_BACK: Duration = Duration::from_secs(1);
    let site = Site::new();
    let (mut reads, mut writes) = std::io::pipe().expect("a pipe");
    let size = fcntl(&writes, FcntlArg::F_SETPIPE_SZ(4096)).expect("made smaller");
    // No room but for what is said before there is a process.
    let before = "[wrapper] RUN mode: /bin/true []
[wrapper] Job: slow, Intent: production, SLA: false
";
    let full = usize::try_from(size).expect("a size") - before.len();
    writes.write_all(&vec![b'.'; full]).expect("written");
    let mut command = site.ffrtmp(&["run", "--job-id", "slow", "--cgroup", "none", "--", "/bin/true"]);
    let mut child = command.stdout(std::process::Stdio::null()).stderr(writes).spawn().expect("it starts");
    // It has an end of the pipe, too.
    drop(command);
    await_true("it is set up", || site.report("slow").is_some());
    std::thread::sleep(HELD_BACK);
    let mut said = String::new();
    reads.read_to_string(&mut said).expect("read");
    assert!(child.wait().expect("our child").success());
    assert!(said[full..].starts_with(&format!("{before}[wrapper] Started PID ")), "{said}");
    let report = site.report("slow").expect("a report");
    let lasted = report["duration_sec"].as_f64().expect("a number");
    assert!(lasted < HELD_BACK.as_secs_f64() / 2.0, "{report:#}");
    let at = |value: &Value| value.as_str().expect("a text").parse::<jiff::Timestamp>().expect("a time");
    let set_up = at(&report["started_at"]).duration_since(at(&report["events"][0]["at"]));
    assert!(set_up.as_secs_f64() > HELD_BACK.as_secs_f64() * 0.9, "{report:#}");
    let ran = at(&report["ended_at"]).duration_since(at(&report["started_at"])).as_secs_f64();
    assert!((ran - lasted).abs() < 0.1, "{report:#}");
}

// Where its pid is.

#[test]
fn a_pid_file_is_there_before_the_program_and_gone_after_it() {
    let site = Site::new();
    let script = "cat pid; echo $$; ls -A >names; stat -c %a pid";
    let done = site.shell(&format!("umask 022; ffrtmp run --quiet --pid-file pid -- sh -c '{script}'"));
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, lines[1], "644"), "{done:?}");
    assert!(!site.path("pid").exists());
    assert!(!site.read("names").contains(".tmp"), "{}", site.read("names"));
    // A program that cannot be executed leaves none, either.
    assert_eq!(site.run(&["--pid-file", "pid", "--", "/nonexistent/program"]).code(), Some(127));
    assert!(!site.path("pid").exists());
}

#[test]
fn a_pid_file_that_is_anothers_by_now_stays() {
    let site = Site::new();
    site.write("pid", "1\n");
    let done = site.run(&["--pid-file", "pid", "sh", "-c", "cat pid; echo 1 >pid; echo $$"]);
    let lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(lines[0], lines[1], "what was there is replaced: {done:?}");
    assert_eq!(site.read("pid"), "1\n");
}

/// The wrapper, and the keeper.
#[test]
fn a_pid_file_is_removed_by_whoever_sees_the_end() {
    for keeper_dies in [false, true] {
        let site = Site::new();
        let gate = site.gate("gate");
        let running = site.start_run(&["--pid-file", "pid", "--workdir", "bin", "cat", "../gate"]);
        let workload = running.workload();
        assert_eq!(site.read("pid"), format!("{}\n", workload.pid));
        if keeper_dies {
            send(&running.keeper(), signal(libc::SIGKILL));
            running.await_err("the keeper of the run was lost");
        } else {
            running.signal(libc::SIGKILL);
        }
        assert!(lives(&workload) && site.path("pid").exists());
        gate.open();
        await_true("the pid file is removed", || !site.path("pid").exists());
        if keeper_dies {
            let done = running.wait();
            assert_eq!(done.code(), Some(0), "{done:?}");
            assert!(last_line(&done.err).ends_with(&format!(" | exit=0 | pid={}", workload.pid)), "{done:?}");
        }
    }
}

#[test]
fn a_pid_file_that_cannot_be_written_is_an_error_before_anything_runs() {
    let site = Site::new();
    for (file, cause) in [
        ("none/pid", "No such file or directory"),
        ("bin", "it is not a regular file"),
        ("/dev/null", "it is not a regular file"),
        ("/proc/pid", ""),
    ] {
        let done = site.run(&["--pid-file", file, "--", "touch", "trace"]);
        let path = site.path(file).display().to_string();
        assert_eq!(done.code(), Some(125), "{done:?}");
        assert!(done.err.contains(&format!("Error: --pid-file: {path}: {cause}")), "{done:?}");
        assert!(!done.err.contains("Started PID") && !site.path("trace").exists(), "{done:?}");
    }
}

#[test]
fn quiet_is_silent_but_for_errors() {
    let site = Site::new();
    let done = site.run(&["--quiet", "--cpu-weight", "50", "--", "echo", "out"]);
    assert_eq!((done.out.as_str(), done.err.as_str()), ("out\n", ""));
    let done = site.run(&["--quiet", "--", "/nonexistent/program"]);
    assert_eq!(done.err.lines().count(), 1, "{done:?}");
}

#[test]
fn json_is_one_document_and_nothing_else_on_standard_output() {
    let site = Site::new();
    let script = "echo to standard output; echo to standard error >&2; sleep 0.02; exit 4";
    let done = site.run(&["--json", "--job-id", &unique("json"), "--tag", "a=50%", "sh", "-c", script]);
    assert_says(
        &done.json(),
        &[
            ("schema", json!("ffrtmp.report/1")),
            ("mode", json!("run")),
            ("command", json!(["sh", "-c", script])),
            ("tags", json!({"a": "50%"})),
            ("exit_code", json!(4)),
            ("exit_reason", json!("error")),
            ("exit_observed_by", json!("parent")),
        ],
    );
    assert!(done.json()["duration_sec"].as_f64().is_some_and(|seconds| seconds >= 0.02));
    assert!(
        done.err.contains("to standard output\n") && done.err.contains("to standard error\n"),
        "{done:?}"
    );
    assert_eq!(done.code(), Some(4));
}

/// It is there from the beginning, and standard output is the workload's.
#[test]
fn a_report_file_leaves_standard_output_alone() {
    let site = Site::new();
    let done = site.run(&["--report", "report.json", "--", "sh", "-c", "cat report.json; exit 6"]);
    let during: Value = serde_json::from_str(&done.out).expect("whole while it runs");
    assert_says(&during, &[("state", json!("running")), ("exit_reason", Value::Null)]);
    let after = read_json(&site.path("report.json")).expect("a report");
    assert_says(
        &after,
        &[("state", json!("failed")), ("exit_code", json!(6)), ("pid", during["pid"].clone())],
    );
    assert_eq!(done.code(), Some(6));
}

// What the workload gets.

#[test]
fn the_environment_is_the_callers_and_what_is_said() {
    let site = Site::new();
    let script = "echo \"$GIVEN|$KEPT|$CHANGED|$FFRTMP_JOB\"";
    let env = ["--env", "GIVEN=x=y z", "--env", "CHANGED=new"];
    let job = unique("env");
    let line = [&["run", "--job-id", &job], env.as_slice(), &["sh", "-c", script]].concat();
    let done = site.start(site.ffrtmp(&line).env("KEPT", "kept").env("CHANGED", "old")).wait();
    assert_eq!(done.out, format!("x=y z|kept|new|{job}\n"));
    assert!(!site.read("report").contains("kept"));
    let done = site.run(&["--env", "novalue", "true"]);
    assert_eq!((done.code(), done.err.contains("--env \"novalue\" is not KEY=VALUE")), (Some(125), true));
}

#[test]
fn the_folder_is_the_callers_or_the_one_that_is_said() {
    let site = Site::new();
    assert_eq!(site.run(&["pwd"]).out, format!("{}\n", site.work.display()));
    assert_eq!(site.run(&["--workdir", "bin", "pwd"]).out, format!("{}\n", site.path("bin").display()));
    assert_eq!(site.run(&["--workdir", "/", "pwd"]).out, "/\n");
}

#[test]
fn umask_and_descriptors_are_the_callers() {
    let site = Site::new();
    site.write("three", "from descriptor 3\n");
    assert_eq!(site.shell("umask 027; ffrtmp run -- sh -c umask").out, "0027\n");
    assert_eq!(site.shell("ffrtmp run -- sh -c 'cat <&3' 3<three").out, "from descriptor 3\n");
    // Beside them there are none.
    for redirect in ["", "3<three", "3<&-"] {
        let list = |by: &str| site.shell(&format!("exec {by} sh -c 'ls /proc/$$/fd' {redirect}")).out;
        assert_eq!(list("ffrtmp run --cpu-weight 50 --"), list(""), "{redirect}");
    }
}

#[test]
fn it_is_part_of_a_pipeline() {
    let site = Site::new();
    let done = site.shell("printf 'a\\nc\\nb\\n' | ffrtmp run -- sort -r 2>said | tr '\\n' ,");
    assert_eq!(done.out, "c,b,a,");
    // Of a pipe that nobody reads any more it dies, as it would without us.
    let done = site.shell("ffrtmp run --quiet --report report -- yes | head -n 1");
    assert_eq!(done.out, "y\n");
    let ended = || read_json(&site.path("report")).filter(|report| report["ended_at"].is_string());
    let report = await_some("the report", ended);
    assert_says(&report, &[("signal", json!("SIGPIPE")), ("exit_reason", json!("signal"))]);
}

#[test]
fn signals_are_as_the_caller_has_them() {
    let site = Site::new();
    let masks = |line: &str| {
        let done = site.shell(&format!("{line} grep -E '^Sig(Blk|Ign)' /proc/self/status"));
        let mask = |name: &str| {
            let found = done.out.lines().find_map(|line| line.strip_prefix(name));
            u64::from_str_radix(found.unwrap_or_else(|| panic!("{done:?}")).trim(), 16).expect("hex")
        };
        (mask("SigBlk:"), mask("SigIgn:"))
    };
    // Whoever runs this test may ignore some itself.
    let (blocked, ignored) = masks("");
    assert_eq!(masks("ffrtmp run --"), (blocked, ignored));
    assert_eq!(masks("nohup ffrtmp run --"), (blocked, ignored | 1 << (libc::SIGHUP - 1)));
    assert_eq!(masks("trap '' USR2; ffrtmp run --"), (blocked, ignored | 1 << (libc::SIGUSR2 - 1)));
}

#[test]
fn under_nohup_it_goes_on_when_the_terminal_is_closed() {
    let site = Site::new();
    let gate = site.gate("gate");
    let running = site.start(site.command("nohup").args([FFRTMP, "run", "sh", "-c", "cat gate; exit 7"]));
    let workload = running.workload();
    running.signal(libc::SIGHUP);
    send(&workload, signal(libc::SIGHUP));
    gate.open();
    assert_eq!(running.wait().code(), Some(7));
}

#[test]
fn nice_is_inherited() {
    let site = Site::new();
    assert_eq!(site.shell("nice -n 3 ffrtmp run -- nice").out, site.shell("nice -n 3 nice").out);
}

#[test]
fn arguments_arrive_as_they_are() {
    let site = Site::new();
    let strange = OsStr::from_bytes(b"caf\xe9 \xff");
    let mut command = site.ffrtmp(&["run", "--json", "--report", "report", "--", "sh", "-c"]);
    command.arg("printf %s \"$1\" >received").arg("sh").arg(strange);
    let done = site.start(&mut command).wait();
    assert_eq!(fs::read(site.path("received")).expect("written"), strange.as_bytes());
    assert_eq!(done.json()["command"][4], "caf\u{fffd} \u{fffd}", "what is no text is marked in reports");
    let odd = ["100%", "%i", "%%", "", " ", "--json", "-", "--", "$HOME", "a\nb"];
    let done = site.run(&[["--", "printf", "<%s>"].as_slice(), &odd].concat());
    assert_eq!(done.out, odd.map(|word| format!("<{word}>")).concat());
}

#[test]
fn another_user_can_be_the_workloads() {
    let test = "another_user_can_be_the_workloads";
    if !is_root() {
        return skipped(test, "it needs root");
    }
    let site = Site::new();
    let done = site.run(&["--user", "nobody", "sh", "-c", "id -un; id -G; echo $USER $LOGNAME"]);
    let groups = site.shell("id -G nobody").out;
    assert_eq!(done.out, format!("nobody\n{groups}nobody nobody\n"), "{done:?}");
}

// Time.

#[test]
fn one_that_takes_too_long_is_asked_to_end() {
    let site = Site::new();
    let done = site.run(&["--timeout", "0.3", "--report", "report", "sleep", "1000"]);
    assert_eq!(done.code(), Some(124), "{done:?}");
    assert!(done.err.contains("Process exited: signal=SIGTERM, reason=timeout,"), "{}", done.err);
    let report = read_json(&site.path("report")).expect("a report");
    assert_says(
        &report,
        &[("exit_reason", json!("timeout")), ("state", json!("killed")), ("platform_sla", json!(true))],
    );
    // It may well end by itself: the time was up all the same.
    let obeys = "trap 'exit 0' TERM; while :; do sleep 0.02; done";
    let done = site.run(&["--timeout", "3s", "--json", "sh", "-c", obeys]);
    assert_eq!((done.code(), done.json()["exit_reason"].clone()), (Some(124), json!("timeout")), "{done:?}");
}

/// With all that it has started.
#[test]
fn one_that_does_not_listen_is_killed() {
    let site = Site::new();
    site.profile("impatient", "[stop]\ntimeout = \"300ms\"\n");
    let line = "trap '' TERM; ffrtmp run --profile impatient --timeout 0.3 --report report --";
    let done = site.shell(&format!("{line} sh -c 'sleep 1000 & echo $! >child; sleep 1000'"));
    assert_eq!(done.code(), Some(124), "{done:?}");
    let report = read_json(&site.path("report")).expect("a report");
    assert_says(&report, &[("exit_reason", json!("timeout")), ("signal", json!("SIGKILL"))]);
    let said = events(&report).join("\n");
    assert!(said.contains("SIGTERM sent to pid") && said.contains("SIGKILL to all"), "{said}");
    // The Site says if the child is left.
}

// Whoever goes, the workload stays.

#[test]
fn sigterm_to_the_wrapper_leaves_the_workload_running() {
    for (number, name) in [(libc::SIGTERM, "SIGTERM"), (libc::SIGHUP, "SIGHUP")] {
        let site = Site::new();
        let (gate, job) = (site.gate("gate"), unique("term"));
        let line = ["--job-id", &job, "--report", "report", "--json", "sh", "-c", "cat gate; exit 7"];
        let running = site.start_run(&line);
        let workload = running.workload();
        running.signal(number);
        let done = running.wait();
        assert_eq!(done.code(), Some(128 + number), "{done:?}");
        let said = format!("[wrapper] {name}: detached; the workload, PID {}, continues\n", workload.pid);
        assert!(done.err.contains(&said), "{}", done.err);
        let running = [
            ("state", json!("running")),
            ("exit_reason", Value::Null),
            ("platform_sla", Value::Null),
            ("platform_sla_reason", json!("detached_workload_continues")),
        ];
        assert_says(&done.json(), &running);
        site.await_report(&job, "that it was detached", |report| {
            report["platform_sla_reason"] == "detached_workload_continues"
        });
        assert!(lives(&workload));
        gate.open();
        let report = site.await_end(&job);
        assert_says(&report, &[("exit_code", json!(7)), ("exit_observed_by", json!("parent"))]);
        assert_eq!(read_json(&site.path("report")), Some(report));
    }
}

#[test]
fn sigkill_of_the_wrapper_leaves_the_workload_running() {
    let site = Site::new();
    let (gate, job) = (site.gate("gate"), unique("killed"));
    let line = ["--job-id", &job, "--report", "report", "sh", "-c", "cat gate; exit 7"];
    let running = site.start_run(&line);
    let workload = running.workload();
    running.signal(libc::SIGKILL);
    drop(running);
    assert!(lives(&workload));
    gate.open();
    assert_says(&site.await_end(&job), &[("exit_code", json!(7)), ("exit_reason", json!("error"))]);
    assert_eq!(read_json(&site.path("report")), site.report(&job));
}

/// Its whole group, and its whole session, as a service manager or a closed terminal would.
#[test]
fn the_workload_is_in_no_group_that_is_killed_with_the_wrapper() {
    let site = Site::new();
    let (gate, job) = (site.gate("gate"), unique("group"));
    let running = site.start_run(&["--job-id", &job, "sh", "-c", "cat gate; exit 7"]);
    let (workload, wrapper) = (running.workload(), running.process());
    assert_ne!(workload.pid, running.keeper().pid);
    // It leads its own session: setsid has made it a group of its own, in which there is nobody else.
    let group = nix::unistd::Pid::from_raw(wrapper.pid.as_raw());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).expect("ours");
    drop(running);
    assert!(lives(&workload));
    gate.open();
    assert_says(&site.await_end(&job), &[("exit_code", json!(7))]);
}

/// The wrapper takes its place, and sees how it ends.
#[test]
fn sigkill_of_the_keeper_leaves_the_workload_running() {
    let site = Site::new();
    let (gate, job) = (site.gate("gate"), unique("keeper"));
    let running = site.start_run(&["--json", "--job-id", &job, "sh", "-c", "cat gate; exit 7"]);
    let workload = running.workload();
    send(&running.keeper(), signal(libc::SIGKILL));
    running.await_err("the keeper of the run was lost; the workload runs on");
    assert!(lives(&workload));
    gate.open();
    let done = running.wait();
    assert_eq!(done.code(), Some(7), "{done:?}");
    assert_says(&done.json(), &[("exit_code", json!(7)), ("state", json!("failed"))]);
    assert_eq!(site.report(&job), Some(done.json()));
    assert!(site.cgroups(&job).is_empty());
}

/// Then nobody sees how it ends, which the next one says.
#[test]
fn sigkill_of_both_leaves_the_workload_running() {
    let site = Site::new();
    let (gate, job) = (site.gate("gate"), unique("both"));
    let running = site.start_run(&["--job-id", &job, "sh", "-c", "cat gate; exit 7"]);
    let workload = running.workload();
    let keeper = running.keeper();
    running.signal(libc::SIGKILL);
    send(&keeper, signal(libc::SIGKILL));
    drop(running);
    await_true("the keeper is gone", || !lives(&keeper));
    assert!(lives(&workload));
    gate.open();
    await_true("the workload ends", || !lives(&workload));
    assert_eq!(site.run(&["true"]).code(), Some(0));
    let lost = [
        ("state", json!("unknown")),
        ("exit_code", Value::Null),
        ("exit_reason", json!("unknown")),
        ("platform_sla", json!(false)),
        ("platform_sla_reason", json!("exit_lost")),
    ];
    assert_says(&site.await_end(&job), &lost);
    await_true("nothing is left", || site.cgroups(&job).is_empty() && site.runs().is_empty());
}

/// A script's Ctrl-C does not reach a workload in a session of its own: the wrapper hands it on.
#[test]
fn sigint_is_handed_on_once_where_there_is_no_terminal() {
    let site = Site::new();
    let running = site.start_run(&["sh", "-c", COUNTS_SIGNALS]);
    running.await_out("ready");
    running.signal(libc::SIGINT);
    running.await_out("SIGINT");
    running.signal(libc::SIGQUIT);
    running.await_out("SIGQUIT");
    site.write("go", "");
    let done = running.wait();
    assert_eq!((done.code(), done.out.as_str()), (Some(5), "ready\nSIGINT\nSIGQUIT\n"));
}

// At a terminal.

#[test]
fn a_terminal_is_the_workloads_own() {
    let site = Site::new();
    let mut terminal = Terminal::start(&site, FFRTMP, &["run", "--", "sh", "-c", "tty; stty size; exit 9"]);
    assert_eq!(terminal.wait(), Some(9));
    let (rows, columns) = SIZE;
    terminal.await_text(&format!("{}\r\n{rows} {columns}\r\n", terminal.name));
    terminal.await_text("\x1b[2m[wrapper]\x1b[0m Process exited: code=9");
}

/// The state of a process (`/proc/PID/stat`).
fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").and_then(|(_, fields)| fields.chars().next())
}

/// By the terminal, and not by the wrapper as well: that is stopped meanwhile, so that a second signal would
/// come late enough to be counted.
#[test]
fn ctrl_c_reaches_an_interactive_workload_exactly_once() {
    let site = Site::new();
    let mut terminal = Terminal::start(&site, FFRTMP, &["run", "--", "sh", "-c", COUNTS_SIGNALS]);
    // Not as its command line has it.
    terminal.await_text("ready\r\n");
    let wrapper = crate::ground::identify(terminal.pid());
    send(&wrapper, signal(libc::SIGSTOP));
    await_true("the wrapper is stopped", || state(terminal.pid()) == Some('T'));
    terminal.press("\x03");
    terminal.await_text("SIGINT");
    terminal.press("\x1c");
    terminal.await_text("SIGQUIT");
    send(&wrapper, signal(libc::SIGCONT));
    let pending = || {
        let status = fs::read_to_string(format!("/proc/{}/status", terminal.pid())).expect("it lives");
        let mask = status.lines().find_map(|line| line.strip_prefix("ShdPnd:")).expect("a mask");
        u64::from_str_radix(mask.trim(), 16).expect("hex")
    };
    let both = 1 << (libc::SIGINT - 1) | 1 << (libc::SIGQUIT - 1);
    await_true("the wrapper has read its own", || {
        pending() & both == 0 && state(terminal.pid()) == Some('S')
    });
    site.write("go", "");
    assert_eq!(terminal.wait(), Some(5));
    terminal.await_text("code=5");
    assert_eq!((terminal.count("SIGINT"), terminal.count("SIGQUIT")), (1, 1), "{}", terminal.text());
}

#[test]
fn ctrl_c_ends_what_does_not_mind() {
    let site = Site::new();
    let mut terminal = Terminal::start(&site, FFRTMP, &["run", "--", "cat"]);
    terminal.await_text("Started PID");
    terminal.press("typed\n");
    // By the terminal, and by the program.
    terminal.await_count("typed", 2);
    terminal.press("\x03");
    assert_eq!(terminal.wait(), Some(130));
}

#[test]
fn ctrl_z_stops_it_and_fg_goes_on() {
    if !all_here("ctrl_z_stops_it_and_fg_goes_on", &["bash"]) {
        return;
    }
    let site = Site::new();
    let mut terminal = Terminal::start(&site, "bash", &["--norc", "--noprofile", "-i"]);
    terminal.press("ffrtmp run --report report -- cat; echo code is $?.\n");
    terminal.await_text("Started PID");
    terminal.press("before\n");
    terminal.await_count("before", 2);
    let pid = read_json(&site.path("report")).expect("a report")["pid"].as_u64().expect("a number");
    let pid = u32::try_from(pid).expect("a number");
    terminal.press("\x1a");
    terminal.await_text("Stopped");
    await_true("the workload is stopped, too", || state(pid) == Some('T'));
    // The rest of the line was given up; the job was not.
    terminal.press("fg; echo code was $?.\n");
    await_true("it goes on", || state(pid) != Some('T'));
    terminal.press("after\n");
    terminal.await_count("after", 2);
    terminal.press("\x04");
    terminal.await_text("code was 0.");
    terminal.press("exit\n");
    assert_eq!(terminal.wait(), Some(0));
}

// What is left.

#[test]
fn what_it_leaves_in_the_background_runs_on() {
    let site = Site::new();
    let (gate, job) = (site.gate("gate"), unique("background"));
    let script = "cat gate & echo $! >pid; exit 3";
    let done = site.run(&["--job-id", &job, "--cpu-weight", "50", "sh", "-c", script]);
    assert_eq!(done.code(), Some(3), "the wrapper does not wait for it: {done:?}");
    let number: u32 = site.read("pid").trim().parse().expect("a number");
    let left = crate::ground::identify(number);
    assert!(lives(&left));
    let report = site.report(&job).expect("a report");
    assert_says(&report, &[("state", json!("failed")), ("exit_code", json!(3))]);
    assert!(events(&report).iter().any(|text| text.contains("left behind run on")), "{report:#}");
    if constraint(&report, "cpu_weight")["applied"] == true {
        let own = homes(left.pid);
        assert!(!own.is_empty() && own.iter().all(|cgroup| site.cgroups(&job).contains(cgroup)), "{own:?}");
    }
    gate.open();
    await_true("its cgroup is removed with it", || site.cgroups(&job).is_empty());
}

#[test]
fn nothing_is_left_of_a_run() {
    let test = "nothing_is_left_of_a_run";
    if !limits_are_here(test) {
        return;
    }
    let site = Site::new();
    let (gate, job) = (site.gate("gate"), unique("nothing"));
    let line = ["--job-id", &job, "--cpu-quota", "50", "--memory-limit", "64", "sh", "-c", "cat gate"];
    let running = site.start_run(&line);
    let workload = running.workload();
    assert!(!homes(workload.pid).is_empty() && !site.cgroups(&job).is_empty() && site.runs().len() == 1);
    gate.open();
    assert_eq!(running.wait().code(), Some(0));
    // Not only at some time: it has waited for that.
    await_true("nothing is left", || site.cgroups(&job).is_empty() && site.runs().is_empty());
}

#[test]
fn standard_descriptors_that_are_closed_do_no_harm() {
    let site = Site::new();
    let done = site.shell("ffrtmp run --report report -- sh -c 'exit 8' <&- >&- 2>&-; echo $?");
    assert_eq!(done.out, "8\n");
    let full = File::options().write(true).open("/dev/full").expect("/dev/full");
    let mut command = site.ffrtmp(&["run", "--json", "--", "sh", "-c", "exit 8"]);
    let status = command.stdout(full).stderr(std::process::Stdio::null()).status().expect("it runs");
    assert_eq!(status.code(), Some(8), "the code is the workload's, whoever reads the report");
}
