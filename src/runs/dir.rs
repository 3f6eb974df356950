//! Run directories: `<runs>/<job>/<run-id>/` with `spec.json`, `started.json`, `stop.json`,
//! `exited.json` and `wrapper.lock`.
//!
//! A directory without `spec.json` is a run that never began. Whoever holds the lock is the run's
//! wrapper, or is about to become it.

use std::collections::hash_map::RandomState;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{FcntlArg, fcntl};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::durable::{self, at};
use super::record::{Exited, Spec, Started, Stopping, VERSION};
use crate::abort::{self, Point};
use crate::model::ids::{JobId, RunId};
use crate::model::time::Moment;

/// [`Spec`].
pub const SPEC: &str = "spec.json";
/// [`Started`].
pub const STARTED: &str = "started.json";
/// [`Stopping`].
pub const STOP: &str = "stop.json";
/// [`Exited`].
pub const EXITED: &str = "exited.json";

/// Room for [`EXITED`] in [`LOCK`], reserved before anything runs: an exit is recorded on a disk that is full, too. A
/// record of an exit takes about 1 kB.
const ROOM: i64 = 4096;

/// The file that a wrapper holds a lock on as long as it lives. How the run ended is written into it, and it gets the
/// name of that record, too: what needs no further file needs no further room.
pub const LOCK: &str = "wrapper.lock";

/// A record that is larger is not ours.
const MAX_RECORD: u64 = 1 << 20;

/// The directory of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    /// Where it is.
    pub path: PathBuf,
}

/// The lock of a wrapper (`F_OFD_SETLK`, fcntl_locking(2)). It belongs to the open file, so it goes
/// along when the descriptor is inherited, and ends when the last process that has it is gone.
#[derive(Debug)]
pub struct LockFile(OwnedFd);

impl AsFd for LockFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<LockFile> for OwnedFd {
    fn from(lock: LockFile) -> Self {
        lock.0
    }
}

/// An id that no other run has. `last` is the run of the job before this one.
#[must_use]
pub fn new_run_id(now: Moment, last: Option<&RunId>) -> RunId {
    let (ms, random) = (now.wall.unix_ms(), RandomState::new().build_hasher().finish() as u32);
    last.map_or_else(|| RunId::new(ms, random), |last| RunId::after(last, ms, random))
}

/// A record that is there and cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {cause}", path.display())]
pub struct RecordError {
    /// The file.
    pub path: PathBuf,
    /// Why.
    #[source]
    pub cause: RecordCause,
}

/// Why a record cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecordCause {
    /// It could not be read this time; it may be whole.
    #[error("cannot be read: {0}")]
    Io(#[source] io::Error),
    /// Something else has its name.
    #[error("is not a regular file")]
    NotAFile,
    /// More than a record can hold.
    #[error("is larger than {MAX_RECORD} bytes")]
    TooLarge,
    /// Not the JSON that a record is.
    #[error("is damaged: {0}")]
    Json(#[source] serde_json::Error),
    /// Not what was written: a disk, or a hand, has changed it.
    #[error("is damaged: it was changed after it was written")]
    Changed,
    /// Written by a newer program.
    #[error("has version {0}, known is {VERSION}; it was written by a newer ffrtmp")]
    Version(u32),
}

impl RecordError {
    /// Whether trying again cannot help, nor another version: the record is to be set aside.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        !matches!(self.cause, RecordCause::Io(_) | RecordCause::Version(_))
    }
}

impl RunDir {
    /// Makes the directory of a new run, takes its lock, and then writes `spec.json`.
    /// The lock is the caller's until the wrapper has it.
    ///
    /// # Errors
    /// One of these steps fails; what was made is removed again. `AlreadyExists`: the run has one.
    pub fn create(runs_root: &Path, spec: &Spec) -> io::Result<(Self, LockFile)> {
        let job = runs_root.join(spec.job.id.as_str());
        let path = job.join(spec.run_id.as_str());
        DirBuilder::new().mode(0o700).recursive(true).create(&job).map_err(|e| at(&job, e))?;
        abort::at(Point::JobDirMade);
        DirBuilder::new().mode(0o700).create(&path).map_err(|e| at(&path, e))?;
        abort::at(Point::RunDirMade);
        let run = Self { path };
        let lock = run.lock().and_then(|lock| {
            abort::at(Point::RunLocked);
            durable::reserve(lock.as_fd(), ROOM).map_err(|error| at(&run.path.join(LOCK), error))?;
            run.write_spec(spec).map(|()| lock)
        });
        match lock {
            Ok(lock) => Ok((run, lock)),
            Err(error) => {
                // It is ours and new. What cannot be removed now is a run that never began.
                let _ = run.remove();
                Err(error)
            }
        }
    }

