//! A place to measure in: a temporary folder, the daemons started for it, and the workloads' FIFOs.
//! When it is dropped, all that was started is ended, and the folder is removed.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use nix::fcntl::{FcntlArg, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::prctl;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::workload::{self, CHECKIN, CUE, CheckIn, LEASH, Life};
use crate::{Bench, interrupt, limits, process};

/// The hidden command: `__daemon SIGNAL PROGRAM [ARG...]`.
pub const DAEMON_COMMAND: &str = "__daemon";
/// How long a daemon, and what it leaves behind, may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(20);
/// Room for all check-ins at once; the most an unprivileged process may ask for.
const PIPE_SIZE: i32 = 1 << 20;

/// Becomes PROGRAM, which gets SIGNAL when the bench dies, even by SIGKILL.
pub fn become_daemon(arguments: &[OsString]) -> anyhow::Result<()> {
    let [signal, program, rest @ ..] = arguments else {
        bail!("usage: {DAEMON_COMMAND} SIGNAL PROGRAM [ARG...]")
    };
    let signal: Signal = signal.to_str().unwrap_or_default().parse().context("no such signal")?;
    prctl::set_pdeathsig(signal).context("cannot set the parent death signal")?;
    Err(Command::new(program).args(rest).exec())
        .with_context(|| format!("cannot execute {}", program.display()))
}

/// A daemon, stopped when dropped.
struct Daemon {
    child: Child,
    stop: Signal,
    log: PathBuf,
}

impl Daemon {
    fn ended(&mut self) -> Option<String> {
        let status = self.child.try_wait().ok()??;
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(15)..].join("\n  ");
        Some(format!("{status}; the end of its output:\n  {tail}"))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Ok(pid) = i32::try_from(self.child.id()) else { return };
        // The child is ours and not yet waited for, so the pid is its own.
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = kill(Pid::from_raw(pid), self.stop);
        }
        let deadline = Instant::now() + PATIENCE;
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                eprintln!("bench: process {pid} did not end within {PATIENCE:?} of {}; killed", self.stop);
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The place.
pub struct Stage {
    daemons: Vec<Daemon>,
    checkin: File,
    leash: Option<File>,
    cue: Option<File>,
    dir: PathBuf,
    program: PathBuf,
}

