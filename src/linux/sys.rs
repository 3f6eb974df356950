//! System calls that neither std nor nix offers safely, each behind a safe function.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};

use crate::model::cpus::CpuSet;
use crate::model::process::Pid;
use crate::model::signal::Signal;

/// The result of a system call that returns -1 and sets errno.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A descriptor for a process (pidfd_open(2)); close-on-exec.
///
/// # Errors
/// `ESRCH` if there is no such process, `ENOSYS` before Linux 5.3.
pub fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: the call takes two integers and touches no memory of ours.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) })?;
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from_raw_os_error(libc::EBADF))?;
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to the process behind a pidfd (pidfd_send_signal(2)).
///
/// # Errors
/// `ESRCH` if it has been reaped, `EPERM` if it is not ours to signal.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: Signal) -> io::Result<()> {
    // SAFETY: a null siginfo asks the kernel to fill in what kill(2) would; no memory is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal.number(),
            ptr::null::<libc::siginfo_t>(),
            0,
        )
    })
    .map(drop)
}

/// `struct pidfd_info` as of Linux 6.13 (include/uapi/linux/pidfd.h).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    /// What is asked for, then what there is.
    mask: u64,
    cgroup: u64,
    /// Process, thread group and parent; four user and four group ids.
    ids: [u32; 11],
    exit_code: i32,
}

/// `PIDFD_GET_INFO`: `_IOWR(0xFF, 11, struct pidfd_info)`. Later kernels know longer structures, and take
/// this one.
const PIDFD_GET_INFO: u32 = 0xC040_FF0B;

/// `PIDFD_INFO_EXIT`.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// The raw wait status of a process that was reaped, by whomever; `None` until then (Linux 6.15).
///
/// # Errors
/// `ENOTTY` or `EINVAL` in a kernel that does not know the question, `ESRCH` in one that has no answer
/// (6.13 and 6.14) for a process that was reaped.
pub fn pidfd_exit_status(pidfd: BorrowedFd<'_>) -> io::Result<Option<i32>> {
    let mut info = PidfdInfo { mask: PIDFD_INFO_EXIT, ..PidfdInfo::default() };
    // SAFETY: the request says how long the structure is (64 bytes, which is its size), and `info` lives
    // through the call; the kernel writes no more than that. All bit patterns are valid. The type of the
    // request differs between C libraries.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO as _, &raw mut info) };
    check(result.into())?;
    Ok((info.mask & PIDFD_INFO_EXIT != 0).then_some(info.exit_code))
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// A socket of the kernel's connector (`NETLINK_CONNECTOR`, Documentation/driver-api/connector.rst);
/// close-on-exec, non-blocking, bound to nothing yet. nix does not know this protocol.
///
/// # Errors
/// `EPROTONOSUPPORT` in a kernel without it, and in a network namespace of one's own.
pub fn connector_socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_DGRAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: integers only.
    let fd = unsafe { libc::socket(libc::AF_NETLINK, kind, libc::NETLINK_CONNECTOR) };
    check(fd.into())?;
    // SAFETY: the kernel just made this descriptor for us; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Has the kernel pass every message for a socket through a classic BPF program first
/// (`SO_ATTACH_FILTER`, socket(7)): what it returns 0 for is dropped, and wakes nobody.
///
/// # Errors
/// `EINVAL` for a program that the kernel does not accept.
pub fn attach_filter(socket: BorrowedFd<'_>, program: &[libc::sock_filter]) -> io::Result<()> {
    let too_long = |_| io::Error::from_raw_os_error(libc::EINVAL);
    let argument = libc::sock_fprog {
        len: program.len().try_into().map_err(too_long)?,
        // The kernel only reads it, whatever the type says.
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the argument, and the program that it points to, outlive the call, which copies both; the
    // lengths are theirs.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const argument).cast(),
            size_of_val(&argument) as libc::socklen_t,
        )
    };
    check(result.into()).map(drop)
}

/// An extended attribute of a file (getxattr(2)), of at most 64 bytes.
///
/// # Errors
/// `ENODATA` if it has none of that name, `ERANGE` if it is longer, `EPERM` or `ENODATA` for one that
/// only root may see.
pub fn getxattr(path: &Path, name: &CStr) -> io::Result<Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let mut value = [0_u8; 64];
    // SAFETY: both texts end in NUL and outlive the call; the kernel writes no more than the length given.
    let length =
        unsafe { libc::getxattr(path.as_ptr(), name.as_ptr(), value.as_mut_ptr().cast(), value.len()) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    Ok(value.get(..length).unwrap_or_default().to_vec())
}