    /// The directory of a run that exists.
    #[must_use]
    pub fn open(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The run, as the directory's name has it; `None` if that is no run's name.
    #[must_use]
    pub fn run_id(&self) -> Option<RunId> {
        let name = self.path.file_name()?.to_str()?;
        RunId::try_from(String::from(name)).ok()
    }

    /// What is to run; `None`: the run never began.
    ///
    /// # Errors
    /// The record is there and cannot be used.
    pub fn spec(&self) -> Result<Option<Spec>, RecordError> {
        self.read(SPEC)
    }

    /// That it runs; `None`: the workload was not set up.
    ///
    /// # Errors
    /// The record is there and cannot be used.
    pub fn started(&self) -> Result<Option<Started>, RecordError> {
        self.read(STARTED)
    }

    /// That we are ending it.
    ///
    /// # Errors
    /// The record is there and cannot be used.
    pub fn stopping(&self) -> Result<Option<Stopping>, RecordError> {
        self.read(STOP)
    }

    /// How it ended.
    ///
    /// # Errors
    /// The record is there and cannot be used.
    pub fn exited(&self) -> Result<Option<Exited>, RecordError> {
        self.read(EXITED)
    }

    /// Writes `spec.json`, for a new run and after an edit in place.
    ///
    /// # Errors
    /// Those of [`durable::write`].
    pub fn write_spec(&self, spec: &Spec) -> io::Result<()> {
        self.write(SPEC, spec)
    }

    /// Writes `started.json`.
    ///
    /// # Errors
    /// Those of [`durable::write`].
    pub fn write_started(&self, started: &Started) -> io::Result<()> {
        self.write(STARTED, started)
    }

    /// Writes `stop.json`.
    ///
    /// # Errors
    /// Those of [`durable::write`].
    pub fn write_stopping(&self, stopping: &Stopping) -> io::Result<()> {
        self.write(STOP, stopping)
    }

    /// Writes `exited.json`; it is on disk when this returns.
    ///
    /// # Errors
    /// Those of [`durable::write_durable`].
    pub fn write_exited(&self, exited: &Exited) -> io::Result<()> {
        let path = self.path.join(EXITED);
        durable::write_durable_into(&self.path.join(LOCK), &path, &json(exited)?)
            .map_err(|error| at(&path, error))
    }

    /// Renames a damaged record to `<name>.damaged-<n>`, and returns where it is now.
    ///
    /// # Errors
    /// Those of rename(2).
    pub fn set_aside(&self, name: &str) -> io::Result<PathBuf> {
        let from = self.path.join(name);
        let mut number = 1_u32;
        loop {
            let to = self.path.join(format!("{name}.damaged-{number}"));
            // Only one supervisor touches these names, so what is free now stays free.
            if to.symlink_metadata().is_err() {
                fs::rename(&from, &to).map_err(|error| at(&from, error))?;
                return Ok(to);
            }
            number += 1;
        }
    }

    /// Whether somebody holds the lock: the run's wrapper lives, or is being started.
    ///
    /// # Errors
    /// The lock file cannot be opened, or fcntl(2) fails. Without a lock file the answer is no.
    pub fn wrapper_lives(&self) -> io::Result<bool> {
        let path = self.path.join(LOCK);
        let mut options = OpenOptions::new();
        let file = match options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(at(&path, error)),
        };
        let mut lock = write_lock();
        fcntl(&file, FcntlArg::F_OFD_GETLK(&mut lock)).map_err(|errno| at(&path, errno.into()))?;
        Ok(i32::from(lock.l_type) != libc::F_UNLCK)
    }

