//! The loop, in rounds: timers that are due, then what came in, then jobs are planned, then queued starts.
//! Each part of a round is bounded, so nothing that happens to one job can keep the others waiting. Between
//! resyncs an idle supervisor does not wake.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs::OpenOptions;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::stat::Mode;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedSender;
use tracing::{error, info, warn};

use super::agenda::{Agenda, Place};
use super::alarms::{Alarms, Task};
use super::declared::{CONFIRM_DELETION, Declared, Hint, News, Scan};
use super::inbox::{Inbox, Message, RunChanged};
use super::lock::{LockError, SupervisorLock};
use super::notify::Manager;
use super::orphans::Orphans;
use super::run::Run;
use super::seek::Seeker;
use super::starts::Starts;
use super::upgrade::{self, Program};
use super::watch::{Notice, Watch};
use super::writer::{Outcome, Writer};
use super::{attach, cgroups, folders, lock, observed};
use crate::abort::{self, Point};
use crate::config::paths::Layout;
use crate::config::settings::Settings;
use crate::linux::cgroup::Tree;
use crate::linux::sys::{self, Reaped};
use crate::linux::{clock, process};
use crate::logs::Bound;
use crate::logs::keeper::{Bounds, LogKeeper};
use crate::model::ids::{JobId, RunId};
use crate::model::job::LogBounds;
use crate::model::process::{BootId, ProcessIdentity};
use crate::model::time::BootTime;
use crate::model::units::count;
use crate::reconcile::plan::{Action, Phase, Wanted, plan};
use crate::runs::dir::{RunDir, all_jobs, current, job_runs, remove_empty};
use crate::runs::durable;
use crate::runs::record::Spec;
use crate::runs::retention::{self, Needed};
use crate::wrapper::launch::Launcher;

/// Between two looks at everything, for what no event told.
const RESYNC: Duration = Duration::from_secs(30);

/// Before a limit is tried again for the first time that an edit asked for and the kernel refused.
const VERIFY_SOON: Duration = Duration::from_millis(250);

/// Rounds after which a job's plan has to have settled; it takes two.
const MAX_ROUNDS: usize = 8;

/// Before an action that failed for want of something, such as disk space, is tried again.
pub const TRY_AGAIN: Duration = Duration::from_secs(5);

/// Before a run is looked at again that gives no event.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Between two looks for files of jobs that are gone, and before the first one: a job may come back meanwhile.
const RETENTION: Duration = Duration::from_secs(3600);
const FIRST_RETENTION: Duration = Duration::from_secs(60);

/// So many ended runs are reason enough for another look: attached processes leave files behind, each of them.
const RETAIN_AFTER: usize = 256;

/// Exit statuses of children that are kept before those that mean nothing are dropped.
const MAX_REAPED: usize = 1024;

/// Children that are reaped in one round.
const REAPED_A_ROUND: usize = 256;

/// How long jobs are planned in one round, and how long starts are made.
const A_ROUND: Duration = Duration::from_millis(25);

/// This program's version.
const VERSION_NOW: &str = env!("CARGO_PKG_VERSION");

/// What a supervisor is started with.
#[derive(Debug)]
pub struct Options {
    /// Where everything lies.
    pub layout: Layout,
    /// What `supervisor.toml` says.
    pub settings: Settings,
    /// The wrapper program.
    pub wrapper: PathBuf,
    /// A cgroup that was delegated to us, if it is not the one we are in.
    pub cgroup_parent: Option<PathBuf>,
}

/// The supervisor.
pub struct Daemon {
    pub(super) layout: Layout,
    pub(super) settings: Settings,
    /// The state folder by its one true path, by which workloads are known for those of this supervisor.
    pub(super) identity: PathBuf,
    pub(super) boot_id: BootId,
    pub(super) launcher: Launcher,
    /// The wrapper program, opened at our own start, so that both stay of one version.
    _wrapper_file: OwnedFd,
    /// The soft limit on open files before we raised it: what workloads get.
    pub(super) open_files: Option<u64>,
    /// Where the cgroups of runs are made.
    pub(super) cgroups: Tree,
    pub(super) declared: Declared,
    pub(super) slots: BTreeMap<JobId, Tracked>,
    pub(super) writer: Writer,
    /// Ended runs whose report is not on disk yet: their directories stay until it is.
    pub(super) unfiled: HashMap<RunId, RunDir>,
    /// Exits of our children: of wrappers, and of workloads that came to us because their wrapper died.
    pub(super) reaped: HashMap<ProcessIdentity, Reaped>,
    /// Keeps the logs within their bounds; `None`: what runs is not known yet, or it could not be started.
    logs: Option<LogKeeper>,
    /// What the host lacks.
    pub(super) alarms: Alarms,
    pub(super) events: UnboundedSender<RunChanged>,
    /// What finds the processes of attach jobs.
    pub(super) seeker: Seeker,
    /// When a process was last found to have ended before it was taken over.
    pub(super) missed_at: Option<BootTime>,
    watch: Watch,
    /// The jobs that are to be planned.
    pub(super) agenda: Agenda,
    /// Workloads that run without records.
    pub(super) orphans: Orphans,
    /// The jobs that wait for their start.
    pub(super) starts: Starts,
    /// Another supervisor holds the lock of this state: why we leave.
    usurped: Option<String>,
    /// Children have ended that were not reaped in the last round.
    zombies: bool,
    /// When it is looked for files of jobs that are gone.
    retain_at: BootTime,
    /// Reports that were filed since.
    filed: usize,
    /// The service manager is told that all is read once the agenda is past this.
    ready_at: Place,
    /// A job was planned since the seeker was told who is governed: it may be others by now.
    pub(super) planned: bool,
    timers: BTreeSet<(BootTime, JobId)>,
    rescan_at: Option<BootTime>,
    /// When the limits of all jobs are read back next.
    verify_at: BootTime,
    /// The pause before that.
    verify_pause: Duration,
    manager: Option<Manager>,
    program: Program,
    /// Last: it is held until all others are gone.
    lock: SupervisorLock,
}