/// Sets the nice value of one thread (setpriority(2)).
///
/// # Errors
/// `EACCES` or `EPERM` without the privilege, `ESRCH` if the thread is gone.
pub fn set_nice(thread: Pid, nice: i8) -> io::Result<()> {
    // SAFETY: integers only. The type of the first argument differs between C libraries.
    let result = unsafe {
        libc::setpriority(libc::PRIO_PROCESS as _, thread.as_raw().cast_unsigned(), libc::c_int::from(nice))
    };
    check(result.into()).map(drop)
}

/// ioprio_set(2) of one thread, not of a group or user (`IOPRIO_WHO_PROCESS`).
pub(super) const IOPRIO_THREAD: libc::c_int = 1;

/// Sets the I/O priority of one thread, as the kernel writes class and level (ioprio_set(2)).
///
/// # Errors
/// `EPERM` without the privilege, `ESRCH` if the thread is gone, `ENOSYS` in a kernel without disks.
pub fn set_io_priority(thread: Pid, value: i32) -> io::Result<()> {
    // SAFETY: integers only.
    let result = unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_THREAD, thread.as_raw(), value) };
    check(result).map(drop)
}

/// The I/O priority of one thread, as the kernel writes class and level (ioprio_get(2)).
///
/// # Errors
/// `ESRCH` if the thread is gone, `ENOSYS` in a kernel without disks.
pub fn io_priority(thread: Pid) -> io::Result<i32> {
    // SAFETY: integers only.
    let value = check(unsafe { libc::syscall(libc::SYS_ioprio_get, IOPRIO_THREAD, thread.as_raw()) })?;
    i32::try_from(value).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Sets the CPUs that one thread may run on (sched_setaffinity(2)). The kernel leaves out those that are
/// not there and those that are not in the thread's cpuset.
///
/// # Errors
/// `EINVAL` if no CPU is left, `EPERM` without the privilege, `ESRCH` if the thread is gone.
pub fn set_affinity(thread: Pid, cpus: &CpuSet) -> io::Result<()> {
    let words = cpus.words();
    // SAFETY: the pointer and the length in bytes are those of `words`, which the kernel only reads.
    check(unsafe {
        libc::syscall(libc::SYS_sched_setaffinity, thread.as_raw(), size_of_val(words), words.as_ptr())
    })
    .map(drop)
}

/// The CPUs that one thread may run on (sched_getaffinity(2)).
///
/// # Errors
/// `ESRCH` if the thread is gone.
pub fn affinity(thread: Pid) -> io::Result<CpuSet> {
    // The call wants room for all CPUs that the kernel was built for: at most 8192, so far.
    let mut words = vec![0_usize; 65_536 / usize::BITS as usize];
    let room = size_of_val(&words[..]);
    // SAFETY: the pointer and the length in bytes are those of `words`.
    check(unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread.as_raw(), room, words.as_mut_ptr()) })?;
    Ok(CpuSet::from_words(words))
}

/// What became of a child that ended.
#[derive(Debug, Clone, Copy)]
pub struct Reaped {
    /// The raw wait status (wait(2)).
    pub status: i32,
    /// CPU time in seconds, user and system, with the children it waited for.
    pub cpu_sec: f64,
    /// The largest resident memory of any one of them, in bytes.
    pub memory_peak_bytes: u64,
}

/// Waits until some child has ended, and leaves it to be reaped (waitid(2) with `WNOWAIT`).
/// With `block` false returns `None` where none has ended yet.
///
/// # Errors
/// `ECHILD` if there is no child.
pub fn peek_exit(block: bool) -> io::Result<Option<Pid>> {
    let options = libc::WEXITED | libc::WNOWAIT | if block { 0 } else { libc::WNOHANG };
    loop {
        let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
        // SAFETY: `info` is a siginfo_t that the kernel may write to for the length of the call.
        let result = unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) };
        match check(result.into()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => {
                // SAFETY: all bytes were zero, which is a valid siginfo_t, or the kernel's; waitid
                // fills in the member that si_pid reads.
                let pid = unsafe { info.assume_init().si_pid() };
                return Ok(u32::try_from(pid).ok().and_then(Pid::new));
            }
        }
    }
}

