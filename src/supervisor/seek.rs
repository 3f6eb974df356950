//! Which processes the attach jobs mean: found as soon as they are there, without a look at every
//! process. The kernel tells of new ones where it may (the process events connector); else one read a
//! second tells whether anything was forked, and then only the new ones are looked at. Every half a minute
//! everybody is looked at, for what no event told: who was renamed, or moved into a unit.
//!
//! Without rules nothing is open and nothing wakes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tracing::{info, warn};

use crate::linux::census::{Census, Known, Newcomers, Process, everybody};
use crate::linux::pid_file::{PidFile, Stamp};
use crate::linux::proc_events::{Filter, Kind, ProcEvent, ProcEvents};
use crate::linux::process::PidFd;
use crate::model::ids::JobId;
use crate::model::job::{Attach, Target};
use crate::model::matching::{Facts, Fit, Rule};
use crate::model::process::{Pid, ProcessIdentity};
use crate::model::time::BootTime;

/// Between two looks at everybody.
const EVERYBODY: Duration = Duration::from_secs(30);

/// Between two looks at who is new, where the kernel does not tell.
const NEWCOMERS: Duration = Duration::from_secs(1);

/// Before a process is looked at again that just began, and fits but for its user, folder, cgroup or parent: it
/// gets these from whoever starts it, a moment later.
const SETTLED: Duration = Duration::from_secs(1);

/// Between two looks at a pid file whose process is not there.
const PID_FILE: Duration = Duration::from_secs(1);

/// Our programs, by name: what they are and what descends from them is governed already.
const OURS: [&str; 2] = ["ffrtmp", "ffrtmp-sup"];

/// The token of the connector among the sources of events; the others are process numbers.
const CONNECTOR: u64 = 0;

/// What is found for a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The processes that are meant, the oldest first. None: none fits now.
    Processes(Vec<ProcessIdentity>),
    /// The process of `pid` does not exist, or has ended.
    NoSuchProcess(String),
    /// `pid_file` names no process now, and why.
    Unreadable(String),
    /// The process that is named is none that may be governed, and why.
    Refused(String),
}

/// Who looks.
#[derive(Debug)]
pub struct Seeker {
    jobs: BTreeMap<JobId, Sought>,
    /// The processes that are meant by some job.
    candidates: HashMap<Pid, Candidate>,
    /// Who is looked at again, and when.
    due: BTreeSet<(BootTime, Pid)>,
    governed: HashSet<ProcessIdentity>,
    /// The jobs whose processes are others than at the last look.
    changed: BTreeSet<JobId>,
    /// Where the kernel does not tell.
    census: Option<Census>,
    known: Known,
    sources: Option<Sources>,
    /// When everybody is looked at next.
    everybody_at: BootTime,
    /// When newcomers are.
    newcomers_at: BootTime,
    /// It was said that the kernel does not tell.
    told: bool,
    /// The connector is not to be used.
    scan_only: bool,
}

/// A job, and the processes that it means.
#[derive(Debug)]
struct Sought {
    attach: Attach,
    by: By,
    /// By age. Of those with a number one at most.
    fits: BTreeSet<(u64, Pid)>,
}

/// How the processes of a job are found.
#[derive(Debug)]
enum By {
    Rule(Box<Rule>),
    /// Once, because a number alone means another process later.
    Number {
        pid: Pid,
        outcome: Option<Found>,
    },
    File {
        path: PathBuf,
        stamp: Option<Stamp>,
        outcome: Option<Found>,
        check_at: BootTime,
    },
    /// Never, and why.
    Nothing(String),
}

/// A process that is meant by some job.
#[derive(Debug)]
struct Candidate {
    process: ProcessIdentity,
    /// Itself, and those whom it descended from when it was found.
    line: Vec<ProcessIdentity>,
    /// Tells of its end. Among the sources.
    _pidfd: PidFd,
}

impl Seeker {
    /// One that has nothing to look for.
    #[must_use]
    pub fn new() -> Self {
        Self {
            jobs: BTreeMap::new(),
            candidates: HashMap::new(),
            due: BTreeSet::new(),
            governed: HashSet::new(),
            changed: BTreeSet::new(),
            census: None,
            known: Known::default(),
            sources: None,
            everybody_at: BootTime(0),
            newcomers_at: BootTime(0),
            told: false,
            scan_only: false,
        }
    }