/// What is known of a job beside its declaration.
#[derive(Default)]
pub struct Tracked {
    /// Its live run, or its last.
    pub run: Option<Run>,
    /// Its wake-up, as it stands in the timers.
    wake: Option<BootTime>,
    /// Nothing is tried before this.
    pub retry_at: Option<BootTime>,
    /// What was said last of an action that failed, so that it is said once.
    pub failing: Option<String>,
    /// What was said last of why an attach job waits.
    pub(super) waits: Option<String>,
    /// What runs of it is not known: its records cannot be read.
    opaque: bool,
}

/// Runs the supervisor until SIGTERM or SIGINT. The workloads run on.
///
/// # Errors
/// It cannot begin: another one runs, folders cannot be made, the wrapper is not there.
pub fn run(options: Options) -> anyhow::Result<()> {
    let layout = options.layout;
    upgrade::block_signals();
    // Files have modes of their own; cgroups have not, and who may write in their directories can leave them.
    nix::sys::stat::umask(Mode::S_IWGRP | Mode::S_IWOTH);
    folders::make(&layout).context("cannot use the supervisor's own folders")?;
    abort::at(Point::FoldersMade);
    // Before anything of ours can get the number of the descriptor.
    let lock = lock::take(&layout.lock(), upgrade::handed_lock())?;
    abort::at(Point::StateLocked);
    durable::sweep(&layout.run);
    let program = Program::of_this_process().context("cannot tell which program this is")?;
    let (wrapper, wrapper_file) = open_wrapper(&options.wrapper)?;
    let open_files = raise_open_files();
    let cgroups = cgroups::open(&layout, options.settings.cgroup, options.cgroup_parent.as_deref())?;
    abort::at(Point::CgroupsOpened);
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        warn!("cannot become a subreaper, so an orphaned workload's exit code may be lost: {error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (inbox, senders) = Inbox::open()?;
        upgrade::unblock_signals();
        let (watch, watching) = Watch::new(&layout, senders.files.clone());
        if let Err(error) = watching {
            warn!("cannot watch the folders: {error}; they are looked at every {} s", RESYNC.as_secs());
        }
        let bounds = retention::Bounds {
            gone_jobs: options.settings.gone_jobs,
            max_jobs: options.settings.max_gone_jobs,
        };
        let daemon = Daemon {
            retain_at: clock::boot() + FIRST_RETENTION,
            filed: 0,
            identity: layout.state.canonicalize().context("cannot tell where the state folder is")?,
            boot_id: crate::linux::process::boot_id().context("cannot read the boot id")?,
            launcher: Launcher::new(wrapper, &layout.runs()),
            _wrapper_file: wrapper_file,
            open_files,
            cgroups,
            declared: Declared::new(layout.clone()),
            slots: BTreeMap::new(),
            writer: Writer::start(&layout, options.settings.keep, bounds, senders.written.clone())
                .context("cannot write reports")?,
            unfiled: HashMap::new(),
            reaped: HashMap::new(),
            logs: None,
            alarms: Alarms::default(),
            events: senders.runs.clone(),
            seeker: Seeker::new(),
            missed_at: None,
            watch,
            agenda: Agenda::default(),
            orphans: Orphans::default(),
            starts: Starts::default(),
            usurped: None,
            zombies: false,
            ready_at: Agenda::default().end(),
            planned: true,
            timers: BTreeSet::new(),
            rescan_at: None,
            verify_at: clock::boot() + RESYNC,
            verify_pause: RESYNC,
            manager: Manager::from_environment(clock::boot()),
            settings: options.settings,
            layout,
            program,
            lock,
        };
        // `senders` lives as long as the loop, so no source is ever closed.
        daemon.serve(inbox).await
    })
}