/// Reaps a child that has ended, or waits for it to end (wait4(2)).
///
/// # Errors
/// `ECHILD` if it is no child of ours.
pub fn reap(pid: Pid) -> io::Result<Reaped> {
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both pointers are to live values of the types that the call writes.
        let result = unsafe { libc::wait4(pid.as_raw(), &raw mut status, 0, usage.as_mut_ptr()) };
        match check(result.into()) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
            Ok(_) => break,
        }
    }
    // SAFETY: zeroed is a valid rusage, and the kernel filled it in.
    let usage = unsafe { usage.assume_init() };
    #[allow(clippy::cast_precision_loss, reason = "microseconds of CPU time stay far below 2^53")]
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Ok(Reaped {
        status,
        cpu_sec: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        // KiB on Linux, getrusage(2).
        memory_peak_bytes: u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024),
    })
}

/// Gives the pages of the main thread's stack back that nobody uses now (`MADV_DONTNEED`, madvise(2));
/// used again, they come back as zeros. For a process that has done its deep work and waits from now on.
/// In another thread it does nothing.
#[inline(never)]
pub fn release_unused_stack() {
    /// More than the work so far can have used.
    const DEPTH: usize = 1 << 20;
    const PAGE: usize = 1 << 12;
    if nix::unistd::gettid() != nix::unistd::getpid() {
        return;
    }
    let here = 0_u8;
    // Stacks grow downwards. A whole page is left for this call itself.
    let end = (&raw const here).addr() / PAGE * PAGE - PAGE;
    // SAFETY: what lies below the frame of the running function belongs to calls that have returned, so no
    // reference points there. Below the main thread's stack the kernel keeps at least 128 MiB free of
    // mappings (mmap_base), so the range holds nothing but this stack; what is not mapped is skipped. That
    // it fails costs memory and nothing else.
    unsafe { libc::madvise(ptr::without_provenance_mut(end - DEPTH), DEPTH, libc::MADV_DONTNEED) };
}

/// Makes this process deaf to what a terminal or an operator sends to whole groups (SIGHUP, SIGINT,
/// SIGQUIT, SIGTERM, SIGPIPE), and keeps SIGCHLD and SIGUSR1 pending for [`wait_for_signal`].
///
/// # Errors
/// None that a running kernel gives.
pub fn ignore_group_signals() -> io::Result<()> {
    for number in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGPIPE] {
        set_disposition(number, libc::SIG_IGN)?;
    }
    // With SIGCHLD ignored the kernel would reap our children, and the exits with them.
    set_disposition(libc::SIGCHLD, libc::SIG_DFL)?;
    let awaited = awaited_signals();
    // SAFETY: the set is initialised, and the old mask is not asked for.
    check(unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const awaited, ptr::null_mut()) }.into())
        .map(drop)
}

fn set_disposition(number: i32, handler: libc::sighandler_t) -> io::Result<()> {
    // SAFETY: SIG_IGN and SIG_DFL are no functions: no code of ours runs in a signal's context.
    let old = unsafe { libc::signal(number, handler) };
    if old == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The set of what a wrapper waits for: SIGCHLD, and SIGUSR1, by which the one that talks to people tells it
/// that it goes.
fn awaited_signals() -> libc::sigset_t {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: sigemptyset initialises the set; all calls only fail for bad signal numbers.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        libc::sigaddset(set.as_mut_ptr(), libc::SIGUSR1);
        set.assume_init()
    }
}

/// Sleeps until a child has ended since the last call, SIGUSR1 came, or for `timeout`; true if it was SIGUSR1.
/// Needs [`ignore_group_signals`].
pub fn wait_for_signal(timeout: Duration) -> bool {
    let set = awaited_signals();
    // A day is as good as for ever to a caller that looks again; and the fields' types differ.
    let timeout = timeout.min(Duration::from_secs(86_400));
    let timeout = libc::timespec { tv_sec: timeout.as_secs() as _, tv_nsec: timeout.subsec_nanos() as _ };
    // SAFETY: set and timeout live through the call; no siginfo is asked for. A time-out or an
    // interruption only means that the caller looks again.
    let signal = unsafe { libc::sigtimedwait(&raw const set, ptr::null_mut(), &raw const timeout) };
    signal == libc::SIGUSR1
}

