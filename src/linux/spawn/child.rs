//! The child, from fork to exec.
//!
//! Everything it needs is made before the fork. In the child there is no allocation, no lock and no log: only
//! calls that signal-safety(7) lists, or bare system calls. A failing step is told to the parent, by its number
//! and errno. Nobody else needs `unsafe` to start a program.
#![allow(unsafe_code)]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use nix::errno::Errno;

use super::line::{CGROUP, CPUS, IO_CLASS, Message, NICE, OOM_SCORE_ADJ, READY, Step};
use super::plan::{Manner, Plan};
use crate::linux::rlimits::Raw;
use crate::linux::sys;

/// What the child works with. Made by the parent, only read by the child.
pub(super) struct Setup<'a> {
    plan: &'a Plan,
    /// The lists that execve(2) takes. They point into the plan.
    argv: Vec<*const libc::c_char>,
    environment: Vec<*const libc::c_char>,
    /// What becomes 0, 1 and 2.
    stdio: [BorrowedFd<'a>; 3],
    line: BorrowedFd<'a>,
    line_of_parent: BorrowedFd<'a>,
    /// The signals that have another disposition than they are to have.
    signals: &'a [i32],
}

impl<'a> Setup<'a> {
    /// What the plan holds, and beside it: the signals whose disposition is to change, what becomes 0, 1 and 2, and
    /// both ends of the line.
    pub(super) fn new(
        plan: &'a Plan,
        signals: &'a [i32],
        stdio: [BorrowedFd<'a>; 3],
        line: BorrowedFd<'a>,
        line_of_parent: BorrowedFd<'a>,
    ) -> Self {
        let (argv, environment) = (pointers(&plan.argv), pointers(&plan.environment));
        Self { plan, argv, environment, stdio, line, line_of_parent, signals }
    }

    /// Makes the child in a cgroup, by its directory of version 2 (clone3(2)). Returns in the parent only: the child's
    /// number.
    ///
    /// # Errors
    /// The kernel's: it is older than Linux 5.7, or a filter forbids the call.
    pub(super) fn clone_into(&self, dir: BorrowedFd<'_>) -> io::Result<i32> {
        let args = CloneArgs {
            flags: CLONE_INTO_CGROUP,
            exit_signal: libc::SIGCHLD as u64,
            cgroup: dir.as_raw_fd() as u64,
            ..CloneArgs::default()
        };
        // SAFETY: the struct is the kernel's, of the size that is given; without a stack and without shared
        // memory this is fork(2), and the new process has copies of everything this one has.
        match unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<CloneArgs>()) } {
            // SAFETY: this is the child, and everything `self` borrows outlives it here.
            0 => unsafe { self.child(&[]) },
            pid => made(i32::try_from(pid).unwrap_or(-1)),
        }
    }

    /// Makes the child, which first writes itself into these files of its cgroup (fork(2)). Returns in the parent
    /// only: the child's number.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn fork(&self, cgroup: &[OwnedFd]) -> io::Result<i32> {
        // SAFETY: the child runs `Setup::child` only, which never returns, allocates nothing, takes no lock
        // and makes only async-signal-safe calls; this holds even if this process had other threads.
        match unsafe { libc::fork() } {
            // SAFETY: this is the child, and everything `self` borrows outlives it here.
            0 => unsafe { self.child(cgroup) },
            pid => made(pid),
        }
    }

    /// The life of the child until exec.
    ///
    /// # Safety
    /// Only in a process that fork(2) just made.
    unsafe fn child(&self, cgroup: &[OwnedFd]) -> ! {
        // SAFETY: every call below is async-signal-safe, and is given integers or pointers to memory
        // that was made before the fork and stays as it is.
        unsafe {
            // Open here, too, it would keep the word from ever failing to come.
            libc::close(self.line_of_parent.as_raw_fd());
            // First: everything from here on is charged to the job.
            for file in cgroup {
                if libc::write(file.as_raw_fd(), c"0".as_ptr().cast(), 1) == -1 {
                    self.tell(CGROUP, errno());
                }
            }
            let (session, ignored): (bool, &[i32]) = match &self.plan.manner {
                Manner::Service => (true, &[]),
                Manner::Command { session, ignored } => (*session, ignored),
            };
            if session && libc::setsid() == -1 {
                self.fail(Step::Session);
            }
            reset_signals(self.signals, ignored);
            self.attributes();
            if let Some(umask) = self.plan.umask {
                libc::umask(umask as libc::mode_t);
            }
            for (to, from) in (0..).zip(self.stdio) {
                if libc::dup2(from.as_raw_fd(), to) == -1 {
                    self.fail(Step::Stdio);
                }
            }
            // While it may still have the privilege to raise them.
            self.rlimits();
            self.credentials();
            if libc::chdir(self.plan.working_dir.as_ptr()) == -1 {
                self.fail(Step::WorkingDir);
            }
            self.tell(READY, 0);
            self.await_word();
            // Whatever may have slipped past close-on-exec. Kernels before 5.11 lack the flag: there the
            // wrapper's own descriptors are close-on-exec all the same.
            if self.plan.manner == Manner::Service {
                libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            }
            self.execute()
        }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn attributes(&self) {
        // SAFETY: as in `child`.
        unsafe {
            // What is not asked for is the kernel's default, not what the supervisor happens to have:
            // with an inherited oom_score_adj of -1000 no limit of the job's would ever end it. Where
            // the kernel refuses, nothing was promised. A command has what its caller has.
            let service = self.plan.manner == Manner::Service;
            if let Some(nice) = self.plan.nice.or(service.then_some(0))
                && libc::setpriority(libc::PRIO_PROCESS as _, 0, nice.into()) == -1
                && self.plan.nice.is_some()
            {
                self.tell(NICE, errno());
            }
            // As with nice: not even best-effort, which would no longer follow nice.
            if let Some(value) = self.plan.io_priority.or(service.then_some(0))
                && libc::syscall(libc::SYS_ioprio_set, sys::IOPRIO_THREAD, 0, value) == -1
                && self.plan.io_priority.is_some()
            {
                self.tell(IO_CLASS, errno());
            }
            // Unset, the affinity is what was inherited: who started the supervisor, or isolated CPUs at
            // boot, keeps all workloads off some.
            if let Some(cpus) = &self.plan.cpus {
                let words = cpus.words();
                let size = size_of_val(words);
                if libc::syscall(libc::SYS_sched_setaffinity, 0, size, words.as_ptr()) == -1 {
                    self.tell(CPUS, errno());
                }
            }
            let value = self.plan.oom_score_adj.as_deref();
            if let Some(value) = value.or(service.then_some(c"0"))
                && let Err(errno) = write_oom_score_adj(value)
                && self.plan.oom_score_adj.is_some()
            {
                self.tell(OOM_SCORE_ADJ, errno);
            }
        }
    }

    /// Sets the limits; one that is above what is allowed, as near to it as can be.
    ///
    /// # Safety
    /// As [`Setup::child`].
    unsafe fn rlimits(&self) {
        for &(code, number, wanted) in &self.plan.rlimits {
            // SAFETY: as in `child`; prlimit(2) of this process, on the kernel's own struct of two numbers.
            // The C libraries' calls have other ones, and some of them take locks.
            unsafe {
                let this = 0;
                let (read, written) = (ptr::null_mut::<Raw>(), ptr::null::<Raw>());
                if libc::syscall(libc::SYS_prlimit64, this, number, &raw const wanted, read) == 0 {
                    continue;
                }
                self.tell(code, errno());
                let mut allowed: Raw = [0; 2];
                if libc::syscall(libc::SYS_prlimit64, this, number, written, &raw mut allowed) == 0 {
                    let [_, hard] = allowed;
                    let nearest: Raw = wanted.map(|value| value.min(hard));
                    libc::syscall(libc::SYS_prlimit64, this, number, &raw const nearest, read);
                }
            }
        }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn credentials(&self) {
        let Some(credentials) = &self.plan.credentials else { return };
        // SAFETY: as in `child`. The C libraries apply these calls to all threads by signalling them; the
        // child of a fork has only one.
        unsafe {
            if libc::setgroups(credentials.groups.len() as _, credentials.groups.as_ptr()) == -1 {
                self.fail(Step::Groups);
            }
            if libc::setgid(credentials.gid) == -1 {
                self.fail(Step::Gid);
            }
            if libc::setuid(credentials.uid) == -1 {
                self.fail(Step::Uid);
            }
            let (one, zero): (libc::c_ulong, libc::c_ulong) = (1, 0);
            if libc::prctl(libc::PR_SET_NO_NEW_PRIVS, one, zero, zero, zero) == -1 {
                self.fail(Step::NoNewPrivileges);
            }
        }
    }

    /// Returns when the parent says so; ends the process when the parent is gone or has decided otherwise.
    ///
    /// # Safety
    /// As [`Setup::child`].
    unsafe fn await_word(&self) {
        let mut word = 0_u8;
        loop {
            // SAFETY: one byte, into a local of one byte.
            match unsafe { libc::read(self.line.as_raw_fd(), (&raw mut word).cast(), 1) } {
                1 => return,
                -1 if errno() == libc::EINTR => {}
                // SAFETY: ends this process, without running anything of the parent's.
                _ => unsafe { libc::_exit(127) },
            }
        }
    }

    /// Executes the first candidate that can be, as execvp(3) does, but never through a shell.
    ///
    /// # Safety
    /// As [`Setup::child`].
    unsafe fn execute(&self) -> ! {
        let mut remembered = libc::ENOENT;
        for path in &self.plan.candidates {
            // SAFETY: the lists end in null and, like the path, point to memory that is still there.
            unsafe { libc::execve(path.as_ptr(), self.argv.as_ptr(), self.environment.as_ptr()) };
            match errno() {
                libc::ENOENT | libc::ENOTDIR => {}
                libc::EACCES => remembered = libc::EACCES,
                // SAFETY: as in `child`.
                other => unsafe { self.fail_with(Step::Exec, other) },
            }
        }
        // SAFETY: as in `child`.
        unsafe { self.fail_with(Step::Exec, remembered) }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn fail(&self, step: Step) -> ! {
        // SAFETY: as in `child`.
        unsafe { self.fail_with(step, errno()) }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn fail_with(&self, step: Step, errno: i32) -> ! {
        // SAFETY: as in `child`.
        unsafe {
            self.tell(step.code(), errno);
            libc::_exit(127)
        }
    }

    /// # Safety
    /// As [`Setup::child`].
    unsafe fn tell(&self, code: i32, errno: i32) {
        let message: Message = [code, errno];
        // SAFETY: the message is a local; so few bytes are sent whole or not at all. If the parent
        // is gone, there is nobody to tell.
        unsafe { libc::write(self.line.as_raw_fd(), message.as_ptr().cast(), size_of::<Message>()) };
    }
}

/// Gives these signals their default, but for those that stay ignored, then empties the mask.
///
/// # Safety
/// Async-signal-safe; changes the whole process.
unsafe fn reset_signals(signals: &[i32], ignored: &[i32]) {
    // The kernel's own call, because the C libraries refuse to touch the signals they keep for
    // themselves, of which an ancestor may have ignored one. All zeros: SIG_DFL, no flags, no mask.
    let default = [0_u64; 8];
    let mut ignore = default;
    // The first member is the handler, as wide as an address.
    ignore[0] = libc::SIG_IGN as u64;
    let set_size: libc::size_t = 8;
    for &signal in signals {
        let disposition = if ignored.contains(&signal) { &ignore } else { &default };
        // SAFETY: either is larger than the kernel's struct sigaction. SIGKILL and SIGSTOP answer
        // EINVAL, which is as it should be.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                disposition.as_ptr(),
                ptr::null_mut::<libc::c_void>(),
                set_size,
            )
        };
    }
    // SAFETY: an empty set of the kernel's size.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            default.as_ptr(),
            ptr::null_mut::<libc::c_void>(),
            set_size,
        )
    };
}

/// Writes this process's own value.
///
/// # Safety
/// Async-signal-safe.
unsafe fn write_oom_score_adj(value: &CStr) -> Result<(), i32> {
    // SAFETY: constant path, and a text whose length is known.
    unsafe {
        let fd = libc::open(c"/proc/self/oom_score_adj".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if fd == -1 {
            return Err(errno());
        }
        let written = libc::write(fd, value.as_ptr().cast(), value.count_bytes());
        let result = if written == -1 { Err(errno()) } else { Ok(()) };
        libc::close(fd);
        result
    }
}

/// The kernel's `struct clone_args` (clone3(2)).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// clone3(2), since Linux 5.7. libc's constant of this name does not fit its type, and is 0.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// A list as execve(2) takes it, ending in null.
fn pointers(list: &[CString]) -> Vec<*const libc::c_char> {
    list.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// The number that fork(2) gave.
fn made(pid: i32) -> io::Result<i32> {
    if pid == -1 { Err(io::Error::last_os_error()) } else { Ok(pid) }
}

/// The calling thread's errno.
fn errno() -> i32 {
    Errno::last_raw()
}
