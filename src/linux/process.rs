//! Processes: who they are, whether they live, their families, and signals that reach nobody else.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::str::SplitAsciiWhitespace;
use std::sync::OnceLock;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::{SysconfVar, sysconf};

use super::{clock, sys};
use crate::model::process::{BootId, Pid, ProcessIdentity};
use crate::model::signal::Signal;
use crate::model::time::{BootTime, Moment, WallTime};

/// Passes over `/proc` after which [`kill_family`] gives up on a family that grows faster than it dies.
const MAX_PASSES: usize = 64;

/// This boot of this machine (`/proc/sys/kernel/random/boot_id`); read once.
///
/// # Errors
/// `/proc` is not mounted.
pub fn boot_id() -> io::Result<BootId> {
    static BOOT: OnceLock<BootId> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return Ok(boot.clone());
    }
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    Ok(BOOT.get_or_init(|| BootId(text.trim().into())).clone())
}

/// The process that has this number now; `None` if there is none. A zombie still is one.
///
/// # Errors
/// `/proc` cannot be read.
pub fn identify(pid: Pid) -> io::Result<Option<ProcessIdentity>> {
    read_stat(pid)?.map(|stat| stat.identity()).transpose()
}

/// This process.
///
/// # Errors
/// `/proc` cannot be read.
pub fn current() -> io::Result<ProcessIdentity> {
    Pid::new(std::process::id())
        .map_or(Ok(None), identify)?
        .ok_or_else(|| io::Error::other("/proc does not show this very process"))
}

/// A field of this process's own `/proc/self/status` (proc_pid_status(5)), such as `Umask`.
#[must_use]
pub fn own_status(field: &str) -> Option<String> {
    // Longer than it ever is; the kernel gives all of it to one read.
    let mut buffer = [0; 8192];
    let length = File::open("/proc/self/status").and_then(|mut file| file.read(&mut buffer)).ok()?;
    let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
}

/// When a process began. To a hundredth of a second, which is what the kernel tells.
#[must_use]
pub fn began(process: &ProcessIdentity) -> Moment {
    let boot = BootTime(0) + clock::ticks(process.start_time);
    let now = clock::now();
    let ago = i64::try_from(now.boot.since(boot).as_millis()).unwrap_or(0);
    Moment { wall: WallTime::from_unix_ms(now.wall.unix_ms() - ago), boot }
}

/// The memory that a process has in use now, in bytes, with what it shares with others (field 2 of
/// `/proc/PID/statm`); `None` if it is gone.
#[must_use]
pub fn resident_bytes(process: &ProcessIdentity) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{}/statm", process.pid)).ok()?;
    // In this order: if the number names the process now, it did when that was read.
    stat_of(process).ok()??;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    let page = u64::try_from(sysconf(SysconfVar::PAGE_SIZE).ok()??).ok()?;
    pages.checked_mul(page)
}

/// The name of a process's main thread (field 2 of `/proc/PID/stat`), which is what ps(1) shows; `None` if it is
/// gone.
#[must_use]
pub fn name(process: &ProcessIdentity) -> Option<String> {
    let stat = stat_of(process).ok()??;
    Some(String::from_utf8_lossy(&stat.name).into_owned())
}

/// Whether the process has ended and only waits to be reaped; false too if it is gone.
///
/// # Errors
/// `/proc` cannot be read.
pub fn is_zombie(process: &ProcessIdentity) -> io::Result<bool> {
    Ok(stat_of(process)?.is_some_and(|stat| stat.is_zombie()))
}

/// Whether the process is gone, or only waits to be reaped.
///
/// # Errors
/// `/proc` cannot be read.
pub fn has_ended(process: &ProcessIdentity) -> io::Result<bool> {
    Ok(stat_of(process)?.is_none_or(|stat| stat.is_zombie()))
}