impl Daemon {
    async fn serve(mut self, mut inbox: Inbox) -> anyhow::Result<()> {
        info!(jobs_d = %self.layout.jobs_d.display(), "supervising, pid {}", std::process::id());
        // Watched before the first scan, so that nothing falls between the two.
        self.watch.refresh();
        self.take_over()?;
        abort::at(Point::TakenOver);
        self.keep_logs();
        self.rescan();
        self.orphans.tell_undeclared(self.declared.jobs());
        self.ready_at = self.agenda.end();
        // What ended while the program was exchanged: only now, as a child that is reaped tells nobody else.
        self.reap();
        let mut upgrading = false;
        loop {
            self.settle_some();
            self.start_some();
            if let Some(why) = self.usurped.take() {
                self.leave();
                anyhow::bail!(why);
            }
            let now = clock::boot();
            let next = self.tell_manager(now).into_iter().chain(self.wakes()).fold(self.verify_at, Ord::min);
            let busy = !self.agenda.is_empty() || self.zombies || upgrading;
            let patience = if busy { Duration::ZERO } else { next.since(now) };
            let messages = inbox.next(patience, self.seeker.readable()).await;
            // Before anything that came in: what is due must not wait for what happens.
            self.timer();
            if std::mem::take(&mut self.zombies) {
                self.reap();
            }
            let mut asked = false;
            for message in messages {
                match message {
                    Message::Leave => {
                        self.leave();
                        return Ok(());
                    }
                    Message::Upgrade => {
                        upgrade::block_signals();
                        asked = true;
                    }
                    other => self.carry(other),
                }
            }
            // A round later: what was heard before signals were held comes first.
            if std::mem::replace(&mut upgrading, asked) {
                self.upgrade();
                upgrade::unblock_signals();
                upgrading = false;
            }
        }
    }

    /// Does what one message asks for.
    fn carry(&mut self, message: Message) {
        match message {
            Message::Reload => self.reload(),
            Message::Children => self.reap(),
            Message::Run(RunChanged { job, run, refused }) => {
                // Its exit status may be known to us alone.
                self.reap();
                self.look_again(&job, Some(&run), refused);
            }
            Message::Written(outcome) => self.written(outcome),
            Message::Files(notices) => self.noticed(notices),
            Message::Processes => self.seek(),
            Message::ClockSet => self.mark_scheduled(),
            // The loop does these itself.
            Message::Leave | Message::Upgrade => {}
        }
    }

    fn reload(&mut self) {
        info!("looking at everything again, on SIGHUP");
        if let Some(manager) = &mut self.manager {
            manager.reloading();
        }
        self.rescan();
        self.try_again();
        self.verify_all();
        self.mark_scheduled();
        self.retain(clock::boot());
        self.ready_at = self.agenda.end();
    }

    fn leave(&mut self) {
        let live = self.live();
        if let Some(manager) = &mut self.manager {
            manager.leaving(live);
        }
        info!("leaving; {} left running for the next supervisor to take over", count(live, "workload"));
    }

    /// Whether the lock file is still the one that we hold. Where it, or the whole state folder, was deleted, it is
    /// made anew; where another supervisor was quicker, we leave before anything is started twice.
    pub(super) fn check_lock(&mut self) -> io::Result<()> {
        let path = self.layout.lock();
        if self.lock.is_at(&path) {
            return Ok(());
        }
        folders::make(&self.layout)?;
        match self.lock.renew(&path) {
            Ok(()) => {
                warn!("{} was deleted; it is made anew", path.display());
                self.restore_records();
                Ok(())
            }
            Err(error @ LockError::Held { .. }) => {
                let why =
                    format!("the lock file was deleted, and {error}; this one leaves, the workloads run on");
                self.usurped = Some(why.clone());
                Err(io::Error::other(why))
            }
            Err(error) => Err(io::Error::other(error)),
        }
    }

    /// Whether another supervisor has the lock, so that we are about to leave.
    pub(super) fn is_usurped(&self) -> bool {
        self.usurped.is_some()
    }

    /// Tells the service manager that this round has ended, and whether all that was read is carried out.
    /// Gives when it wants to hear from us next.
    fn tell_manager(&mut self, now: BootTime) -> Option<BootTime> {
        let live = self.manager.as_ref().map(|_| self.live())?;
        let ready = self.agenda.has_reached(self.ready_at) && self.starts.none_first();
        let manager = self.manager.as_mut()?;
        manager.round_ended(now, live, ready);
        manager.wake()
    }

