//! What is kept of a run from the command line: its directory while it goes on, and its reports.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::lost;
use super::messages::Messages;
use crate::linux::process;
use crate::model::process::Pid;
use crate::model::report::Report;
use crate::runs::dir::{LockFile, RunDir};
use crate::runs::durable::{self, at};
use crate::runs::record::Spec;
use crate::runs::reports::{Reports, encode};

/// How a report is written down.
pub type Render = Box<dyn Fn(&Report) -> Vec<u8>>;

/// What is kept of a run.
pub struct Files {
    /// Where run directories are; `None` where nothing can be kept, and why.
    pub runs: Result<PathBuf, String>,
    /// Where reports are kept of runs with a name.
    pub reports: Reports,
    /// This one has a name.
    pub named: bool,
    /// A file that is to hold the newest report of the run: `--report`.
    pub file: Option<PathBuf>,
    /// As something else than a report, on standard output and in `file`.
    pub form: Option<Render>,
}

impl Files {
    /// A report as it was asked for.
    #[must_use]
    pub fn render(&self, report: &Report) -> Vec<u8> {
        match &self.form {
            Some(form) => form(report),
            // No report fails to be written as JSON.
            None => encode(report).unwrap_or_default(),
        }
    }

    /// Makes the directory of a run, which shows who governs it. Without one it runs all the same.
    pub(super) fn begin(&self, spec: &Spec, messages: Messages) -> Option<(RunDir, LockFile)> {
        let made = match &self.runs {
            Ok(runs) => RunDir::create(runs, spec).map_err(|error| error.to_string()),
            Err(why) => Err(why.clone()),
        };
        made.inspect_err(|why| messages.warn(&format!("no record of this run is kept: {why}"))).ok()
    }

    /// Writes that something has changed. What cannot be written now is made up for at the next change.
    pub(super) fn changed(&self, report: &Report, messages: Messages) {
        let kept = if self.named { self.reports.put(report) } else { Ok(()) };
        let written = self.file.as_ref().map_or(Ok(()), |file| replace(file, &self.render(report), false));
        for error in [kept, written].into_iter().filter_map(Result::err) {
            messages.warn(&format!("the report cannot be written: {error}; it is tried again at the end"));
        }
    }

    /// Writes the last report; it is on disk when this returns.
    ///
    /// # Errors
    /// With the path.
    pub(super) fn ended(&self, report: &Report) -> io::Result<()> {
        self.file.as_ref().map_or(Ok(()), |file| replace(file, &self.render(report), true))?;
        if self.named { self.reports.file(report) } else { Ok(()) }
    }

    /// Reports what has become of runs whose wrapper was lost.
    pub(super) fn settle(&self) {
        if let Ok(runs) = &self.runs {
            lost::settle(runs, &self.reports);
        }
    }
}

/// Replaces a file of the user's, whole or not at all; one that is no regular file is written to.
fn replace(path: &Path, bytes: &[u8], durably: bool) -> io::Result<()> {
    let written = match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => {
            // A pipe or a terminal takes one document, not one for every change.
            if !durably {
                return Ok(());
            }
            OpenOptions::new().write(true).open(path).and_then(|mut file| file.write_all(bytes))
        }
        known => {
            // Where it leads, not the link.
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.into());
            let written = match durably {
                true => durable::write_durable(&path, bytes),
                false => durable::write(&path, bytes),
            };
            // As readable as any file of its owner's, or as it was: records are not.
            let mode = known.map_or_else(|_| 0o666 & !umask(), |meta| meta.permissions().mode() & 0o7777);
            written.and_then(|()| fs::set_permissions(&path, Permissions::from_mode(mode)))
        }
    };
    written.map_err(|error| at(path, error))
}

/// Writes the pid of a workload to a file of the user's, whole or not at all.
///
/// # Errors
/// With the path. What is there and no regular file is refused: nobody could read a pid from it.
pub(super) fn put_pid(path: &Path, pid: Pid) -> io::Result<()> {
    if fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return Err(at(path, io::Error::other("it is not a regular file")));
    }
    replace(path, format!("{pid}\n").as_bytes(), false)
}

/// Removes such a file, if it still has this pid: a later run may have written its own.
pub(super) fn drop_pid(path: &Path, pid: Pid) {
    // Where it leads, not the link.
    let Ok(path) = fs::canonicalize(path) else { return };
    if path.is_file() && fs::read(&path).is_ok_and(|bytes| bytes == format!("{pid}\n").as_bytes()) {
        // If it cannot be removed, it is stale, as after a power cut.
        let _ = fs::remove_file(path);
    }
}

/// This process's file mode creation mask (`Umask` in `/proc/PID/status`).
fn umask() -> u32 {
    process::own_status("Umask").and_then(|octal| u32::from_str_radix(&octal, 8).ok()).unwrap_or(0o022)
}
