//! What the kernel tells of processes as they come and go: the process events connector
//! (drivers/connector/cn_proc.c, include/uapi/linux/cn_proc.h).
//!
//! One socket, one filter in the kernel: what was not asked for wakes nobody. The events are a hint: a
//! process may be gone, or be another, before its event is read, and events may be [lost](ProcEvent::Lost).
//!
//! Needs `CONFIG_PROC_EVENTS`, the initial pid, user and network namespaces, and before Linux 6.6 the
//! capability `CAP_NET_ADMIN`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use libc::sock_filter;
use nix::errno::Errno;
use nix::sys::socket::{self, MsgFlags, NetlinkAddr, sockopt};

use super::sys;
use crate::model::process::Pid;

/// Something that happened to a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProcEvent {
    /// A process made another one, which still runs the same program.
    Fork {
        /// The process whose child it is.
        parent: Pid,
        /// The new one.
        child: Pid,
    },
    /// It executes another program from now on.
    Exec {
        /// The process.
        pid: Pid,
    },
    /// Its main thread gave itself another name (`PR_SET_NAME`, `/proc/PID/comm`).
    Comm {
        /// The process.
        pid: Pid,
    },
    /// It ended: it is a zombie now, or already reaped.
    Exit {
        /// The process.
        pid: Pid,
        /// The raw wait status of its main thread; see [`Filter::exit_of`].
        status: i32,
    },
    /// The kernel dropped events, because they were not read in time: whoever reads these has to look
    /// at everything again.
    Lost,
}

/// The kinds of events that a [`Filter`] passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// [`ProcEvent::Fork`].
    Fork,
    /// [`ProcEvent::Exec`].
    Exec,
    /// [`ProcEvent::Comm`].
    Comm,
    /// [`ProcEvent::Exit`].
    Exit,
}

/// What the kernel is to tell: a classic BPF program that it runs on each message.
#[derive(Debug, Clone)]
pub struct Filter(Vec<sock_filter>);

/// Where the event begins in a message: after `struct nlmsghdr` and `struct cn_msg`.
const EVENT: usize = NETLINK_HEADER + CONNECTOR_HEADER;
const NETLINK_HEADER: usize = 16;
const CONNECTOR_HEADER: usize = 20;

/// `proc_event.what`, and what follows the processor and the time: `proc_event.event_data`.
const WHAT: usize = EVENT;
const DATA: usize = EVENT + 16;

/// Thread and process of the event, in all kinds but a fork: there that is the parent, and the child follows.
const THREAD: usize = DATA;
const PROCESS: usize = DATA + 4;
const CHILD_THREAD: usize = DATA + 8;
const CHILD_PROCESS: usize = DATA + 12;

/// `exit.exit_code`, and `ack.err`.
const EXIT_CODE: usize = DATA + 8;
const ACK_ERROR: usize = DATA;

/// Room for the longest message: 76 bytes so far.
const LONGEST: usize = 512;

/// Room for what was not read yet, in bytes of the kernel's: some thousand events.
const BUFFER: usize = 1 << 20;

impl Kind {
    fn what(self) -> u32 {
        match self {
            Self::Fork => libc::PROC_EVENT_FORK,
            Self::Exec => libc::PROC_EVENT_EXEC,
            Self::Comm => libc::PROC_EVENT_COMM,
            Self::Exit => libc::PROC_EVENT_EXIT,
        }
    }
}

impl Filter {
    /// Events of these kinds, of all processes. What only concerns a thread is left out.
    #[must_use]
    pub fn of(kinds: &[Kind]) -> Self {
        let mut program = Vec::new();
        for kind in kinds {
            let (thread, process) = match kind {
                Kind::Fork => (CHILD_THREAD, CHILD_PROCESS),
                Kind::Exec | Kind::Comm | Kind::Exit => (THREAD, PROCESS),
            };
            program.extend([
                load(WHAT),
                unless_equal(kind.what(), 6),
                load(thread),
                COPY_TO_X,
                load(process),
                unless_equal_x(1),
                PASS,
                DROP,
            ]);
        }
        program.push(DROP);
        Self::new(program)
    }

    /// The exits of one process: of its main thread, and those of its other threads that have a status
    /// other than 0. Where they are of one mind, that is the status of the process. It is not known where
    /// they differ, which is so where the main thread ended long before the process (pthread_exit(3)).
    #[must_use]
    pub fn exit_of(pid: Pid) -> Self {
        let number = pid.as_raw().cast_unsigned();
        Self::new(vec![
            load(WHAT),
            unless_equal(libc::PROC_EVENT_EXIT, 7),
            load(PROCESS),
            unless_equal(number, 5),
            load(THREAD),
            unless_equal(number, 1),
            PASS,
            load(EXIT_CODE),
            unless_equal(0, 1),
            DROP,
            PASS,
        ])
    }