    /// One that does without the kernel's events, as where they are not to be had.
    #[must_use]
    pub fn scanning() -> Self {
        Self { scan_only: true, ..Self::new() }
    }

    /// Whether the kernel tells of new processes; false too while there is no rule.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.sources.as_ref().is_some_and(|sources| sources.events.is_some())
    }

    /// Whether processes are looked for on behalf of this job.
    #[must_use]
    pub fn seeks(&self, job: &JobId) -> bool {
        self.jobs.contains_key(job)
    }

    /// Sets whom the jobs mean. What is as before stays as it was found. Has to be called within a tokio
    /// runtime. The next [`Seeker::look`] finds who is there, and is due at once if anything is new.
    pub fn set_rules(&mut self, rules: BTreeMap<JobId, Attach>) {
        let same = self.jobs.iter().map(|(job, sought)| (job, &sought.attach)).eq(&rules);
        if same {
            return;
        }
        let mut before = std::mem::take(&mut self.jobs);
        for (job, attach) in rules {
            let sought = match before.remove(&job) {
                Some(sought) if sought.attach == attach => sought,
                _ => {
                    self.changed.insert(job.clone());
                    self.everybody_at = BootTime(0);
                    Sought::new(attach)
                }
            };
            self.jobs.insert(job, sought);
        }
        self.changed.extend(before.into_keys());
        let in_use: HashSet<Pid> =
            self.jobs.values().flat_map(|sought| &sought.fits).map(|fit| fit.1).collect();
        self.candidates.retain(|pid, _| in_use.contains(pid));
        self.open();
    }

    /// Sets who is governed otherwise: the wrappers, and the main processes of the runs that we started.
    /// These are nobody's candidates, nor is who descends from them.
    pub fn set_governed(&mut self, processes: HashSet<ProcessIdentity>) {
        if self.governed == processes {
            return;
        }
        let before = std::mem::replace(&mut self.governed, processes);
        let is_in = |set: &HashSet<ProcessIdentity>, line: &[ProcessIdentity]| {
            line.iter().any(|one| set.contains(one))
        };
        let turned = |one: &&Candidate| is_in(&before, &one.line) != is_in(&self.governed, &one.line);
        for candidate in self.candidates.values().filter(turned) {
            let fit = candidate.fit();
            let meant = self.jobs.iter().filter(|(_, sought)| sought.fits.contains(&fit));
            self.changed.extend(meant.map(|(job, _)| job.clone()));
        }
    }

    /// Whom a job means now, as far as the last look told.
    #[must_use]
    pub fn found(&self, job: &JobId) -> Found {
        let Some(sought) = self.jobs.get(job) else { return Found::Processes(Vec::new()) };
        let outcome = match &sought.by {
            By::Number { outcome, .. } | By::File { outcome, .. } => outcome.clone(),
            By::Nothing(why) => Some(Found::Refused(why.clone())),
            By::Rule(_) => None,
        };
        if let Some(outcome) = outcome {
            return outcome;
        }
        let mut processes = Vec::new();
        for candidate in sought.fits.iter().filter_map(|(_, pid)| self.candidates.get(pid)) {
            let governed = candidate.line.iter().any(|one| self.governed.contains(one));
            if governed && !matches!(sought.by, By::Rule(_)) {
                return Found::Refused(belongs_to_us(candidate.process.pid));
            }
            if !governed {
                processes.push(candidate.process.clone());
            }
        }
        Found::Processes(processes)
    }

    /// Takes note that a process has ended, of which no event may have told yet.
    pub fn note_end(&mut self, process: &ProcessIdentity) {
        if self.candidates.get(&process.pid).is_some_and(|known| known.process == *process) {
            self.forget(process.pid);
        }
    }

    /// When to look, if no event tells before. `None`: never.
    #[must_use]
    pub fn wake(&self) -> Option<BootTime> {
        if !self.changed.is_empty() {
            return Some(BootTime(0));
        }
        let by_rule = self.jobs.values().any(|sought| matches!(sought.by, By::Rule(_)));
        let everybody = (by_rule || self.everybody_at == BootTime(0)).then_some(self.everybody_at);
        let newcomers = (by_rule && !self.is_told()).then_some(self.newcomers_at);
        let due = self.due.first().map(|(at, _)| *at);
        let files = self.jobs.values().filter_map(Sought::check_at).min();
        let next = [everybody, newcomers, due, files].into_iter().flatten().min();
        next.filter(|_| !self.jobs.is_empty())
    }

    /// Waits until there is an event: then a look is due. For ever where nothing is sought.
    pub async fn readable(&self) {
        match &self.sources {
            // An error is as good as an event.
            Some(sources) => drop(sources.queue.readable().await.map(|mut ready| ready.clear_ready())),
            None => std::future::pending().await,
        }
    }

    /// Takes note of what happened and of what is due. Gives the jobs of which [`Seeker::found`] may say
    /// something else than before.
    pub fn look(&mut self, now: BootTime) -> BTreeSet<JobId> {
        if self.jobs.is_empty() {
            return std::mem::take(&mut self.changed);
        }
        let mut pids = self.events();
        if self.everybody_at <= now {
            pids = None;
        }
        let by_rule = self.jobs.values().any(|sought| matches!(sought.by, By::Rule(_)));
        if by_rule && !self.is_told() && self.newcomers_at <= now {
            self.newcomers_at = now + NEWCOMERS;
            match self.census.get_or_insert_default().newcomers() {
                Newcomers::These(new) => pids.iter_mut().for_each(|pids| pids.extend(&new)),
                Newcomers::Everybody => pids = None,
            }
        }
        match pids {
            _ if !by_rule => self.everybody_at = now + EVERYBODY,
            Some(pids) => {
                for pid in pids {
                    if self.examine(pid, now) && self.is_told() {
                        self.due.insert((now + SETTLED, pid));
                    }
                }
            }
            None => self.everybody(now),
        }
        while let Some((at, pid)) = self.due.pop_first() {
            if at > now {
                self.due.insert((at, pid));
                break;
            }
            let _ = self.examine(pid, now);
        }
        self.named(now);
        std::mem::take(&mut self.changed)
    }

    /// What was told: whom to look at; `None` for everybody.
    fn events(&mut self) -> Option<BTreeSet<Pid>> {
        let mut pids = BTreeSet::new();
        let (mut told, mut more) = (false, true);
        while let Some(sources) = self.sources.as_ref().filter(|_| more) {
            let ready = sources.ready();
            (told, more) = (told || ready.told, ready.more);
            // Which closes what told of it: or it would be told again.
            ready.ended.into_iter().for_each(|pid| self.forget(pid));
        }
        let events = self.sources.as_mut().filter(|_| told).and_then(|sources| sources.events.as_mut());
        let Some(events) = events else { return Some(pids) };
        let events = match events.read() {
            Ok(events) => events,
            Err(error) => {
                warn!("the kernel does not tell of processes any more: {error}; they are looked for instead");
                self.sources.iter_mut().for_each(|sources| sources.events = None);
                return None;
            }
        };
        let parents_matter = self.jobs.values().any(Sought::asks_for_parent);
        for event in events {
            match event {
                ProcEvent::Exec { pid } | ProcEvent::Comm { pid } => drop(pids.insert(pid)),
                // Until it executes something, it is as its parent is.
                ProcEvent::Fork { parent, child } => {
                    if parents_matter || pids.contains(&parent) || self.is_of_interest(parent) {
                        pids.insert(child);
                    }
                }
                ProcEvent::Exit { .. } => {}
                ProcEvent::Lost => return None,
            }
        }
        Some(pids)
    }

    fn is_of_interest(&self, pid: Pid) -> bool {
        self.candidates.contains_key(&pid) || self.due.iter().any(|(_, waiting)| *waiting == pid)
    }

    /// Looks at everybody.
    fn everybody(&mut self, now: BootTime) {
        self.everybody_at = now + EVERYBODY;
        // Users are added, and links are set to other programs.
        self.known = Known::default();
        if self.sources.is_none() {
            self.open();
        }
        match everybody() {
            Ok(all) => {
                for pid in all {
                    let _ = self.examine(pid, now);
                }
            }
            Err(error) => warn!("cannot look for processes to attach to: /proc: {error}"),
        }
    }

    /// Looks at one process, and for which rules it fits. Whether it may soon fit one more, without an event.
    fn examine(&mut self, pid: Pid, now: BootTime) -> bool {
        let seen = match Process::look(pid, now, &self.known) {
            Ok(Some(seen)) if !seen.is_zombie() && refusal(&seen).is_none() => seen,
            Ok(_) => {
                self.forget(pid);
                return false;
            }
            Err(_) => return false,
        };
        let fit = (seen.start_time(), pid);
        if self.candidates.get(&pid).is_some_and(|known| known.fit() != fit) {
            return self.examine_successor(pid, now);
        }
        let rules = self.jobs.iter().filter_map(|(job, sought)| Some((job, sought.rule()?)));
        let mut fitting = BTreeSet::new();
        let (mut soonest, mut unsettled) = (None, false);
        for (job, rule) in rules {
            match rule.fits(&seen) {
                Fit::Yes => drop(fitting.insert(job.clone())),
                Fit::In(rest) => soonest = Some(soonest.map_or(rest, |known| rest.min(known))),
                Fit::NotNow => unsettled = true,
                Fit::No => {}
            }
        }
        if let Some(rest) = soonest {
            self.due.insert((now + rest, pid));
        }
        if fitting.is_empty() && !self.candidates.contains_key(&pid) {
            return unsettled;
        }
        let admitted = self.candidates.contains_key(&pid) || {
            let candidate = self.sources.as_ref().and_then(|sources| Candidate::admit(&seen, sources));
            candidate.map(|candidate| self.candidates.insert(pid, candidate)).is_some()
        };
        if !admitted {
            return unsettled;
        }
        for (job, sought) in self.jobs.iter_mut().filter(|(_, sought)| sought.rule().is_some()) {
            let turned = match fitting.contains(job) {
                true => sought.fits.insert(fit),
                false => sought.fits.remove(&fit),
            };
            if turned {
                self.changed.insert(job.clone());
            }
        }
        if !self.jobs.values().any(|sought| sought.fits.contains(&fit)) {
            self.candidates.remove(&pid);
        }
        unsettled
    }

    /// The number of a candidate is another's now.
    fn examine_successor(&mut self, pid: Pid, now: BootTime) -> bool {
        self.forget(pid);
        self.examine(pid, now)
    }

    /// A process is gone.
    fn forget(&mut self, pid: Pid) {
        self.due.retain(|(_, waiting)| *waiting != pid);
        let Some(candidate) = self.candidates.remove(&pid) else { return };
        let fit = candidate.fit();
        for (job, sought) in &mut self.jobs {
            if sought.fits.remove(&fit) {
                sought.ended(pid);
                self.changed.insert(job.clone());
            }
        }
    }

    /// Looks for the processes that are named by number or file.
    fn named(&mut self, now: BootTime) {
        let Self { jobs, sources, candidates, known, changed, .. } = self;
        let Some(sources) = sources else { return };
        for (job, sought) in jobs.iter_mut().filter(|(_, sought)| sought.fits.is_empty()) {
            let (before, result) = match &mut sought.by {
                By::Number { pid, outcome: outcome @ None } => (outcome, named(*pid, now, known)),
                By::File { path, stamp, outcome, check_at } if *check_at <= now => {
                    *check_at = now + PID_FILE;
                    let fresh = Stamp::look(path);
                    // What is written there was judged already.
                    if fresh.is_some() && fresh == *stamp {
                        continue;
                    }
                    (outcome, read(path, stamp, now, known))
                }
                _ => continue,
            };
            let result = result.and_then(|seen| {
                let pid = seen.pid();
                let candidate = match candidates.contains_key(&pid) {
                    true => None,
                    false => Some(Candidate::watch(&seen, sources)?),
                };
                Ok((seen.start_time(), pid, candidate))
            });
            let outcome = match result {
                Ok((start_time, pid, candidate)) => {
                    candidates.extend(candidate.map(|candidate| (pid, candidate)));
                    sought.fits.insert((start_time, pid));
                    None
                }
                Err(found) => Some(found),
            };
            if *before != outcome || outcome.is_none() {
                *before = outcome;
                changed.insert(job.clone());
            }
        }
    }

    /// Opens what tells of events, or closes it where nothing is sought.
    fn open(&mut self) {
        if self.jobs.is_empty() {
            (self.sources, self.census) = (None, None);
            self.due.clear();
            return;
        }
        if self.sources.is_none() {
            match Sources::new() {
                Ok(sources) => self.sources = Some(sources),
                Err(error) => warn!("cannot watch the processes of attach jobs: {error}"),
            }
        }
        let by_rule = self.jobs.values().any(|sought| matches!(sought.by, By::Rule(_)));
        let Some(sources) = &mut self.sources else { return };
        if !by_rule {
            sources.events = None;
        } else if sources.events.is_none() && !self.scan_only {
            match sources.listen() {
                // From now on; before, nobody listened.
                Ok(()) => (self.everybody_at, self.census) = (BootTime(0), None),
                Err(error) if !self.told => {
                    self.told = true;
                    let cost = match self.census.get_or_insert_default().is_cheap() {
                        true => "that takes some 20 us, and as much for each one that was made meanwhile",
                        false => "all of them, which takes some 10 ms for a thousand",
                    };
                    info!(
                        "the kernel does not tell us of new processes ({error}), so those that [attach] rules fit \
                         are looked for every second: {cost}"
                    );
                }
                Err(_) => {}
            }
        }
    }
}