    /// Removes the directory, and that of the job if it was the job's last.
    ///
    /// # Errors
    /// Something in it cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        // First the spec: if we are interrupted, what is left is a run that never began.
        match fs::remove_file(self.path.join(SPEC)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&self.path, error)),
            _ => {}
        }
        abort::at(Point::SpecRemoved);
        fs::remove_dir_all(&self.path).map_err(|error| at(&self.path, error))?;
        abort::at(Point::RunDirRemoved);
        if let Some(job) = self.path.parent() {
            // Fails where the job has other runs, and then it has to stay.
            let _ = fs::remove_dir(job);
        }
        Ok(())
    }

    fn lock(&self) -> io::Result<LockFile> {
        let path = self.path.join(LOCK);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let file = options.open(&path).map_err(|error| at(&path, error))?;
        fcntl(&file, FcntlArg::F_OFD_SETLK(&write_lock())).map_err(|errno| at(&path, errno.into()))?;
        Ok(LockFile(file.into()))
    }

    fn write<T: Serialize>(&self, name: &str, record: &T) -> io::Result<()> {
        let path = self.path.join(name);
        durable::write(&path, &json(record)?).map_err(|error| at(&path, error))
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, RecordError> {
        let path = self.path.join(name);
        match read_record(&path) {
            Ok(record) => Ok(record),
            Err(cause) => Err(RecordError { path, cause }),
        }
    }
}

fn read_record<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, RecordCause> {
    read_file(path)?.map(|bytes| decode(&bytes)).transpose()
}

/// What is in a file that ought to be one of ours; `None` if it is not there.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>, RecordCause> {
    let mut options = OpenOptions::new();
    // Not blocking: a FIFO in the record's place must not hold us up.
    let file = match options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => return Err(RecordCause::NotAFile),
        Err(error) => return Err(RecordCause::Io(error)),
    };
    read_bounded(&file).map(Some)
}

/// What a record's bytes say.
///
/// # Errors
/// They are not what was written, or not what this version knows.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecordCause> {
    /// What every record of every version has.
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    if !is_as_written(bytes) {
        return Err(RecordCause::Changed);
    }
    let Versioned { version } = serde_json::from_slice(bytes).map_err(RecordCause::Json)?;
    if version != VERSION {
        return Err(RecordCause::Version(version));
    }
    serde_json::from_slice(bytes).map_err(RecordCause::Json)
}

fn read_bounded(file: &File) -> Result<Vec<u8>, RecordCause> {
    let about = file.metadata().map_err(RecordCause::Io)?;
    if !about.is_file() {
        return Err(RecordCause::NotAFile);
    }
    let Some(length) = usize::try_from(about.len()).ok().filter(|_| about.len() <= MAX_RECORD) else {
        return Err(RecordCause::TooLarge);
    };
    // A record is never written where it is, so this is how long it stays.
    let mut bytes = vec![0; length];
    let mut file = file;
    file.read_exact(&mut bytes).map_err(RecordCause::Io)?;
    Ok(bytes)
}

/// Every run of a job, oldest first, whatever its records say; none if the job has no directory.
///
/// # Errors
/// The job's directory cannot be read.
pub fn job_runs(runs_root: &Path, job: &JobId) -> io::Result<Vec<RunDir>> {
    let directory = runs_root.join(job.as_str());
    let mut runs: Vec<(RunId, RunDir)> = subdirectories(&directory)?
        .into_iter()
        .filter_map(|name| RunId::try_from(name).ok())
        .map(|id| (id.clone(), RunDir::open(directory.join(id.as_str()))))
        .collect();
    runs.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(runs.into_iter().map(|(_, run)| run).collect())
}

/// Every run of every job, whoever named it, and whatever its records say; none if the directory is not there.
///
/// # Errors
/// A directory cannot be read.
pub fn all_runs(runs_root: &Path) -> io::Result<Vec<RunDir>> {
    let mut runs = Vec::new();
    for job in subdirectories(runs_root)?.into_iter().filter_map(|name| JobId::try_from(name).ok()) {
        runs.extend(job_runs(runs_root, &job)?);
    }
    Ok(runs)
}

