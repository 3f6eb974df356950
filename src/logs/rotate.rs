//! Moves the head of a log out, while a workload holds the file open and appends to it.
//!
//! The head is copied to `<job>.log.1` and then taken away by `fallocate(FALLOC_FL_COLLAPSE_RANGE)`: no line is lost
//! and the workload notices nothing. Where the file system cannot do that, the head's blocks are given back
//! (`FALLOC_FL_PUNCH_HOLE`), and the file goes on growing in name only. Where it can do neither, the file is
//! truncated after the copy, which may lose the lines of that moment.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::unistd::{Whence, lseek};

use super::Bound;
use super::pieces::{self, MODE, plain, remove};

/// Copied at once.
const CHUNK: usize = 256 * 1024;

/// How the head was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Means {
    /// Cut out: nothing lost.
    Collapse,
    /// Its blocks were given back: nothing lost, the file's size stays.
    PunchHole,
    /// The file was truncated: lines written between copy and cut are lost.
    Truncate,
}

/// What became of a log that was over its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotated {
    /// How.
    pub means: Means,
    /// Bytes that left the file.
    pub bytes: u64,
    /// Of these, what is in no older piece: the disk had no room, or more came than all pieces hold.
    pub dropped: u64,
}

/// Bytes of a log on disk: a file whose head was punched out is larger in name than in fact.
pub(super) fn used(meta: &fs::Metadata) -> u64 {
    meta.len().min(meta.blocks().saturating_mul(512))
}

/// Opens a log, if it is a regular file of one name. A link, a pipe or a device is none of ours.
fn open(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY);
    match options.open(path) {
        Ok(file) => {
            let meta = file.metadata()?;
            Ok((meta.is_file() && meta.nlink() == 1).then_some(file))
        }
        Err(error)
            if error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ELOOP) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Rotates a log that is over its bound. `None`: it is not, or it is no log.
///
/// # Errors
/// The file or its folder cannot be used. The log is as it was.
pub fn rotate(path: &Path, bound: Bound) -> io::Result<Option<Rotated>> {
    let Some(file) = open(path)? else { return Ok(None) };
    let meta = file.metadata()?;
    if used(&meta) < bound.max_size {
        return Ok(None);
    }
    // Only whole blocks can be cut out, and never the last one.
    let block = meta.blksize().max(512);
    let end = meta.len().saturating_sub(1) / block * block;
    let begin = lseek(&file, 0, Whence::SeekData).ok().and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
    let most = (bound.max_size / block * block).max(block);
    let mut rotated = Rotated { means: Means::Collapse, bytes: 0, dropped: 0 };
    let mut left = end.saturating_sub(begin);
    // Of a flood that was faster than its disk only as much is kept as there are pieces.
    let surplus = left.saturating_sub(most * bound.keep as u64) / block * block;
    while left > 0 {
        let drop = surplus > 0 && rotated.bytes == 0;
        let begin = lseek(&file, 0, Whence::SeekData).ok().and_then(|at| u64::try_from(at).ok()).unwrap_or(0);
        let length = if drop { surplus } else { left.min(most) };
        let end = begin / block * block + length;
        let kept = !drop && set_aside(&file, path, begin, end, bound.keep)?;
        rotated.dropped += if kept { 0 } else { length };
        rotated.bytes += length;
        left -= length;
        let Some(means) = cut(&file, begin, end)? else {
            empty(&file, path, end, most, bound.keep, kept, &mut rotated)?;
            break;
        };
        rotated.means = means;
    }
    Ok((rotated.bytes > 0).then_some(rotated))
}