    /// When something is due, beside the look at all limits.
    fn wakes(&self) -> impl Iterator<Item = BootTime> {
        let due = self.timers.first().map(|(at, _)| *at);
        [due, self.rescan_at, self.seeker.wake(), self.starts.wake()].into_iter().flatten()
    }

    /// Reads the run directories: what runs is taken over, what ended meanwhile is reported.
    fn take_over(&mut self) -> anyhow::Result<()> {
        // Who does not know what runs starts it a second time.
        let jobs =
            all_jobs(&self.layout.runs()).context("cannot read the run directories; refusing to start")?;
        let now = clock::now();
        for job in jobs {
            self.declared.expect(&job, now);
            self.take_over_job(&job);
            self.agenda.add(job);
        }
        self.find_orphans();
        self.sweep();
        if self.live() > 0 {
            info!("took over {}", count(self.live(), "running workload"));
        }
        Ok(())
    }

    fn take_over_job(&mut self, job: &JobId) {
        let dirs = match job_runs(&self.layout.runs(), job) {
            Ok(dirs) => dirs,
            Err(error) => return self.leave_alone(job, &observed::LookError::Io(error)),
        };
        let (mut newest, mut older) = current(dirs);
        // A start that came to nothing is still owed. The run before it, if that is there, decides what
        // follows, and knows how often the job was started.
        // One that was told of is told to the end.
        let told = observed::report_of(&self.layout, job).map(|report| report.run_id);
        while let Some(dir) = newest.take_if(|dir| dir.run_id() != told && never_began(dir)) {
            if let Ok(snapshot) = observed::look(&dir, clock::now()) {
                // A process that was taken over may have been changed before that was recorded.
                Run::resume(self, dir.clone(), snapshot).close_cgroup();
            }
            remove(job, dir);
            newest = older.pop();
        }
        for dir in older {
            self.finish_superseded_run(job, dir, newest.is_some());
            abort::at(Point::BookClosed);
        }
        match newest {
            Some(dir) => self.take_over_run(job, dir),
            None => remove_empty(&self.layout.runs(), job),
        }
    }

    /// What runs of a job is not known: nothing is done for it until it is.
    fn leave_alone(&mut self, job: &JobId, blind: &observed::LookError) {
        self.log_unobservable(job, blind, "the job is left alone until that ends");
        if matches!(blind, observed::LookError::Io(_)) {
            let soon = clock::boot() + TRY_AGAIN;
            self.rescan_at = Some(self.rescan_at.map_or(soon, |at| at.min(soon)));
        }
        self.slots.entry(job.clone()).or_default().opaque = true;
    }

    /// Tells once why nothing can be said of a run.
    pub(super) fn log_unobservable(&mut self, job: &JobId, blind: &observed::LookError, so: &str) {
        if let observed::LookError::Io(error) = blind
            && self.alarms.raise(Task::See(job.clone()), error)
        {
            return;
        }
        let slot = self.slots.entry(job.clone()).or_default();
        let text = format!("{blind}; {so}");
        if slot.failing.as_ref() != Some(&text) {
            error!(job = %job, "{text}");
            slot.failing = Some(text);
        }
    }

    /// Removes cgroups that are nobody's any more.
    pub(super) fn sweep(&self) {
        let in_use = self.slots.values().filter_map(|slot| slot.run.as_ref()?.cgroup()).collect::<Vec<_>>();
        self.cgroups.sweep(&in_use);
    }

    /// How many runs live.
    fn live(&self) -> usize {
        self.slots.values().filter(|slot| slot.run.as_ref().is_some_and(Run::is_live)).count()
    }

    pub(super) fn take_over_run(&mut self, job: &JobId, dir: RunDir) {
        match observed::look(&dir, clock::now()) {
            Ok(snapshot) => {
                let mut run = Run::resume(self, dir, snapshot);
                run.detect_leftovers(&Phase::Ending);
                self.tell_log(&run.spec);
                self.slots.entry(job.clone()).or_default().run = Some(run);
                self.look_again(job, None, None);
                abort::at(Point::RunTakenOver);
                self.finish_edit(job);
                self.verify_constraints(job);
            }
            Err(observed::LookError::Damaged(damage)) => {
                let aside = dir.set_aside(crate::runs::dir::SPEC);
                error!(job = %job, "{damage}; set aside ({aside:?}), and treating the job as one that never ran");
            }
            Err(blind) => self.leave_alone(job, &blind),
        }
    }

    /// A run that was succeeded by another before its report was known to be on disk.
    fn finish_superseded_run(&mut self, job: &JobId, dir: RunDir, followed: bool) {
        let snapshot = match observed::look(&dir, clock::now()) {
            Ok(snapshot) => snapshot,
            Err(observed::LookError::NeverBegan | observed::LookError::Damaged(_)) => {
                return remove(job, dir);
            }
            // The next supervisor may see more.
            Err(blind) => return warn!(job = %job, "{blind}; that older run is left as it is"),
        };
        let mut run = Run::resume(self, dir, snapshot);
        run.followed = followed;
        if run.is_live() {
            error!(job = %job, run = %run.seen.id, "two live runs of this job found; not touching the older one");
            return;
        }
        self.slots.entry(job.clone()).or_default().run = Some(run);
        self.settle_report_only(job);
        if let Some(run) = self.slots.get_mut(job).and_then(|slot| slot.run.take()) {
            self.discard(run);
        }
    }