/// Removes the directory of a job that has no runs: whoever made it, or removed the last, was interrupted.
pub fn remove_empty(runs_root: &Path, job: &JobId) {
    // One that is not empty refuses.
    let _ = fs::remove_dir(runs_root.join(job.as_str()));
}

/// Of all runs of a job the one that counts, and the others: the live one, or else the newest.
#[must_use]
pub fn current(mut runs: Vec<RunDir>) -> (Option<RunDir>, Vec<RunDir>) {
    let live = runs.iter().rposition(|run| run.wrapper_lives().unwrap_or(false));
    let current = match live {
        Some(at) => Some(runs.remove(at)),
        None => runs.pop(),
    };
    (current, runs)
}

/// Every job that has runs, by name; none if the directory is not there.
///
/// # Errors
/// The directory cannot be read.
pub fn all_jobs(runs_root: &Path) -> io::Result<Vec<JobId>> {
    let mut jobs: Vec<JobId> =
        subdirectories(runs_root)?.into_iter().filter_map(|name| JobId::given(&name).ok()).collect();
    jobs.sort();
    Ok(jobs)
}

pub(super) fn subdirectories(directory: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(directory, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| at(directory, error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            names.extend(entry.file_name().into_string());
        }
    }
    Ok(names)
}

/// The last field of a record, up to its value: a sum of all that stands before it, so that a byte that
/// changes on the disk does not become another pid or another exit code.
const SUM: &[u8] = b",\"sum\":\"";

/// Digits of the sum.
const SUM_DIGITS: usize = 16;

/// A record's line: its JSON object, with its sum as the last field.
fn json<T: Serialize>(record: &T) -> io::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(record)?;
    // The brace that ends the object.
    bytes.pop();
    let sum = sum(&bytes);
    bytes.extend_from_slice(SUM);
    bytes.extend_from_slice(format!("{sum:016x}\"}}\n").as_bytes());
    Ok(bytes)
}

/// Whether a record's sum is right, or it has none: the first programs wrote none, and what has lost it to
/// damage is no object any more, or still says what it said.
fn is_as_written(bytes: &[u8]) -> bool {
    let end = SUM.len() + SUM_DIGITS;
    let Some(rest) = bytes.strip_suffix(b"\"}\n") else { return true };
    let Some((record, tail)) = rest.len().checked_sub(end).map(|at| rest.split_at(at)) else { return true };
    tail.strip_prefix(SUM).is_none_or(|digits| *digits == *format!("{:016x}", sum(record)).as_bytes())
}

