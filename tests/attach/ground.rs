//! The observing wrapper, as the supervisor uses it, on processes that the test started itself.

use std::fs;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use ffrtmp::linux::attach;
use ffrtmp::linux::cgroup::Tree;
use ffrtmp::linux::{clock, process, sys};
use ffrtmp::model::attached::{Attached, Place};
use ffrtmp::model::cgroup::Cgroup;
use ffrtmp::model::constraints::{ConstraintName, ConstraintStatus, Constraints};
use ffrtmp::model::exit::{Ended, StartError};
use ffrtmp::model::history::StartHistory;
use ffrtmp::model::ids::RunId;
use ffrtmp::model::job::Job;
use ffrtmp::model::process::{Pid, ProcessIdentity};
use ffrtmp::runs::dir::RunDir;
use ffrtmp::runs::record::{Exited, Spec, Started, VERSION};
use ffrtmp::wrapper;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::json;
use tempfile::TempDir;

pub use crate::wait::await_some;

pub fn pid(number: u32) -> Pid {
    Pid::new(number).expect("a number")
}

pub fn identify(number: u32) -> ProcessIdentity {
    process::identify(pid(number)).expect("proc").expect("it lives")
}

pub fn wanted(constraints: serde_json::Value) -> Constraints {
    serde_json::from_value(constraints).expect("constraints")
}

pub fn of(list: &[ConstraintStatus], name: ConstraintName) -> &ConstraintStatus {
    list.iter().find(|status| status.name == name).unwrap_or_else(|| panic!("no {name} in {list:#?}"))
}

/// No cgroups.
pub fn no_tree() -> Tree {
    Tree::None("this test uses no cgroup".into())
}

/// A program that is nobody's workload. It ends with the test.
pub struct Stranger {
    child: Child,
}

impl Stranger {
    pub fn new(command: &[&str]) -> Self {
        Self::spawn(Command::new(command[0]).args(&command[1..]))
    }

    pub fn spawn(command: &mut Command) -> Self {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        Self { child: child.expect("it starts") }
    }

    /// A shell that runs this, and says something once it does.
    pub fn shell(script: &str) -> Self {
        Self::new(&["/bin/sh", "-c", script])
    }

    /// An encoder with several threads.
    pub fn encoder() -> Self {
        let source = "testsrc2=size=64x64:rate=5";
        let mut new = Self::new(&[
            "ffmpeg",
            "-nostdin",
            "-v",
            "error",
            "-progress",
            "pipe:1",
            "-re",
            "-f",
            "lavfi",
            "-i",
            source,
            "-c:v",
            "libx264",
            "-threads",
            "3",
            "-f",
            "null",
            "-",
        ]);
        while new.line() != "progress=continue" {}
        assert!(threads(new.pid()).len() > 3, "it has several threads");
        new
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn process(&self) -> ProcessIdentity {
        identify(self.pid())
    }

    /// Waits for a line that it prints.
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.child.stdout.as_mut().expect("piped");
        loop {
            let mut byte = [0];
            assert_eq!(out.read(&mut byte).expect("read"), 1, "it ended after {line:?}");
            if byte[0] == b'\n' {
                return line;
            }
            line.push(byte[0].into());
        }
    }

    /// Says something on its standard input.
    pub fn say(&mut self, text: &str) {
        let input = self.child.stdin.as_mut().expect("piped");
        input.write_all(text.as_bytes()).and_then(|()| input.flush()).expect("written");
    }

    /// What it prints until it ends.
    pub fn rest(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.as_mut().expect("piped").read_to_string(&mut text).expect("read");
        text
    }

    /// Tells it to go on: a shell that waits in `read`.
    pub fn go_on(&mut self) {
        drop(self.child.stdin.take());
    }

    pub fn signal(&self, number: i32) {
        let signal = ffrtmp::model::signal::Signal::from_number(number).expect("a signal");
        let pidfd = process::PidFd::open(&self.process()).expect("proc").expect("it lives");
        assert!(pidfd.send(signal).expect("ours"));
    }

    pub fn reap(&mut self) -> std::process::ExitStatus {
        self.child.wait().expect("our child")
    }

