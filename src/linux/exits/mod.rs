//! How a process ended that is not our child: what wait(2) tells its parent, from where else the kernel
//! tells it.
//!
//! Three ways, in this order; each only holds for a moment, or since some kernel:
//!
//! 1. While it is a zombie: the last field of `/proc/PID/stat`, to whom may trace the process. To others
//!    the kernel shows 0 there, so a 0 only counts where it is shown that we may see it.
//! 2. Once it was reaped: `PIDFD_GET_INFO`, to everybody, from Linux 6.15 on.
//! 3. As it ends: the process events connector, where the kernel has not the second. See `proc_events`.
//!
//! Where none of them tells, nothing is known. It is never 0 then.

mod zombie;

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::OnceLock;

use nix::poll::{PollFlags, PollTimeout};

use self::zombie::Zombie;
use super::proc_events::{Filter, ProcEvent, ProcEvents};
use super::process::{PidFd, Stat, is_gone, ready};
use super::{clock, sys};
use crate::model::exit::ObservedBy;
use crate::model::process::{Pid, ProcessIdentity};

/// Longer than the line can be: 52 numbers and a name.
const LONGEST: usize = 2048;

/// How long the event of an exit may come after the exit itself, which the kernel tells first, in
/// milliseconds. Microseconds, where it has a CPU for both.
const EVENT_COMES: u16 = 100;

/// And how long that of a last thread after that of the main one.
const MORE_COME: u16 = 5;

/// The first kernel that tells of processes which were reaped.
const TELLS_EXITS: (u32, u32) = (6, 15);

/// A process whose end is watched.
#[derive(Debug)]
pub struct ExitWatch {
    pid: Pid,
    pidfd: PidFd,
    /// Its `/proc/PID/stat`: stays that of this process, and cannot be read once it was reaped.
    stat: File,
    later: Later,
    cpu_sec: OnceLock<f64>,
    seen: OnceLock<Seen>,
}

/// Who can tell of a zombie that may not be seen, and of a process that was reaped.
#[derive(Debug)]
enum Later {
    /// `PIDFD_GET_INFO`, once it was reaped.
    Pidfd,
    /// A socket that waits for its exit.
    Connector(ProcEvents),
    Nobody,
}

/// What was seen of an end.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Seen {
    /// The raw wait status (wait(2)); `None` where nothing told it.
    pub status: Option<i32>,
    /// What told it.
    pub by: Option<ObservedBy>,
    /// CPU time in seconds, user and system, with the children it waited for; `None` if it was reaped
    /// before it could be read.
    pub cpu_sec: Option<f64>,
}

impl ExitWatch {
    /// Opens the process and makes sure that it is the one meant; `None` if that one is gone. A zombie
    /// still is one.
    ///
    /// # Errors
    /// `/proc` cannot be read, or pidfd_open(2) fails for another reason than that.
    pub fn open(process: &ProcessIdentity) -> io::Result<Option<Self>> {
        let Some(pidfd) = PidFd::open(process)? else { return Ok(None) };
        let stat = match File::open(format!("/proc/{}/stat", process.pid)) {
            Ok(stat) => stat,
            Err(error) if is_gone(&error) => return Ok(None),
            Err(error) => return Err(error),
        };
        let watch = Self {
            pid: process.pid,
            later: Later::of(&pidfd, process.pid),
            pidfd,
            stat,
            cpu_sec: OnceLock::new(),
            seen: OnceLock::new(),
        };
        // It may have been reaped, and its number gone to another one, before the file was opened.
        let mut line = [0; LONGEST];
        let same = watch.read_stat(&mut line)?.and_then(Stat::parse).is_some_and(|stat| stat.is(process));
        Ok(same.then_some(watch))
    }

    /// How it ended; `None` while it lives, and as long as it is a zombie of which the kernel tells us
    /// only once it is reaped. The first answer stays. Does not block, but for a tenth of a second where
    /// the connector has to tell.
    ///
    /// To be asked when the descriptor becomes readable, and again when it hangs up.
    ///
    /// # Errors
    /// Those of poll(2), and of reading `/proc`.
    pub fn look(&self) -> io::Result<Option<Seen>> {
        self.look_in(ready(self.as_fd(), PollFlags::POLLIN, PollTimeout::ZERO)?)
    }