    /// What passes before: the answer to our request.
    fn new(rest: Vec<sock_filter>) -> Self {
        let mut program = vec![load(WHAT), unless_equal(libc::PROC_EVENT_NONE, 1), PASS];
        program.extend(rest);
        Self(program)
    }
}

const PASS: sock_filter = sock_filter { code: 0x06, jt: 0, jf: 0, k: u32::MAX }; // BPF_RET | BPF_K
const DROP: sock_filter = sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
const COPY_TO_X: sock_filter = sock_filter { code: 0x07, jt: 0, jf: 0, k: 0 }; // BPF_MISC | BPF_TAX

/// Loads a word of the message (`BPF_LD | BPF_W | BPF_ABS`).
const fn load(offset: usize) -> sock_filter {
    sock_filter { code: 0x20, jt: 0, jf: 0, k: offset as u32 }
}

/// Skips instructions unless the word that was loaded is this one (`BPF_JMP | BPF_JEQ | BPF_K`). Words
/// are loaded as the network has them; the kernel wrote them as the processor does.
const fn unless_equal(value: u32, skip: u8) -> sock_filter {
    sock_filter { code: 0x15, jt: 0, jf: skip, k: value.to_be() }
}

/// The same, with the word that was copied (`BPF_JMP | BPF_JEQ | BPF_X`).
const fn unless_equal_x(skip: u8) -> sock_filter {
    sock_filter { code: 0x1d, jt: 0, jf: skip, k: 0 }
}

/// A source of events. Closing it ends them.
#[derive(Debug)]
pub struct ProcEvents {
    socket: OwnedFd,
    /// The socket's address, which tells our requests from those of others.
    port: u32,
}