impl Stage {
    /// A new one, in the bench's folder.
    pub fn new(bench: &Bench) -> anyhow::Result<Self> {
        interrupt::check()?;
        let dir = tempfile::Builder::new()
            .prefix("stage-")
            .tempdir_in(&bench.dir)
            .with_context(|| format!("cannot make a temporary folder in {}", bench.dir.display()))?
            .keep();
        let fifo = |name: &str| {
            let path = dir.join(name);
            mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)?;
            hold(&path)
        };
        let checkin = fifo(CHECKIN).context("cannot make a FIFO")?;
        let leash = Some(fifo(LEASH).context("cannot make a FIFO")?);
        let cue = Some(fifo(CUE).context("cannot make a FIFO")?);
        fcntl(&checkin, FcntlArg::F_SETPIPE_SZ(PIPE_SIZE)).context("cannot enlarge a FIFO")?;
        let program = std::env::current_exe().context("cannot find the bench's own program")?;
        Ok(Self { daemons: Vec::new(), checkin, leash, cue, dir, program })
    }

    /// The folder; also what `--root` is given.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// The bench's own program.
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// The workload's command line.
    pub fn workload(&self, life: Life, id: usize) -> Vec<String> {
        vec![
            self.program.display().to_string(),
            workload::COMMAND.into(),
            self.path().display().to_string(),
            life.as_str().into(),
            id.to_string(),
        ]
    }

    /// Starts the workload with posix_spawn (std uses it where there is no `pre_exec`). Gives when it began to.
    pub fn spawn(&self, life: Life, id: usize) -> anyhow::Result<i64> {
        let arguments = self.workload(life, id);
        let mut command = Command::new(&self.program);
        command.args(&arguments[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let before = workload::now();
        // Reaped with all others at the end: dropping the handle neither waits nor kills.
        command.spawn().context("cannot start the workload")?;
        Ok(before)
    }

    /// A job that runs the workload; `more` is appended.
    pub fn job(&self, life: Life, id: usize, more: &str) -> String {
        // JSON's arrays of strings are TOML's too.
        let command = serde_json::json!(self.workload(life, id));
        format!("lifecycle = \"oneshot\"\n[exec]\ncommand = {command}\noutput = \"null\"\n{more}")
    }

    /// Where job files go; made when it is first asked for.
    pub fn jobs(&self) -> anyhow::Result<PathBuf> {
        self.folder("jobs.d")
    }

    /// Where profiles go, likewise. A supervisor sees at once what is in folders that it found at its start.
    pub fn profiles(&self) -> anyhow::Result<PathBuf> {
        self.folder("profiles.d")
    }

    fn folder(&self, name: &str) -> anyhow::Result<PathBuf> {
        let folder = self.path().join(name);
        fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
        Ok(folder)
    }

    /// Renames a complete job file into place. Gives when the rename began.
    pub fn declare(&self, job: &str, text: &str) -> anyhow::Result<i64> {
        Self::put(&self.jobs()?, job, text)
    }

    /// The same with a profile that jobs share.
    pub fn declare_profile(&self, profile: &str, text: &str) -> anyhow::Result<i64> {
        Self::put(&self.profiles()?, profile, text)
    }

    fn put(dir: &Path, name: &str, text: &str) -> anyhow::Result<i64> {
        let (temporary, path) = (dir.join(format!(".{name}.new")), dir.join(format!("{name}.toml")));
        fs::write(&temporary, text).with_context(|| format!("cannot write {}", temporary.display()))?;
        let before = workload::now();
        fs::rename(&temporary, &path).with_context(|| format!("cannot rename to {}", path.display()))?;
        Ok(before)
    }

    /// Starts the supervisor. Gives its pid and when it was started.
    pub fn supervise(&mut self, bench: &Bench) -> anyhow::Result<(i32, i64)> {
        let binaries = bench.binaries.as_ref().context("only references are measured")?;
        let arguments: [OsString; 6] = [
            binaries.supervisor.clone().into(),
            "--root".into(),
            self.path().into(),
            "supervise".into(),
            "--wrapper".into(),
            binaries.wrapper.clone().into(),
        ];
        self.daemon(&arguments, Signal::SIGTERM)
    }

    /// Starts a daemon that `stop` ends. Its output goes to a file. Gives its pid and when it was started.
    pub fn daemon(&mut self, arguments: &[OsString], stop: Signal) -> anyhow::Result<(i32, i64)> {
        let log = self.path().join("daemon.log");
        let output = File::create(&log).with_context(|| format!("cannot create {}", log.display()))?;
        let mut command = Command::new(&self.program);
        command
            .arg(DAEMON_COMMAND)
            .arg(stop.as_str())
            .args(arguments)
            .env(workload::SERVICE_DIR, self.path())
            // Ctrl-C in the terminal is for the bench, which then ends its daemons in order.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output.try_clone().context("cannot share the daemon's log")?)
            .stderr(output);
        let before = workload::now();
        let child = command.spawn().context("cannot start a daemon")?;
        let pid = i32::try_from(child.id()).context("a pid fits")?;
        self.daemons.push(Daemon { child, stop, log });
        Ok((pid, before))
    }

    /// Ends the daemons by this signal, whatever else would stop them, and waits for their end.
    pub fn end_daemons(&mut self, signal: Signal) {
        for daemon in &mut self.daemons {
            daemon.stop = signal;
        }
        self.daemons.clear();
    }

    /// Lets the workloads fail that wait for it, and none that begins when this process has ended.
    pub fn let_fail(&mut self, pid: i32, timeout: Duration) -> anyhow::Result<()> {
        self.cue = None;
        let deadline = Instant::now() + timeout;
        while process::is_alive(pid) {
            interrupt::check()?;
            if Instant::now() > deadline {
                bail!("workload {pid} did not end within {timeout:?}");
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        self.cue = Some(hold(&self.dir.join(CUE)).context("cannot open a FIFO")?);
        Ok(())
    }

    /// What the daemon that was started last prints.
    pub fn log(&self) -> anyhow::Result<&Path> {
        Ok(&self.daemons.last().context("no daemon runs")?.log)
    }

    /// Waits for as many workloads to check in (or out). The wait is asleep most of the time, and the
    /// figures are the workloads' own, so that waiting does not change them.
    pub fn wait_for(
        &mut self,
        count: usize,
        ending: bool,
        timeout: Duration,
    ) -> anyhow::Result<Vec<CheckIn>> {
        let deadline = Instant::now() + timeout;
        let mut found = Vec::with_capacity(count);
        loop {
            found.extend(self.checkins()?.into_iter().filter(|checkin| checkin.ending == ending));
            if found.len() >= count {
                return Ok(found);
            }
            interrupt::check()?;
            if let Some(how) = self.daemons.iter_mut().find_map(Daemon::ended) {
                bail!("the daemon ended after {} of {count} workloads: {how}", found.len());
            }
            if Instant::now() > deadline {
                bail!("{} of {count} workloads were seen within {timeout:?}", found.len());
            }
            if count == 1 {
                let timeout = PollTimeout::from(100_u8);
                let _ = poll(&mut [PollFd::new(self.checkin.as_fd(), PollFlags::POLLIN)], timeout);
            } else {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// The check-ins that have arrived.
    pub fn checkins(&mut self) -> anyhow::Result<Vec<CheckIn>> {
        let mut found = Vec::new();
        let mut bytes = [0; CheckIn::SIZE];
        loop {
            // Writes are whole, so reads of the same size are.
            match self.checkin.read(&mut bytes) {
                Ok(CheckIn::SIZE) => found.push(CheckIn::from_bytes(&bytes)),
                Ok(other) => bail!("a check-in of {other} bytes"),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(found),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error).context("cannot read the check-ins"),
            }
        }
    }
}

/// Opens a FIFO for both, so that it always has a reader and a writer.
fn hold(path: &Path) -> std::io::Result<File> {
    File::options().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.daemons.clear();
        self.leash = None;
        self.cue = None;
        let killed = process::reap_all(PATIENCE);
        if killed > 0 {
            eprintln!("bench: {killed} processes did not end within {PATIENCE:?} of their workloads; killed");
        }
        limits::remove_empty(&self.dir);
    }
}