/// Copies the head to the newest older piece. False: the disk has no room, not even without any older one.
fn set_aside(file: &File, path: &Path, begin: u64, end: u64, keep: usize) -> io::Result<bool> {
    let draft = plain(path, 0);
    if keep == 0 {
        return Ok(false);
    }
    loop {
        match copy(file, begin, end, &draft) {
            Ok(()) => {
                pieces::push(&draft, path, keep)?;
                return Ok(true);
            }
            Err(error) => {
                remove(&draft)?;
                if !is_full(&error) {
                    return Err(error);
                }
                // The newest lines are worth more than the oldest. Where there are none, another try would only
                // fill the disk once more.
                let Some(oldest) = (1..=keep).rev().find(|n| pieces::is_there(path, *n)) else {
                    return Ok(false);
                };
                pieces::discard(path, oldest)?;
            }
        }
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
}

/// Truncates a file of which nothing can be cut out: first all that follows `at` is set aside, too. `kept`: what
/// comes before it is the newest older piece.
fn empty(
    file: &File,
    path: &Path,
    mut at: u64,
    most: u64,
    keep: usize,
    mut kept: bool,
    rotated: &mut Rotated,
) -> io::Result<()> {
    rotated.means = Means::Truncate;
    let mut left = file.metadata()?.len().saturating_sub(at);
    while left > 0 && (left >= most || !kept) {
        let length = left.min(most);
        kept = set_aside(file, path, at, at + length, keep)?;
        rotated.bytes += length;
        rotated.dropped += if kept { 0 } else { length };
        at += length;
        left -= length;
    }
    if kept {
        // No piece of its own, or it would push an older one out; and up to this moment.
        let mut options = OpenOptions::new();
        let newest = options.write(true).custom_flags(libc::O_NOFOLLOW).open(plain(path, 1))?;
        let size = newest.metadata()?.len();
        match copy_to(file, at, at + most, &newest, size) {
            Ok(length) => rotated.bytes += length,
            Err(error) if is_full(&error) => {
                newest.set_len(size)?;
                rotated.bytes += left;
                rotated.dropped += left;
            }
            Err(error) => return Err(error),
        }
    }
    file.set_len(0)
}

fn copy(file: &File, begin: u64, end: u64, to: &Path) -> io::Result<()> {
    remove(to)?;
    let mut options = OpenOptions::new();
    let draft = options.write(true).create_new(true).mode(MODE).open(to)?;
    copy_to(file, begin, end, &draft, 0).map(drop)
}

/// Copies [begin, end) to `offset` of another file, or less where the file ends before. Gives its length.
fn copy_to(file: &File, begin: u64, end: u64, to: &File, offset: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK];
    let mut at = begin;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        let Some(part) = buffer.get_mut(..wanted) else { break };
        let length = file.read_at(part, at)?;
        if length == 0 {
            // Its end, or somebody truncated it meanwhile.
            break;
        }
        to.write_all_at(part.get(..length).unwrap_or_default(), offset + at - begin)?;
        at += length as u64;
    }
    Ok(at - begin)
}