impl ProcEvents {
    /// Asks the kernel for events. What happens after this has returned is told.
    ///
    /// # Errors
    /// `EPERM` without the privilege (before Linux 6.6). `Unsupported` where the kernel does not answer:
    /// it was built without these events, or we are in a namespace that is not told of them.
    pub fn open(filter: &Filter) -> io::Result<Self> {
        let socket = sys::connector_socket()?;
        // Before the first message can come in.
        sys::attach_filter(socket.as_fd(), &filter.0)?;
        if socket::setsockopt(&socket, sockopt::RcvBufForce, &BUFFER).is_err() {
            // As much as we may have, then.
            let _ = socket::setsockopt(&socket, sockopt::RcvBuf, &BUFFER);
        }
        socket::bind(socket.as_raw_fd(), &NetlinkAddr::new(0, libc::CN_IDX_PROC))?;
        let port = socket::getsockname::<NetlinkAddr>(socket.as_raw_fd())?.pid();
        let events = Self { socket, port };
        events.request(libc::PROC_CN_MCAST_LISTEN)?;
        // The kernel answers before the request returns.
        loop {
            match events.receive() {
                Ok(Some(message)) => match message.answer(port) {
                    Some(0) => return Ok(events),
                    Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    None => {}
                },
                Ok(None) => {
                    let text = "the kernel does not tell of processes: it lacks CONFIG_PROC_EVENTS, or we \
                                are not in the initial pid and user namespaces";
                    return Err(io::Error::new(io::ErrorKind::Unsupported, text));
                }
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// What was told since the last call. Does not block; reads until there is nothing left.
    ///
    /// # Errors
    /// Those of recvfrom(2), but for `ENOBUFS`: that is [`ProcEvent::Lost`].
    pub fn read(&self) -> io::Result<Vec<ProcEvent>> {
        let mut events = Vec::new();
        loop {
            match self.receive() {
                Ok(Some(message)) => events.extend(message.event()),
                Ok(None) => return Ok(events),
                Err(Errno::ENOBUFS) => events.push(ProcEvent::Lost),
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Tells the kernel that we listen, or do not any more: it only makes events while somebody does.
    fn request(&self, operation: u32) -> io::Result<()> {
        let mut message = Vec::with_capacity(EVENT + 4);
        let length = (EVENT + size_of_val(&operation)) as u32;
        // struct nlmsghdr: length; type and flags; sequence; port.
        for word in [length, libc::NLMSG_DONE as u32, self.port, self.port] {
            message.extend(word.to_ne_bytes());
        }
        // struct cn_msg: index and value of the connector's user; sequence; what is acknowledged.
        for word in [libc::CN_IDX_PROC, libc::CN_VAL_PROC, self.port, self.port] {
            message.extend(word.to_ne_bytes());
        }
        // Its length, and flags.
        message.extend((size_of_val(&operation) as u16).to_ne_bytes());
        message.extend(0_u16.to_ne_bytes());
        message.extend(operation.to_ne_bytes());
        let kernel = NetlinkAddr::new(0, 0);
        socket::sendto(self.socket.as_raw_fd(), &message, &kernel, MsgFlags::empty())?;
        Ok(())
    }

    /// The next message of the kernel's that is whole; `None` if there is none now.
    fn receive(&self) -> Result<Option<Message>, Errno> {
        let mut buffer = [0; LONGEST];
        loop {
            match socket::recvfrom::<NetlinkAddr>(self.socket.as_raw_fd(), &mut buffer) {
                Ok((length, sender)) => {
                    let message = Message { bytes: buffer, length };
                    // Root can send to our address, too.
                    if sender.is_some_and(|sender| sender.pid() == 0) && message.is_of_processes() {
                        return Ok(Some(message));
                    }
                }
                Err(Errno::EAGAIN) => return Ok(None),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }
}

impl Drop for ProcEvents {
    fn drop(&mut self) {
        // Kernels do not do this when the socket is closed; what is left then is that nobody reads.
        let _ = self.request(libc::PROC_CN_MCAST_IGNORE);
    }
}

impl AsFd for ProcEvents {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for ProcEvents {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

/// A message of the kernel's.
struct Message {
    bytes: [u8; LONGEST],
    length: usize,
}

impl Message {
    fn word(&self, offset: usize) -> Option<u32> {
        let bytes = self.bytes.get(..self.length)?.get(offset..offset + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    fn pid(&self, offset: usize) -> Option<Pid> {
        self.word(offset).and_then(Pid::new)
    }

    fn is_of_processes(&self) -> bool {
        let user = (self.word(NETLINK_HEADER), self.word(NETLINK_HEADER + 4));
        user == (Some(libc::CN_IDX_PROC), Some(libc::CN_VAL_PROC))
    }

    /// The errno that our request is answered with. All listeners get all answers; only what they
    /// acknowledge tells whose they are, because kernels put a sequence number of their own in.
    fn answer(&self, port: u32) -> Option<i32> {
        let acknowledged = self.word(NETLINK_HEADER + 12)?;
        if self.word(WHAT)? != libc::PROC_EVENT_NONE || acknowledged != port.wrapping_add(1) {
            return None;
        }
        self.word(ACK_ERROR).map(u32::cast_signed)
    }

    fn event(&self) -> Option<ProcEvent> {
        match self.word(WHAT)? {
            libc::PROC_EVENT_FORK => {
                Some(ProcEvent::Fork { parent: self.pid(PROCESS)?, child: self.pid(CHILD_PROCESS)? })
            }
            libc::PROC_EVENT_EXEC => Some(ProcEvent::Exec { pid: self.pid(PROCESS)? }),
            libc::PROC_EVENT_COMM => Some(ProcEvent::Comm { pid: self.pid(PROCESS)? }),
            libc::PROC_EVENT_EXIT => {
                let status = self.word(EXIT_CODE)?.cast_signed();
                Some(ProcEvent::Exit { pid: self.pid(PROCESS)?, status })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};
    use std::time::{Duration, Instant};

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

    use super::*;

    /// `None`, and a word, where this machine does not let us listen.
    fn open(test: &str, filter: &Filter) -> Option<ProcEvents> {
        match ProcEvents::open(filter) {
            Ok(events) => Some(events),
            Err(error) => {
                println!("SKIPPED {test}: no process events here: {error}");
                None
            }
        }
    }

    /// Reads until there is an event that fits, and gives all that came until then.
    fn until(events: &ProcEvents, fits: impl Fn(&ProcEvent) -> bool) -> Vec<ProcEvent> {
        let (begin, mut all) = (Instant::now(), Vec::new());
        while !all.iter().any(&fits) {
            assert!(begin.elapsed() < Duration::from_secs(20), "waited in vain: {all:?}");
            let mut fds = [PollFd::new(events.as_fd(), PollFlags::POLLIN)];
            let _ = poll(&mut fds, PollTimeout::from(1000_u16)).expect("poll");
            all.extend(events.read().expect("read"));
        }
        all
    }

    fn pid(child: &Child) -> Pid {
        Pid::new(child.id()).expect("a pid")
    }

    fn run(script: &str) -> Pid {
        let mut child = Command::new("/bin/sh").args(["-c", script]).spawn().expect("sh");
        child.wait().expect("our child");
        pid(&child)
    }

    #[test]
    fn what_a_process_does_is_told_in_order() {
        let all = Filter::of(&[Kind::Fork, Kind::Exec, Kind::Comm, Kind::Exit]);
        let Some(events) = open("what_a_process_does_is_told_in_order", &all) else { return };
        // A name of its own, then threads, which are nobody's business.
        std::thread::spawn(|| ()).join().expect("a thread");
        let child = run("echo renamed > /proc/$$/comm; exit 7");
        let exit = ProcEvent::Exit { pid: child, status: 7 << 8 };
        let seen = until(&events, |event| *event == exit);
        let parent = Pid::new(std::process::id()).expect("a pid");
        let of_child = |event: &&ProcEvent| match event {
            ProcEvent::Fork { child: pid, .. }
            | ProcEvent::Exec { pid }
            | ProcEvent::Comm { pid }
            | ProcEvent::Exit { pid, .. } => *pid == child,
            ProcEvent::Lost => true,
        };
        assert_eq!(
            seen.iter().filter(of_child).copied().collect::<Vec<_>>(),
            [
                ProcEvent::Fork { parent, child },
                ProcEvent::Exec { pid: child },
                ProcEvent::Comm { pid: child },
                exit
            ]
        );
    }

    #[test]
    fn only_what_was_asked_for_is_told_and_never_of_threads() {
        let Some(events) = open("only_what_was_asked_for_is_told", &Filter::of(&[Kind::Fork])) else {
            return;
        };
        let thread = std::thread::spawn(nix::unistd::gettid).join().expect("a thread").as_raw();
        let child = run("exit 0");
        let after = run("exit 0");
        let seen = until(&events, |event| matches!(event, ProcEvent::Fork { child, .. } if *child == after));
        let forked = |number: i32| {
            seen.iter()
                .any(|event| matches!(event, ProcEvent::Fork { child, .. } if child.as_raw() == number))
        };
        assert!(forked(child.as_raw()) && !forked(thread), "{seen:?}");
        assert!(seen.iter().all(|event| matches!(event, ProcEvent::Fork { .. })), "{seen:?}");
    }

    #[test]
    fn the_exit_of_one_process_is_told_and_no_other() {
        let mut child = Command::new("/bin/sleep").arg("1000").spawn().expect("sleep");
        let filter = Filter::exit_of(pid(&child));
        let events = open("the_exit_of_one_process_is_told_and_no_other", &filter);
        run("exit 3");
        child.kill().expect("ours");
        child.wait().expect("our child");
        let Some(events) = events else { return };
        let exit = ProcEvent::Exit { pid: pid(&child), status: libc::SIGKILL };
        assert_eq!(until(&events, |_| true), [exit]);
    }

    #[test]
    fn events_that_did_not_fit_are_said_to_be_lost() {
        let test = "events_that_did_not_fit_are_said_to_be_lost";
        let Some(events) = open(test, &Filter::of(&[Kind::Fork, Kind::Exec, Kind::Exit])) else { return };
        // The smallest that the kernel gives: a few events.
        socket::setsockopt(&events.socket, sockopt::RcvBuf, &0).expect("set");
        for _ in 0..20 {
            run("exit 0");
        }
        let seen = until(&events, |event| *event == ProcEvent::Lost);
        assert!(seen.len() < 60, "{seen:?}");
        // And it goes on, with room for what the rest of the machine does meanwhile.
        socket::setsockopt(&events.socket, sockopt::RcvBufForce, &BUFFER)
            .or_else(|_| socket::setsockopt(&events.socket, sockopt::RcvBuf, &BUFFER))
            .expect("set");
        let last = run("exit 0");
        until(&events, |event| *event == ProcEvent::Exit { pid: last, status: 0 });
    }

    #[test]
    fn a_message_that_is_cut_short_is_no_event() {
        for length in 0..EVENT + 28 {
            let mut message = Message { bytes: [0xff; LONGEST], length };
            message.bytes[WHAT..WHAT + 4].copy_from_slice(&libc::PROC_EVENT_EXIT.to_ne_bytes());
            assert_eq!(message.event(), None, "{length} bytes");
        }
    }
}
