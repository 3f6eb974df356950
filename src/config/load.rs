//! Reading configuration from disk: which files count, which may be obeyed, and how much is read.

use std::collections::HashMap;
use std::fs::{self, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::problem::{At, Problem};

/// Largest file that is read, in bytes. A job file has a few hundred.
pub const MAX_SIZE: u64 = 1 << 20;

/// What tells one state of a file from another without reading it (stat(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }

    /// The stamp of the file that a path leads to.
    ///
    /// # Errors
    /// Those of stat(2).
    pub fn at(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|meta| Self::of(&meta))
    }

    /// When the content last changed, in milliseconds since 1970.
    #[must_use]
    pub fn modified_unix_ms(&self) -> i64 {
        self.modified.0 * 1000 + self.modified.1 / 1_000_000
    }
}

/// A file that was read.
#[derive(Debug, Clone)]
pub struct Text {
    /// What it holds.
    pub text: String,
    /// The state it was read in.
    pub stamp: Stamp,
    /// Owner and mode, for those who judge it.
    pub meta: Metadata,
}

/// Reads a configuration file: a regular one, of bounded size, in UTF-8. Never blocks on a FIFO or
/// a device. `trust` decides whether it may be obeyed; the linter, which obeys nothing, has none.
///
/// # Errors
/// One problem, placed on the file as a whole.
pub fn read(path: &Path, trust: Option<&mut Trust>) -> Result<Text, Problem> {
    let unreadable = |error: &io::Error| {
        let problem = Problem::error("unreadable", At::File, format!("cannot read this file: {error}"));
        match error.kind() {
            io::ErrorKind::PermissionDenied => problem.help("let the user that runs this program read it"),
            io::ErrorKind::NotFound => {
                problem.help("check the path, and where it points if it is a symbolic link")
            }
            _ => problem,
        }
    };
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY)
        .open(path)
        .map_err(|error| unreadable(&error))?;
    let meta = file.metadata().map_err(|error| unreadable(&error))?;
    if !meta.is_file() {
        let kind = meta.file_type();
        let what = if kind.is_dir() {
            "a folder"
        } else if kind.is_fifo() {
            "a FIFO"
        } else if kind.is_socket() {
            "a socket"
        } else {
            "a device"
        };
        return Err(Problem::error("not-a-file", At::File, format!("this is {what}, not a regular file")));
    }
    if let Some(trust) = trust {
        trust.check_file(path, &meta)?;
    }
    if meta.len() > MAX_SIZE {
        return Err(too_large());
    }
    let size = usize::try_from(meta.len()).unwrap_or_default();
    Ok(Text { text: decode(&mut &file, size)?, stamp: Stamp::of(&meta), meta })
}

/// Reads a stream, such as standard input, under the same bounds.
///
/// # Errors
/// One problem, placed on the input as a whole.
pub fn read_stream(source: &mut dyn Read) -> Result<String, Problem> {
    decode(source, 0)
}

/// `size` is what is expected, so that one read takes it all and one more sees the end.
fn decode(source: &mut dyn Read, size: usize) -> Result<String, Problem> {
    let mut bytes = Vec::with_capacity(size + 1);
    source
        .take(MAX_SIZE + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Problem::error("unreadable", At::File, format!("cannot read this file: {error}")))?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(too_large());
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = error.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count() + 1;
        Problem::error("not-utf8", At::File, format!("byte {at}, in line {line}, is not UTF-8"))
            .help("save the file as UTF-8; UTF-16 and Latin-1 are not read")
    })
}

fn too_large() -> Problem {
    Problem::error("too-large", At::File, format!("this file is larger than {} KiB", MAX_SIZE >> 10))
        .help("a job file has a few hundred bytes: is this one?")
}

/// Whether a name in `jobs.d` or `profiles.d` counts: `*.toml`, and neither hidden nor a backup.
/// Gives the stem.
#[must_use]
pub fn stem_of(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".toml")?;
    (!stem.is_empty() && !name.starts_with(['.', '#']) && !stem.ends_with('~')).then_some(stem)
}

/// The files of a folder that count, as stem and path, sorted. Names that are not UTF-8 are left out
/// by their ending only.
///
/// # Errors
/// The folder cannot be read.
pub fn list(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if let Some(stem) = stem_of(&name.to_string_lossy()) {
            files.push((stem.to_owned(), entry.path()));
        }
    }
    files.sort();
    Ok(files)
}

/// Decides whether a file may be obeyed: it and every folder above it belong to root or to us, and
/// nobody else may write there. Remembers folders, so one is made for each scan.
#[derive(Debug)]
pub struct Trust {
    uid: u32,
    gid: u32,
    folders: HashMap<PathBuf, Result<(), String>>,
}

impl Trust {
    /// For files obeyed by this user.
    #[must_use]
    pub fn new(uid: u32, gid: u32) -> Self {
        Self { uid, gid, folders: HashMap::new() }
    }