    fn settle_report_only(&mut self, job: &JobId) {
        let reported = self.slots.get(job).and_then(|slot| slot.run.as_ref()).is_none_or(Run::is_reported);
        if !reported {
            self.record_end(job);
            self.execute(job, Action::Report, crate::reconcile::plan::Outlook::Settled);
        }
    }

    fn rescan(&mut self) {
        if self.watch.refresh() {
            // What happened between the last look and the new watch is seen by this scan.
            info!("watching {} and {}", self.layout.jobs_d.display(), self.layout.profiles_d.display());
        }
        if let Err(error) = self.check_lock() {
            error!("{error}");
        }
        let now = clock::now();
        let scan = self.declared.scan(now);
        self.rescan_at = Some(now.boot + RESYNC);
        self.scanned(scan);
        let opaque =
            |(job, slot): (&JobId, &mut Tracked)| std::mem::take(&mut slot.opaque).then(|| job.clone());
        for job in self.slots.iter_mut().filter_map(opaque).collect::<Vec<_>>() {
            self.take_over_job(&job);
            if let Some(slot) = self.slots.get_mut(&job).filter(|slot| !slot.opaque) {
                info!(job = %job, "its records can be read again");
                slot.failing = None;
                self.alarms.clear(&Task::See(job.clone()));
                self.agenda.add(job);
            }
        }
    }

    fn noticed(&mut self, notices: Vec<Notice>) {
        let mut hints: BTreeSet<Hint> = BTreeSet::new();
        for notice in notices {
            match notice {
                Notice::Everything => return self.rescan(),
                Notice::File(hint) => drop(hints.insert(hint)),
            }
        }
        // Complete wins, where both were told.
        let complete: BTreeSet<String> =
            hints.iter().filter(|hint| hint.complete).map(|hint| hint.stem.clone()).collect();
        hints.retain(|hint| hint.complete || !complete.contains(&hint.stem));
        let scan = self.declared.look_at(&hints, clock::now());
        self.scanned(scan);
    }

    fn scanned(&mut self, scan: Scan) {
        for news in scan.news {
            match news {
                News::Error(text) => error!("{text}"),
                News::Warning(text) => warn!("{text}"),
                News::Mended(path) => info!("{}: valid again", path.display()),
            }
        }
        let is_rule =
            |id: &JobId| matches!(self.declared.wanted(id), Wanted::Run(job) if job.attach().is_some());
        if scan.changed.iter().any(|id| is_rule(id) || self.seeker.seeks(id)) {
            let rules = attach::rules(&self.declared);
            self.seeker.set_rules(rules);
            self.seek();
        }
        // What a rule for all governs are runs of other names.
        let stems: BTreeSet<&str> = scan.changed.iter().map(JobId::stem).collect();
        for stem in stems {
            // No entry comes before this one.
            let Ok(first) = JobId::instance(stem, "0") else { continue };
            let of_rule = self.slots.range(first..).map(|(id, _)| id).take_while(|id| id.stem() == stem);
            of_rule.for_each(|job| self.agenda.add_urgent(job.clone()));
        }
        scan.changed.into_iter().for_each(|job| self.agenda.add_urgent(job));
        if !scan.gone.is_empty() {
            let gone = self.slots.keys().filter(|job| scan.gone.contains(job.stem()));
            gone.for_each(|job| self.agenda.add_urgent(job.clone()));
        }
        if let Some(at) = scan.again {
            self.rescan_at = Some(self.rescan_at.map_or(at, |known| known.min(at)));
        }
    }

    fn timer(&mut self) {
        let now = clock::boot();
        while let Some((at, _)) = self.timers.first() {
            if *at > now {
                break;
            }
            let Some((_, job)) = self.timers.pop_first() else { break };
            if let Some(slot) = self.slots.get_mut(&job) {
                slot.wake = None;
                if slot.run.as_ref().is_some_and(Run::gives_no_event) {
                    self.look_again(&job, None, None);
                }
            }
            self.agenda.add_urgent(job);
        }
        if self.starts.slow(now) {
            self.launcher.check();
        }
        if self.rescan_at.is_some_and(|at| at <= now) {
            self.rescan();
        }
        if self.seeker.wake().is_some_and(|at| at <= now) {
            self.seek();
        }
        // With the resync: no wake-up of its own.
        if self.retain_at <= now || self.filed >= RETAIN_AFTER {
            self.retain(now);
        }
        if self.verify_at <= now {
            self.verify_all();
            self.verify_pause = (self.verify_pause * 2).min(RESYNC);
            self.verify_at = match self.rescan_at {
                // One awakening for both.
                Some(rescan) if self.verify_pause == RESYNC => rescan,
                _ => now + self.verify_pause,
            };
        }
    }

