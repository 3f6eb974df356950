//! A state folder that is a copy of another one of this host. Its records tell of workloads that belong to that one:
//! their identities are true, and their cgroups too, but whoever obeyed them would govern, stop and double what another
//! supervisor governs.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::environment::STATE_VARIABLE;
use super::lock;
use crate::config::paths::Layout;
use crate::linux::process::PidFd;
use crate::runs::dir::{RunDir, all_runs};
use crate::runs::record::Spec;

/// Why a supervisor does not begin.
#[derive(Debug, thiserror::Error)]
#[error(
    "{} is a copy of {}, where what it records is in use ({how}): it is not governed from here, and nothing is started \
     beside it. To have these jobs here as well, remove {} and start again; to move them here, stop the other supervisor \
     and rename its state folder instead of copying it",
    state.display(), origin.display(), state.join("runs").display()
)]
pub struct Copied {
    state: PathBuf,
    origin: PathBuf,
    how: String,
}

/// Makes sure that no run is recorded here that belongs to another state folder, and may live. Of records that cannot
/// be read nothing is said here.
///
/// # Errors
/// There is such a run.
pub fn refuse(layout: &Layout) -> Result<(), Box<Copied>> {
    for dir in all_runs(&layout.runs()).unwrap_or_default() {
        // A wrapper holds a lock in this very folder: it was moved here, if anything.
        if matches!(dir.exited(), Ok(Some(_))) || dir.wrapper_lives().unwrap_or(true) {
            continue;
        }
        let Ok(Some(spec)) = dir.spec() else { continue };
        if let Some(origin) = origin(&spec, &layout.state)
            && let Some(how) = in_use(&origin, &dir)
        {
            return Err(Box::new(Copied { state: layout.state.clone(), origin, how }));
        }
    }
    Ok(())
}

/// The state folder that a record was written in, if that is another one than `state`, and is there. One that was
/// moved, deleted or restored is no other.
#[must_use]
pub fn origin(spec: &Spec, state: &Path) -> Option<PathBuf> {
    let named = spec.environment.iter().find(|(name, _)| name == STATE_VARIABLE);
    let origin = match named {
        Some((_, path)) => Path::new(path),
        // An attached process has none of our environment.
        None => spec.log.parent()?.parent()?,
    };
    if origin == state {
        return None;
    }
    let of = |path: &Path| fs::metadata(path).ok().map(|found| (found.dev(), found.ino()));
    let (there, here) = (of(origin)?, of(state)?);
    (there != here).then(|| origin.to_owned())
}

/// How it is known that something lives by that folder: its supervisor, some wrapper of its runs, or the workload of this
/// record.
fn in_use(origin: &Path, copy: &RunDir) -> Option<String> {
    if let Some(pid) = lock::holder(&origin.join("supervisor.lock")) {
        return Some(format!("its supervisor is pid {pid}"));
    }
    if let Ok(Some(started)) = copy.started()
        && PidFd::open(&started.process)
            .is_ok_and(|fd| fd.is_some_and(|fd| !fd.has_exited().unwrap_or(false)))
    {
        return Some(format!("pid {} is one of its workloads", started.process.pid));
    }
    let runs = all_runs(&origin.join("runs")).unwrap_or_default();
    let live = runs.iter().find(|run| run.wrapper_lives().unwrap_or(false))?;
    Some(format!("the run in {} lives", live.path.display()))
}
