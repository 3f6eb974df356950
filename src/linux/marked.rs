//! Processes that carry a mark in their environment: who is there of which no record tells.

use std::collections::HashMap;
use std::fs;
use std::io;

use super::census::{self, Known, Process};
use super::process::read_stat;
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::time::BootTime;

/// A process with the mark.
#[derive(Debug, Clone)]
pub struct Marked {
    /// Which one.
    pub process: ProcessIdentity,
    /// Its effective user. Not the owner of `/proc/PID`, which is root for what may not be dumped.
    pub uid: u32,
    /// Its parent, by number.
    parent: u32,
    /// Its environment as it was at exec (`/proc/PID/environ`, proc_pid_environ(5)).
    environment: Vec<u8>,
}

impl Marked {
    /// The value of a variable of its environment, if it is UTF-8.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        let value = self
            .environment
            .split(|byte| *byte == 0)
            .find_map(|pair| pair.strip_prefix(name.as_bytes())?.strip_prefix(b"="))?;
        std::str::from_utf8(value).ok()
    }
}

/// Every process whose environment has this variable with this value and whose parent has not: the topmost
/// ones. A process of which we may not read the environment is none of them, nor is a zombie, which has none.
///
/// # Errors
/// `/proc` cannot be read.
pub fn topmost(name: &str, value: &str) -> io::Result<Vec<Marked>> {
    let mut all = HashMap::new();
    let (known, mark) = (Known::default(), format!("{name}={value}"));
    for pid in census::everybody()? {
        if let Some(marked) = look(pid, mark.as_bytes(), &known) {
            all.insert(pid.as_raw().unsigned_abs(), marked);
        }
    }
    let inner: Vec<u32> =
        all.iter().filter(|(_, marked)| all.contains_key(&marked.parent)).map(|(pid, _)| *pid).collect();
    inner.iter().for_each(|pid| drop(all.remove(pid)));
    Ok(all.into_values().collect())
}

/// `None`: it has not this mark, is gone, or is not for us to see.
fn look(pid: Pid, mark: &[u8], known: &Known) -> Option<Marked> {
    let stat = read_stat(pid).ok()??;
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    if !environment.split(|byte| *byte == 0).any(|pair| pair == mark) {
        return None;
    }
    let uid = Process::look(pid, BootTime(0), known).ok()??.uid()?;
    let process = stat.identity().ok()?;
    // Another one may have got the number meanwhile.
    let same = read_stat(pid).ok()??.is(&process);
    same.then_some(Marked { process, uid, parent: stat.parent, environment })
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use super::*;

    /// Ends with the test, however that ends.
    struct Ended(Child);

    impl Drop for Ended {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_topmost_process_with_a_mark_is_found_and_no_other() {
        let value = format!("marked-{}", std::process::id());
        // The shell's own child inherits the mark.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "sleep 1000; :"]).env("FFRTMP_TEST_MARK", &value).env("OTHER", "x=y");
        let child = Ended(shell.spawn().expect("sh"));
        let found = loop {
            // Until it has executed its program it is a copy of this one.
            let found = topmost("FFRTMP_TEST_MARK", &value).expect("proc");
            if !found.is_empty() {
                break found;
            }
        };
        let pids: Vec<u32> = found.iter().map(|marked| marked.process.pid.as_raw().unsigned_abs()).collect();
        assert_eq!(pids, [child.0.id()]);
        assert_eq!(found[0].variable("OTHER"), Some("x=y"));
        assert_eq!(found[0].variable("OTHE"), None);
        assert!(topmost("FFRTMP_TEST_MARK", "another").expect("proc").is_empty());
        // What the shell started is another process group of ours; it goes with the pipe of nobody.
        let children = process_children(child.0.id());
        drop(child);
        for pid in children {
            let _ =
                nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
    }

    fn process_children(pid: u32) -> Vec<i32> {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
    }
}