    /// Has the files of jobs removed that are gone for long, or too many. Where it is not known what is declared, nobody
    /// is gone.
    fn retain(&mut self, now: BootTime) {
        (self.retain_at, self.filed) = (now + RETENTION, 0);
        let Some(stems) = self.declared.undecided() else { return };
        let jobs = self.declared.jobs().chain(self.slots.keys()).cloned().collect();
        self.writer.retain(Needed { jobs, stems });
    }

    /// A limit was refused for now: looks again soon, then after pauses that double.
    pub(super) fn verify_soon(&mut self) {
        self.verify_pause = VERIFY_SOON;
        self.verify_at = self.verify_at.min(clock::boot() + VERIFY_SOON);
    }

    /// Plans jobs, for as long as a round may take: at least one.
    fn settle_some(&mut self) {
        let until = Instant::now() + A_ROUND;
        while let Some(job) = self.agenda.pop() {
            self.settle(&job);
            if Instant::now() >= until {
                break;
            }
        }
    }

    /// Makes starts that wait, for as long as a round may take: at least one.
    fn start_some(&mut self) {
        let until = Instant::now() + A_ROUND;
        while let Some(job) = self.starts.next(clock::boot()) {
            self.settle(&job);
            self.starts.planned(&job);
            if Instant::now() >= until {
                break;
            }
        }
    }

    /// Plans a job and executes the plan, until there is nothing left to do now.
    fn settle(&mut self, job: &JobId) {
        self.planned = true;
        let mut wake = None;
        for round in 0.. {
            let moment = clock::now();
            let now = moment.boot;
            let wanted = self.wanted(job);
            let slot = self.slots.entry(job.clone()).or_default();
            if let Some(until) = slot.retry_at {
                if until > now {
                    wake = Some(until);
                    break;
                }
                slot.retry_at = None;
            }
            if slot.opaque {
                break;
            }
            let owes = slot.run.as_ref().is_some_and(Run::owes_record) && !self.record_end(job);
            let slot = self.slots.entry(job.clone()).or_default();
            let mut plan = plan(moment, &clock::ZONES, &wanted, slot.run.as_ref().map(|run| &run.seen));
            if self.declared.is_undecided(job) && plan.actions.iter().any(Action::is_start) {
                plan.actions.retain(|action| !action.is_start());
                plan.wake = Some(now + CONFIRM_DELETION / 5);
            }
            wake = plan.wake;
            if owes {
                wake = Some(wake.map_or(now + TRY_AGAIN, |wake| wake.min(now + TRY_AGAIN)));
            }
            if slot.run.as_ref().is_some_and(Run::gives_no_event) {
                wake = Some(now + LOOK_AGAIN);
            }
            if plan.actions.is_empty() {
                self.update_next_start(job, plan.outlook);
                break;
            }
            if round == MAX_ROUNDS {
                error!(job = %job, "planning did not converge after 8 rounds (a bug; please report it): {:?}; tried again later", plan.actions);
                wake = Some(now + TRY_AGAIN);
                break;
            }
            if let Some(why) = plan.actions.iter().find_map(Action::starts)
                && !self.starts.may_start(job, why)
            {
                plan.actions.retain(|action| !action.is_start());
                if plan.actions.is_empty() {
                    break;
                }
            }
            // What follows an action that failed may rest on it.
            let _ = plan.actions.into_iter().all(|action| self.execute(job, action, plan.outlook));
        }
        if let Some(slot) = self.slots.get_mut(job) {
            if let Some(old) = slot.wake.take() {
                self.timers.remove(&(old, job.clone()));
            }
            slot.wake = wake;
            if let Some(at) = wake {
                self.timers.insert((at, job.clone()));
            } else if slot.run.is_none() && !slot.opaque && self.wanted(job) == Wanted::Gone {
                self.slots.remove(job);
                self.alarms.forget(job);
            }
        }
    }

    /// Has logs kept within their bounds. Without it jobs run all the same, and their logs grow.
    fn keep_logs(&mut self) {
        let runs = self.slots.values().filter_map(|slot| slot.run.as_ref());
        let known: Bounds =
            runs.filter_map(|run| Some((run.spec.log.clone(), self.bound_of(&run.spec)?))).collect();
        let started = LogKeeper::start(self.layout.logs(), self.bound(LogBounds::default()), known);
        let started = started.inspect_err(|error| warn!("cannot keep logs within their bounds: {error}"));
        self.logs = started.ok();
    }

