//! The older pieces of a log: `<log>.<n>`, or `<log>.<n>.zst` once it is compressed; 1 is the newest.
//!
//! Number 0 is a draft. Where a piece has both forms, somebody was interrupted, and the plain one counts.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most pieces that a log has, whatever `keep` is or was.
const MOST: usize = 1000;

/// What the mode of all that we make is.
pub(super) const MODE: u32 = 0o600;

/// The path of a piece.
#[must_use]
pub fn plain(log: &Path, n: usize) -> PathBuf {
    let mut name = OsString::from(log);
    name.push(format!(".{n}"));
    name.into()
}

/// The path of a piece that is compressed.
#[must_use]
pub fn packed(log: &Path, n: usize) -> PathBuf {
    let mut name = OsString::from(log);
    name.push(format!(".{n}.zst"));
    name.into()
}

/// Whether there is such a piece.
pub(super) fn is_there(log: &Path, n: usize) -> bool {
    [plain(log, n), packed(log, n)].iter().any(|path| path.symlink_metadata().is_ok())
}

/// Removes a piece, in whichever form it is.
pub(super) fn discard(log: &Path, n: usize) -> io::Result<()> {
    remove(&packed(log, n))?;
    remove(&plain(log, n))
}

/// Makes a draft the newest piece. All others move on, and the oldest goes.
pub(super) fn push(draft: &Path, log: &Path, keep: usize) -> io::Result<()> {
    let older = (1..keep).take_while(|n| is_there(log, *n)).count();
    for n in (1..=older).rev() {
        // First what is in the way: of two forms of one number the wrong one would count.
        discard(log, n + 1)?;
        if plain(log, n).symlink_metadata().is_ok() {
            fs::rename(plain(log, n), plain(log, n + 1))?;
            remove(&packed(log, n))?;
        } else {
            fs::rename(packed(log, n), packed(log, n + 1))?;
        }
    }
    fs::rename(draft, plain(log, 1))?;
    remove(&packed(log, 1))
}

/// Removes the pieces beyond `keep`, and gives how many. Only ours go: numbered on from the last that is kept without a
/// gap, regular files of one name, of our user, with the mode that we give. What somebody else put there stays.
pub(super) fn trim(log: &Path, keep: usize) -> io::Result<usize> {
    for n in keep + 1..=MOST {
        let ours = [packed(log, n), plain(log, n)].into_iter().filter(|path| is_ours(path));
        let ours: Vec<PathBuf> = ours.collect();
        if ours.is_empty() {
            return Ok(n - keep - 1);
        }
        ours.iter().try_for_each(|path| remove(path))?;
    }
    Ok(MOST.saturating_sub(keep))
}

/// Removes pieces of these logs until so many bytes of the disk are free again, and gives how many pieces and bytes went:
/// always the oldest of all, and of each log its last, so that none has a gap. Only ours go, as with [`trim`].
pub(super) fn shed(logs: &[PathBuf], missing: u64) -> io::Result<(usize, u64)> {
    let last = |log: &PathBuf| {
        let n = (1..=MOST).take_while(|n| is_there(log, *n)).last()?;
        let path = [plain(log, n), packed(log, n)].into_iter().find(|path| is_ours(path))?;
        let meta = path.symlink_metadata().ok()?;
        Some((meta.modified().ok()?, log.clone(), n, meta.blocks() * 512))
    };
    let mut lasts: Vec<_> = logs.iter().filter_map(last).collect();
    let (mut pieces, mut bytes) = (0, 0);
    while bytes < missing {
        let Some(at) = (0..lasts.len()).min_by_key(|at| lasts.get(*at).map(|(time, ..)| *time)) else {
            break;
        };
        let (_, log, n, size) = lasts.swap_remove(at);
        discard(&log, n)?;
        (pieces, bytes) = (pieces + 1, bytes + size);
        lasts.extend(last(&log));
    }
    Ok((pieces, bytes))
}

/// The newest piece that is not compressed yet, and is ours.
pub(super) fn newest_plain(log: &Path) -> Option<PathBuf> {
    let all = (1..=MOST).take_while(|n| is_there(log, *n));
    all.map(|n| plain(log, n)).find(|path| is_ours(path))
}

/// Which piece, not compressed, a file is now. `None`: none any more.
pub(super) fn number_of(log: &Path, file: &fs::Metadata) -> Option<usize> {
    let mut all = (1..=MOST).take_while(|n| is_there(log, *n));
    let same = |meta: fs::Metadata| (meta.dev(), meta.ino()) == (file.dev(), file.ino());
    all.find(|n| plain(log, *n).symlink_metadata().is_ok_and(same))
}