impl Default for Seeker {
    fn default() -> Self {
        Self::new()
    }
}

impl Sought {
    fn new(attach: Attach) -> Self {
        let by = match &attach.target {
            Target::Pid(pid) => By::Number { pid: *pid, outcome: None },
            Target::PidFile(path) => {
                By::File { path: path.clone(), stamp: None, outcome: None, check_at: BootTime(0) }
            }
            Target::Match(fit) => match Rule::new(fit) {
                Ok(rule) => By::Rule(Box::new(rule)),
                Err(error) => By::Nothing(format!("attach.match.args: {error}")),
            },
        };
        Self { attach, by, fits: BTreeSet::new() }
    }

    fn rule(&self) -> Option<&Rule> {
        match &self.by {
            By::Rule(rule) => Some(rule),
            _ => None,
        }
    }

    fn asks_for_parent(&self) -> bool {
        self.rule().is_some_and(Rule::asks_for_parent)
    }

    /// When the pid file is looked at next; `None` while its process lives, and for other jobs.
    fn check_at(&self) -> Option<BootTime> {
        match &self.by {
            By::File { check_at, .. } if self.fits.is_empty() => Some(*check_at),
            _ => None,
        }
    }

    /// The process with this number has ended.
    fn ended(&mut self, pid: Pid) {
        match &mut self.by {
            By::Number { outcome, .. } => {
                *outcome = Some(Found::NoSuchProcess(format!("process {pid} has ended")))
            }
            By::File { path, outcome, check_at, .. } => {
                *outcome = Some(does_not_exist(pid, path));
                *check_at = BootTime(0);
            }
            By::Rule(_) | By::Nothing(_) => {}
        }
    }
}