    /// Tells how much of a run's log is kept from now on.
    pub(super) fn tell_log(&self, spec: &Spec) {
        if let (Some(logs), Some(bound)) = (&self.logs, self.bound_of(spec)) {
            logs.tell(spec.log.clone(), bound);
        }
    }

    fn bound_of(&self, spec: &Spec) -> Option<Bound> {
        spec.job.exec().map(|exec| self.bound(exec.log))
    }

    fn bound(&self, own: LogBounds) -> Bound {
        Bound {
            max_size: own.max_size.map_or(self.settings.log_size, |size| size.0),
            keep: own.keep.map_or(self.settings.log_pieces, |keep| keep as usize),
            compress: own.compress.unwrap_or(self.settings.log_compress),
        }
    }

    /// Marks a job for planning.
    pub(super) fn mark(&mut self, job: &JobId) {
        self.agenda.add(job.clone());
    }

    /// Has everything tried again now that could not be done.
    fn try_again(&mut self) {
        for (job, slot) in &mut self.slots {
            let owes = slot.run.as_ref().is_some_and(Run::owes_record);
            if slot.retry_at.take().is_some() || owes {
                self.agenda.add(job.clone());
            }
        }
        self.writer.try_again();
    }

    /// Has jobs with a schedule planned anew, because the time is another than was reckoned with.
    fn mark_scheduled(&mut self) {
        let scheduled =
            |slot: &Tracked| slot.run.as_ref().is_some_and(|run| !run.seen.job.schedule.is_empty());
        let jobs = self.slots.iter().filter(|(_, slot)| scheduled(slot)).map(|(job, _)| job.clone());
        jobs.for_each(|job| self.agenda.add_urgent(job));
    }

    /// Lets the program that we were started by, which may be a new version by now, take our place in this
    /// process. Returns where that fails.
    fn upgrade(&mut self) {
        let path = self.program.path().to_owned();
        let version = match self.program.try_out() {
            Ok(version) => version,
            Err(why) => return error!("upgrade refused, still running {VERSION_NOW}: {why}"),
        };
        // What only we know has to be on disk: exits of processes that are our children, reports.
        self.reap();
        let told = |(job, slot): (&JobId, &Tracked)| {
            let process = slot.run.as_ref()?.process()?;
            self.reaped.contains_key(process).then(|| job.clone())
        };
        for job in self.slots.iter().filter_map(told).collect::<Vec<_>>() {
            self.look_again(&job, None, None);
        }
        // Starts that wait are the next program's.
        while let Some(job) = self.agenda.pop() {
            self.settle(&job);
        }
        self.writer.flush();
        let owing = |slot: &Tracked| slot.run.as_ref().is_some_and(Run::owes_record);
        if let Some((job, _)) = self.slots.iter().find(|(_, slot)| owing(slot)) {
            return error!(job = %job, "upgrade refused, still running {VERSION_NOW}: this job's exit is not recorded yet");
        }
        info!("{} is executed in this process: {version}, after {}", path.display(), VERSION_NOW);
        if let Some(manager) = &mut self.manager {
            manager.reloading();
        }
        // The next one is to find what we found.
        set_open_files(self.open_files);
        let error = self.program.execute(&self.lock);
        let _ = raise_open_files();
        error!("upgrade refused, still running {VERSION_NOW}: cannot execute {}: {error}", path.display());
    }

    /// Waits for our children that have ended: wrappers, and workloads whose wrapper died.
    fn reap(&mut self) {
        for n in 0.. {
            let Ok(Some(pid)) = sys::peek_exit(false) else { break };
            if n == REAPED_A_ROUND {
                self.zombies = true;
                break;
            }
            // While it is a zombie nobody else has its number; and it can wait until that can be read.
            let Ok(process) = process::identify(pid) else { break };
            let Ok(reaped) = sys::reap(pid) else { break };
            if let Some(process) = process {
                self.reaped.insert(process, reaped);
            }
        }
        // Only the exits of orphaned workloads mean anything; those of wrappers pile up.
        if self.reaped.len() > MAX_REAPED {
            let runs = self.slots.values().filter_map(|slot| slot.run.as_ref());
            let known: HashSet<&ProcessIdentity> = runs.filter_map(Run::process).collect();
            self.reaped.retain(|process, _| known.contains(process));
        }
    }

    /// What became of reports.
    fn written(&mut self, outcome: Outcome) {
        match outcome {
            // Nothing is lost any more if the run's directory goes.
            Outcome::Filed { job, run } => {
                self.filed += 1;
                let current = self.slots.get_mut(&job).and_then(|slot| slot.run.as_mut());
                if let Some(filed) = current.and_then(|current| current.with_id(&run)) {
                    filed.filed = true;
                }
                if let Some(dir) = self.unfiled.remove(&run) {
                    remove(&job, dir);
                }
            }
            Outcome::Failing(error) => {
                if !self.alarms.raise(Task::Report, &error) {
                    error!(
                        "reports cannot be written: {error}; jobs run on, the reports are kept and tried again"
                    );
                }
            }
            Outcome::Mended => {
                self.alarms.clear(&Task::Report);
                info!("reports can be written again; the missing ones are written now");
            }
        }
    }
}

