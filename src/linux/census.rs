//! Which processes are there, which of them are new, and what `/proc` says of each: read when it is
//! asked for, and not before.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Read};
use std::ops::RangeInclusive;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{Uid, User};

use super::clock;
use super::process::{self, Stat};
use crate::model::matching::{Cgroups, Facts};
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::time::BootTime;

/// New numbers since the last look from which on it is cheaper to look at everybody.
const MAX_NEW: u32 = 1024;

/// Numbers before the first look that count as new: their processes may not have executed yet.
const FIRST: u32 = 64;

/// How many looks after the first one a process is looked at again: it may have executed its program only
/// then. What does so later after the fork is found as much later again.
const AGAIN: [usize; 5] = [1, 2, 4, 8, 16];

/// Looks after which nobody is young any more.
const OLD: usize = 17;

/// The longest command line that is read, in bytes.
const LONGEST_ARGS: u64 = 256 << 10;

/// The most ancestors that are followed.
const MAX_ANCESTORS: usize = 256;

/// Who is new since the last look. Where nothing was forked meanwhile, that is known from one read: the
/// last field of `/proc/loadavg` is the number that was given out last (in the reader's pid namespace,
/// which is given a number for each process of the namespaces inside of it, too).
#[derive(Debug)]
pub struct Census {
    /// `None` where that file is not the kernel's own (lxcfs puts one of its own over it), or shows the
    /// processes of another namespace than the one that we count in.
    load: Option<File>,
    /// The last number at the last look.
    last: Option<u32>,
    /// The numbers that were new at each look, the last one first.
    young: VecDeque<Option<RangeInclusive<u32>>>,
}

/// Whom to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Newcomers {
    /// Those with one of these numbers, if there are such processes; some are of threads.
    These(Vec<Pid>),
    /// Too many to say, or it cannot be known.
    Everybody,
}

impl Census {
    /// Begins a census.
    #[must_use]
    pub fn new() -> Self {
        let load = File::open("/proc/loadavg").ok();
        let of_kernel = |file: &File| fstatfs(file).is_ok_and(|fs| fs.filesystem_type() == PROC_SUPER_MAGIC);
        let is_ours =
            fs::read_link("/proc/self").is_ok_and(|link| link == Path::new(&std::process::id().to_string()));
        Self { load: load.filter(|file| is_ours && of_kernel(file)), last: None, young: VecDeque::new() }
    }

    /// Whether to tell who is new takes no more than a read.
    #[must_use]
    pub fn is_cheap(&self) -> bool {
        self.load.is_some()
    }

    /// Who is new since the last look, and who was some looks ago and is not old yet.
    pub fn newcomers(&mut self) -> Newcomers {
        // Before anybody is looked at: who comes meanwhile is new the next time.
        let now = self.load.as_ref().and_then(last_pid);
        let last = std::mem::replace(&mut self.last, now);
        let (new, enumerable) = fresh(last, now);
        self.young.push_front(new);
        self.young.truncate(OLD);
        if !enumerable {
            return Newcomers::Everybody;
        }
        let ages = std::iter::once(0).chain(AGAIN);
        let numbers = ages.filter_map(|age| self.young.get(age)?.clone()).flatten();
        Newcomers::These(numbers.filter_map(Pid::new).collect())
    }
}

/// The number of every process.
///
/// # Errors
/// `/proc` cannot be read.
pub fn everybody() -> io::Result<Vec<Pid>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        all.extend(name.to_str().and_then(|name| name.parse().ok()).and_then(Pid::new));
    }
    Ok(all)
}

impl Default for Census {
    fn default() -> Self {
        Self::new()
    }
}

/// The numbers that were given out between two looks, and whether they are known to be all: not after the
/// numbers began anew, and not where there are too many.
fn fresh(last: Option<u32>, now: Option<u32>) -> (Option<RangeInclusive<u32>>, bool) {
    let Some(now) = now else { return (None, false) };
    let before = last.unwrap_or(now.saturating_sub(FIRST));
    match now.checked_sub(before) {
        Some(0) => (None, last.is_some()),
        Some(count) if count <= MAX_NEW => (Some(before + 1..=now), last.is_some()),
        _ => (None, false),
    }
}

