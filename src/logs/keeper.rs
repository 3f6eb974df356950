//! Keeps every log within its bound, from a thread of its own: the loop never waits for a log.
//!
//! It wakes at the first write to any log, then looks more often the faster a log grows, and sleeps again for as
//! long as nobody writes. So a flood is caught in time, and quiet jobs cost nothing.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tracing::{info, warn};

use super::Bound;
use super::rotate::{Means, rotate, used};

/// The shortest pause between two looks, and the first one after a silence.
const SHORTEST: Duration = Duration::from_millis(50);

/// The longest pause while logs are written, and how often they are looked at where nothing tells of a write.
const LONGEST: Duration = Duration::from_secs(1);

/// The thread. It ends when this is dropped.
pub struct LogKeeper {
    /// Closed, it tells the thread to end.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl LogKeeper {
    /// Keeps the logs (`*.log`) of a folder within a bound each.
    ///
    /// # Errors
    /// No pipe or thread can be had.
    pub fn start(folder: PathBuf, bound: Bound) -> io::Result<Self> {
        let (stopped, stop) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let work =
            Work { folder, bound, stopped, sizes: HashMap::new(), told: HashSet::new(), truncates: false };
        let thread = std::thread::Builder::new().name("logs".into()).spawn(move || work.run())?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for LogKeeper {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // It has failed; logs grow until the next supervisor looks.
            let _ = thread.join();
        }
    }
}

struct Work {
    folder: PathBuf,
    bound: Bound,
    stopped: OwnedFd,
    /// The sizes of the last look.
    sizes: HashMap<PathBuf, u64>,
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
        let mut pause = SHORTEST;
        let mut last = Instant::now();
        loop {
            // Before the look: what is written between it and the sleep wakes.
            let watch = watch(&self.folder);
            let look = self.look(last.elapsed());
            last = Instant::now();
            pause = if look.changed { look.pause.min(pause * 2) } else { SHORTEST };
            let stopped = match (watch, look.changed) {
                (Ok(watch), false) => self.sleep(Some(&watch), None),
                (Err(_), false) => self.sleep(None, Some(LONGEST)),
                (_, true) => self.sleep(None, Some(pause)),
            };
            if stopped {
                return;
            }
        }
    }

    /// Until something is written, or for some time. True: it is time to end.
    fn sleep(&self, watch: Option<&Inotify>, limit: Option<Duration>) -> bool {
        let mut fds = vec![PollFd::new(self.stopped.as_fd(), PollFlags::POLLIN)];
        fds.extend(watch.map(|watch| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
        let limit = limit.and_then(|limit| PollTimeout::try_from(limit).ok()).unwrap_or(PollTimeout::NONE);
        // An interruption is one look too many.
        let _ = poll(&mut fds, limit);
        fds.first().and_then(PollFd::revents).is_some_and(|events| !events.is_empty())
    }

    fn look(&mut self, elapsed: Duration) -> Look {
        let mut sizes = HashMap::new();
        let mut look = Look { changed: false, pause: LONGEST };
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.extension().is_none_or(|extension| extension != "log") {
                continue;
            }
            // Of the name itself: a link is none of ours.
            let Ok(meta) = entry.metadata() else { continue };
            let before = self.sizes.get(&path).copied();
            let size = meta.len();
            if before != Some(size) {
                look.changed = true;
                look.pause = look.pause.min(self.due(size, before.unwrap_or(0), elapsed));
            }
            // After a failure it is tried again when it is written.
            let tried = self.told.contains(&path) && before == Some(size);
            if used(&meta) >= self.bound.max_size && !tried {
                look.changed |= self.rotate(&path);
            }
            let size = fs::symlink_metadata(&path).map_or(size, |meta| meta.len());
            sizes.insert(path, size);
        }
        self.told.retain(|path| sizes.contains_key(path));
        self.sizes = sizes;
        look
    }

    /// Half of the time that a log takes to reach its bound, at the rate at which it grew.
    fn due(&self, size: u64, before: u64, elapsed: Duration) -> Duration {
        let grown = size.saturating_sub(before).max(1);
        let room = self.bound.max_size.saturating_sub(size).max(self.bound.max_size / 4);
        let seconds = elapsed.as_secs_f64() * room as f64 / grown as f64 / 2.0;
        Duration::from_secs_f64(seconds.min(LONGEST.as_secs_f64())).max(SHORTEST)
    }

    /// True: it was over its bound, and may be again.
    fn rotate(&mut self, path: &Path) -> bool {
        let rotated = match rotate(path, self.bound) {
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
        if rotated.dropped > 0 && self.bound.keep > 0 {
            warn!(
                "{}: {} bytes were dropped instead of kept: it was written faster than it could be rotated, or the \
                 disk is full",
                path.display(),
                rotated.dropped
            );
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

/// Tells of the next write to any file of the folder, once.
fn watch(folder: &Path) -> nix::Result<Inotify> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
    let mask = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO;
    inotify.add_watch(folder, mask | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_ONESHOT)?;
    Ok(inotify)
}
