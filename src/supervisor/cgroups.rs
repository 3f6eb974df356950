//! What keeps the limits of this supervisor's jobs: chosen once at its start, told once, and recorded
//! for `doctor`.

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
    if layout.state == Layout::of_root().state {
        return "ffrtmp".into();
    }
    // FNV-1a: the same in every version of this program.
    let bytes = layout.state.as_os_str().as_encoded_bytes();
    let hash =
        bytes.iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
    format!("ffrtmp-{hash:08x}")
}
