//! Keeps every log within its bound, from a thread of its own: the loop never waits for a log.
//!
//! It wakes at the first write to any log, then looks more often the faster a log grows, and sleeps again for as
//! long as nobody writes. So a flood is caught in time, and quiet jobs cost nothing. The loop tells it the bounds of each
//! job, by a map that nobody holds for longer than a look at it takes.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tracing::{info, warn};

use super::compress::{Compressor, Moves, locked};
use super::rotate::{Means, rotate, used};
use super::{Bound, pieces};
use crate::linux::disk;
use crate::model::space::{Reserve, rounded};
use crate::model::units::count;

/// The shortest pause between two looks, and the first one after a silence.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest pause while logs are written, and how often they are looked at where nothing tells of a write.
const LONGEST: Duration = Duration::from_secs(1);

/// The bounds of logs of which one is known. No entry goes: there are no more of them than logs.
pub type Bounds = HashMap<PathBuf, Bound>;

/// The thread. It ends when this is dropped.
pub struct LogKeeper {
    /// Wakes the thread. Closed, it tells it to end.
    wake: Option<OwnedFd>,
    /// Of a log that is not in the map.
    default: Bound,
    bounds: Arc<Mutex<Bounds>>,
    thread: Option<JoinHandle<()>>,
}

impl LogKeeper {
    /// Keeps the logs (`*.log`) of a folder within a bound each: `default`, where none is known. Where the disk has less
    /// free space than its reserve, older pieces go, the oldest first.
    ///
    /// # Errors
    /// No pipe or thread can be had.
    pub fn start(folder: PathBuf, default: Bound, known: Bounds, reserve: Reserve) -> io::Result<Self> {
        let (woken, wake) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let bounds = Arc::new(Mutex::new(known));
        let work = Work {
            folder,
            default,
            reserve,
            bounds: Arc::clone(&bounds),
            woken,
            sizes: HashMap::new(),
            in_order: HashMap::new(),
            moves: Moves::default(),
            compressor: None,
            told: HashSet::new(),
            truncates: false,
        };
        let thread = std::thread::Builder::new().name("logs".into()).spawn(move || work.run())?;
        Ok(Self { wake: Some(wake), default, bounds, thread: Some(thread) })
    }

    /// Tells the bound of a log, from now on.
    pub fn tell(&self, log: PathBuf, bound: Bound) {
        let before = locked(&self.bounds).insert(log, bound).unwrap_or(self.default);
        if let Some(wake) = self.wake.as_ref().filter(|_| before != bound) {
            // A full pipe wakes as well.
            let _ = nix::unistd::write(wake, b".");
        }
    }
}

impl LogKeeper {
    /// Has it look at all logs, and at the disk, now.
    pub fn look(&self) {
        if let Some(wake) = &self.wake {
            let _ = nix::unistd::write(wake, b".");
        }
    }
}

impl Drop for LogKeeper {
    fn drop(&mut self) {
        self.wake = None;
        if let Some(thread) = self.thread.take() {
            // It has failed; logs grow until the next supervisor looks.
            let _ = thread.join();
        }
    }
}

struct Work {
    folder: PathBuf,
    default: Bound,
    reserve: Reserve,
    bounds: Arc<Mutex<Bounds>>,
    woken: OwnedFd,
    /// The sizes of the last look.
    sizes: HashMap<PathBuf, u64>,
    /// The bound by which the older pieces of a log were put in order.
    in_order: HashMap<PathBuf, Bound>,
    moves: Moves,
    /// `None`: nothing was to be compressed yet.
    compressor: Option<Compressor>,
    /// Logs of which an error was told.
    told: HashSet<PathBuf>,
    /// It was said that this disk can only truncate.
    truncates: bool,
}

/// What a look at all logs found.
struct Look {
    /// A log is not as it was.
    changed: bool,
    /// When to look again, if logs go on growing as they do.
    pause: Duration,
}

impl Work {
    fn run(mut self) {
        self.sweep();
        let mut pause = SHORTEST;
        let mut last = Instant::now();
        loop {
            // Before the look: what is written between it and the sleep wakes.
            let watch = watch(&self.folder);
            let look = self.look(last.elapsed());
            last = Instant::now();
            pause = if look.changed { look.pause.min(pause * 2) } else { SHORTEST };
            let woken = match (watch, look.changed) {
                (Ok(watch), false) => self.sleep(Some(&watch), None),
                (Err(_), false) => self.sleep(None, Some(LONGEST)),
                (_, true) => self.sleep(None, Some(pause)),
            };
            match woken {
                Woken::ToEnd => return,
                // Many jobs may be told at once, and each look is one at all logs.
                Woken::Told => std::thread::sleep(SHORTEST),
                Woken::ToLook => {}
            }
        }
    }