/// Takes [begin, end) away. What lies before `begin` is a hole already. `None`: this file system cannot, and the
/// file is as it was.
fn cut(file: &File, begin: u64, end: u64) -> io::Result<Option<Means>> {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    let unsupported = |errno| matches!(errno, Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS);
    match fallocate(file, FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, 0, number(end)) {
        Ok(()) => return Ok(Some(Means::Collapse)),
        Err(errno) if unsupported(errno) => {}
        Err(errno) => return Err(errno.into()),
    }
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | FallocateFlags::FALLOC_FL_KEEP_SIZE;
    match fallocate(file, punch, number(begin), number(end - begin)) {
        Ok(()) => Ok(Some(Means::PunchHole)),
        Err(errno) if unsupported(errno) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Which means a disk has, tried on a file that is made for it and removed.
///
/// # Errors
/// Nothing can be made or written there.
pub fn try_out(folder: &Path) -> io::Result<Means> {
    let path = folder.join(format!(".rotation-{}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).mode(MODE).open(&path)?;
    fs::remove_file(&path)?;
    let block = file.metadata()?.blksize().max(512);
    for n in 0..3 {
        file.write_all_at(&vec![1; usize::try_from(block).unwrap_or(CHUNK)], n * block)?;
    }
    Ok(cut(&file, 0, block)?.unwrap_or(Means::Truncate))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn append(path: &Path) -> File {
        OpenOptions::new().append(true).create(true).open(path).expect("a log")
    }

    /// The pieces from old to new, then the log itself: all that is kept.
    fn all(path: &Path, keep: usize) -> String {
        let pieces = (1..=keep).rev().map(|n| plain(path, n)).chain([path.to_owned()]);
        let bytes: Vec<u8> =
            pieces.flat_map(|path| fs::read(path).unwrap_or_default()).filter(|byte| *byte != 0).collect();
        String::from_utf8(bytes).expect("text")
    }

    #[test]
    fn no_line_is_lost_while_it_is_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let bound = Bound { max_size: 64 * 1024, keep: 1000, compress: false };
        let (enough, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let mut rotations = Vec::new();
        let lines = std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                let mut log = append(&path);
                let mut lines = 0;
                // No more than the pieces hold.
                while lines < 400_000 && !enough.load(Ordering::Acquire) {
                    log.write_all(format!("line {lines:08} {:60}\n", "").as_bytes()).expect("written");
                    lines += 1;
                }
                done.store(true, Ordering::Release);
                lines
            });
            while !done.load(Ordering::Acquire) {
                rotations.extend(rotate(&path, bound).expect("rotated"));
                enough.store(rotations.len() >= 8, Ordering::Release);
            }
            writer.join().expect("it has written")
        });
        rotations.extend(rotate(&path, bound).expect("rotated"));
        if rotations.iter().any(|rotated| rotated.means == Means::Truncate) {
            println!(
                "SKIPPED no_line_is_lost_while_it_is_written: this file system can neither collapse nor punch"
            );
            return;
        }
        let text = all(&path, 1000);
        let numbers: Vec<usize> = text.lines().map(|line| line[5..13].parse().expect("a number")).collect();
        assert!(numbers.iter().copied().eq(0..lines), "{} of {lines} lines", numbers.len());
        assert!(fs::metadata(&path).expect("there").blocks() * 512 < 2 * bound.max_size);
    }

    #[test]
    fn so_many_older_pieces_are_kept_and_the_oldest_goes() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let bound = Bound { max_size: 16 * 1024, keep: 2, compress: false };
        let mut log = append(&path);
        for round in b'a'..=b'e' {
            log.write_all(&[round; 20 * 1024]).expect("written");
            assert!(rotate(&path, bound).expect("rotated").is_some_and(|rotated| rotated.dropped == 0));
            assert_eq!(rotate(&path, bound).expect("not over its bound"), None);
        }
        let mut names: Vec<_> =
            fs::read_dir(&folder).expect("there").map(|e| e.expect("entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["a.log", "a.log.1", "a.log.2"], "and no draft");
        assert!(fs::read(plain(&path, 1)).expect("there").contains(&b'e'));
    }

    /// As `rotate` does it on a file system that can neither collapse nor punch.
    #[test]
    fn a_log_at_rest_loses_nothing_where_it_is_truncated() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.log");
        let text: String = (0..2000).map(|n| format!("line {n:08} {:85}\n", "")).collect();
        append(&path).write_all(text.as_bytes()).expect("written");
        let file = open(&path).expect("opened").expect("a log");
        let mut rotated = Rotated { means: Means::Collapse, bytes: 64 << 10, dropped: 0 };
        assert!(set_aside(&file, &path, 0, 64 << 10, 9).expect("copied"));
        empty(&file, &path, 64 << 10, 64 << 10, 9, true, &mut rotated).expect("truncated");
        assert_eq!(rotated, Rotated { means: Means::Truncate, bytes: text.len() as u64, dropped: 0 });
        assert_eq!(fs::metadata(&path).expect("there").len(), 0);
        assert!(all(&path, 9) == text, "every line, in order");
        assert!(plain(&path, 3).exists() && !plain(&path, 4).exists(), "the rest has no piece of its own");
    }

    #[test]
    fn the_means_that_are_tried_out_are_those_of_a_rotation() {
        let folder = tempfile::tempdir().expect("a folder");
        let means = try_out(folder.path()).expect("tried");
        assert_eq!(fs::read_dir(&folder).expect("there").count(), 0, "and nothing is left");
        let path = folder.path().join("a.log");
        append(&path).write_all(&[b'x'; 100_000]).expect("written");
        let rotated = rotate(&path, Bound { max_size: 64 << 10, keep: 1, compress: false }).expect("rotated");
        assert_eq!(rotated.map(|rotated| rotated.means), Some(means));
    }

    #[test]
    fn what_is_no_log_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, other) = (folder.path().join("a.log"), folder.path().join("precious"));
        let bound = Bound { max_size: 1, keep: 1, compress: false };
        assert_eq!(rotate(&path, bound).expect("there is none"), None);
        fs::write(&other, [7; 100_000]).expect("written");
        std::os::unix::fs::symlink(&other, &path).expect("linked");
        assert_eq!(rotate(&path, bound).expect("a link"), None);
        fs::remove_file(&path).expect("removed");
        fs::hard_link(&other, &path).expect("linked");
        assert_eq!(rotate(&path, bound).expect("of two names"), None);
        fs::remove_file(&path).expect("removed");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("a pipe");
        assert_eq!(rotate(&path, bound).expect("a pipe"), None);
        assert_eq!(fs::read(&other).expect("there").len(), 100_000);
    }
}