/// Gives SIGSEGV and SIGBUS their defaults, for which Rust's runtime has handlers.
///
/// # Errors
/// None that a running kernel gives.
pub fn forget_handlers() -> io::Result<()> {
    [libc::SIGSEGV, libc::SIGBUS].into_iter().try_for_each(|number| set_disposition(number, libc::SIG_DFL))
}

/// Has the kernel reap the children of this process by itself (`SIG_IGN` for SIGCHLD, sigaction(2)), or not.
///
/// # Errors
/// None that a running kernel gives.
pub fn leave_children_to_the_kernel(yes: bool) -> io::Result<()> {
    set_disposition(libc::SIGCHLD, if yes { libc::SIG_IGN } else { libc::SIG_DFL })
}

/// That this process has one thread, and has it forked by nobody else.
#[derive(Debug)]
pub struct SingleThreaded(());

impl SingleThreaded {
    /// Looks whether it has. Whoever keeps the proof starts no thread.
    ///
    /// # Errors
    /// It has more than one, or `/proc/self/task` cannot be read.
    pub fn prove() -> io::Result<Self> {
        match std::fs::read_dir("/proc/self/task")?.count() {
            1 => Ok(Self(())),
            _ => Err(io::Error::other("this process has more than one thread")),
        }
    }

    /// fork(2): the child's pid in the parent, `None` in the child, which goes on as a copy of this process.
    ///
    /// # Errors
    /// Those of fork(2).
    pub fn fork(&self) -> io::Result<Option<Pid>> {
        // SAFETY: there is one thread, so no lock is held and no memory half written: the child may do whatever
        // this process might.
        let pid = check(unsafe { libc::fork() }.into())?;
        Ok(u32::try_from(pid).ok().and_then(Pid::new))
    }
}

/// The memory that the kernel shows as this process's command line (`arg_start` to `arg_end` in
/// `/proc/PID/stat`, proc_pid_stat(5)).
#[derive(Debug)]
pub struct Title {
    start: usize,
    length: usize,
}

impl Title {
    /// Where it is. Its length is for ever that of the arguments this process was executed with.
    ///
    /// # Errors
    /// `/proc/self/stat` cannot be read, or does not tell.
    pub fn of_this_process() -> io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // Fields 48 and 49; behind the name, which is in brackets, comes the third.
        let numbers = stat.rsplit_once(") ").map(|(_, rest)| rest.split_ascii_whitespace().skip(45));
        let mut numbers = numbers.into_iter().flatten().map(str::parse::<usize>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(start)), Some(Ok(end))) if 0 < start && start < end => {
                Ok(Self { start, length: end - start })
            }
            _ => Err(io::Error::other("/proc/self/stat does not tell where the arguments are")),
        }
    }

    /// Shows these words, as far as there is room. What this process was executed with is gone then: nobody may
    /// read its arguments any more.
    pub fn set(&mut self, words: &[&[u8]], _: &SingleThreaded) {
        let mut line: Vec<u8> = words.join(&0);
        // The last byte stays a NUL: without it the kernel reads on into the environment.
        line.resize(self.length, 0);
        line.pop();
        line.push(0);
        // SAFETY: the kernel has laid the arguments out there, as one piece of writable memory of this length at the
        // top of the stack. No Rust reference points there: std::env copies what it is asked for, and with one thread
        // nobody does so now.
        unsafe {
            ptr::copy_nonoverlapping(line.as_ptr(), ptr::with_exposed_provenance_mut(self.start), self.length)
        };
    }
}

/// Sends bytes and descriptors as one message, without waiting (unix(7), `SCM_RIGHTS`).
///
/// # Errors
/// `EAGAIN` if there is no room, `EPIPE` or `ECONNRESET` if nobody is at the other end.
pub fn send_with<const N: usize>(
    socket: BorrowedFd<'_>,
    bytes: &[u8],
    descriptors: [BorrowedFd<'_>; N],
) -> io::Result<()> {
    let numbers = descriptors.map(|descriptor| descriptor.as_raw_fd());
    let rights = [ControlMessage::ScmRights(&numbers)];
    let flags = MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT;
    sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(bytes)], &rights, flags, None)?;
    Ok(())
}