    /// Checks an open file and the folders above its path, and above the file it links to.
    ///
    /// # Errors
    /// What is wrong, and what to do.
    pub fn check_file(&mut self, path: &Path, meta: &Metadata) -> Result<(), Problem> {
        let refuse = |what: String| {
            Err(Problem::error("untrusted", At::File, format!("not obeyed: {what}")).help(
                "it and the folders above it have to belong to root or to the supervisor's user, and be \
                 writable by nobody else (chown, chmod go-w)",
            ))
        };
        if let Err(what) = self.check(path, meta) {
            return refuse(what);
        }
        let mut folders = vec![path.parent().map(Path::to_owned)];
        if path.symlink_metadata().is_ok_and(|meta| meta.is_symlink()) {
            folders.push(path.canonicalize().ok().and_then(|target| target.parent().map(Path::to_owned)));
        }
        for folder in folders.into_iter().flatten() {
            if let Err(what) = self.check_folder(&folder) {
                return refuse(what);
            }
        }
        Ok(())
    }

    /// Checks a folder and all above it.
    ///
    /// # Errors
    /// The first one that may not be trusted, in words.
    pub fn check_folder(&mut self, folder: &Path) -> Result<(), String> {
        if let Some(known) = self.folders.get(folder) {
            return known.clone();
        }
        let result = self.check_folders(folder);
        self.folders.insert(folder.to_owned(), result.clone());
        result
    }

    fn check_folders(&self, folder: &Path) -> Result<(), String> {
        // The parent of a bare file name is the empty path.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let real = folder.canonicalize().map_err(|error| format!("{}: {error}", folder.display()))?;
        for folder in real.ancestors() {
            let meta = fs::metadata(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
            self.check(folder, &meta)?;
        }
        Ok(())
    }

    fn check(&self, path: &Path, meta: &Metadata) -> Result<(), String> {
        const STICKY: u32 = 0o1000;
        let (shown, mode, owner) = (path.display(), meta.mode(), meta.uid());
        if owner != 0 && owner != self.uid {
            return Err(format!("{shown} belongs to uid {owner}"));
        }
        // In a folder with the sticky bit, such as /tmp, nobody can replace what is not his.
        if meta.is_dir() && mode & STICKY != 0 {
            return Ok(());
        }
        if mode & 0o002 != 0 {
            return Err(format!("{shown} is writable by everybody (mode {:04o})", mode & 0o7777));
        }
        // A user's own group has no other members on the usual systems.
        if mode & 0o020 != 0 && meta.gid() != 0 && meta.gid() != self.gid {
            return Err(format!("{shown} is writable by group {} (mode {:04o})", meta.gid(), mode & 0o7777));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn backups_and_hidden_files_do_not_count() {
        assert_eq!(stem_of("a.toml"), Some("a"));
        for name in
            ["a.toml~", ".a.toml", "a.toml.bak", "a.TOML", ".toml", "a.toml.SAVE", "#a.toml#", "a~.toml"]
        {
            assert_eq!(stem_of(name), None, "{name}");
        }
    }

    #[test]
    fn what_others_can_write_is_not_obeyed() {
        let dir = tempfile::tempdir().expect("tempdir");
        let uid = dir.path().metadata().expect("meta").uid();
        let gid = dir.path().metadata().expect("meta").gid();
        let path = dir.path().join("a.toml");
        fs::write(&path, "x = 1").expect("write");
        let mode =
            |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("chmod");
        let code = || read(&path, Some(&mut Trust::new(uid, gid))).err().map(|p| p.code);
        mode(&path, 0o644);
        assert_eq!(code(), None);
        mode(&path, 0o646);
        assert_eq!(code(), Some("untrusted"));
        mode(&path, 0o600);
        mode(dir.path(), 0o777);
        assert_eq!(code(), Some("untrusted"));
        mode(dir.path(), 0o1777);
        assert_eq!(code(), None);
        mode(dir.path(), 0o700);
        let stranger = Trust::new(uid + 1, gid).check_folder(dir.path());
        assert_eq!(stranger.is_err(), uid != 0);
    }

    #[test]
    fn nothing_but_a_small_regular_file_is_read() {
        let dir = tempfile::tempdir().expect("tempdir");
        let code = |path: &Path| read(path, None).err().map(|p| p.code);
        assert_eq!(code(dir.path()), Some("not-a-file"));
        assert_eq!(code(Path::new("/dev/zero")), Some("not-a-file"));
        let fifo = dir.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).expect("mkfifo");
        assert_eq!(code(&fifo), Some("not-a-file"));
        let endless = dir.path().join("loop");
        std::os::unix::fs::symlink(&endless, &endless).expect("symlink");
        assert_eq!(code(&endless), Some("unreadable"));
        let large = dir.path().join("large");
        fs::File::create(&large).expect("create").set_len(100 << 20).expect("sparse");
        assert_eq!(code(&large), Some("too-large"));
        let latin = dir.path().join("latin");
        fs::write(&latin, b"a = \"\xe9\"").expect("write");
        assert_eq!(code(&latin), Some("not-utf8"));
    }
}