    /// The same, with what poll(2) has just said: a zombie may not stay one for long.
    fn look_in(&self, state: PollFlags) -> io::Result<Option<Seen>> {
        if let Some(seen) = self.seen.get() {
            return Ok(Some(*seen));
        }
        if state.is_empty() {
            return Ok(None);
        }
        let told = match (self.zombie()?, &self.later) {
            (Some(status), _) => Some((status, ObservedBy::Zombie)),
            (None, Later::Pidfd) => match sys::pidfd_exit_status(self.as_fd()) {
                Ok(Some(status)) => Some((status, ObservedBy::Pidfd)),
                Ok(None) if !state.contains(PollFlags::POLLHUP) => return Ok(None),
                Ok(None) | Err(_) => None,
            },
            (None, Later::Connector(events)) => {
                of_events(events)?.map(|status| (status, ObservedBy::Connector))
            }
            (None, Later::Nobody) => None,
        };
        let seen = Seen {
            status: told.map(|(status, _)| status),
            by: told.map(|(_, by)| by),
            cpu_sec: self.cpu_sec.get().copied(),
        };
        Ok(Some(*self.seen.get_or_init(|| seen)))
    }

    /// Waits until it has ended, and tells how. A zombie that we may see need not be reaped for that.
    ///
    /// # Errors
    /// Those of poll(2), and of reading `/proc`.
    pub fn wait(&self) -> io::Result<Seen> {
        // Asked for nothing, poll(2) waits for what it always tells: that it hung up, which is when it is
        // reaped.
        for interest in [PollFlags::POLLIN, PollFlags::empty()] {
            let state = ready(self.as_fd(), interest, PollTimeout::NONE)?;
            if let Some(seen) = self.look_in(state)? {
                return Ok(seen);
            }
        }
        Ok(Seen { status: None, by: None, cpu_sec: self.cpu_sec.get().copied() })
    }

    /// The status, while it is a zombie that we may see.
    fn zombie(&self) -> io::Result<Option<i32>> {
        let mut line = [0; LONGEST];
        let Some(zombie) = self.read_stat(&mut line)?.and_then(Zombie::parse) else { return Ok(None) };
        self.cpu_sec.get_or_init(|| clock::ticks(zombie.cpu_ticks).as_secs_f64());
        Ok((zombie.is_shown || self.may_be_seen()?).then_some(zombie.status))
    }

    /// Whether the kernel shows us what it shows to those who may trace the process. The same right is
    /// needed for its `io` (fs/proc/base.c, `do_io_accounting`).
    fn may_be_seen(&self) -> io::Result<bool> {
        let shown = fs::read(format!("/proc/{}/io", self.pid)).is_ok();
        // In this order: who is not reaped now had the number when that was read.
        Ok(shown && self.read_stat(&mut [0; LONGEST])?.is_some())
    }

    /// The line, as it is now; `None` if the process was reaped.
    fn read_stat<'a>(&self, line: &'a mut [u8; LONGEST]) -> io::Result<Option<&'a [u8]>> {
        match self.stat.read_at(line, 0) {
            Ok(length) => Ok(line.get(..length)),
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for ExitWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl AsRawFd for ExitWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.pidfd.as_raw_fd()
    }
}

impl Later {
    fn of(pidfd: &PidFd, pid: Pid) -> Self {
        // The kernels 6.13 and 6.14 take the question of a process that lives, and have no answer later.
        let release = nix::sys::utsname::uname().ok();
        let release = release.as_ref().and_then(|name| name.release().to_str());
        if release.is_some_and(|release| is_at_least(release, TELLS_EXITS))
            && sys::pidfd_exit_status(pidfd.as_fd()).is_ok()
        {
            return Self::Pidfd;
        }
        // Without the privilege, or in a kernel without it, there is no third way.
        ProcEvents::open(&Filter::exit_of(pid)).map_or(Self::Nobody, Self::Connector)
    }
}

/// Whether a release (`6.12.48+deb13-amd64`) is this version or a later one.
fn is_at_least(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse().ok());
    numbers.next().zip(numbers.next()).is_some_and(|found| found >= version)
}

/// What the connector told of the exit of a process that has ended.
fn of_events(events: &ProcEvents) -> io::Result<Option<i32>> {
    let mut told = Vec::new();
    for patience in [EVENT_COMES, MORE_COME] {
        ready(events.as_fd(), PollFlags::POLLIN, PollTimeout::from(patience))?;
        told.extend(events.read()?);
    }
    Ok(agreed(&told))
}