    pub fn lives(&mut self) -> bool {
        self.child.try_wait().expect("our child").is_none()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The numbers of a process's threads.
pub fn threads(of: u32) -> Vec<u32> {
    let entries = fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Nice, CPUs and I/O priority of each thread of a process, as the kernel has them.
pub fn attributes(of: u32) -> Vec<(i32, String, i32)> {
    let look = |thread: u32| {
        let stat = fs::read_to_string(format!("/proc/{of}/task/{thread}/stat")).ok()?;
        let nice = stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(16)?.parse().ok()?;
        let cpus = sys::affinity(pid(thread)).ok()?.to_string();
        Some((nice, cpus, sys::io_priority(pid(thread)).ok()?))
    };
    threads(of).into_iter().filter_map(look).collect()
}

pub fn oom_score_adj(of: u32) -> i32 {
    let text = fs::read_to_string(format!("/proc/{of}/oom_score_adj")).expect("proc");
    text.trim().parse().expect("a number")
}

/// A run that observes a process.
pub struct Observation {
    pub dir: RunDir,
    pub attached: Attached,
    pub cgroup: Option<Cgroup>,
    pub spec: Spec,
    wrapper: Child,
    _place: TempDir,
}

impl Observation {
    /// Looks at a process, records that, and starts the wrapper; waits until that is ready.
    pub fn begin(process: &ProcessIdentity, relocate: bool, tree: &Tree, constraints: Constraints) -> Self {
        let (attached, cgroup) = attach::survey(process, relocate, tree, "job").expect("it may be governed");
        Self::of_survey(attached, cgroup, constraints)
    }

    pub fn of_survey(attached: Attached, cgroup: Option<Cgroup>, constraints: Constraints) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let target = json!({"pid": attached.process.pid});
        let job: Job = serde_json::from_value(json!({
            "id": "job", "lifecycle": "oneshot", "intent": "test", "sla_eligible": true,
            "workload": {"attach": {"target": target}}, "constraints": constraints,
            "restart": {
                "policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1, "success_exit_codes": [0],
            },
            "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "leave"},
        }))
        .expect("a job");
        let spec = Spec {
            version: VERSION,
            run_id: RunId::new(1_700_000_000_000, 7),
            boot_id: process::boot_id().expect("proc"),
            created: clock::now(),
            job: job.into(),
            environment: Vec::new(),
            log: place.path().join("job.log"),
            history: StartHistory::default(),
            open_files: None,
            cgroup: cgroup.clone(),
            limits: Vec::new(),
            released: false,
            before: None,
            attached: Some(attached.clone()),
        };
        let (dir, lock) = RunDir::create(&place.path().join("runs"), &spec).expect("a run directory");
        let program = Path::new(env!("CARGO_BIN_EXE_ffrtmp"));
        let (wrapper, mut ready) = wrapper::launch::execute(program, &dir, lock).expect("the wrapper starts");
        let mut bytes = Vec::new();
        let mut fds = [PollFd::new(ready.as_fd(), PollFlags::POLLIN)];
        poll(&mut fds, PollTimeout::NONE).expect("the pipe");
        ready.read_to_end(&mut bytes).expect("the pipe");
        Self { dir, attached, cgroup, spec, wrapper, _place: place }
    }

    pub fn place(&self) -> &Place {
        &self.attached.place
    }

    pub fn started(&self) -> Started {
        self.dir.started().expect("a good record").unwrap_or_else(|| panic!("{:?}", self.dir.exited()))
    }

    /// What it was started with, as the wrapper has read it back.
    pub fn statuses(&self) -> Vec<ConstraintStatus> {
        self.started().constraints
    }

    /// Waits for the wrapper to end.
    pub fn wait(&mut self) -> Exited {
        let status = await_some("the wrapper ends", || self.wrapper.try_wait().expect("our child"));
        assert_eq!(status.code(), Some(0), "the wrapper did its work");
        self.dir.exited().expect("a good record").expect("exited.json before the wrapper is gone")
    }

    /// That it was not taken over, and why.
    pub fn refused(&mut self) -> StartError {
        match self.wait().ended {
            Ended::NotStarted(error) => error,
            other => panic!("it was taken over: {other:?}"),
        }
    }

    /// Ends the wrapper, as a crash would.
    pub fn kill_wrapper(&mut self) {
        self.wrapper.kill().expect("our child");
        self.wrapper.wait().expect("our child");
    }

    pub fn release(&self, was: &Constraints) -> Vec<String> {
        attach::release(&self.attached, self.cgroup.as_ref(), was)
    }

    pub fn enforce(&self, wanted: &Constraints, before: &Constraints) -> Vec<ConstraintStatus> {
        attach::enforce(&self.attached, self.cgroup.as_ref(), wanted, Some(before))
    }
}

impl Drop for Observation {
    fn drop(&mut self) {
        let _ = self.wrapper.kill();
        let _ = self.wrapper.wait();
    }
}