fn is_ours(path: &Path) -> bool {
    let ours = |meta: fs::Metadata| {
        let own = nix::unistd::geteuid().as_raw();
        meta.is_file() && meta.nlink() == 1 && meta.uid() == own && meta.mode() & 0o7777 == MODE
    };
    path.symlink_metadata().is_ok_and(ours)
}

/// Removes a file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn put(path: &Path, text: &str) {
        fs::write(path, text).expect("written");
        fs::set_permissions(path, fs::Permissions::from_mode(MODE)).expect("changed");
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("there");
        let mut names: Vec<String> =
            entries.map(|entry| entry.expect("an entry").file_name().into_string().expect("text")).collect();
        names.sort();
        names
    }

    #[test]
    fn pieces_move_on_in_whichever_form_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        put(&plain(&log, 1), "1");
        put(&packed(&log, 2), "2");
        put(&plain(&log, 3), "3");
        put(&plain(&log, 0), "new");
        push(&plain(&log, 0), &log, 3).expect("pushed");
        assert_eq!(names(folder.path()), ["a.log.1", "a.log.2", "a.log.3.zst"]);
        let texts = [plain(&log, 1), plain(&log, 2), packed(&log, 3)].map(|p| fs::read(p).expect("there"));
        assert_eq!(texts, [b"new".to_vec(), b"1".to_vec(), b"2".to_vec()]);
    }

    #[test]
    fn for_room_the_oldest_pieces_of_all_logs_go_and_no_more_than_needed() {
        let folder = tempfile::tempdir().expect("a folder");
        let [a, b] = ["a.log", "b.log"].map(|log| folder.path().join(log));
        // From old to new: b.2, a.3, a.2, b.1, a.1.
        let pieces = [packed(&b, 2), plain(&a, 3), packed(&a, 2), plain(&b, 1), plain(&a, 1)];
        for (age, path) in (1..).zip(pieces.iter().rev()) {
            put(path, &"x".repeat(8192));
            let file = fs::File::options().write(true).open(path).expect("there");
            let time = std::time::SystemTime::now() - std::time::Duration::from_secs(age * 60);
            file.set_modified(time).expect("set");
        }
        let logs = [a.clone(), b.clone()];
        assert_eq!(shed(&logs, 8193).expect("removed").0, 2);
        assert_eq!(names(folder.path()), ["a.log.1", "a.log.2.zst", "b.log.1"]);
        assert_eq!(shed(&logs, 1).expect("removed").0, 1);
        assert_eq!(names(folder.path()), ["a.log.1", "b.log.1"]);
        fs::set_permissions(plain(&b, 1), fs::Permissions::from_mode(0o644)).expect("changed");
        assert_eq!(shed(&logs, u64::MAX).expect("removed").0, 1);
        assert_eq!(names(folder.path()), ["b.log.1"], "somebody else has put it there");
    }

    #[test]
    fn of_a_piece_with_both_forms_the_plain_one_counts() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        for keep in [2, 1] {
            put(&plain(&log, 1), "whole");
            put(&packed(&log, 1), "packed");
            put(&plain(&log, 0), "new");
            push(&plain(&log, 0), &log, keep).expect("pushed");
            let expected: &[&str] = if keep == 2 { &["a.log.1", "a.log.2"] } else { &["a.log.1"] };
            assert_eq!(names(folder.path()), expected);
            discard(&log, 2).expect("removed");
        }
        assert_eq!(fs::read(plain(&log, 1)).expect("there"), b"new");
    }

    #[test]
    fn pieces_beyond_those_that_are_kept_go_and_what_is_not_ours_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("a.log");
        put(&log, "");
        put(&plain(&log, 1), "");
        put(&packed(&log, 2), "");
        put(&plain(&log, 3), "");
        put(&packed(&log, 4), "");
        // Behind a gap, and a date.
        put(&plain(&log, 6), "");
        put(&folder.path().join("a.log.20260101"), "");
        assert_eq!(trim(&log, 2).expect("trimmed"), 2);
        let left = ["a.log", "a.log.1", "a.log.2.zst", "a.log.20260101", "a.log.6"];
        assert_eq!(names(folder.path()), left);
        // None of these did we make: of another mode, a link, of two names.
        fs::set_permissions(plain(&log, 1), fs::Permissions::from_mode(0o644)).expect("changed");
        assert_eq!(trim(&log, 0).expect("trimmed"), 0);
        remove(&plain(&log, 1)).expect("removed");
        symlink(&log, plain(&log, 1)).expect("linked");
        assert_eq!(trim(&log, 0).expect("trimmed"), 0);
        remove(&plain(&log, 1)).expect("removed");
        fs::hard_link(&log, plain(&log, 1)).expect("linked");
        assert_eq!(trim(&log, 0).expect("trimmed"), 0);
        assert_eq!(names(folder.path()), left);
    }
}