impl Candidate {
    /// A process that fits a rule; `None` if it is one of ours, is gone, or cannot be watched.
    fn admit(seen: &Process<'_>, sources: &Sources) -> Option<Self> {
        let line = descent(seen).ok()?;
        Self::open(line, sources).ok().flatten()
    }

    /// A process that is named.
    fn watch(seen: &Process<'_>, sources: &Sources) -> Result<Self, Found> {
        let pid = seen.pid();
        let line = descent(seen).map_err(Found::Refused)?;
        match Self::open(line, sources) {
            Ok(Some(candidate)) => Ok(candidate),
            Ok(None) => Err(Found::NoSuchProcess(format!("process {pid} has ended"))),
            // pidfd_open(2) tells so.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOENT)) => {
                Err(Found::Refused(format!("{pid} is the number of a thread, not of a process")))
            }
            Err(error) => Err(Found::Refused(format!("process {pid} cannot be watched: {error}"))),
        }
    }

    fn open(line: Vec<ProcessIdentity>, sources: &Sources) -> io::Result<Option<Self>> {
        let Some(process) = line.first().cloned() else { return Ok(None) };
        let Some(pidfd) = PidFd::open(&process)? else { return Ok(None) };
        sources.add(&pidfd, number(process.pid))?;
        Ok(Some(Self { process, line, _pidfd: pidfd }))
    }

    fn fit(&self) -> (u64, Pid) {
        (self.process.start_time, self.process.pid)
    }
}

