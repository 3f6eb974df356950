//! What a workload finds in its environment: little of the supervisor's, all that its job declares.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;

use nix::unistd::User;

use crate::linux::user;
use crate::model::exit::{Stage, StartError};
use crate::model::ids::{JobId, RunId};
use crate::model::job::Exec;

/// Handed on from the supervisor's own environment. The rest may hold secrets, or is about the
/// supervisor. GPU, display and sound are what media programs need to find their devices.
const PASSED: &[&str] =
    &["PATH", "LANG", "TZ", "LD_LIBRARY_PATH", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR"];

/// The same for whole families of variables.
const PASSED_PREFIXES: &[&str] =
    &["LC_", "CUDA_", "NVIDIA_", "LIBVA_", "VDPAU_", "GST_", "PULSE_", "PIPEWIRE_"];

/// `PATH` where the supervisor has none.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The run that a process belongs to.
pub const RUN_VARIABLE: &str = "FFRTMP_RUN_ID";

/// The state folder of the supervisor that started it: what tells its workloads from those of others where
/// the records are lost.
pub const STATE_VARIABLE: &str = "FFRTMP_STATE";

/// The environment of one run. From weak to strong: what is handed on, who the workload is,
/// env files in their order, `exec.env`.
///
/// # Errors
/// An env file cannot be read or holds a line that is no assignment.
pub fn build(
    job: &JobId,
    run: &RunId,
    exec: &Exec,
    state: &Path,
    pass: &[String],
    own: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, StartError> {
    let mut env = BTreeMap::from([("PATH".to_owned(), DEFAULT_PATH.to_owned())]);
    for (key, value) in own {
        let (Some(key), Some(value)) = (key.to_str(), value.to_str()) else { continue };
        let passed = PASSED.contains(&key)
            || PASSED_PREFIXES.iter().any(|prefix| key.starts_with(prefix))
            || pass.iter().any(|name| name == key);
        if passed {
            env.insert(key.to_owned(), value.to_owned());
        }
    }
    if let Some(user) = user_of(exec) {
        let mut set = |key: &str, value: String| env.insert(key.into(), value);
        set("HOME", user.dir.to_string_lossy().into_owned());
        set("SHELL", user.shell.to_string_lossy().into_owned());
        set("LOGNAME", user.name.clone());
        set("USER", user.name);
    }
    env.insert("FFRTMP_JOB".into(), job.to_string());
    env.insert(RUN_VARIABLE.into(), run.to_string());
    env.extend(state.to_str().map(|state| (STATE_VARIABLE.to_owned(), state.to_owned())));
    for file in &exec.env_files {
        let shown = file.to_string_lossy();
        let (path, optional) = shown.strip_prefix('-').map_or((&*shown, false), |path| (path, true));
        match std::fs::read_to_string(path) {
            Ok(text) => env.extend(assignments(path, &text)?),
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                return Err(StartError {
                    stage: Stage::Environment,
                    errno: error.raw_os_error(),
                    detail: format!(
                        "env file {path}: {error}; make it readable, or write \"-{path}\" if it may be missing"
                    ),
                });
            }
        }
    }
    env.extend(exec.env.clone());
    Ok(env.into_iter().collect())
}

/// Whom the workload runs as.
pub fn user_of(exec: &Exec) -> Option<User> {
    // A user that does not exist is told by the wrapper, at its own stage.
    match &exec.user {
        None => user::own_account().cloned(),
        Some(name) => user::account(name),
    }
}

/// The assignments of an env file, as systemd reads them: `KEY=value`, `#` and `;` comments, quotes
/// around a value, an optional `export`.
fn assignments(path: &str, text: &str) -> Result<Vec<(String, String)>, StartError> {
    let mut list = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let pair = line.split_once('=').map(|(key, value)| (key.trim(), value.trim()));
        let good = |key: &str| {
            !key.is_empty()
                && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
                && !line.contains('\0')
        };
        let Some((key, value)) = pair.filter(|(key, _)| good(key)) else {
            // The line itself may be half of a secret, so it is not shown.
            return Err(StartError {
                stage: Stage::Environment,
                errno: None,
                detail: format!("env file {path}: line {} is not KEY=value", n + 1),
            });
        };
        let bare = ['"', '\'']
            .iter()
            .find_map(|quote| value.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote)));
        list.push((key.to_owned(), bare.unwrap_or(value).to_owned()));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::plan::tests::job;

    fn env_of(toml: &str, own: &[(&str, &str)]) -> Result<BTreeMap<String, String>, StartError> {
        let job = job("a", &format!("{toml}\n"));
        let own = own.iter().map(|(key, value)| (OsString::from(key), OsString::from(value)));
        let exec = job.exec().expect("exec");
        let list =
            build(&job.id, &RunId::new(1, 1), exec, Path::new("/var/lib/state"), &["MINE".into()], own)?;
        Ok(list.into_iter().collect())
    }

    #[test]
    fn little_is_handed_on() {
        let own = [("PATH", "/p"), ("SECRET", "x"), ("CUDA_VISIBLE_DEVICES", "0"), ("MINE", "y")];
        let env = env_of("", &own).expect("good");
        assert_eq!(env.get("PATH").map(String::as_str), Some("/p"));
        assert_eq!(env.get("CUDA_VISIBLE_DEVICES").map(String::as_str), Some("0"));
        assert_eq!(env.get("MINE").map(String::as_str), Some("y"));
        assert_eq!(env.get("SECRET"), None);
        assert_eq!(env.get("FFRTMP_JOB").map(String::as_str), Some("a"));
    }

    #[test]
    fn env_files_are_read_as_systemd_does() {
        let text = "# c\n; c\n\nA=1\nexport B = \"two words\"\nC='x=y'\nD=\n";
        let read = assignments("f", text).expect("good");
        let pairs: Vec<(&str, &str)> = read.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        assert_eq!(pairs, [("A", "1"), ("B", "two words"), ("C", "x=y"), ("D", "")]);
        let error = assignments("f", "A=1\nhunter2\n").expect_err("no assignment");
        assert!(error.detail.contains("line 2") && !error.detail.contains("hunter2"), "{}", error.detail);
    }
}