/// Whether a run came to nothing before its workload was recorded, because somebody was interrupted, or because the
/// process that it was to take over had ended.
fn never_began(dir: &RunDir) -> bool {
    match observed::look(dir, clock::now()) {
        Ok(snapshot) => {
            matches!(snapshot.status, observed::RunStatus::NeverBegan) || snapshot.came_too_late()
        }
        Err(blind) => matches!(blind, observed::LookError::NeverBegan),
    }
}

/// Removes a run's directory.
pub(super) fn remove(job: &JobId, dir: RunDir) {
    if let Err(error) = dir.remove() {
        warn!(job = %job, "a run directory cannot be removed: {error}");
    }
}

/// Tells `events` when a descriptor becomes readable: a process has ended, or a pipe was closed.
pub(super) fn tell_when_readable<T: AsRawFd + AsFd + Send + Sync + 'static>(
    source: T,
    event: RunChanged,
    events: &UnboundedSender<RunChanged>,
) -> io::Result<tokio::task::AbortHandle> {
    let source = readable(source)?;
    let events = events.clone();
    let task = tokio::spawn(async move {
        // An error is as good as an event: the run is looked at.
        let _ = source.readable().await.map(|mut ready| ready.clear_ready());
        let _ = events.send(event);
    });
    Ok(task.abort_handle())
}

/// The same for the pipe of a start: it is closed when that has come to its end. The nursery writes into it why it could
/// not fork.
pub(super) fn tell_when_begun(
    ready: PipeReader,
    event: RunChanged,
    events: &UnboundedSender<RunChanged>,
) -> io::Result<tokio::task::AbortHandle> {
    let source = readable(ready)?;
    let events = events.clone();
    let task = tokio::spawn(async move {
        let _ = source.readable().await.map(|mut ready| ready.clear_ready());
        let mut errno = [0; size_of::<i32>()];
        let told = source.get_ref().read_exact(&mut errno).is_ok();
        let _ = events.send(RunChanged { refused: told.then(|| i32::from_ne_bytes(errno)), ..event });
    });
    Ok(task.abort_handle())
}

/// The same, each time that there is something new to it: a process has ended, and then was reaped.
pub(super) fn tell_each_time<T: AsRawFd + AsFd + Send + Sync + 'static>(
    source: T,
    event: RunChanged,
    events: &UnboundedSender<RunChanged>,
) -> io::Result<tokio::task::AbortHandle> {
    let source = readable(source)?;
    let events = events.clone();
    let task = tokio::spawn(async move {
        while let Ok(mut ready) = source.readable().await {
            // What hung up stays readable for ever, and has nothing new to tell.
            let last = ready.ready().is_read_closed();
            ready.clear_ready();
            if events.send(event.clone()).is_err() || last {
                break;
            }
        }
    });
    Ok(task.abort_handle())
}

/// A descriptor of which one can wait until there is something to read.
pub(super) fn readable<T: AsRawFd + AsFd>(source: T) -> io::Result<AsyncFd<T>> {
    #[allow(
        deprecated,
        reason = "it trusts the source to keep its descriptor open, which those that own theirs do"
    )]
    AsyncFd::with_interest(source, Interest::READABLE)
}

/// Opens the wrapper program, and gives the path under which it can be executed from now on, whatever
/// is installed over it.
fn open_wrapper(path: &Path) -> anyhow::Result<(PathBuf, OwnedFd)> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path).with_context(|| {
            format!(
                "cannot find the wrapper {}; install `ffrtmp` beside `ffrtmp-sup`, or name it with --wrapper",
                path.display()
            )
        })?;
    if !file.metadata()?.is_file() {
        anyhow::bail!("the wrapper {} is not a program", path.display());
    }
    let file = OwnedFd::from(file);
    let number: RawFd = file.as_raw_fd();
    Ok((PathBuf::from(format!("/proc/self/fd/{number}")), file))
}

/// Sets the soft limit on open files.
fn set_open_files(soft: Option<u64>) {
    if let (Some(soft), Ok((_, hard))) = (soft, getrlimit(Resource::RLIMIT_NOFILE)) {
        // Lowering it cannot fail.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, soft.min(hard), hard);
    }
}

/// Every run takes a descriptor. Gives the soft limit that there was.
fn raise_open_files() -> Option<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // If it fails, fewer jobs can be watched, which each of them says for itself.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    Some(soft)
}
