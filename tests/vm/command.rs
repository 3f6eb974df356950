//! `ffrtmp run`, called from a login: nothing is delegated to it, so systemd is asked for a scope.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::machine::{await_true, is_here};

#[test]
fn root_runs_a_command_under_limits_in_a_scope() {
    if is_here("root_runs_a_command_under_limits_in_a_scope") {
        runs_in_a_scope(0, "/system.slice/ffrtmp-cli.scope");
    }
}

#[test]
fn an_ordinary_user_runs_a_command_under_limits_through_the_own_manager() {
    if is_here("an_ordinary_user_runs_a_command_under_limits_through_the_own_manager") {
        runs_in_a_scope(1000, "/user.slice/user-1000.slice/user@1000.service/app.slice/ffrtmp-cli.scope");
    }
}

fn runs_in_a_scope(uid: u32, scope: &str) {
    let dir = TempDir::new().expect("a folder");
    std::os::unix::fs::chown(dir.path(), Some(uid), Some(uid)).expect("given");
    let user = format!("--reuid={uid} --regid={uid} --clear-groups");
    let shell = "cat /proc/self/cgroup; cat /sys/fs/cgroup$(cut -d: -f3 /proc/self/cgroup)/memory.max";
    let mut command = Command::new("systemd-run");
    command.args(["--quiet", "--scope", "--", "setpriv"]).args(user.split(' '));
    command.args(["env", &format!("XDG_RUNTIME_DIR=/run/user/{uid}"), "ffrtmp", "run", "--root"]);
    command.arg(dir.path()).args(["--job-id", "limited", "--memory-limit", "64", "--cpu-weight", "200"]);
    let output = command.args(["--", "sh", "-c", shell]).output().expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let shown = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && !said.contains("WARNING"), "{said}{shown}");
    assert!(shown.starts_with(&format!("0::{scope}/jobs/limited.")), "{shown}");
    assert_eq!(shown.lines().nth(1), Some("67108864"), "{shown}");
    let report = fs::read(dir.path().join("state/cli/reports/limited.json")).expect("a report");
    let report: Value = serde_json::from_slice(&report).expect("JSON");
    for limit in report["constraints"].as_array().expect("a list") {
        assert_eq!((&limit["applied"], &limit["backend"]), (&true.into(), &"systemd".into()), "{limit:#}");
    }
    await_true("the empty scope goes", || !std::path::Path::new(&format!("/sys/fs/cgroup{scope}")).exists());
}
