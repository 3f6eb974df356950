//! What keeps the limits of this supervisor's jobs: chosen once at its start, told once, and recorded
//! for `doctor`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::config::paths::Layout;
use crate::linux::cgroup::{self, Request, Tree};
use crate::model::cgroup::{Choice, Controller};
use crate::model::constraints::Backend;
use crate::runs::durable;

/// `<run>/cgroups.json`: what a supervisor chose. It is true while that one lives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// The mechanism.
    pub backend: Backend,
    /// What it offers.
    pub controllers: Vec<Controller>,
    /// The directories below which the jobs' cgroups are made.
    pub dirs: Vec<PathBuf>,
    /// Why there is none.
    pub reason: Option<String>,
}

impl Chosen {
    /// What the supervisor of these folders chose last; `None` if that is not known.
    #[must_use]
    pub fn read(layout: &Layout) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(path(layout)).ok()?).ok()
    }
}

fn path(layout: &Layout) -> PathBuf {
    layout.run.join("cgroups.json")
}

/// Chooses, and says and records what was chosen.
///
/// # Errors
/// A mechanism was asked for by name and is not there.
pub fn open(layout: &Layout, choice: Choice, parent: Option<&Path>) -> anyhow::Result<Tree> {
    let instance = instance_of(layout);
    let survey =
        cgroup::open(&Request { choice, parent, instance: &instance }).map_err(anyhow::Error::msg)?;
    let tree = survey.tree;
    let reason = tree.why_none().map(str::to_owned);
    let backend = match &reason {
        Some(_) => Backend::None,
        None => survey.tried.last().map_or(Backend::None, |tried| tried.backend),
    };
    let dirs = tree.dirs().into_iter().map(Path::to_owned).collect();
    let chosen = Chosen { backend, controllers: tree.controllers(), dirs, reason };
    match &chosen.reason {
        Some(why) => warn!("{why}"),
        None => info!("limits are kept by {backend}: {}", names(&chosen.controllers)),
    }
    // Only for people: without it `doctor` says less.
    if let Ok(text) = serde_json::to_vec_pretty(&chosen)
        && let Err(error) = durable::write(&path(layout), &text)
    {
        warn!("{}: {error}", path(layout).display());
    }
    Ok(tree)
}

/// Controllers as people read them.
#[must_use]
pub fn names(controllers: &[Controller]) -> String {
    controllers.iter().map(|controller| controller.as_str()).collect::<Vec<_>>().join(" ")
}

/// A name that no other supervisor of this host has: several may share a cgroup.
#[must_use]
pub fn instance_of(layout: &Layout) -> String {
    instance_of_state(&layout.state)
}

fn instance_of_state(state: &Path) -> String {
    if state == Layout::of_root().state {
        return "ffrtmp".into();
    }
    // FNV-1a: the same in every version of this program.
    let bytes = state.as_os_str().as_encoded_bytes();
    let hash =
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("ffrtmp-{hash:08x}")
}

/// The names of all supervisors that live on this host, as far as this user can see them: each holds its lock file open.
#[must_use]
pub fn live_instances() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let process = entry.path();
        for descriptor in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            let Some(state) = fs::read_link(descriptor.path()).ok().and_then(|file| state_of_lock(&file))
            else {
                continue;
            };
            found.insert(instance_of_state(&state));
            // The path it was given may lead there by way of links.
            found.extend(root_of(&process).map(|root| instance_of(&Layout::under(&root))));
        }
    }
    found
}

/// The state folder of a lock file, which may have been deleted since (proc_pid_fd(5)).
fn state_of_lock(file: &Path) -> Option<PathBuf> {
    let text = file.to_str()?;
    let file = Path::new(text.strip_suffix(" (deleted)").unwrap_or(text));
    file.ends_with("supervisor.lock").then(|| file.parent().map(Path::to_owned))?
}

/// What a process was given as `--root` or `FFRTMP_ROOT`, from its own folder on.
fn root_of(process: &Path) -> Option<PathBuf> {
    let list = |file: &str| fs::read(process.join(file)).unwrap_or_default();
    let split = |bytes: Vec<u8>| -> Vec<String> {
        bytes.split(|byte| *byte == 0).map(|text| String::from_utf8_lossy(text).into_owned()).collect()
    };
    let (arguments, environment) = (split(list("cmdline")), split(list("environ")));
    let behind =
        arguments.iter().position(|argument| argument == "--root").and_then(|at| arguments.get(at + 1));
    let joined = || arguments.iter().find_map(|argument| argument.strip_prefix("--root="));
    let named = || environment.iter().find_map(|pair| pair.strip_prefix("FFRTMP_ROOT="));
    let root = behind.map(String::as_str).or_else(joined).or_else(named)?;
    Some(fs::read_link(process.join("cwd")).ok()?.join(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_file_tells_its_state_also_when_it_was_deleted() {
        let state = |path: &str| state_of_lock(Path::new(path)).map(|path| path.display().to_string());
        assert_eq!(state("/a/state/supervisor.lock").as_deref(), Some("/a/state"));
        assert_eq!(state("/a/state/supervisor.lock (deleted)").as_deref(), Some("/a/state"));
        assert_eq!(state("/a/state/other.lock"), None);
        assert_eq!(state("socket:[1]"), None);
    }
}