/// How many bytes that were sent are not yet read at the other end (`SIOCOUTQ`, unix(7)).
///
/// # Errors
/// None that a socket gives.
pub fn unread(socket: BorrowedFd<'_>) -> io::Result<usize> {
    let mut unread: libc::c_int = 0;
    // SAFETY: the request writes one int, which lives through the call. Its number is that of TIOCOUTQ.
    check(unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ as _, &raw mut unread) }.into())?;
    Ok(usize::try_from(unread).unwrap_or(0))
}

/// Waits for the next message that [`send_with`] has sent: its length and its descriptors, close-on-exec. `None` when
/// the other end is closed.
///
/// # Errors
/// `InvalidData` for a message with another number of descriptors.
pub fn receive_with<const N: usize>(
    socket: BorrowedFd<'_>,
    bytes: &mut [u8],
) -> io::Result<Option<(usize, [OwnedFd; N])>> {
    let mut room = nix::cmsg_space!([RawFd; 8]);
    let mut parts = [IoSliceMut::new(bytes)];
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut room), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            // Closed with something of ours unread.
            Err(Errno::ECONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let mut received = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(numbers) = control {
            // SAFETY: the kernel just made these descriptors for us; nobody else owns them.
            received.extend(numbers.into_iter().map(|number| unsafe { OwnedFd::from_raw_fd(number) }));
        }
    }
    match <[OwnedFd; N]>::try_from(received) {
        Ok(descriptors) => Ok(Some((message.bytes, descriptors))),
        Err(none) if none.is_empty() && message.bytes == 0 => Ok(None),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "a message without its descriptors")),
    }
}

/// Makes this process deaf to a terminal's job control (SIGTSTP, SIGTTIN, SIGTTOU).
///
/// # Errors
/// None that a running kernel gives.
pub fn ignore_job_control() -> io::Result<()> {
    [libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU]
        .into_iter()
        .try_for_each(|n| set_disposition(n, libc::SIG_IGN))
}

/// Takes a descriptor that this process inherited, by its number on the command line: a duplicate
/// above standard error, close-on-exec. A lock of its open file stays held.
///
/// # Errors
/// `EBADF` if no such descriptor is open.
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    if number < 0 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: fcntl checks the number itself; the duplicate is new and ours alone.
    let fd = unsafe { libc::fcntl(number, libc::F_DUPFD_CLOEXEC, 3) };
    check(fd.into())?;
    // SAFETY: see above.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Takes over a descriptor that the program before in this process has handed on (execve(2)): it is ours
/// now, and close-on-exec. Only for a process that has just begun: nobody else may own it.
///
/// # Errors
/// `EBADF` if no such descriptor is open.
pub fn adopt(number: RawFd) -> io::Result<OwnedFd> {
    if number <= 2 {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    // SAFETY: fcntl checks the number itself.
    check(unsafe { libc::fcntl(number, libc::F_SETFD, libc::FD_CLOEXEC) }.into())?;
    // SAFETY: it is open, and the caller vouches that nothing here owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Closes every descriptor of this process except the ones given; 0, 1 and 2 become `/dev/null`.
/// Only for a process that has just begun: whatever else owns a descriptor loses it.
///
/// # Errors
/// `/dev/null` cannot be opened, or close_range(2) is missing (before Linux 5.9).
pub fn close_all_but(keep: &mut [RawFd], null: BorrowedFd<'_>) -> io::Result<()> {
    for number in 0..=2 {
        // SAFETY: integers only; 0, 1 and 2 are nobody's OwnedFd.
        check(unsafe { libc::dup2(null.as_raw_fd(), number) }.into())?;
    }
    keep.sort_unstable();
    let mut first: libc::c_uint = 3;
    let mut close = |last: libc::c_uint, next: libc::c_uint| {
        if first <= last {
            // SAFETY: the caller owns nothing in this range.
            check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })?;
        }
        first = next;
        io::Result::Ok(())
    };
    for fd in keep.iter().filter(|&&fd| fd > 2) {
        let fd = fd.cast_unsigned();
        close(fd - 1, fd + 1)?;
    }
    close(libc::c_uint::MAX, libc::c_uint::MAX)
}