    /// Removes the drafts of a predecessor that was interrupted.
    fn sweep(&self) {
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if is_log(&entry.path()) {
                // Who cannot be removed is in the way of the next piece, which tells it.
                let _ = pieces::discard(&entry.path(), 0);
            }
        }
    }

    /// Until something is written, or told, or for some time.
    fn sleep(&self, watch: Option<&Inotify>, limit: Option<Duration>) -> Woken {
        let mut fds = vec![PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        fds.extend(watch.map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
        let limit = limit.and_then(|limit| PollTimeout::try_from(limit).ok()).unwrap_or(PollTimeout::NONE);
        // An interruption is one look too many.
        let _ = poll(&mut fds, limit);
        if fds.first().and_then(PollFd::revents).is_none_or(|events| events.is_empty()) {
            return Woken::ToLook;
        }
        let mut buffer = [0; 4096];
        match nix::unistd::read(&self.woken, &mut buffer) {
            Ok(0) => Woken::ToEnd,
            _ => Woken::Told,
        }
    }

    /// The bound that was told of a log.
    fn bound_of(&self, path: &Path) -> Option<Bound> {
        locked(&self.bounds).get(path).copied()
    }

    fn look(&mut self, elapsed: Duration) -> Look {
        let mut sizes = HashMap::new();
        let mut look = Look { changed: false, pause: LONGEST };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if !is_log(&path) {
                continue;
            }
            let known = self.bound_of(&path);
            let bound = known.unwrap_or(self.default);
            // Of the name itself: a link is none of ours.
            let Ok(meta) = entry.metadata() else { continue };
            let before = self.sizes.get(&path).copied();
            let size = meta.len();
            if before != Some(size) {
                look.changed = true;
                look.pause = look.pause.min(due(bound, size, before.unwrap_or(0), elapsed));
            }
            // After a failure it is tried again when it is written.
            let tried = self.told.contains(&path) && before == Some(size);
            if used(&meta) >= bound.max_size && !tried {
                look.changed |= self.rotate(&path, bound);
            }
            // Of a log whose job is not known, nothing older is touched.
            if let Some(bound) = known.filter(|bound| self.in_order.get(&path) != Some(bound)) {
                self.put_in_order(&path, bound);
                self.in_order.insert(path.clone(), bound);
            }
            let size = fs::symlink_metadata(&path).map_or(size, |meta| meta.len());
            sizes.insert(path, size);
        }
        self.told.retain(|path| sizes.contains_key(path));
        self.in_order.retain(|path, _| sizes.contains_key(path));
        self.make_room(&sizes);
        self.sizes = sizes;
        look
    }

    /// Removes older pieces where the disk has less free space than its reserve.
    fn make_room(&self, logs: &HashMap<PathBuf, u64>) {
        let missing = disk::space(&self.folder).ok().and_then(|space| self.reserve.missing(space));
        let Some(missing) = missing else { return };
        let shed = {
            let _still = locked(&self.moves);
            pieces::shed(&logs.keys().cloned().collect::<Vec<_>>(), missing)
        };
        let folder = self.folder.display();
        match shed {
            Ok((0, _)) => {}
            Ok((n, bytes)) => warn!(
                "{folder}: removed {}, {}, because less than [disk] reserve was free",
                count(n, "older piece"),
                rounded(bytes)
            ),
            Err(error) => warn!("{folder}: an older piece cannot be removed to make room: {error}"),
        }
    }

    /// What is older than `keep` goes, and the rest is compressed, where that is asked for.
    fn put_in_order(&mut self, path: &Path, bound: Bound) {
        let trimmed = {
            let _still = locked(&self.moves);
            pieces::trim(path, bound.keep)
        };
        let shown = path.display();
        match trimmed {
            Ok(0) => {}
            Ok(n) => info!("{shown}: {n} older pieces were removed; {} are kept", bound.keep),
            Err(error) => warn!("{shown}: an older piece that is not to be kept cannot be removed: {error}"),
        }
        if bound.compress {
            self.compress(path);
        }
    }

    fn compress(&mut self, path: &Path) {
        if self.compressor.is_none() {
            let started = Compressor::start(Arc::clone(&self.moves));
            let started = started.inspect_err(|error| warn!("cannot compress older pieces of logs: {error}"));
            self.compressor = started.ok();
        }
        if let Some(compressor) = &self.compressor {
            compressor.compress(path);
        }
    }

    /// True: it was over its bound, and may be again.
    fn rotate(&mut self, path: &Path, bound: Bound) -> bool {
        let done = {
            let _still = locked(&self.moves);
            rotate(path, bound)
        };
        let rotated = match done {
            Ok(Some(rotated)) => rotated,
            Ok(None) => return false,
            Err(error) => {
                if self.told.insert(path.to_owned()) {
                    let shown = path.display();
                    warn!("{shown}: cannot be rotated, and grows: {error}; tried again when it is written");
                }
                return false;
            }
        };
        self.told.remove(path);
        info!("{}: rotated, {} bytes", path.display(), rotated.bytes);
        if rotated.dropped > 0 && bound.keep > 0 {
            warn!(
                "{}: {} bytes were dropped instead of kept: they are more than {} pieces hold, or the disk is full",
                path.display(),
                rotated.dropped,
                bound.keep
            );
        }
        if bound.compress {
            self.compress(path);
        }
        if rotated.means == Means::Truncate && !std::mem::replace(&mut self.truncates, true) {
            warn!(
                "{}: this file system can neither cut a file's head out nor give it back, so logs are copied and \
                 truncated, which can lose the lines of that moment",
                self.folder.display()
            );
        }
        true
    }
}

/// Why it does not sleep any more.
enum Woken {
    /// Something was written, or it is time.
    ToLook,
    /// A bound is another than before.
    Told,
    /// It is time to end.
    ToEnd,
}

fn is_log(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "log")
}

/// Half of the time that a log takes to reach its bound, at the rate at which it grew.
fn due(bound: Bound, size: u64, before: u64, elapsed: Duration) -> Duration {
    let grown = size.saturating_sub(before).max(1);
    let room = bound.max_size.saturating_sub(size).max(bound.max_size / 4);
    let seconds = elapsed.as_secs_f64() * room as f64 / grown as f64 / 2.0;
    Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())).max(SHORTEST)
}

/// Tells of the next write to any file of the folder, once.
fn watch(folder: &Path) -> nix::Result<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let mask = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    inotify.add_watch(folder, mask | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_ONESHOT)?;
    Ok(inotify)
}
