//! Points at which tests end a process, between an intent and its effect: what a crash there leaves is
//! what the next one has to cope with. Only with the feature `abort-points`, which no release build has:
//! without it, [`at`] is nothing.

#[cfg(feature = "abort-points")]
pub use self::armed::{at, at_draft, at_published, hand_on};
#[cfg(not(feature = "abort-points"))]
pub use self::disarmed::{at, at_draft, at_published, hand_on};

macro_rules! points {
    ($($(#[doc = $doc:literal])+ $point:ident = $name:literal,)+) => {
        /// A step between an intent and its effect. What is said of each has just been done.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Point {
            $($(#[doc = $doc])+ $point,)+
        }

        impl Point {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$point),+];

            /// Its name, by which a test chooses it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)+
                }
            }
        }
    };
}

points! {
    // The supervisor's own start.
    /// Its folders are there.
    FoldersMade = "folders-made",
    /// It holds the lock on the state.
    StateLocked = "state-locked",
    /// A draft of `cgroups.json` is written.
    CgroupsDrafted = "cgroups-drafted",
    /// It knows where jobs have their cgroups.
    CgroupsOpened = "cgroups-opened",
    /// A run of an earlier supervisor is known again, its limits are not looked at yet.
    RunTakenOver = "run-taken-over",
    /// The report of a run that another has followed was handed over.
    BookClosed = "book-closed",
    /// All runs are taken over, no job file is read yet.
    TakenOver = "taken-over",

    // A start.
    /// The cgroup of a new run is there, without limits.
    CgroupMade = "cgroup-made",
    /// Its limits are in force.
    LimitsSet = "limits-set",
    /// The job's folder is there, the run's is not.
    JobDirMade = "job-dir-made",
    /// The run's folder is there, and empty.
    RunDirMade = "run-dir-made",
    /// The lock is taken.
    RunLocked = "run-locked",
    /// A draft of `spec.json` is written.
    SpecDrafted = "spec-drafted",
    /// `spec.json` is there, nobody acts on it yet.
    SpecWritten = "spec-written",
    /// The wrapper runs.
    WrapperLaunched = "wrapper-launched",
    /// The first report was handed over; the run before is still there.
    StartReported = "start-reported",

    // The nursery.
    /// It waits for the first run.
    NurseryBegun = "nursery-begun",
    /// A wrapper is forked, or could not be, and the supervisor is not told.
    WrapperForked = "wrapper-forked",

    // The wrapper.
    /// It has begun, in the session of the supervisor.
    WrapperBegun = "wrapper-begun",
    /// It is in a session of its own.
    WrapperDetached = "wrapper-detached",
    /// It has read `spec.json`.
    SpecRead = "spec-read",
    /// The workload's process is there, held before its program.
    WorkloadForked = "workload-forked",
    /// A draft of `started.json` is written.
    StartedDrafted = "started-drafted",
    /// `started.json` is there, the process is still held.
    StartedWritten = "started-written",
    /// The program runs.
    WorkloadReleased = "workload-released",
    /// The workload has ended, and is reaped.
    WorkloadReaped = "workload-reaped",
    /// A draft of `exited.json` is written.
    ExitedDrafted = "exited-drafted",
    /// `exited.json` is there; what the workload left lives on.
    ExitedWritten = "exited-written",
    /// What the workload left has ended.
    LeftoversEnded = "leftovers-ended",
    /// The cgroup is gone, the lock is still held.
    CgroupRemoved = "cgroup-removed",

    // An edit in place.
    /// `spec.json` holds the edit, the kernel does not know of it.
    EditRecorded = "edit-recorded",
    /// The edit is in force, and not reported.
    EditInForce = "edit-in-force",

    // A stop.
    /// A draft of `stop.json` is written.
    StopDrafted = "stop-drafted",
    /// `stop.json` is there, no signal is sent.
    StopRecorded = "stop-recorded",
    /// The signal is sent, and not reported.
    StopSent = "stop-sent",
    /// It is recorded that the others of a run get the stop signal; they did not get it yet.
    OthersRecorded = "others-recorded",
    /// SIGKILL was sent to what is in the cgroup, and to nobody else.
    CgroupKilled = "cgroup-killed",
    /// SIGKILL was sent to all of the run.
    RunKilled = "run-killed",

    // Letting go.
    /// `spec.json` says that the run is let go, no report does.
    ReleaseRecorded = "release-recorded",

    // A process that somebody else started.
    /// What it is like is known, and recorded nowhere; a cgroup for it is there.
    ProcessSurveyed = "process-surveyed",
    /// Its constraints are in force, and no `started.json` is there.
    ProcessTaken = "process-taken",
    /// `spec.json` says that it is let go, nothing is done yet.
    LetGoRecorded = "let-go-recorded",
    /// Its wrapper is gone, nothing is restored.
    ObserverEnded = "observer-ended",
    /// All is restored, and not reported.
    ProcessRestored = "process-restored",
    /// The last report was handed over, the run is still known.
    LetGoReported = "let-go-reported",

    // An end.
    /// `exited.json` was written for a wrapper that could not.
    EndConcluded = "end-concluded",
    /// The run's last report was handed over.
    EndReported = "end-reported",
    /// A draft of a report for the history is written.
    HistoryDrafted = "history-drafted",
    /// The report is in the history, `reports/<job>.json` tells of a run that goes on.
    HistoryWritten = "history-written",
    /// A draft of `reports/<job>.json` is written.
    NewestDrafted = "newest-drafted",
    /// Reports are written, the supervisor does not know it yet.
    ReportsWritten = "reports-written",

    // What is not needed any more.
    /// A run's `spec.json` is removed, the rest of its folder is not.
    SpecRemoved = "spec-removed",
    /// A run's folder is removed, that of its job is not.
    RunDirRemoved = "run-dir-removed",
}