/// A process and those whom it descends from.
///
/// # Errors
/// It is one of ours, and which.
fn descent(seen: &Process<'_>) -> Result<Vec<ProcessIdentity>, String> {
    let pid = seen.pid();
    let gone = |_| format!("process {pid} cannot be identified: /proc cannot be read");
    let is_ours = |name: &[u8]| OURS.iter().any(|ours| ours.as_bytes() == name);
    let exe = seen.exe().and_then(Path::file_name);
    if is_ours(seen.name()) || exe.is_some_and(|exe| OURS.iter().any(|ours| exe == *ours)) {
        return Err(format!("process {pid} is a program of ours"));
    }
    let ancestors = seen.ancestors();
    if ancestors.iter().any(|(_, name)| is_ours(name)) {
        return Err(belongs_to_us(pid));
    }
    let line = std::iter::once(seen.identity().map_err(gone)?);
    Ok(line.chain(ancestors.into_iter().map(|(process, _)| process)).collect())
}

/// Who is never governed, whatever a job says, and why.
fn refusal(seen: &Process<'_>) -> Option<String> {
    let pid = seen.pid();
    if pid.as_raw() == 1 {
        return Some("process 1 is the host's init, of which everything else descends".into());
    }
    if seen.is_kernel() {
        return Some(format!("process {pid} is a thread of the kernel's"));
    }
    (number(pid) == u64::from(std::process::id())).then(|| format!("process {pid} is this supervisor"))
}