fn last_pid(load: &File) -> Option<u32> {
    let mut buffer = [0; 128];
    let length = load.read_at(&mut buffer, 0).ok()?;
    let text = std::str::from_utf8(buffer.get(..length)?).ok()?;
    text.split_ascii_whitespace().next_back()?.parse().ok().filter(|number| *number > 0)
}

/// What was looked up and holds for a while: names of users, and where paths lead to.
#[derive(Debug, Default)]
pub struct Known {
    users: RefCell<HashMap<u32, Option<String>>>,
    targets: RefCell<HashMap<PathBuf, Option<PathBuf>>>,
}

impl Known {
    fn is_user(&self, uid: u32, name: &str) -> bool {
        let mut users = self.users.borrow_mut();
        let look_up = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        users.entry(uid).or_insert_with(look_up).as_deref() == Some(name)
    }

    /// Where a path leads, links followed.
    fn target(&self, path: &Path) -> Option<PathBuf> {
        let mut targets = self.targets.borrow_mut();
        if let Some(known) = targets.get(path) {
            return known.clone();
        }
        let found = fs::canonicalize(path).ok();
        targets.insert(path.to_owned(), found.clone());
        found
    }
}

/// A process, as it was when it was looked at.
#[derive(Debug)]
pub struct Process<'a> {
    stat: Stat,
    now: BootTime,
    known: &'a Known,
    uid: OnceCell<Option<u32>>,
    exe: OnceCell<Option<PathBuf>>,
    cwd: OnceCell<Option<PathBuf>>,
    argv: OnceCell<Vec<u8>>,
    args: OnceCell<String>,
    cgroups: OnceCell<Cgroups>,
    parent: OnceCell<Option<Stat>>,
}

