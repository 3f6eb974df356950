//! What `validate --host` knows of this machine, asked once and handed to the rules.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::unistd::{AccessFlags, access, getegid, geteuid};

use crate::config::load::Trust;

/// How long `ffmpeg -encoders` may take: it lists what is compiled in, and opens no device.
const PATIENCE: Duration = Duration::from_secs(10);

/// The encoders of a build of ffmpeg, or why they are not known.
pub type Encoders = Result<BTreeSet<String>, String>;

/// This machine.
#[derive(Debug)]
pub struct Host {
    /// The search path of programs.
    pub path: OsString,
    /// Who we are.
    pub uid: u32,
    /// The cgroup controllers there are, in any hierarchy; `None` if that cannot be told.
    pub controllers: Option<BTreeSet<String>>,
    /// The CPUs that are online, as `0-3,8`; empty if that cannot be told.
    pub online: String,
    encoders: Mutex<HashMap<PathBuf, Arc<Encoders>>>,
}

impl Host {
    /// Looks around.
    #[must_use]
    pub fn here() -> Self {
        Self {
            path: std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into()),
            uid: geteuid().as_raw(),
            controllers: controllers(Path::new("/proc/self/cgroup"), Path::new("/sys/fs/cgroup")),
            online: fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default().trim().into(),
            encoders: Mutex::default(),
        }
    }

    /// Where a program is: as given, or found on the search path. The error says why not.
    ///
    /// # Errors
    /// There is no such program, or it may not be executed.
    pub fn program(&self, program: &str, path: Option<&OsStr>) -> Result<PathBuf, String> {
        if program.contains('/') {
            return executable(Path::new(program)).map(|()| program.into());
        }
        let path = path.unwrap_or(&self.path);
        let mut refused = None;
        for folder in std::env::split_paths(path) {
            let candidate = folder.join(program);
            match executable(&candidate) {
                Ok(()) => return Ok(candidate),
                Err(why) if candidate.exists() => refused = Some(why),
                Err(_) => {}
            }
        }
        Err(refused.unwrap_or_else(|| format!("it is in none of the folders of PATH ({})", path.display())))
    }

    /// The encoders of this ffmpeg; asked once per program.
    #[must_use]
    pub fn encoders(&self, ffmpeg: &Path) -> Arc<Encoders> {
        // Held while ffmpeg runs, so that two threads do not ask the same.
        let mut known = self.encoders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        known.entry(ffmpeg.to_owned()).or_insert_with(|| Arc::new(ask_encoders(ffmpeg))).clone()
    }
}

fn executable(path: &Path) -> Result<(), String> {
    let meta = fs::metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    if !meta.is_file() {
        return Err(format!("{} is no file", path.display()));
    }
    // Root may execute what anybody may.
    if meta.permissions().mode() & 0o111 == 0 || access(path, AccessFlags::X_OK).is_err() {
        return Err(format!("{} is not executable", path.display()));
    }
    Ok(())
}

/// The controllers of the hierarchies we are in (cgroups(7)): named by `/proc/self/cgroup` for version
/// 1, by `cgroup.controllers` for version 2.
fn controllers(own: &Path, mount: &Path) -> Option<BTreeSet<String>> {
    let own = fs::read_to_string(own).ok()?;
    let mut found: BTreeSet<String> = own
        .lines()
        .filter_map(|line| line.split(':').nth(1))
        .flat_map(|names| names.split(','))
        .filter(|name| !name.is_empty() && !name.starts_with("name="))
        .map(|name| if name == "blkio" { "io" } else { name }.to_owned())
        .collect();
    for mount in [mount.to_owned(), mount.join("unified")] {
        let unified = fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default();
        found.extend(unified.split_whitespace().map(Into::into));
    }
    Some(found)
}