/// FNV-1a: two texts of one length that differ in one byte never have the same.
fn sum(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// A lock on the whole file, for writing.
pub(crate) fn write_lock() -> libc::flock {
    libc::flock {
        #[allow(clippy::cast_possible_truncation, reason = "one of three small constants")]
        l_type: libc::F_WRLCK as libc::c_short,
        #[allow(clippy::cast_possible_truncation, reason = "one of three small constants")]
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A spec as version 1 wrote it when it began, without one optional field: it loads for ever.
    const OLDEST: &str = r#"{"version": 1, "run_id": "19bfcd3a000-00000007", "boot_id": "b",
        "created": {"wall": "2026-01-01T00:00:00.000Z", "boot": 1}, "environment": [], "log": "/log",
        "history": {}, "job": {"id": "channel@a", "lifecycle": "oneshot", "intent": "test",
        "sla_eligible": true, "workload": {"exec": {"command": ["true"]}},
        "restart": {"policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1,
                    "success_exit_codes": [0]},
        "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "stop"}}}"#;

    fn spec() -> Spec {
        serde_json::from_str(OLDEST).expect("the oldest spec")
    }

    #[test]
    fn a_new_run_is_locked_private_and_whole() {
        let root = tempfile::tempdir().expect("a directory");
        let runs = root.path().join("state/runs");
        let (run, lock) = RunDir::create(&runs, &spec()).expect("made");
        assert_eq!(run.path, runs.join("channel@a/19bfcd3a000-00000007"));
        assert_eq!(run.run_id(), Some(spec().run_id));
        assert_eq!(run.spec().expect("good"), Some(spec()));
        assert!(run.started().expect("none").is_none());
        let mode = fs::metadata(runs.join("channel@a")).expect("stat").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert!(run.wrapper_lives().expect("asked"));
        // Asking takes nothing, and a duplicate holds the lock as well.
        let copy = OwnedFd::from(lock).try_clone().expect("a duplicate");
        assert!(run.wrapper_lives().expect("asked"));
        drop(copy);
        assert!(!run.wrapper_lives().expect("asked"));
        let again = RunDir::create(&runs, &spec()).expect_err("one run, one directory");
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        assert!(run.spec().expect("good").is_some(), "the first one is untouched");
    }

    #[test]
    fn the_last_run_of_a_job_takes_its_directory_along() {
        let root = tempfile::tempdir().expect("a directory");
        let mut second = spec();
        second.run_id = RunId::new(1_800_000_000_000, 1);
        let (newer, _) = RunDir::create(root.path(), &second).expect("made");
        let (older, _) = RunDir::create(root.path(), &spec()).expect("made");
        let job = spec().job.id.clone();
        for stranger in ["lost+found", "channel@a/.hidden", "channel@a/NOT-A-RUN"] {
            fs::create_dir(root.path().join(stranger)).expect("made");
        }
        fs::write(root.path().join("channel@a/file"), "").expect("written");
        assert_eq!(all_jobs(root.path()).expect("read"), vec![job.clone()]);
        assert_eq!(job_runs(root.path(), &job).expect("read"), [older.clone(), newer.clone()]);
        for stranger in ["channel@a/.hidden", "channel@a/NOT-A-RUN"] {
            fs::remove_dir(root.path().join(stranger)).expect("removed");
        }
        fs::remove_file(root.path().join("channel@a/file")).expect("removed");
        older.remove().expect("removed");
        assert_eq!(job_runs(root.path(), &job).expect("read"), vec![newer.clone()]);
        newer.remove().expect("removed");
        assert!(!root.path().join("channel@a").exists());
        assert_eq!(job_runs(root.path(), &job).expect("read"), []);
        assert_eq!(all_jobs(&root.path().join("none")).expect("read"), []);
    }

    #[test]
    fn a_damaged_record_is_named_and_can_be_set_aside_again_and_again() {
        let root = tempfile::tempdir().expect("a directory");
        let (run, _lock) = RunDir::create(root.path(), &spec()).expect("made");
        let path = run.path.join(EXITED);
        for (number, content) in
            ["", "{\"version\": 1}", "{\"version\": -1}", "\u{0}", &" ".repeat(1 << 21)].iter().enumerate()
        {
            fs::write(&path, content).expect("written");
            let error = run.exited().expect_err("it is damaged");
            assert!(error.is_damage(), "{error}");
            assert!(error.to_string().starts_with(&format!("{}: ", path.display())), "{error}");
            let aside = run.set_aside(EXITED).expect("renamed");
            assert_eq!(aside, run.path.join(format!("exited.json.damaged-{}", number + 1)));
            assert_eq!(fs::read_to_string(aside).expect("kept"), *content);
            assert!(run.exited().expect("gone").is_none());
        }
    }

    #[test]
    fn what_is_no_file_is_no_record_and_never_blocks() {
        let root = tempfile::tempdir().expect("a directory");
        let (run, _lock) = RunDir::create(root.path(), &spec()).expect("made");
        std::os::unix::fs::symlink(run.path.join(SPEC), run.path.join(STARTED)).expect("linked");
        nix::unistd::mkfifo(&run.path.join(STOP), nix::sys::stat::Mode::S_IRWXU).expect("made");
        fs::create_dir(run.path.join(EXITED)).expect("made");
        assert!(matches!(run.started(), Err(RecordError { cause: RecordCause::NotAFile, .. })));
        assert!(matches!(run.stopping(), Err(RecordError { cause: RecordCause::NotAFile, .. })));
        assert!(matches!(run.exited(), Err(RecordError { cause: RecordCause::NotAFile, .. })));
    }
}