impl<'a> Process<'a> {
    /// Looks at the process with this number; `None` if there is none. The number may be a thread's.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn look(pid: Pid, now: BootTime, known: &'a Known) -> io::Result<Option<Self>> {
        Ok(process::read_stat(pid)?.map(|stat| Self {
            stat,
            now,
            known,
            uid: OnceCell::new(),
            exe: OnceCell::new(),
            cwd: OnceCell::new(),
            argv: OnceCell::new(),
            args: OnceCell::new(),
            cgroups: OnceCell::new(),
            parent: OnceCell::new(),
        }))
    }

    /// Who it is.
    ///
    /// # Errors
    /// `/proc` cannot be read.
    pub fn identity(&self) -> io::Result<ProcessIdentity> {
        self.stat.identity()
    }

    /// Its number.
    #[must_use]
    pub fn pid(&self) -> Pid {
        self.stat.pid
    }

    /// The clock tick at which it began (`/proc/PID/stat`, field 22).
    #[must_use]
    pub fn start_time(&self) -> u64 {
        self.stat.start_time
    }

    /// When it began.
    #[must_use]
    pub fn began(&self) -> BootTime {
        BootTime(0) + clock::ticks(self.stat.start_time)
    }

    /// Whether it has ended, and waits to be reaped.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        self.stat.is_zombie()
    }

    /// Whether it is a thread of the kernel's.
    #[must_use]
    pub fn is_kernel(&self) -> bool {
        self.stat.is_kernel()
    }

    /// The user it runs as (the effective one); `None` if that cannot be read.
    #[must_use]
    pub fn uid(&self) -> Option<u32> {
        *self.uid.get_or_init(|| {
            // Not the owner of /proc/PID, which is root for what may not be dumped.
            let text = fs::read(self.file("status")).ok()?;
            let line = text.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
            std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?.parse().ok()
        })
    }

    /// The file that it executes, as it was named when it did; `None` where that is not ours to see.
    #[must_use]
    pub fn exe(&self) -> Option<&Path> {
        // Another one may have been installed over it.
        self.exe.get_or_init(|| self.link("exe")).as_deref()
    }

    /// The folder that it works in; `None` where that is not ours to see.
    #[must_use]
    pub fn working_dir(&self) -> Option<&Path> {
        self.cwd.get_or_init(|| self.link("cwd")).as_deref()
    }

    /// Where one of the process's links leads, also if nothing is there any more.
    fn link(&self, name: &str) -> Option<PathBuf> {
        let path = fs::read_link(self.file(name)).ok()?;
        let bytes = path.as_os_str().as_bytes();
        let bytes = bytes.strip_suffix(b" (deleted)").unwrap_or(bytes);
        Some(PathBuf::from(std::ffi::OsStr::from_bytes(bytes)))
    }

    /// Those whom it descends from, its parent first, with their names. One that ends meanwhile ends the list.
    #[must_use]
    pub fn ancestors(&self) -> Vec<(ProcessIdentity, Vec<u8>)> {
        let mut all = Vec::new();
        let mut next = self.parent_stat().cloned();
        while let Some(stat) = next.take_if(|_| all.len() < MAX_ANCESTORS) {
            next = Pid::new(stat.parent).and_then(|parent| process::read_stat(parent).ok().flatten());
            let Ok(identity) = stat.identity() else { break };
            all.push((identity, stat.name));
        }
        all
    }

    /// One of the words that it was started with; the first is its own name (`/proc/PID/cmdline`).
    #[must_use]
    pub fn word(&self, n: usize) -> Option<&[u8]> {
        self.argv().split(|byte| *byte == 0).nth(n)
    }

    fn file(&self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.stat.pid).into()
    }

    fn argv(&self) -> &[u8] {
        self.argv.get_or_init(|| {
            let mut bytes = Vec::new();
            let read = File::open(self.file("cmdline"))
                .and_then(|file| file.take(LONGEST_ARGS).read_to_end(&mut bytes));
            if read.is_err() {
                bytes.clear();
            }
            // Programs that write a title over their arguments leave more than one behind.
            bytes.truncate(bytes.len() - bytes.iter().rev().take_while(|byte| **byte == 0).count());
            bytes
        })
    }

    fn parent_stat(&self) -> Option<&Stat> {
        let read = || process::read_stat(Pid::new(self.stat.parent)?).ok().flatten();
        self.parent.get_or_init(read).as_ref()
    }
}

