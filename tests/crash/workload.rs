//! The workload under test: it writes down its own start and end, outside of the state that the
//! supervisor keeps. What it says is what the reports are compared with.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ffrtmp::linux::{clock, process};
use nix::fcntl::{Flock, FlockArg};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::SignalFd;

/// The signal that asks a workload to end with [`ASKED`], as if it were its own wish.
pub const ASK: Signal = Signal::SIGUSR1;
/// The code of that end.
pub const ASKED: i32 = 7;

/// What a workload does, as an argument says it.
#[derive(Debug, Clone, Copy)]
pub enum Life {
    /// Ends by itself after so many milliseconds, with this code; one that depends on the run if `None`.
    Exits(u64, Option<i32>),
    /// Ends itself by this signal after so many milliseconds.
    Raises(u64, Signal),
    /// Lives until it is asked to end.
    Waits,
    /// Lives, and ignores what asks it to end.
    Stubborn,
}

impl Life {
    /// As an argument.
    pub fn argument(self) -> String {
        match self {
            Self::Exits(ms, Some(code)) => format!("exits:{ms}:{code}"),
            Self::Exits(ms, None) => format!("exits:{ms}:any"),
            Self::Raises(ms, signal) => format!("raises:{ms}:{signal}"),
            Self::Waits => "waits".into(),
            Self::Stubborn => "stubborn".into(),
        }
    }

    fn parse(text: &str) -> Self {
        let mut parts = text.split(':');
        let (name, ms) = (parts.next(), parts.next().and_then(|ms| ms.parse().ok()).unwrap_or(0));
        let last = parts.next().unwrap_or_default();
        match name {
            Some("exits") => Self::Exits(ms, last.parse().ok()),
            Some("raises") => Self::Raises(ms, last.parse().expect("a signal")),
            Some("waits") => Self::Waits,
            Some("stubborn") => Self::Stubborn,
            other => panic!("no such life: {other:?}"),
        }
    }
}

/// The command of a job: its generation, which an edit that restarts changes, how it lives, and how many
/// children it leaves behind.
pub fn command(witness: &Path, generation: u32, life: Life, children: u32) -> Vec<String> {
    let program = std::env::current_exe().expect("this program").display().to_string();
    let (witness, life) = (witness.display().to_string(), life.argument());
    vec![program, "workload".into(), witness, generation.to_string(), life, children.to_string()]
}

/// Who speaks, and where to.
struct Speaker {
    file: File,
    job: String,
    run: String,
    generation: String,
}

impl Speaker {
    fn new(witness: &Path, generation: &str) -> Self {
        let file = OpenOptions::new().append(true).open(witness).expect("the witness");
        let own = |name| std::env::var(name).unwrap_or_else(|_| "none".into());
        Self { file, job: own("FFRTMP_JOB"), run: own("FFRTMP_RUN_ID"), generation: generation.into() }
    }

    /// One line, by one write.
    fn say(&mut self, what: &str) {
        let process = process::current().expect("proc");
        let Self { job, run, generation, .. } = self;
        let wall = clock::now().wall.unix_ms();
        let line = format!("{wall} {job} {run} {generation} {} {} {what}\n", process.pid, process.start_time);
        self.file.write_all(line.as_bytes()).expect("the witness takes it");
    }
}

/// The program of a workload: WITNESS GENERATION LIFE CHILDREN.
#[allow(clippy::zombie_processes, reason = "who reaps what is left behind is what is tested")]
pub fn main(arguments: &[String]) -> ! {
    let signals: SigSet = [Signal::SIGTERM, ASK].into_iter().collect();
    signals.thread_block().expect("blocked");
    let [witness, generation, life, children] = arguments else { panic!("workload: {arguments:?}") };
    let mut speaker = Speaker::new(Path::new(witness), generation);
    // The kernel says whether two live at once: the lock goes with the process.
    let lock = PathBuf::from(format!("{witness}.{}", speaker.job));
    let lock = OpenOptions::new().create(true).append(true).open(lock).expect("a lock");
    let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock);
    speaker.say(if lock.is_ok() { "start" } else { "overlap" });
    for _ in 0..children.parse().unwrap_or(0) {
        let child = Command::new("/proc/self/exe").args(["child", witness, generation]).spawn();
        child.expect("a child");
    }
    let life = Life::parse(life);
    let begin = Instant::now();
    let deadline = match life {
        Life::Exits(ms, _) | Life::Raises(ms, _) => Some(Duration::from_millis(ms)),
        Life::Waits | Life::Stubborn => None,
    };
    let told = SignalFd::new(&signals).expect("a descriptor");
    loop {
        let left = deadline.map(|deadline| deadline.saturating_sub(begin.elapsed()));
        let timeout =
            left.map_or(PollTimeout::NONE, |left| u16::try_from(left.as_millis()).expect("short").into());
        let ready = poll(&mut [PollFd::new(told.as_fd(), PollFlags::POLLIN)], timeout).unwrap_or(0);
        if ready > 0 {
            let signal = told.read_signal().expect("readable").map(|info| info.ssi_signo.cast_signed());
            if signal == Some(ASK as i32) {
                end(&mut speaker, ASKED);
            }
            speaker.say("term");
            if !matches!(life, Life::Stubborn) {
                end(&mut speaker, 0);
            }
        } else if left.is_some_and(|left| left.is_zero()) {
            break;
        }
    }
    match life {
        Life::Raises(_, signal) => {
            speaker.say(&format!("end {signal}"));
            SigSet::from(signal).thread_unblock().expect("unblocked");
            let _ = raise(signal);
            unreachable!("the signal ends it");
        }
        Life::Exits(_, Some(code)) => end(&mut speaker, code),
        _ => {
            let code = speaker.run.bytes().fold(0, |sum, byte| (sum + i32::from(byte)) % 5);
            end(&mut speaker, code)
        }
    }
}

fn end(speaker: &mut Speaker, code: i32) -> ! {
    speaker.say(&format!("end {code}"));
    std::process::exit(code)
}

/// The program of a workload's child, which outlives it if it may.
pub fn child(arguments: &[String]) -> ! {
    SigSet::all().thread_unblock().expect("unblocked");
    let [witness, generation] = arguments else { panic!("child: {arguments:?}") };
    Speaker::new(Path::new(witness), generation).say("child");
    loop {
        std::thread::park();
    }
}