/// Runs `ffmpeg -encoders`, for a bounded time and without input.
fn ask_encoders(ffmpeg: &Path) -> Encoders {
    let failed = |error: std::io::Error| format!("{}: {error}", ffmpeg.display());
    // A file that is only being checked must not get somebody else's program run.
    let meta = fs::metadata(ffmpeg).map_err(failed)?;
    let mut trust = Trust::new(geteuid().as_raw(), getegid().as_raw());
    trust.check_file(ffmpeg, &meta).map_err(|problem| problem.message.replace("not obeyed", "not run"))?;
    let mut child = Command::new(ffmpeg)
        .args(["-nostdin", "-hide_banner", "-encoders"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        // What is printed beyond the bound is not a list of encoders.
        let read = stdout.map(|out| out.take(1 << 20).read_to_end(&mut text));
        read.transpose().map(|_| text)
    });
    let deadline = Instant::now() + PATIENCE;
    let status = loop {
        match child.try_wait().map_err(failed)? {
            Some(status) => break status,
            None if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(5)),
            None => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("{} -encoders did not end in {PATIENCE:?}", ffmpeg.display()));
            }
        }
    };
    if !status.success() {
        return Err(format!("{} -encoders failed: {status}", ffmpeg.display()));
    }
    let text = reader.join().map_err(|_| "its output could not be read".to_owned())?.map_err(failed)?;
    Ok(read_encoders(&String::from_utf8_lossy(&text)))
}

/// The names in the output of `ffmpeg -encoders`: below a line of dashes, flags and then the name.
fn read_encoders(text: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for line in text.lines().skip_while(|line| !line.trim().starts_with("---")).skip(1) {
        names.extend(line.split_whitespace().nth(1).map(Into::into));
    }
    // Not in the list, and always there.
    names.insert("copy".into());
    names
}

#[cfg(test)]
impl Host {
    /// A machine for tests: two CPUs, no controller for tasks, and an ffmpeg with one encoder.
    pub(super) fn for_tests() -> Self {
        let encoders = HashMap::from([(
            PathBuf::from("/bin/sh"),
            Arc::new(Ok(BTreeSet::from(["libx264".to_owned(), "aac".into(), "copy".into()]))),
        )]);
        Self {
            path: "/usr/bin:/bin".into(),
            uid: geteuid().as_raw(),
            controllers: Some(BTreeSet::from(["cpu".into(), "cpuset".into(), "io".into(), "memory".into()])),
            online: "0-1".into(),
            encoders: Mutex::new(encoders),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn controllers_of_either_version() {
        let dir = tempfile::tempdir().expect("tempdir");
        let own = dir.path().join("cgroup");
        fs::write(&own, "5:cpu,cpuacct:/a\n4:blkio:/\n1:name=systemd:/\n0::/x\n").expect("write");
        let v1 = controllers(&own, dir.path()).expect("read");
        assert_eq!(v1.into_iter().collect::<Vec<_>>(), ["cpu", "cpuacct", "io"]);
        fs::write(&own, "0::/x\n").expect("write");
        fs::write(dir.path().join("cgroup.controllers"), "cpu memory pids\n").expect("write");
        let v2 = controllers(&own, dir.path()).expect("read");
        assert_eq!(v2.into_iter().collect::<Vec<_>>(), ["cpu", "memory", "pids"]);
    }

    #[test]
    fn encoders_are_read_from_the_list() {
        let text = "Encoders:\n V..... = Video\n ------\n V....D libx264   libx264 H.264\n A....D aac  AAC\n";
        let names: Vec<String> = read_encoders(text).into_iter().collect();
        assert_eq!(names, ["aac", "copy", "libx264"]);
    }

    #[test]
    fn an_ffmpeg_that_hangs_or_fails_is_told() {
        let host = Host::for_tests();
        assert!(host.encoders(Path::new("/bin/false")).is_err());
        assert!(host.encoders(Path::new("/nonexistent/ffmpeg")).is_err());
    }

    #[test]
    fn a_program_that_others_can_write_is_not_run() {
        let dir = tempfile::tempdir().expect("tempdir");
        let program = dir.path().join("ffmpeg");
        fs::write(&program, "#!/bin/sh\n").expect("write");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o777)).expect("chmod");
        let told = host_says(&program);
        assert!(told.contains("not run") && told.contains("writable"), "{told}");
    }

    fn host_says(program: &Path) -> String {
        Host::for_tests().encoders(program).as_ref().as_ref().expect_err("refused").clone()
    }
}