/// The one status that all events tell; `None` where they differ, or any was lost.
fn agreed(events: &[ProcEvent]) -> Option<i32> {
    let status = |event: &ProcEvent| match event {
        ProcEvent::Exit { status, .. } => Some(*status),
        _ => None,
    };
    let first = events.first().and_then(status);
    first.filter(|_| events.iter().all(|event| status(event) == first))
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::linux::process::identify;

    /// A shell that ends as the script says once it is told to, and is reaped when the test says so.
    fn held(script: &str) -> (Child, ProcessIdentity) {
        let script = format!("read go; {script}");
        let child = Command::new("/bin/sh").args(["-c", &script]).stdin(Stdio::piped()).spawn().expect("sh");
        let pid = Pid::new(child.id()).expect("a pid");
        (child, identify(pid).expect("proc").expect("it waits"))
    }

    /// Lets it go on.
    fn go(child: &mut Child) {
        drop(child.stdin.take());
    }

    fn open(process: &ProcessIdentity) -> ExitWatch {
        ExitWatch::open(process).expect("proc").expect("it lives")
    }

    /// As if it had been reaped before it was looked at.
    fn unread(watch: &mut ExitWatch) {
        watch.stat = File::open("/dev/null").expect("a device");
    }

    /// Whether this kernel tells of what was reaped; says `SKIPPED` where it does not.
    fn tells(test: &str, watch: &ExitWatch) -> bool {
        let tells = matches!(watch.later, Later::Pidfd);
        if !tells {
            println!("SKIPPED {test}: this kernel does not tell of processes that were reaped");
        }
        tells
    }

    /// Ends with a status, in each way there is.
    const ENDS: [(&str, i32); 3] = [("exit 0", 0), ("exit 7", 7 << 8), ("kill -KILL $$", libc::SIGKILL)];

    #[test]
    fn a_zombie_tells_how_it_ended_before_anybody_reaps_it() {
        for (script, status) in ENDS {
            let (mut child, process) = held(script);
            let watch = open(&process);
            assert_eq!(watch.look().expect("looked"), None, "it lives");
            go(&mut child);
            let seen = watch.wait().expect("waited");
            assert_eq!((seen.status, seen.by), (Some(status), Some(ObservedBy::Zombie)), "{script}");
            assert!(seen.cpu_sec.is_some_and(|seconds| seconds < 1.0), "{seen:?}");
            assert!(watch.may_be_seen().expect("looked"), "by the other proof, too");
            // Who looks only now sees it, too.
            assert_eq!(open(&process).look().expect("looked"), Some(seen));
            child.wait().expect("our child");
            assert_eq!(watch.look().expect("looked"), Some(seen), "the first answer stays");
            assert!(!watch.may_be_seen().expect("looked"), "there is nothing left to see");
            assert!(ExitWatch::open(&process).expect("proc").is_none(), "it is gone");
        }
    }

    #[test]
    fn cpu_time_of_a_zombie_is_counted_with_that_of_its_children() {
        let busy = "n=0; while [ $n -lt 60000 ]; do n=$((n + 1)); done";
        for script in [busy.to_owned(), format!("({busy}); exit 0")] {
            let (mut child, process) = held(&script);
            let watch = open(&process);
            go(&mut child);
            let seen = watch.wait().expect("waited");
            child.wait().expect("our child");
            assert!(seen.cpu_sec.is_some_and(|seconds| seconds >= 0.02), "{script}: {seen:?}");
        }
    }

    #[test]
    fn of_one_that_was_reaped_the_kernel_tells() {
        for (script, status) in ENDS {
            let (mut child, process) = held(script);
            let watch = open(&process);
            go(&mut child);
            child.wait().expect("our child");
            if tells("of_one_that_was_reaped_the_kernel_tells", &watch) {
                let seen = watch.look().expect("looked");
                let told = Seen { status: Some(status), by: Some(ObservedBy::Pidfd), cpu_sec: None };
                assert_eq!(seen, Some(told), "{script}");
            }
        }
    }

    #[test]
    fn where_nothing_tells_nothing_is_known() {
        for (script, _) in ENDS {
            let (mut child, process) = held(script);
            let mut watch = open(&process);
            watch.later = Later::Nobody;
            go(&mut child);
            child.wait().expect("our child");
            assert_eq!(watch.wait().expect("waited"), Seen { status: None, by: None, cpu_sec: None });
        }
    }

    #[test]
    fn the_connector_tells_where_nothing_else_does() {
        for (script, status) in ENDS {
            let (mut child, process) = held(script);
            let mut watch = open(&process);
            unread(&mut watch);
            let events = ProcEvents::open(&Filter::exit_of(process.pid));
            go(&mut child);
            child.wait().expect("our child");
            match events {
                Ok(events) => watch.later = Later::Connector(events),
                Err(error) => {
                    println!("SKIPPED the_connector_tells_where_nothing_else_does: {error}");
                    return;
                }
            }
            let seen = watch.wait().expect("waited");
            assert_eq!((seen.status, seen.by), (Some(status), Some(ObservedBy::Connector)), "{script}");
        }
    }

    #[test]
    fn events_count_only_where_they_agree_and_none_was_lost() {
        let exit = |status| ProcEvent::Exit { pid: Pid::new(1).expect("a pid"), status };
        assert_eq!(agreed(&[]), None);
        assert_eq!(agreed(&[exit(0)]), Some(0));
        assert_eq!(agreed(&[exit(9), exit(9)]), Some(9));
        assert_eq!(agreed(&[exit(0), exit(0x700)]), None);
        assert_eq!(agreed(&[exit(0), ProcEvent::Lost]), None);
        assert_eq!(agreed(&[ProcEvent::Lost]), None);
    }

    /// Not a test by itself: [`who_may_not_see_a_status_never_takes_it_for_0`] runs it as another user, with
    /// the process to watch on its standard input. Tells what it sees, line by line.
    #[test]
    fn observer() {
        if std::env::var_os("FFRTMP_TEST_OBSERVER").is_none() {
            return;
        }
        let mut lines = std::io::stdin().lock().lines();
        let mut line = || lines.next().expect("a line").expect("text");
        let process = identify(line().parse().ok().and_then(Pid::new).expect("a pid"));
        let process = process.expect("proc").expect("it lives");
        let (complete, mut zombie_only) = (open(&process), open(&process));
        zombie_only.later = Later::Nobody;
        println!("seen: opened");
        line();
        zombie_only.wait().map(|seen| println!("seen: {:?}", seen.status)).expect("waited");
        println!("seen: {:?}", complete.look().expect("looked").and_then(|seen| seen.status));
        line();
        println!("seen: {:?}", complete.wait().expect("waited").status);
    }

    #[test]
    fn who_may_not_see_a_status_never_takes_it_for_0() {
        let test = "who_may_not_see_a_status_never_takes_it_for_0";
        if !nix::unistd::geteuid().is_root() {
            println!("SKIPPED {test}: only root can become somebody else");
            return;
        }
        for (script, status) in ENDS {
            let (mut child, process) = held(script);
            let mut observer = Command::new(std::env::current_exe().expect("this program"));
            observer.args(["--exact", "linux::exits::tests::observer", "--nocapture"]);
            observer.env("FFRTMP_TEST_OBSERVER", "1").uid(65_534).gid(65_534);
            let spawned = observer.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut observer = match spawned {
                Ok(observer) => observer,
                Err(error) => {
                    println!("SKIPPED {test}: others may not run {:?}: {error}", observer.get_program());
                    go(&mut child);
                    child.wait().expect("our child");
                    return;
                }
            };
            let mut tell = observer.stdin.take().expect("piped");
            let mut said = BufReader::new(observer.stdout.take().expect("piped")).lines();
            let mut said = || loop {
                let line = said.next().expect("it says more").expect("text");
                if let Some((_, seen)) = line.split_once("seen: ") {
                    return seen.to_owned();
                }
            };
            writeln!(tell, "{}", process.pid).expect("told");
            assert_eq!(said(), "opened");
            let watch = open(&process);
            go(&mut child);
            assert_eq!(watch.wait().expect("waited").status, Some(status), "root sees it");
            writeln!(tell).expect("told");
            assert_eq!((said(), said()), ("None".into(), "None".into()), "{script}: hidden");
            child.wait().expect("our child");
            writeln!(tell).expect("told");
            let later = if tells(test, &watch) { format!("Some({status})") } else { "None".into() };
            assert_eq!(said(), later, "{script}: reaped");
            assert!(observer.wait().expect("our child").success());
        }
    }

    #[test]
    fn kernels_are_told_apart_by_their_numbers() {
        for (release, expected) in [
            ("6.18.44-fc-v669", true),
            ("6.15.0", true),
            ("7.0-rc1", true),
            ("6.14.11+deb13", false),
            ("6.1", false),
            ("5.15.0-100-generic", false),
            ("", false),
            ("unknown", false),
        ] {
            assert_eq!(is_at_least(release, TELLS_EXITS), expected, "{release}");
        }
    }
}
