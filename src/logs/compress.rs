//! Compresses older pieces of logs, in a thread of its own: it has the lowest priority, which a thread without privileges
//! cannot leave any more, and the keeper has to be in time.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use tracing::{debug, warn};

use super::pieces::{self, MODE, newest_plain, number_of, packed, plain, remove};
use crate::linux::sys;
use crate::model::process::Pid;

/// What zstd calls its default: logs become a tenth or less, with a few MiB of memory.
const LEVEL: i32 = 3;

/// Read at once; between two parts it looks whether it is to end.
const CHUNK: usize = 256 * 1024;

/// The class "idle" (ioprio_set(2)).
const IDLE: i32 = 3 << 13;

/// Held while pieces are made, moved or removed.
pub(super) type Moves = Arc<Mutex<()>>;

/// The thread. It ends when this is dropped.
pub(super) struct Compressor {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Default)]
struct Waiting {
    logs: BTreeSet<PathBuf>,
    ends: bool,
}

/// No state can be half changed: what is guarded is a set, or nothing.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Compressor {
    /// Begins, with nothing to do.
    ///
    /// # Errors
    /// No thread can be had.
    pub(super) fn start(moves: Moves) -> io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let theirs = Arc::clone(&queue);
        let thread =
            std::thread::Builder::new().name("logs-zstd".into()).spawn(move || work(&theirs, &moves))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Has the older pieces of a log compressed.
    pub(super) fn compress(&self, log: &Path) {
        if locked(&self.queue.waiting).logs.insert(log.to_owned()) {
            self.queue.came.notify_one();
        }
    }
}

impl Drop for Compressor {
    fn drop(&mut self) {
        locked(&self.queue.waiting).ends = true;
        self.queue.came.notify_one();
        if let Some(thread) = self.thread.take() {
            // It has failed; pieces stay as they are.
            let _ = thread.join();
        }
    }
}

fn work(queue: &Queue, moves: &Moves) {
    if let Some(thread) = u32::try_from(nix::unistd::gettid().as_raw()).ok().and_then(Pid::new) {
        // Where it is not given, compressing is a little less polite.
        let _ = sys::set_nice(thread, 19);
        let _ = sys::set_io_priority(thread, IDLE);
    }
    let mut told = BTreeSet::new();
    let ends = || locked(&queue.waiting).ends;
    loop {
        let mut waiting = locked(&queue.waiting);
        let log = loop {
            if waiting.ends {
                return;
            }
            if let Some(log) = waiting.logs.pop_first() {
                break log;
            }
            waiting = queue.came.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        };
        drop(waiting);
        match compress(&log, moves, &ends) {
            Ok(()) => drop(told.remove(&log)),
            Err(error) if told.insert(log.clone()) => {
                let shown = log.display();
                warn!(
                    "{shown}: its older pieces stay as they are: cannot compress: {error}; tried again with the next"
                );
            }
            Err(_) => {}
        }
    }
}