impl Facts for Process<'_> {
    fn name(&self) -> &[u8] {
        &self.stat.name
    }

    fn running_for(&self) -> Duration {
        self.now.since(self.began())
    }

    fn runs_as(&self, user: &str) -> Option<bool> {
        let uid = self.uid()?;
        Some(user.parse() == Ok(uid) || self.known.is_user(uid, user))
    }

    fn args(&self) -> &str {
        self.args.get_or_init(|| {
            let parts = self.argv().split(|byte| *byte == 0).map(String::from_utf8_lossy);
            parts.collect::<Vec<_>>().join(" ")
        })
    }

    fn programs(&self) -> Vec<Cow<'_, str>> {
        // A script stands behind its interpreter, which may have been given an argument.
        let first = self.argv().split(|byte| *byte == 0).take(3);
        let exe = self.exe().map(|exe| exe.as_os_str().as_bytes());
        let file_name = |path: &'_ [u8]| path.rsplit(|byte| *byte == b'/').next().map(|name| name.to_vec());
        let names = exe.into_iter().chain(first).filter_map(file_name);
        names.map(|name| Cow::Owned(String::from_utf8_lossy(&name).into_owned())).collect()
    }

    fn executes(&self, program: &Path) -> Option<bool> {
        let exe = self.exe()?;
        Some(exe == program || self.known.target(program).as_deref() == Some(exe))
    }

    fn works_in(&self, folder: &Path) -> Option<bool> {
        let own = self.working_dir()?;
        Some(own.starts_with(folder) || self.known.target(folder).is_some_and(|real| own.starts_with(real)))
    }

    fn cgroups(&self) -> &Cgroups {
        let read = || fs::read(self.file("cgroup")).unwrap_or_default();
        self.cgroups.get_or_init(|| Cgroups::parse(&String::from_utf8_lossy(&read())))
    }

    fn parent(&self) -> &[u8] {
        self.parent_stat().map_or(&[], |stat| &stat.name)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::process::Command;

    use super::*;
    use crate::linux::clock;

    #[test]
    fn new_numbers_are_those_between_two_looks() {
        assert_eq!(fresh(Some(100), Some(100)), (None, true));
        assert_eq!(fresh(Some(100), Some(103)), (Some(101..=103), true));
        assert_eq!(fresh(None, Some(5)), (Some(1..=5), false));
        assert_eq!(fresh(Some(32_000), Some(310)), (None, false));
        assert_eq!(fresh(Some(100), Some(100 + MAX_NEW + 1)), (None, false));
        assert_eq!(fresh(Some(100), None), (None, false));
    }

    #[test]
    fn who_was_forked_is_looked_at_until_it_is_old() {
        let mut census = Census::new();
        if !census.is_cheap() {
            println!(
                "SKIPPED who_was_forked_is_looked_at_until_it_is_old: /proc/loadavg is not the kernel's"
            );
            return;
        }
        assert_eq!(census.newcomers(), Newcomers::Everybody);
        let mut child = Command::new("/bin/sleep").arg("60").spawn().expect("sleep");
        let pid = Pid::new(child.id()).expect("a pid");
        let new = |census: &mut Census| match census.newcomers() {
            Newcomers::These(list) => list.contains(&pid),
            Newcomers::Everybody => panic!("a thousand processes were made meanwhile"),
        };
        let looks: Vec<usize> = (0..40).filter(|_| new(&mut census)).collect();
        assert_eq!(looks, [0, 1, 2, 4, 8, 16]);
        assert!(everybody().expect("proc").contains(&pid));
        child.kill().expect("our child");
        child.wait().expect("our child");
    }

    #[test]
    fn a_process_is_as_it_is() {
        let known = Known::default();
        let me = process::current().expect("proc");
        let seen = Process::look(me.pid, clock::boot(), &known).expect("proc").expect("alive");
        let exe = std::env::current_exe().expect("exe");
        assert_eq!(
            (seen.identity().expect("boot id"), seen.is_zombie(), seen.is_kernel()),
            (me, false, false)
        );
        let not = Some(false);
        assert_eq!((seen.executes(&exe), seen.executes(Path::new("/bin/sleep"))), (Some(true), not));
        // A path with a link in it leads there, too.
        let temp = tempfile::tempdir().expect("tempdir");
        let link = temp.path().join("link");
        std::os::unix::fs::symlink(&exe, &link).expect("link");
        assert_eq!(seen.executes(&link), Some(true));
        let here = std::env::current_dir().expect("a folder");
        let other = temp.path().join("here");
        std::os::unix::fs::symlink(&here, &other).expect("link");
        for folder in [here.as_path(), Path::new("/"), &other] {
            assert_eq!(seen.works_in(folder), Some(true), "{folder:?}");
        }
        assert_eq!((seen.works_in(temp.path()), seen.works_in(&here.join("src"))), (not, not));
        let uid = nix::unistd::geteuid();
        assert_eq!(seen.runs_as(&uid.to_string()), Some(true));
        assert_eq!((seen.runs_as("4294967290"), seen.runs_as("no-such-user")), (not, not));
        if let Ok(Some(user)) = User::from_uid(uid) {
            assert_eq!(seen.runs_as(&user.name), Some(true));
        }
        let own: Vec<String> = std::env::args().collect();
        assert_eq!(seen.args(), own.join(" "));
        assert!(seen.cgroups().is_below("/"));
        let names: HashSet<_> = seen.programs().into_iter().map(Cow::into_owned).collect();
        assert!(names.contains(exe.file_name().and_then(|name| name.to_str()).expect("a name")));
        assert!(seen.running_for() < Duration::from_secs(3600));
        let line = seen.ancestors();
        assert_eq!(line.first().map(|(_, name)| name.as_slice()), Some(seen.parent()));
    }
}
