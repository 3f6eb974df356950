//! A supervisor that is started by hand, so that nothing is delegated to it: systemd is asked for a scope.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{await_some, await_true, is_here, run, systemctl};

#[test]
fn root_without_delegation_has_limits_in_a_scope() {
    if is_here("root_without_delegation_has_limits_in_a_scope") {
        limits_in_a_scope(0, "/sys/fs/cgroup/system.slice");
    }
}

#[test]
fn an_ordinary_user_has_limits_in_a_scope() {
    if is_here("an_ordinary_user_has_limits_in_a_scope") {
        limits_in_a_scope(1000, "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/app.slice");
    }
}

fn limits_in_a_scope(uid: u32, slice: &str) {
    let mut site = Site::new(uid);
    site.put(64);
    site.start();
    let (first, dir) = site.await_limit(64 << 20);
    let scope = dir.ancestors().nth(2).expect("<scope>/jobs/channel");
    assert_eq!((scope.parent(), scope.extension()), (Some(Path::new(slice)), Some("scope".as_ref())));
    assert_eq!(site.cgroup_of_the_supervisor(), scope.join("supervisor"));
    site.scope = Some(scope.to_owned());

    // Without a supervisor the scope stays, for the job in it, and so does the limit.
    site.kill();
    systemctl(&["daemon-reload"]);
    systemctl(&["daemon-reexec"]);
    assert_eq!(read(&dir, "memory.max"), (64 << 20).to_string());
    assert!(read(&dir, "cgroup.procs").lines().any(|pid| pid == first), "the workload is gone");

    // The next supervisor comes into the scope that there is, and governs the same workload.
    site.put(96);
    site.start();
    assert_eq!(site.await_limit(96 << 20), (first, dir.clone()));
    assert_eq!(site.cgroup_of_the_supervisor(), scope.join("supervisor"));

    fs::remove_file(site.job()).expect("removed");
    await_true("the job is stopped", || {
        !dir.join("cgroup.procs").exists() || read(&dir, "cgroup.procs").is_empty()
    });
    site.terminate();
    await_true("the empty scope goes", || !scope.exists());
}

fn read(dir: &Path, file: &str) -> String {
    let path = dir.join(file);
    fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display())).trim_end().into()
}

/// The cgroup of a process, as a directory.
fn cgroup_of(pid: &str) -> PathBuf {
    let own = read(&Path::new("/proc").join(pid), "cgroup");
    Path::new("/sys/fs/cgroup").join(own.strip_prefix("0::/").expect("version 2"))
}

/// The folders of a supervisor that is started by hand.
struct Site {
    dir: TempDir,
    uid: u32,
    supervisor: Option<Child>,
    scope: Option<PathBuf>,
}

impl Site {
    fn new(uid: u32) -> Self {
        let dir = TempDir::new().expect("a folder");
        fs::create_dir(dir.path().join("jobs.d")).expect("made");
        std::os::unix::fs::chown(dir.path(), Some(uid), Some(uid)).expect("given");
        Self { dir, uid, supervisor: None, scope: None }
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn job(&self) -> PathBuf {
        self.dir.path().join("jobs.d/channel.toml")
    }

    /// Declares the job, with so many MiB.
    fn put(&self, memory: u32) {
        let text = format!(
            "lifecycle = \"continuous\"\n[exec]\ncommand = [\"/bin/sleep\", \"100000\"]\n\
             [constraints]\nmemory_limit = {memory}\n"
        );
        let draft = self.dir.path().join("draft");
        fs::write(&draft, text).expect("written");
        fs::rename(draft, self.job()).expect("renamed");
    }

    /// Starts a supervisor as from a login: in a scope that is root's. Each of these programs becomes
    /// the next.
    fn start(&mut self) {
        let user = format!("--reuid={0} --regid={0} --clear-groups", self.uid);
        let mut command = Command::new("systemd-run");
        command.args(["--quiet", "--scope", "--", "setpriv"]).args(user.split(' '));
        command.args(["env", &format!("XDG_RUNTIME_DIR=/run/user/{}", self.uid), "ffrtmp-sup", "--root"]);
        command.arg(self.dir.path()).arg("supervise");
        command.stderr(OpenOptions::new().create(true).append(true).open(self.log()).expect("a log"));
        self.supervisor = Some(command.spawn().expect("started"));
    }

    fn cgroup_of_the_supervisor(&self) -> PathBuf {
        cgroup_of(&self.supervisor.as_ref().expect("started").id().to_string())
    }

    /// Waits until the report tells of this limit; gives the workload's pid and its cgroup, in which the
    /// kernel says the same.
    fn await_limit(&self, bytes: u64) -> (String, PathBuf) {
        let path = self.dir.path().join("state/reports/channel.json");
        let pid = await_some("the limit is in force", || {
            let report: Value = serde_json::from_slice(&fs::read(&path).ok()?).expect("a whole report");
            let limit = &report["constraints"][0];
            let so = limit["applied"] == true && limit["actual"] == bytes.to_string();
            (so && limit["backend"] == "systemd" && report["state"] == "running")
                .then(|| report["pid"].to_string())
        });
        let dir = cgroup_of(&pid);
        assert!(dir.ends_with("jobs/channel"), "{}", dir.display());
        assert_eq!(read(&dir, "memory.max"), bytes.to_string());
        (pid, dir)
    }

    fn kill(&mut self) {
        let mut supervisor = self.supervisor.take().expect("started");
        supervisor.kill().expect("killed");
        supervisor.wait().expect("reaped");
    }

    fn terminate(&mut self) {
        let mut supervisor = self.supervisor.take().expect("started");
        run(&["kill", &supervisor.id().to_string()]);
        supervisor.wait().expect("reaped");
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the supervisor said:\n{}", fs::read_to_string(self.log()).unwrap_or_default());
        }
        if self.supervisor.is_some() {
            self.kill();
        }
        if let Some(scope) = &self.scope {
            let _ = fs::write(scope.join("cgroup.kill"), "1");
        }
    }
}
