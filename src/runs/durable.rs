//! Files that appear whole or not at all, and, where it matters, survive a power cut.

use std::collections::BTreeSet;
use std::collections::hash_map::RandomState;
use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher};
use std::io::{self, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};

use crate::abort;

/// Replaces a file: readers see the old bytes or the new ones. Survives this process, not a power cut.
/// The file is readable by its owner only.
///
/// # Errors
/// The temporary file beside it cannot be written or renamed; it is removed, the old file stays.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Draft::new(path, bytes)?.publish()
}

/// As [`write()`], and on disk when it returns (fsync(2) of the file and of its directory).
///
/// # Errors
/// Those of [`write()`]; and the directory cannot be synced: the new file is in place then.
pub fn write_durable(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let draft = Draft::new(path, bytes)?;
    draft.file.sync_all()?;
    draft.publish()?;
    sync_directory(directory_of(path))
}

/// Reserves room on the disk in an empty file, for a record that is written later by [`write_durable_into`].
///
/// # Errors
/// There is no room. Where the file system cannot reserve (EOPNOTSUPP), the file is left empty.
pub fn reserve(room: BorrowedFd<'_>, bytes: i64) -> io::Result<()> {
    match fallocate(room, FallocateFlags::FALLOC_FL_KEEP_SIZE, 0, bytes) {
        Ok(()) | Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// As [`write_durable`], in the room that was reserved for it in another file of the directory, which gets this name as
/// well (link(2)): a disk that is full has no say. Where there is no such room, or too little of it, room is looked for as
/// usual.
///
/// # Errors
/// Those of [`write_durable`].
pub fn write_durable_into(room: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    match fill(room, path, bytes) {
        Ok(()) => sync_directory(directory_of(path)),
        Err(_) => write_durable(path, bytes),
    }
}

fn fill(room: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options.write(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(room)?;
    if file.metadata()?.nlink() > 1 {
        // It has a name already, under which somebody may read it.
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    file.write_all(bytes)?;
    file.set_len(bytes.len() as u64)?;
    file.sync_all()?;
    abort::at_draft(path);
    fs::hard_link(room, path)?;
    abort::at_published(path);
    Ok(())
}

/// As [`write_durable`] for many files at once: each directory is synced once, however many files of
/// it are written. One result per file, in their order.
#[must_use]
pub fn write_many_durable(files: &[(PathBuf, Vec<u8>)]) -> Vec<io::Result<()>> {
    let one = |(path, bytes): &(PathBuf, Vec<u8>)| {
        let draft = Draft::new(path, bytes)?;
        draft.file.sync_all()?;
        draft.publish()
    };
    let mut results: Vec<io::Result<()>> = files.iter().map(one).collect();
    let directories: BTreeSet<&Path> = files.iter().map(|(path, _)| directory_of(path)).collect();
    for directory in directories {
        if let Err(error) = sync_directory(directory) {
            for (result, _) in
                results.iter_mut().zip(files).filter(|(_, (path, _))| directory_of(path) == directory)
            {
                if result.is_ok() {
                    *result = Err(io::Error::new(error.kind(), error.to_string()));
                }
            }
        }
    }
    results
}

/// A file system's error, with the path that it is about.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
struct AtPath {
    path: PathBuf,
    #[source]
    error: io::Error,
}

/// The same error, with the path it happened at.
pub(crate) fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), AtPath { path: path.to_owned(), error })
}

/// The system's number of an error (errno(3)), whatever was said around it.
#[must_use]
pub fn errno(error: &io::Error) -> Option<i32> {
    let mut source = error.source();
    let mut errno = error.raw_os_error();
    while let Some(next) = source.filter(|_| errno.is_none()) {
        errno = next.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
        source = next.source();
    }
    errno
}

/// Removes what processes that were killed in the middle of writing have left in a directory. Nobody else
/// may be writing in it.
pub fn sweep(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(".tmp") {
            // If it cannot be removed, it harms nobody.
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// A file that is written but not yet in place. Removed if it never gets there.
struct Draft<'a> {
    file: File,
    temporary: PathBuf,
    target: &'a Path,
    published: bool,
}

impl<'a> Draft<'a> {
    fn new(target: &'a Path, bytes: &[u8]) -> io::Result<Self> {
        static PROCESS: OnceLock<u32> = OnceLock::new();
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = target.file_name().ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, format!("{} names no file", target.display()))
        })?;
        let temporary = directory_of(target).join(format!(
            ".{}.{:08x}-{}.tmp",
            name.to_string_lossy(),
            // Of another process that writes into the same directory.
            PROCESS.get_or_init(|| RandomState::new().build_hasher().finish() as u32),
            COUNTER.fetch_add(1, Ordering::Relaxed)
        ));
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC);
        let file = match options.clone().create_new(true).open(&temporary) {
            // What a process that died had begun, and whose number we have now.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&temporary)?;
                options.create_new(true).open(&temporary)?
            }
            other => other?,
        };
        let mut draft = Self { file, temporary, target, published: false };
        draft.file.write_all(bytes)?;
        Ok(draft)
    }

    fn publish(mut self) -> io::Result<()> {
        abort::at_draft(self.target);
        fs::rename(&self.temporary, self.target)?;
        self.published = true;
        abort::at_published(self.target);
        Ok(())
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.published {
            // Nobody reads it; if it cannot be removed, it stays hidden.
            let _ = fs::remove_file(&self.temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(directory)
            .expect("the directory")
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_whole_private_and_without_a_trace() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.json");
        write(&path, b"long, long ago").expect("written");
        write_durable(&path, b"new").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"new");
        assert_eq!(fs::metadata(&path).expect("stat").permissions().mode() & 0o777, 0o600);
        assert_eq!(names(dir.path()), ["a.json"]);
    }

    #[test]
    fn a_symlink_in_the_way_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (outside, path) = (dir.path().join("outside"), dir.path().join("a.json"));
        fs::write(&outside, "precious").expect("written");
        std::os::unix::fs::symlink(&outside, &path).expect("linked");
        write(&path, b"new").expect("written");
        assert_eq!(fs::read(&outside).expect("read"), b"precious");
        assert_eq!(fs::read(&path).expect("read"), b"new");
    }

    #[test]
    fn a_failure_leaves_the_old_file_and_no_other() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("a.json");
        fs::create_dir(&path).expect("a directory in the way");
        assert!(write(&path, b"new").is_err());
        assert!(write_durable(&dir.path().join("none/a.json"), b"new").is_err());
        assert_eq!(names(dir.path()), ["a.json"]);
    }

    #[test]
    fn an_error_keeps_its_number_through_all_that_is_said_around_it() {
        let error = at(Path::new("/a"), at(Path::new("/b"), io::Error::from_raw_os_error(libc::EMFILE)));
        assert_eq!(error.to_string(), "/a: /b: Too many open files (os error 24)");
        assert_eq!(errno(&error), Some(libc::EMFILE));
        assert_eq!(errno(&io::Error::from_raw_os_error(libc::EIO)), Some(libc::EIO));
        assert_eq!(errno(&io::Error::other("no number")), None);
    }

    #[test]
    fn what_has_room_gets_a_second_name_and_is_never_changed_under_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let (room, path) = (dir.path().join("lock"), dir.path().join("exited.json"));
        let file = File::create(&room).expect("made");
        reserve(file.as_fd(), 4096).expect("reserved");
        write_durable_into(&room, &path, b"ended").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"ended");
        assert_eq!(file.metadata().expect("stat").nlink(), 2, "in the room that was reserved");
        fs::rename(&path, dir.path().join("aside")).expect("renamed");
        write_durable_into(&room, &path, b"other").expect("written");
        assert_eq!(fs::read(&path).expect("read"), b"other");
        assert_eq!(fs::read(dir.path().join("aside")).expect("read"), b"ended");
        fs::remove_file(&room).expect("removed");
        write_durable_into(&room, &path, b"third").expect("written, without any room");
        assert_eq!(fs::read(&path).expect("read"), b"third");
    }

    #[test]
    fn of_many_files_each_has_its_own_result() {
        let dir = tempfile::tempdir().expect("a directory");
        let files = [
            (dir.path().join("a"), b"1".to_vec()),
            (dir.path().join("none/b"), b"2".to_vec()),
            (dir.path().join("c"), b"3".to_vec()),
        ];
        let results: Vec<bool> = write_many_durable(&files).iter().map(Result::is_ok).collect();
        assert_eq!(results, [true, false, true]);
        assert_eq!(names(dir.path()), ["a", "c"]);
    }
}
