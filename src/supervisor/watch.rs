//! Hints from inotify (through notify) on where to look. They may be late, doubled or missing: the
//! rescan in `declared.rs` is the truth.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RenameMode};
use notify::{Config, Event, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc::Sender;

use super::declared::Hint;
use crate::config::load::stem_of;
use crate::config::paths::Layout;

/// What an event means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// Look at this job file.
    File(Hint),
    /// Look at everything, and whether the folders are still the ones that are watched.
    Everything,
}

/// Watches the two folders, and the folders they are in, where they are replaced.
pub struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: Vec<Watched>,
}

struct Watched {
    path: PathBuf,
    /// Device and inode of what is watched; `None` if nothing is.
    watched: Option<(u64, u64)>,
}

impl Watch {
    /// Watches nothing until [`Watch::refresh`].
    ///
    /// # Errors
    /// There are no inotify instances left. The periodic rescan still works without.
    pub fn new(layout: &Layout, notices: Sender<Notice>) -> (Self, Result<(), notify::Error>) {
        let (jobs_d, profiles_d) = (layout.jobs_d.clone(), layout.profiles_d.clone());
        let mut paths: BTreeSet<PathBuf> = [jobs_d.clone(), profiles_d.clone()].into();
        paths.extend([jobs_d.parent(), profiles_d.parent()].into_iter().flatten().map(Path::to_owned));
        let folders = paths.into_iter().map(|path| Watched { path, watched: None }).collect();
        let handler = move |event: Result<Event, notify::Error>| {
            // Full, it means everything; closed, the supervisor goes.
            let mut send = |notice| drop(notices.try_send(notice));
            match event {
                Ok(event) => meaning(&event, &jobs_d, &profiles_d, &mut send),
                Err(_) => send(Notice::Everything),
            }
        };
        match RecommendedWatcher::new(handler, Config::default().with_follow_symlinks(true)) {
            Ok(watcher) => (Self { watcher: Some(watcher), folders }, Ok(())),
            Err(error) => (Self { watcher: None, folders }, Err(error)),
        }
    }

    /// Watches what is at the paths now. A folder that was made anew, renamed over or retargeted
    /// goes silent otherwise. True if something else is watched than before.
    pub fn refresh(&mut self) -> bool {
        let Some(watcher) = &mut self.watcher else { return false };
        let mut changed = false;
        for folder in &mut self.folders {
            let now = fs::metadata(&folder.path).ok().map(|meta| (meta.dev(), meta.ino()));
            if now == folder.watched {
                continue;
            }
            if folder.watched.take().is_some() {
                // Fails where the kernel dropped the watch together with the folder.
                let _ = watcher.unwatch(&folder.path);
            }
            if now.is_some() && watcher.watch(&folder.path, RecursiveMode::NonRecursive).is_ok() {
                folder.watched = now;
                changed = true;
            }
        }
        changed
    }
}

/// Sends what an event means, if anything.
fn meaning(event: &Event, jobs_d: &Path, profiles_d: &Path, send: &mut dyn FnMut(Notice)) {
    if event.need_rescan() {
        return send(Notice::Everything);
    }
    let complete = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both)) => true,
        // Of a file that is being written the end is awaited. A link is complete, but looks the same.
        EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other)
        | EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(_))
        | EventKind::Remove(_) => false,
        EventKind::Create(CreateKind::Folder) => false,
        // Our own reading among them.
        _ => return,
    };
    for path in &event.paths {
        if path == jobs_d || path == profiles_d {
            send(Notice::Everything);
        }
        let (parent, name) = (path.parent(), path.file_name().and_then(|name| name.to_str()));
        let Some(name) = name else { continue };
        if parent == Some(jobs_d) {
            match stem_of(name) {
                Some(stem) => send(Notice::File(Hint { stem: stem.to_owned(), complete })),
                // A Kubernetes ConfigMap swaps all its files by renaming `..data`.
                None if name.starts_with("..") => send(Notice::Everything),
                None => {}
            }
        } else if parent == Some(profiles_d) && (stem_of(name).is_some() || name.starts_with("..")) {
            send(Notice::Everything);
        }
    }
}
