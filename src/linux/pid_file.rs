//! Pid files: the number that one holds, and whether it may be believed.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use nix::sys::statfs::{TMPFS_MAGIC, fstatfs};
use nix::unistd::geteuid;

use super::census::Process;
use super::clock;
use crate::model::process::Pid;

/// More than any pid file holds, in bytes.
const LONGEST: u64 = 4096;

/// By how much a process may be younger than the file that names it, if the clock is to blame: it is set
/// when the machine has found the network.
const CLOCK_SET: Duration = Duration::from_secs(600);

/// What tells one content of a file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    written: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        let written = (meta.mtime(), meta.mtime_nsec());
        Self { device: meta.dev(), inode: meta.ino(), size: meta.len(), written }
    }

    /// That of a file as it is now; `None` if it is not there.
    #[must_use]
    pub fn look(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|meta| Self::of(&meta))
    }
}

/// What a pid file says.
#[derive(Debug)]
pub struct PidFile {
    /// The number in its first line.
    pub pid: Pid,
    /// What it was read from.
    pub stamp: Stamp,
    owner: u32,
    /// When it was written, in milliseconds since 1970.
    written: i64,
    /// Its file system outlives the boot.
    lasting: bool,
}

impl PidFile {
    /// Reads a file.
    ///
    /// # Errors
    /// It cannot be read, holds no number, or others may write to it: a text that names the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let fails = |error| format!("cannot read {shown}: {error}");
        // A pipe of that name must not keep us waiting.
        let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
        let file = OpenOptions::new().read(true).custom_flags(flags).open(path).map_err(fails)?;
        let meta = file.metadata().map_err(fails)?;
        if !meta.is_file() {
            return Err(format!("{shown} is no file"));
        }
        if meta.mode() & 0o022 != 0 {
            let mode = meta.mode() & 0o7777;
            return Err(format!(
                "{shown} can be written by others (mode {mode:04o}), who could name any process; chmod go-w it"
            ));
        }
        let text = read_text(&file).map_err(fails)?;
        let first = text.lines().next().unwrap_or_default().trim();
        if first.is_empty() {
            return Err(format!("{shown} is empty: a process number is wanted"));
        }
        let pid = first.parse().ok().and_then(Pid::new);
        let pid = pid.ok_or_else(|| {
            let start: String = first.chars().take(40).collect();
            format!("{shown} holds {start:?}, which is no process number")
        })?;
        let written = meta.mtime().saturating_mul(1000).saturating_add(meta.mtime_nsec() / 1_000_000);
        let lasting = !fstatfs(&file).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC);
        Ok(Self { pid, stamp: Stamp::of(&meta), owner: meta.uid(), written, lasting })
    }

    /// Whether the process that has the number is the one that is meant.
    ///
    /// # Errors
    /// The file is older than the process, or belongs to somebody who has no say in it: a text that
    /// names the file.
    pub fn believe(&self, path: &Path, process: &Process<'_>) -> Result<(), String> {
        let (shown, pid) = (path.display(), self.pid);
        let now = clock::now();
        let booted = now.wall.unix_ms().saturating_sub_unsigned(now.boot.0);
        let began = booted.saturating_add_unsigned(process.began().0);
        if is_stale(self.written, self.lasting, booted, began) {
            return Err(format!(
                "{shown} was written before process {pid} began, which only has the number now; remove the file, \
                 or write it anew"
            ));
        }
        let uid = process.uid();
        if self.owner != 0 && self.owner != geteuid().as_raw() && uid != Some(self.owner) {
            return Err(format!(
                "{shown} belongs to user {}, and process {pid} to another; it has to be that user's, ours or root's",
                self.owner
            ));
        }
        Ok(())
    }
}

/// Whether a file was written for an earlier process of that number. All times are in milliseconds since
/// 1970, reckoned by the clock as it is now.
fn is_stale(written: i64, lasting: bool, booted: i64, began: i64) -> bool {
    let slack = i64::try_from(CLOCK_SET.as_millis()).unwrap_or(i64::MAX);
    match written < booted {
        // In a file system that ends with the boot: the clock was set since.
        true => lasting,
        false => written.saturating_add(slack) < began,
    }
}

fn read_text(file: &File) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    file.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::linux::census::Known;

    #[test]
    fn a_number_is_read_and_what_is_none_is_told() {
        let temp = tempfile::tempdir().expect("tempdir");
        let path = temp.path().join("x.pid");
        let read = |text: &str, mode: u32| {
            fs::write(&path, text).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("chmod");
            PidFile::read(&path).map(|file| file.pid.as_raw())
        };
        assert_eq!(read("77\n", 0o644), Ok(77));
        assert_eq!(read(" 78", 0o600), Ok(78));
        assert_eq!(read("79\n/var/lib/db\n", 0o644), Ok(79));
        let shown = path.display();
        assert_eq!(read("", 0o644), Err(format!("{shown} is empty: a process number is wanted")));
        for text in ["x", "0", "-5", "7.5", "99999999999"] {
            assert_eq!(read(text, 0o644), Err(format!("{shown} holds {text:?}, which is no process number")));
        }
        assert!(read("77", 0o666).is_err_and(|text| text.contains("written by others (mode 0666)")));
        fs::remove_file(&path).expect("rm");
        assert_eq!(Stamp::look(&path), None);
        let error = PidFile::read(&path).expect_err("gone");
        assert!(error.starts_with(&format!("cannot read {shown}: No such file")), "{error}");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRUSR).expect("mkfifo");
        assert_eq!(PidFile::read(&path).map(drop), Err(format!("{shown} is no file")));
    }

    #[test]
    fn a_file_of_an_earlier_process_is_not_believed() {
        const DAY: i64 = 86_400_000;
        let (booted, began) = (10 * DAY, 11 * DAY);
        assert!(!is_stale(began + 5, true, booted, began));
        // Written by the parent before, or the clock went on a little.
        assert!(!is_stale(began - 2000, true, booted, began));
        assert!(is_stale(began - DAY / 2, false, booted, began));
        // Of an earlier boot; or of this one, and the clock stood at 1970 then.
        assert!(is_stale(9 * DAY, true, booted, began));
        assert!(!is_stale(0, false, booted, began));
    }

    #[test]
    fn our_own_file_is_believed_of_ourselves_but_not_when_it_is_older() {
        let temp = tempfile::tempdir().expect("tempdir");
        let path = temp.path().join("x.pid");
        fs::write(&path, std::process::id().to_string()).expect("write");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("chmod");
        let known = Known::default();
        let judge = || {
            let file = PidFile::read(&path).expect("a number");
            let process = Process::look(file.pid, clock::boot(), &known).expect("proc").expect("ourselves");
            file.believe(&path, &process)
        };
        assert_eq!(judge(), Ok(()));
        let old = std::time::SystemTime::now() - Duration::from_secs(86_400 * 365);
        File::options().write(true).open(&path).and_then(|file| file.set_modified(old)).expect("utimes");
        let lasting = !nix::sys::statfs::statfs(&path).is_ok_and(|fs| fs.filesystem_type() == TMPFS_MAGIC);
        assert_eq!(judge().is_err(), lasting);
    }
}