/// A process that stays the same one while this is held, whoever gets its number next.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process and makes sure that it is the one meant; `None` if that one is gone.
    ///
    /// # Errors
    /// `/proc` cannot be read, or pidfd_open(2) fails for another reason than that.
    pub fn open(process: &ProcessIdentity) -> io::Result<Option<Self>> {
        if process.boot_id != boot_id()? {
            return Ok(None);
        }
        let fd = match sys::pidfd_open(process.pid) {
            Ok(fd) => fd,
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return Ok(None),
            Err(error) => return Err(error),
        };
        // In this order: if the number names the process now, it did when the descriptor was made.
        Ok(stat_of(process)?.map(|_| Self(fd)))
    }

    /// Sends a signal; false if the process is gone already.
    ///
    /// # Errors
    /// `EPERM`: it is not ours to signal.
    pub fn send(&self, signal: Signal) -> io::Result<bool> {
        match sys::pidfd_send_signal(self.0.as_fd(), signal) {
            Ok(()) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether the process has ended, reaped or not. Does not block.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn has_exited(&self) -> io::Result<bool> {
        self.await_exit(Duration::ZERO)
    }

    /// Whether the process has ended within this time, reaped or not. A signal may start the time anew.
    ///
    /// # Errors
    /// Those of poll(2).
    pub fn await_exit(&self, within: Duration) -> io::Result<bool> {
        let within = PollTimeout::try_from(within).unwrap_or(PollTimeout::MAX);
        Ok(!ready(self.0.as_fd(), PollFlags::POLLIN, within)?.is_empty())
    }

    /// The raw wait status, if the process was reaped, by whomever, and this kernel keeps it (Linux 6.15).
    #[must_use]
    pub fn exit_status(&self) -> Option<i32> {
        sys::pidfd_exit_status(self.0.as_fd()).ok().flatten()
    }
}

/// Sends a signal to a process, if it is the one meant; false if that one is gone.
///
/// # Errors
/// Those of [`PidFd::open`] and [`PidFd::send`].
pub fn send(process: &ProcessIdentity, signal: Signal) -> io::Result<bool> {
    PidFd::open(process)?.map_or(Ok(false), |pidfd| pidfd.send(signal))
}

/// Waits until a descriptor is ready for this, or has hung up (poll(2)); empty if the time is over.
pub(super) fn ready(fd: BorrowedFd<'_>, interest: PollFlags, timeout: PollTimeout) -> io::Result<PollFlags> {
    let mut fds = [PollFd::new(fd, interest)];
    loop {
        match poll(&mut fds, timeout) {
            Ok(_) => return Ok(fds[0].revents().unwrap_or(PollFlags::empty())),
            Err(nix::errno::Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl AsRawFd for PidFd {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// All live descendants of a process, itself excluded, parents before their children.
/// None if the process is gone.
///
/// # Errors
/// `/proc` cannot be read.
pub fn family(root: &ProcessIdentity) -> io::Result<Vec<ProcessIdentity>> {
    Table::read()?.descendants(root).into_iter().map(|stat| stat.identity()).collect()
}

/// Sends SIGKILL to every process of a run, and returns to how many: the main process, its
/// descendants, the descendants of the wrapper (to which orphans come: it is a subreaper), and
/// the members of the session that the main process leads. Never the wrapper. The main process may
/// be gone already. Returns once no more of them are found, without waiting for the last to be dead.
///
/// What moves to a session of its own *and* loses its parents while no wrapper lives is not found:
/// only a cgroup holds such a process.
///
/// # Errors
/// `/proc` cannot be read, or a process refuses to be signalled (`EPERM`); the others got theirs.
pub fn kill_family(wrapper: Option<&ProcessIdentity>, main: &ProcessIdentity) -> io::Result<usize> {
    if main.boot_id != boot_id()? {
        return Ok(0);
    }
    let ourselves = current()?.pid;
    let mut done: HashSet<(Pid, u64)> = HashSet::new();
    let mut killed = 0;
    let mut refused = None;
    for _ in 0..MAX_PASSES {
        let table = Table::read()?;
        let mut fresh = 0;
        for stat in table.run(wrapper, main) {
            let spared = stat.pid == ourselves || wrapper.is_some_and(|wrapper| stat.is(wrapper));
            if spared || stat.is_zombie() || !done.insert((stat.pid, stat.start_time)) {
                continue;
            }
            fresh += 1;
            // A process with SIGKILL pending makes no more children: each pass shrinks the rest.
            match send(&stat.identity()?, Signal::KILL) {
                Ok(true) => killed += 1,
                Ok(false) => {}
                Err(error) => refused = Some(error),
            }
        }
        if fresh == 0 {
            break;
        }
    }
    refused.map_or(Ok(killed), Err)
}

/// What `/proc/PID/stat` says (proc_pid_stat(5)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Stat {
    /// Field 1.
    pub(super) pid: Pid,
    /// Field 2: the name of the main thread.
    pub(super) name: Vec<u8>,
    /// Field 3: `R`, `S`, `D`, `Z`, ...
    pub(super) state: u8,
    /// Field 4; 0 for none.
    pub(super) parent: u32,
    /// Field 6: the session, by its leader's number.
    pub(super) session: u32,
    /// Field 9: `PF_*` of include/linux/sched.h.
    pub(super) flags: u32,
    /// Fields 14 and 15: CPU time of all threads, in clock ticks.
    pub(super) cpu_ticks: u64,
    /// Field 19, of the main thread.
    pub(super) nice: i8,
    /// Field 22.
    pub(super) start_time: u64,
}

/// `/proc/PID/stat`: the number, the name, and the fields from the third on. The name may hold anything,
/// so it ends at the last parenthesis.
pub(super) fn split_stat(text: &[u8]) -> Option<(&[u8], &[u8], SplitAsciiWhitespace<'_>)> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    Some((text.get(..open)?, text.get(open + 1..close)?, rest.split_ascii_whitespace()))
}

impl Stat {
    /// Takes the text apart.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (number, name, mut fields) = split_stat(text)?;
        let pid = std::str::from_utf8(number).ok()?.trim().parse().ok().and_then(Pid::new)?;
        let name = name.to_vec();
        let state = *fields.next()?.as_bytes().first()?;
        let parent = fields.next()?.parse().ok()?;
        // -1 of a process that is just being released: then it is in none.
        let session = u32::try_from(fields.nth(1)?.parse::<i64>().ok()?).unwrap_or(0);
        let flags = fields.nth(2)?.parse().ok()?;
        let user: u64 = fields.nth(4)?.parse().ok()?;
        let system: u64 = fields.next()?.parse().ok()?;
        let nice = fields.nth(3)?.parse().ok()?;
        let start_time = fields.nth(2)?.parse().ok()?;
        let cpu_ticks = user.saturating_add(system);
        Some(Self { pid, name, state, parent, session, flags, cpu_ticks, nice, start_time })
    }

    /// Whether it is of this very process, of this boot.
    pub(super) fn is(&self, process: &ProcessIdentity) -> bool {
        self.pid == process.pid && self.start_time == process.start_time
    }

    pub(super) fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// A thread of the kernel's own (`PF_KTHREAD`).
    pub(super) fn is_kernel(&self) -> bool {
        self.flags & 0x0020_0000 != 0
    }

    pub(super) fn identity(&self) -> io::Result<ProcessIdentity> {
        Ok(ProcessIdentity { pid: self.pid, start_time: self.start_time, boot_id: boot_id()? })
    }
}

/// What `/proc` says of this very process; `None` if it is gone, whoever has its number now.
pub(super) fn stat_of(process: &ProcessIdentity) -> io::Result<Option<Stat>> {
    if process.boot_id != boot_id()? {
        return Ok(None);
    }
    Ok(read_stat(process.pid)?.filter(|stat| stat.is(process)))
}

pub(super) fn read_stat(pid: Pid) -> io::Result<Option<Stat>> {
    read_stat_file(&format!("/proc/{pid}/stat"))
}

fn read_stat_file(path: &str) -> io::Result<Option<Stat>> {
    // Longer than the fields we want can be; the kernel gives the whole line to one read.
    let mut buffer = [0; 512];
    let text = match File::open(path).and_then(|mut file| file.read(&mut buffer)) {
        Ok(length) => buffer.get(..length).unwrap_or_default(),
        Err(error) if is_gone(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    Stat::parse(text).map(Some).ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{path} is not as proc_pid_stat(5) says"))
    })
}

/// The nice value of one thread; `None` if it is gone.
pub(super) fn read_thread_nice(process: Pid, thread: Pid) -> io::Result<Option<i8>> {
    Ok(read_stat_file(&format!("/proc/{process}/task/{thread}/stat"))?.map(|stat| stat.nice))
}

/// The state of one thread (field 3); `None` if it is gone.
pub(super) fn read_thread_state(process: Pid, thread: Pid) -> io::Result<Option<u8>> {
    Ok(read_stat_file(&format!("/proc/{process}/task/{thread}/stat"))?.map(|stat| stat.state))
}

/// Whether a file below `/proc/PID` could not be read because the process is gone.
pub(super) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

/// One pass over `/proc`.
struct Table(HashMap<Pid, Stat>);

impl Table {
    fn read() -> io::Result<Self> {
        let mut table = HashMap::new();
        for entry in fs::read_dir("/proc")? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::new);
            // One that ends while we look is no longer of interest.
            if let Some(stat) = number.map_or(Ok(None), read_stat)? {
                table.insert(stat.pid, stat);
            }
        }
        Ok(Self(table))
    }

    /// The descendants of a process, parents first; none if it is gone.
    fn descendants(&self, root: &ProcessIdentity) -> Vec<&Stat> {
        if !self.0.get(&root.pid).is_some_and(|stat| stat.is(root)) {
            return Vec::new();
        }
        let mut children: HashMap<u32, Vec<&Stat>> = HashMap::new();
        for stat in self.0.values() {
            children.entry(stat.parent).or_default().push(stat);
        }
        let mut found: Vec<&Stat> = Vec::new();
        let mut next = Some(root.pid);
        let mut looked_at = 0;
        while let Some(parent) = next {
            // Removed, so that a table that changed while it was read cannot lead in a circle.
            found.extend(children.remove(&parent.as_raw().cast_unsigned()).unwrap_or_default());
            next = found.get(looked_at).map(|stat| stat.pid);
            looked_at += 1;
        }
        found
    }

    /// Every process of a run, see [`kill_family`].
    fn run(&self, wrapper: Option<&ProcessIdentity>, main: &ProcessIdentity) -> Vec<&Stat> {
        let holder = self.0.get(&main.pid);
        // The main process first: or it sees its children die and ends by itself, with a code of its own.
        let mut found = Vec::from_iter(holder.filter(|stat| stat.is(main)));
        found.extend(self.descendants(main));
        if let Some(wrapper) = wrapper {
            found.extend(self.descendants(wrapper));
        }
        // The kernel gives a number to nobody while a session has it. If somebody else has the number
        // now, then our session is over and the members of that name are strangers.
        if holder.is_none_or(|stat| stat.is(main)) {
            let session = main.pid.as_raw().cast_unsigned();
            let ours = |stat: &&Stat| stat.session == session && stat.start_time >= main.start_time;
            found.extend(self.0.values().filter(ours));
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_parentheses_blanks_and_bytes() {
        let mut text =
            b"77 (a) Z 1 (\xff\n) S 5 77 70 0 -1 4194304 1 2 3 4 5 6 7 8 20 -5 1 0 998877 1 2".to_vec();
        let stat = Stat::parse(&text).expect("a stat line");
        assert_eq!((stat.pid.to_string().as_str(), stat.state, stat.parent), ("77", b'S', 5));
        assert_eq!((stat.session, stat.flags, stat.nice, stat.start_time), (70, 4_194_304, -5, 998_877));
        assert_eq!((stat.name.as_slice(), stat.is_kernel()), (&b"a) Z 1 (\xff\n"[..], false));
        assert_eq!(stat.cpu_ticks, 5 + 6);
        let released = b"77 (a) X 0 -1 -1 0 -1 4194304 1 2 3 4 5 6 7 8 20 -5 0 0 998877 1 2";
        assert_eq!(Stat::parse(released).map(|stat| (stat.session, stat.is_zombie())), Some((0, true)));
        text.truncate(40);
        assert_eq!(Stat::parse(&text), None);
        assert_eq!(Stat::parse(b""), None);
        assert_eq!(Stat::parse(b"1 )("), None);
    }

    #[test]
    fn a_recycled_number_is_another_process() {
        let me = current().expect("proc");
        assert!(PidFd::open(&me).expect("pidfd").is_some_and(|fd| !fd.has_exited().expect("poll")));
        let stranger = ProcessIdentity { start_time: me.start_time + 1, ..me.clone() };
        assert!(PidFd::open(&stranger).expect("pidfd").is_none());
        let earlier = ProcessIdentity { boot_id: BootId("another".into()), ..me };
        assert!(PidFd::open(&earlier).expect("pidfd").is_none());
    }

    fn stat(pid: u32, parent: u32, session: u32, start_time: u64) -> Stat {
        let pid = Pid::new(pid).expect("a pid");
        let (name, state) = (Vec::new(), b'S');
        Stat { pid, name, state, parent, session, flags: 0, cpu_ticks: 0, nice: 0, start_time }
    }

    fn table(list: &[Stat]) -> Table {
        Table(list.iter().map(|stat| (stat.pid, stat.clone())).collect())
    }

    fn pids(list: &[&Stat]) -> Vec<i32> {
        let mut pids: Vec<i32> = list.iter().map(|stat| stat.pid.as_raw()).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }

    #[test]
    fn a_run_is_what_descends_from_wrapper_and_main_and_their_session() {
        let wrapper = stat(10, 1, 10, 100).identity().expect("proc");
        let main = stat(11, 10, 11, 101).identity().expect("proc");
        let all = [
            stat(1, 0, 1, 1),
            stat(10, 1, 10, 100),
            stat(11, 10, 11, 101),
            stat(12, 11, 12, 102), // a session of its own
            stat(13, 12, 12, 103),
            stat(14, 10, 11, 104), // an orphan that came to the wrapper
            stat(15, 1, 11, 105),  // an orphan that did not
            stat(20, 1, 20, 90),
        ];
        assert_eq!(pids(&table(&all).run(Some(&wrapper), &main)), [11, 12, 13, 14, 15]);
        assert_eq!(pids(&table(&all).run(None, &main)), [11, 12, 13, 14, 15]);
        // The main process is gone, and so is its wrapper: its session is what is left.
        let orphans = [stat(12, 1, 12, 102), stat(15, 1, 11, 105), stat(16, 1, 11, 99)];
        assert_eq!(pids(&table(&orphans).run(Some(&wrapper), &main)), [15]);
        // Its number went to a stranger who leads a session.
        let recycled = [stat(11, 1, 11, 500), stat(21, 11, 11, 501)];
        assert!(table(&recycled).run(Some(&wrapper), &main).is_empty());
    }
}
