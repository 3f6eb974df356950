//! What `/proc/PID/stat` says (proc_pid_stat(5)).

use std::fs::File;
use std::io::{self, Read};
use std::str::SplitAsciiWhitespace;

use super::boot::boot_id;
use crate::model::process::{Pid, ProcessIdentity};

/// The fields that are of use here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::linux) struct Stat {
    /// Field 1.
    pub(in crate::linux) pid: Pid,
    /// Field 2: the name of the main thread.
    pub(in crate::linux) name: Vec<u8>,
    /// Field 3: `R`, `S`, `D`, `Z`, ...
    pub(in crate::linux) state: u8,
    /// Field 4; 0 for none.
    pub(in crate::linux) parent: u32,
    /// Field 6: the session, by its leader's number.
    pub(in crate::linux) session: u32,
    /// Field 9: `PF_*` of include/linux/sched.h.
    pub(in crate::linux) flags: u32,
    /// Fields 14 and 15: CPU time of all threads, in clock ticks.
    pub(in crate::linux) cpu_ticks: u64,
    /// Field 19, of the main thread.
    pub(in crate::linux) nice: i8,
    /// Field 22.
    pub(in crate::linux) start_time: u64,
}

impl Stat {
    /// Takes the text apart.
    pub(in crate::linux) fn parse(text: &[u8]) -> Option<Self> {
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
    pub(in crate::linux) fn is(&self, process: &ProcessIdentity) -> bool {
        self.pid == process.pid && self.start_time == process.start_time
    }

    pub(in crate::linux) fn is_zombie(&self) -> bool {
        matches!(self.state, b'Z' | b'X')
    }

    /// A thread of the kernel's own (`PF_KTHREAD`).
    pub(in crate::linux) fn is_kernel(&self) -> bool {
        self.flags & 0x0020_0000 != 0
    }

    pub(in crate::linux) fn identity(&self) -> io::Result<ProcessIdentity> {
        Ok(ProcessIdentity { pid: self.pid, start_time: self.start_time, boot_id: boot_id()? })
    }
}

/// `/proc/PID/stat`: the number, the name, and the fields from the third on. The name may hold anything,
/// so it ends at the last parenthesis.
pub(in crate::linux) fn split_stat(text: &[u8]) -> Option<(&[u8], &[u8], SplitAsciiWhitespace<'_>)> {
    let open = text.iter().position(|&byte| byte == b'(')?;
    let close = text.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(text.get(close + 1..)?).ok()?;
    Some((text.get(..open)?, text.get(open + 1..close)?, rest.split_ascii_whitespace()))
}

/// What `/proc` says of this very process; `None` if it is gone, whoever has its number now.
pub(in crate::linux) fn stat_of(process: &ProcessIdentity) -> io::Result<Option<Stat>> {
    if process.boot_id != boot_id()? {
        return Ok(None);
    }
    Ok(read_stat(process.pid)?.filter(|stat| stat.is(process)))
}

pub(in crate::linux) fn read_stat(pid: Pid) -> io::Result<Option<Stat>> {
    read_stat_file(&format!("/proc/{pid}/stat"))
}

/// Of this process.
pub(in crate::linux) fn read_own_stat() -> io::Result<Option<Stat>> {
    read_stat_file("/proc/self/stat")
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
pub(in crate::linux) fn read_thread_nice(process: Pid, thread: Pid) -> io::Result<Option<i8>> {
    Ok(read_stat_file(&format!("/proc/{process}/task/{thread}/stat"))?.map(|stat| stat.nice))
}

/// The state of one thread (field 3); `None` if it is gone.
pub(in crate::linux) fn read_thread_state(process: Pid, thread: Pid) -> io::Result<Option<u8>> {
    Ok(read_stat_file(&format!("/proc/{process}/task/{thread}/stat"))?.map(|stat| stat.state))
}

/// Whether a file below `/proc/PID` could not be read because the process is gone.
pub(in crate::linux) fn is_gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
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
}