/// Compresses all pieces of a log that are not. The newest goes first, because it stays for longest.
fn compress(log: &Path, moves: &Moves, ends: &dyn Fn() -> bool) -> io::Result<()> {
    let draft = packed(log, 0);
    loop {
        let opened = {
            let _still = locked(moves);
            newest_plain(log).map(|path| open(&path)).transpose()?
        };
        let Some(piece) = opened else { return Ok(()) };
        let done = pack(&piece, &draft, ends).and_then(|whole| match whole {
            Some(length) => put_in_place(log, &piece, length, &draft, moves).map(|()| true),
            None => remove(&draft).map(|()| false),
        });
        match done {
            Ok(true) => debug!("{}: a piece was compressed", log.display()),
            Ok(false) => return Ok(()),
            Err(error) => {
                remove(&draft)?;
                return Err(error);
            }
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

/// Puts what was compressed in the place of the piece, which may have moved on meanwhile, or be gone. `length` is how
/// much of it was read.
fn put_in_place(log: &Path, piece: &File, length: u64, draft: &Path, moves: &Moves) -> io::Result<()> {
    let _still = locked(moves);
    let meta = piece.metadata()?;
    if meta.len() != length {
        return Err(io::Error::other("one of them is being written, so somebody else renamed a log to it"));
    }
    match number_of(log, &meta) {
        Some(n) => {
            fs::rename(draft, packed(log, n))?;
            remove(&plain(log, n))
        }
        None => remove(draft),
    }
}

/// Writes a file compressed, and gives how long it is. `None`: it is to end before it has.
fn pack(mut from: &File, to: &Path, ends: &dyn Fn() -> bool) -> io::Result<Option<u64>> {
    pieces::remove(to)?;
    let draft = OpenOptions::new().write(true).create_new(true).mode(MODE).open(to)?;
    let draft = io::BufWriter::with_capacity(CHUNK, draft);
    let mut encoder = zstd::Encoder::new(draft, LEVEL)?;
    encoder.include_checksum(true)?;
    let mut buffer = vec![0; CHUNK];
    let mut whole = 0;
    loop {
        if ends() {
            return Ok(None);
        }
        let length = from.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        whole += length as u64;
        io::Write::write_all(&mut encoder, buffer.get(..length).unwrap_or_default())?;
    }
    let draft = encoder.finish()?.into_inner().map_err(io::IntoInnerError::into_error)?;
    // The piece goes next: a power cut must not take both.
    draft.sync_data()?;
    Ok(Some(whole))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn put(path: &Path, bytes: &[u8]) {
        fs::write(path, bytes).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).expect("changed");
    }

    fn text(seed: usize) -> Vec<u8> {
        (0..20_000).flat_map(|n| format!("line {seed} {n}\n").into_bytes()).collect()
    }

    #[test]
    fn every_piece_becomes_smaller_and_none_loses_a_byte() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        put(&log, &text(0));
        (1..=2).for_each(|n| put(&plain(&log, n), &text(n)));
        // Interrupted, once: it is made anew.
        put(&packed(&log, 0), b"half");
        put(&packed(&log, 2), b"half");
        compress(&log, &Moves::default(), &|| false).expect("compressed");
        for n in 1..=2 {
            assert!(!plain(&log, n).exists());
            let packed = fs::read(packed(&log, n)).expect("there");
            assert!(packed.len() < text(n).len() / 3, "{}", packed.len());
            assert!(zstd::decode_all(&packed[..]).expect("whole") == text(n));
        }
        assert!(fs::read(&log).expect("there") == text(0), "the log itself is not touched");
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 3, "and no draft");
        let mode = fs::metadata(packed(&log, 1)).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, MODE);
    }

    #[test]
    fn a_piece_that_moved_on_meanwhile_keeps_its_place_and_one_that_went_stays_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        let moves = Moves::default();
        put(&plain(&log, 1), &text(1));
        let (piece, draft) = (open(&plain(&log, 1)).expect("there"), packed(&log, 0));
        let length = pack(&piece, &draft, &|| false).expect("packed").expect("not ended");
        put(&plain(&log, 0), &text(7));
        pieces::push(&plain(&log, 0), &log, 3).expect("pushed");
        put_in_place(&log, &piece, length, &draft, &moves).expect("put in place");
        assert!(fs::read(plain(&log, 1)).expect("there") == text(7));
        assert!(!plain(&log, 2).exists() && !draft.exists());
        let packed_bytes = fs::read(packed(&log, 2)).expect("there");
        assert!(zstd::decode_all(&packed_bytes[..]).expect("whole") == text(1));
        // One that is not there any more.
        put(&draft, b"packed");
        put_in_place(&log, &piece, length, &draft, &moves).expect("removed");
        assert!(!draft.exists() && !packed(&log, 1).exists());
    }

    /// As logrotate does it: the workload holds the file open that is called a piece now.
    #[test]
    fn a_piece_that_is_being_written_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        put(&plain(&log, 1), &text(1));
        let writes = || {
            let mut piece = OpenOptions::new().append(true).open(plain(&log, 1)).expect("there");
            io::Write::write_all(&mut piece, b"more\n").expect("written");
        };
        let (piece, draft) = (open(&plain(&log, 1)).expect("there"), packed(&log, 0));
        let length = pack(&piece, &draft, &|| false).expect("packed").expect("not ended");
        writes();
        assert!(put_in_place(&log, &piece, length, &draft, &Moves::default()).is_err());
        assert!(fs::read(plain(&log, 1)).expect("there").ends_with(b"more\n") && !packed(&log, 1).exists());
    }

    #[test]
    fn who_is_to_end_leaves_all_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        put(&plain(&log, 1), &text(1));
        compress(&log, &Moves::default(), &|| true).expect("ended");
        assert!(fs::read(plain(&log, 1)).expect("there") == text(1));
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 1);
    }
}