#[cfg(feature = "abort-points")]
mod armed {
    use std::ffi::OsStr;
    use std::fs::OpenOptions;
    use std::io::Write;
    use std::path::Path;
    use std::process::Command;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, raise};

    use super::Point;

    /// `NAME`, `NAME:N` or `NAME:N:MARK`: the point, the how manieth time that a process passes it, and a
    /// file that is made then, with the command line; no process ends if it is there already.
    const VARIABLE: &str = "FFRTMP_ABORT_AT";

    /// Ends this process if a test wants that here. No destructor runs, nothing is flushed.
    pub fn at(point: Point) {
        static PASSED: AtomicU32 = AtomicU32::new(0);
        let Ok(wanted) = std::env::var(VARIABLE) else { return };
        let mut parts = wanted.splitn(3, ':');
        if parts.next() != Some(point.name()) {
            return;
        }
        let number = parts.next().and_then(|number| number.parse().ok()).unwrap_or(1);
        if PASSED.fetch_add(1, Ordering::Relaxed) + 1 != number {
            return;
        }
        let first = |mark| {
            let file = OpenOptions::new().write(true).create_new(true).open(mark);
            // Who it is: of wrappers the run, too.
            let who = std::fs::read_to_string("/proc/self/cmdline").unwrap_or_default();
            let who = who.trim_end_matches('\0').replace('\0', " ");
            file.is_ok_and(|mut file| file.write_all(who.as_bytes()).is_ok())
        };
        if parts.next().is_none_or(first) {
            let _ = raise(Signal::SIGKILL);
        }
    }

    /// [`at`], for the draft of a file: which point that is, its name tells.
    pub fn at_draft(target: &Path) {
        fn name(path: Option<&Path>) -> Option<&str> {
            path.and_then(Path::file_name).and_then(OsStr::to_str)
        }
        at(match (name(Some(target)), name(target.parent())) {
            (Some("spec.json"), _) => Point::SpecDrafted,
            (Some("started.json"), _) => Point::StartedDrafted,
            (Some("stop.json"), _) => Point::StopDrafted,
            (Some("exited.json"), _) => Point::ExitedDrafted,
            (Some("cgroups.json"), _) => Point::CgroupsDrafted,
            (_, Some("reports")) => Point::NewestDrafted,
            _ => Point::HistoryDrafted,
        });
    }

    /// [`at`], for a file that is in place: a report in the history, or none.
    pub fn at_published(target: &Path) {
        let folder = target.parent().and_then(Path::parent).and_then(Path::file_name);
        if folder.is_some_and(|name| name == "history") {
            at(Point::HistoryWritten);
        }
    }

    /// Hands the choice on to a program that is started without an environment.
    pub fn hand_on(command: &mut Command) {
        if let Some(wanted) = std::env::var_os(VARIABLE) {
            command.env(VARIABLE, wanted);
        }
    }
}

#[cfg(not(feature = "abort-points"))]
mod disarmed {
    use std::path::Path;
    use std::process::Command;

    use super::Point;

    /// Nothing.
    #[inline(always)]
    pub fn at(_: Point) {}

    /// Nothing.
    #[inline(always)]
    pub fn at_draft(_: &Path) {}

    /// Nothing.
    #[inline(always)]
    pub fn at_published(_: &Path) {}

    /// Nothing.
    #[inline(always)]
    pub fn hand_on(_: &mut Command) {}
}