fn belongs_to_us(pid: Pid) -> String {
    format!("process {pid} is part of a workload that is governed already")
}

fn does_not_exist(pid: Pid, file: &Path) -> Found {
    Found::Unreadable(format!("process {pid}, which {} names, does not exist", file.display()))
}

/// The process with a number, if it may be governed.
fn named(pid: Pid, now: BootTime, known: &Known) -> Result<Process<'_>, Found> {
    let none = || Found::NoSuchProcess(format!("process {pid} does not exist"));
    let seen = match Process::look(pid, now, known) {
        Ok(seen) => seen.filter(|seen| !seen.is_zombie()).ok_or_else(none)?,
        Err(error) => return Err(Found::Refused(format!("process {pid} cannot be looked at: {error}"))),
    };
    refusal(&seen).map_or(Ok(seen), |why| Err(Found::Refused(why)))
}

/// The process that a file names, if it may be governed.
fn read<'a>(
    path: &Path,
    stamp: &mut Option<Stamp>,
    now: BootTime,
    known: &'a Known,
) -> Result<Process<'a>, Found> {
    let file = PidFile::read(path).map_err(|why| {
        // The same file may be readable later.
        *stamp = None;
        Found::Unreadable(why)
    })?;
    *stamp = Some(file.stamp);
    let seen = named(file.pid, now, known).map_err(|found| match found {
        Found::NoSuchProcess(_) => does_not_exist(file.pid, path),
        other => other,
    })?;
    file.believe(path, &seen).map_err(Found::Unreadable)?;
    Ok(seen)
}

fn number(pid: Pid) -> u64 {
    u64::from(pid.as_raw().cast_unsigned())
}

/// What tells of events: the ends of candidates, and the connector, behind one descriptor.
#[derive(Debug)]
struct Sources {
    queue: AsyncFd<Queue>,
    events: Option<ProcEvents>,
}

/// What sources told.
struct Ready {
    /// The processes that ended.
    ended: Vec<Pid>,
    /// The connector has something to tell.
    told: bool,
    /// There may be more.
    more: bool,
}

/// An epoll(7) that can be waited for itself.
#[derive(Debug)]
struct Queue(Epoll);

impl AsRawFd for Queue {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

impl Sources {
    fn new() -> io::Result<Self> {
        let queue = Queue(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        #[allow(deprecated, reason = "it trusts the source to keep its descriptor open, which this one owns")]
        let queue = AsyncFd::with_interest(queue, Interest::READABLE)?;
        Ok(Self { queue, events: None })
    }

    fn listen(&mut self) -> io::Result<()> {
        let events = ProcEvents::open(&Filter::of(&[Kind::Fork, Kind::Exec, Kind::Comm]))?;
        self.add(&events, CONNECTOR)?;
        self.events = Some(events);
        Ok(())
    }

    /// Has events of a descriptor told until it is closed.
    fn add(&self, source: &impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.queue.get_ref().0.add(source, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// What happened.
    fn ready(&self) -> Ready {
        let mut buffer = [EpollEvent::empty(); 64];
        // With no time to wait nothing interrupts it, and it has no other way to fail.
        let count = self.queue.get_ref().0.wait(&mut buffer, EpollTimeout::ZERO).unwrap_or(0);
        let tokens = || buffer.iter().take(count).map(EpollEvent::data);
        Ready {
            ended: tokens().filter_map(|token| u32::try_from(token).ok().and_then(Pid::new)).collect(),
            told: tokens().any(|token| token == CONNECTOR),
            more: count == buffer.len(),
        }
    }
}
