//! The parent's side of a start: makes the child, hears how its set-up goes, and gives the word.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::OnceLock;

use nix::sys::socket::{AddressFamily, Shutdown, SockFlag, SockType, shutdown, socketpair};

use super::child::Setup;
use super::entry::Entry;
use super::explain::explain;
use super::line::{CGROUP, READY, Step, receive, refused};
use super::plan::{Manner, Plan, failed};
use crate::linux::priority::Attempt;
use crate::linux::{process, sys};
use crate::model::cgroup::Cgroup;
use crate::model::exit::{Stage, StartError, WaitStatus};
use crate::model::process::Pid;

/// A child that is set up and waits for the word to execute the program. Dropped, it ends and is
/// reaped, and nothing of the program has run.
#[derive(Debug)]
pub struct Held {
    plan: Plan,
    pid: Pid,
    attempt: Attempt,
    /// What the child tells, and where it waits for the word.
    line: File,
    /// It was told to go on, or is known to have ended.
    released: bool,
}

impl Held {
    /// The child, which will be the workload's main process.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Which attributes could not be set.
    #[must_use]
    pub fn attempt(&self) -> &Attempt {
        &self.attempt
    }

    /// Lets the child execute the program, and waits until it does.
    ///
    /// # Errors
    /// Stage `Exec`: it could not; the child has ended and is reaped.
    pub fn go(mut self) -> Result<(), StartError> {
        if let Err(error) = self.line.write_all(&[1])
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            return Err(fork_failed("the child could not be told to go on", &error));
        }
        self.released = true;
        match receive(&mut self.line) {
            // Exec closed the line. (So does a signal at this very moment; that end is waited for like any.)
            Ok(None) => Ok(()),
            Ok(Some([code, errno])) => {
                self.reap();
                let step = Step::from_code(code).unwrap_or(Step::Exec);
                Err(explain(&self.plan, step, errno))
            }
            Err(error) => {
                self.reap();
                Err(fork_failed("the child cannot be heard", &error))
            }
        }
    }

    /// Waits for a child that is about to end, and tells how it did.
    fn reap(&self) -> Option<WaitStatus> {
        WaitStatus::from_raw(sys::reap(self.pid).ok()?.status)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.released {
            // The child reads the end of the line, and is gone.
            let _ = shutdown(self.line.as_raw_fd(), Shutdown::Both);
            self.reap();
        }
    }
}

/// A workload's standard input, output and error.
#[derive(Debug, Clone, Copy)]
pub struct Stdio<'a> {
    /// Standard input.
    pub input: BorrowedFd<'a>,
    /// Standard output.
    pub output: BorrowedFd<'a>,
    /// Standard error.
    pub error: BorrowedFd<'a>,
}

/// Makes the process, in its cgroup, and has it set itself up; the program does not run yet. Every
/// descriptor of this process that a command is not to inherit has to be close-on-exec; those of `stdio`
/// are above 2.
///
/// # Errors
/// The step that failed; nothing is left of the child then. That it could not enter its cgroup is no
/// such step: see [`Held::attempt`].
pub fn start(plan: Plan, cgroup: Option<&Cgroup>, stdio: Stdio<'_>) -> Result<Held, StartError> {
    let (line, line_of_child) =
        socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| fork_failed("a line to the child", &errno.into()))?;
    let mut entry = Entry::new(cgroup);
    let signals = to_reset(match &plan.manner {
        Manner::Service => &[],
        Manner::Command { ignored, .. } => ignored,
    });
    let stdio = [stdio.input, stdio.output, stdio.error];
    let setup = Setup::new(&plan, &signals, stdio, line_of_child.as_fd(), line.as_fd());
    let born = match &entry {
        Entry::Born(dir) => setup.clone_into(dir.as_fd()).ok(),
        Entry::Joins(_) | Entry::Refused(_) => None,
    };
    if born.is_none() && matches!(entry, Entry::Born(_)) {
        entry = Entry::fallback(cgroup);
    }
    let made = born.map_or_else(|| setup.fork(entry.files()), Ok);
    let pid = made.map_err(|error| {
        let advice = match error.raw_os_error() {
            Some(libc::EAGAIN) => " (too many processes: look at RLIMIT_NPROC, pids.max and kernel.pid_max)",
            _ => "",
        };
        fork_failed(&format!("fork{advice}"), &error)
    })?;
    let pid = u32::try_from(pid).ok().and_then(Pid::new);
    let Some(pid) = pid else {
        return Err(failed(Stage::Fork, None, "fork returned no pid".into()));
    };
    drop(line_of_child);
    let attempt = Attempt {
        cgroup: if let Entry::Refused(errno) = entry { Some(errno) } else { None },
        ..Attempt::default()
    };
    let mut held = Held { plan, pid, attempt, line: line.into(), released: false };
    loop {
        match receive(&mut held.line) {
            Ok(Some([READY, _])) => return Ok(held),
            Ok(Some([CGROUP, errno])) => held.attempt.cgroup = Some(errno),
            Ok(Some([code, errno])) => match refused(code) {
                Some(name) => held.attempt.refused.push((name, errno)),
                // Dropping `held` reaps the child in each of these cases.
                None => {
                    let step = Step::from_code(code).unwrap_or(Step::Session);
                    return Err(explain(&held.plan, step, errno));
                }
            },
            Ok(None) => {
                held.released = true;
                let how = match held.reap() {
                    Some(WaitStatus::Signaled(signal)) => format!(" by {signal}"),
                    _ => String::new(),
                };
                return Err(failed(
                    Stage::Fork,
                    None,
                    format!("the child was ended{how} before it was set up"),
                ));
            }
            Err(error) => return Err(fork_failed("the child cannot be heard", &error)),
        }
    }
}

fn fork_failed(what: &str, error: &io::Error) -> StartError {
    failed(Stage::Fork, error.raw_os_error(), format!("{what}: {error}"))
}

/// Reads once, for this process and all that are forked from it, what [`start`] asks of `/proc`.
pub fn warm_up() {
    to_reset(&[]);
}

/// The signals that may have another disposition than the default (`SigIgn` and `SigCgt` of `/proc/PID/status`), and
/// those that are to have one; all of them where that cannot be read.
fn to_reset(ignored: &[i32]) -> Vec<i32> {
    /// Nobody here changes a disposition after that, but for SIGCHLD.
    static MASK: OnceLock<Option<u64>> = OnceLock::new();
    let read = || {
        let mask = |field| u64::from_str_radix(&process::own_status(field)?, 16).ok();
        mask("SigIgn").zip(mask("SigCgt")).map(|(ignored, caught)| ignored | caught)
    };
    let Some(mask) = *MASK.get_or_init(read) else { return (1..=64).collect() };
    (1..=64).filter(|signal| mask & (1 << (signal - 1)) != 0 || ignored.contains(signal)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::constraints::Constraints;
    use crate::model::job::Exec;

    fn held(command: &[&str]) -> Held {
        let exec = format!("{{\"command\": {command:?}}}");
        let exec: Exec = serde_json::from_str(&exec).expect("an exec table");
        let none = Constraints::default();
        let plan = Plan::new(&exec, &exec.command, &[], &none, &[], Manner::Service).expect("a plan");
        let null = File::options().read(true).write(true).open("/dev/null").expect("opened");
        let null = null.as_fd();
        start(plan, None, Stdio { input: null, output: null, error: null }).expect("set up")
    }

    /// One test, because a second child would hold this process's end of the first one's line.
    #[test]
    fn nothing_runs_without_the_word() {
        let dir = tempfile::tempdir().expect("a directory");
        let trace = dir.path().join("trace");
        let command = ["touch", trace.to_str().expect("a path")];
        let waiting = held(&command);
        let pid = waiting.pid();
        // As when the wrapper dies here: the line is closed.
        drop(waiting);
        assert!(sys::reap(pid).is_err(), "the child has ended and was reaped");
        assert!(!trace.exists());
        let waiting = held(&command);
        let pid = waiting.pid();
        waiting.go().expect("executed");
        assert_eq!(sys::reap(pid).expect("our child").status, 0);
        assert!(trace.exists());
    }
}
