//! Which mechanism this host offers, and the cgroups of one supervisor's jobs in it.

use std::path::Path;

use super::mounts::Mounts;
use super::request::{READ_ON, Request, Unavailable};
use super::{systemd, v1, v2};
use crate::model::cgroup::{Cgroup, Choice, Controller};
use crate::model::constraints::Backend;

/// The file that exists where systemd is the init of this host (sd_booted(3)).
const SYSTEMD_BOOTED: &str = "/run/systemd/system";

/// The cgroups of one supervisor's jobs.
#[derive(Debug)]
pub enum Tree {
    /// A subtree of the unified hierarchy.
    V2(v2::Tree),
    /// A subtree of each hierarchy of version 1.
    V1(v1::Tree),
    /// There is none, and why.
    None(String),
}

/// A mechanism that was tried.
#[derive(Debug)]
pub struct Tried {
    /// Which.
    pub backend: Backend,
    /// The controllers it offers, or why it is not there.
    pub outcome: Result<Vec<Controller>, Unavailable>,
}

/// What this host offers: what was chosen, and all that was tried before it.
#[derive(Debug)]
pub struct Survey {
    /// What is used.
    pub tree: Tree,
    /// In the order of trying.
    pub tried: Vec<Tried>,
}

/// Whether systemd is the init of this host (sd_booted(3)).
#[must_use]
pub fn systemd_booted() -> bool {
    Path::new(SYSTEMD_BOOTED).exists()
}

/// Chooses, and makes the cgroups that a supervisor needs.
///
/// # Errors
/// A mechanism was asked for by name and is not there.
pub fn open(request: &Request<'_>) -> Result<Survey, String> {
    if request.choice == Choice::None {
        return Ok(Survey { tree: Tree::None(why_none(request.choice, &[])), tried: Vec::new() });
    }
    let mounts = Mounts::read().map_err(|error| format!("cannot read /proc: {error}"))?;
    let booted = systemd_booted();
    let mut tried = Vec::new();
    let backends: &[Backend] = match request.choice {
        Choice::Auto => &[Backend::CgroupV2, Backend::Systemd, Backend::CgroupV1],
        Choice::CgroupV2 => &[Backend::CgroupV2],
        Choice::Systemd => &[Backend::Systemd],
        Choice::CgroupV1 => &[Backend::CgroupV1],
        Choice::None => &[],
    };
    for &backend in backends {
        let found = match backend {
            Backend::Systemd => systemd::open(&mounts, request, booted).map(Tree::V2),
            Backend::CgroupV1 => v1::Tree::open(&mounts, request).map(Tree::V1),
            _ => v2::Tree::open(&mounts, request, booted).map(Tree::V2),
        };
        match found {
            Ok(tree) => {
                tried.push(Tried { backend, outcome: Ok(tree.controllers()) });
                return Ok(Survey { tree, tried });
            }
            Err(why) => tried.push(Tried { backend, outcome: Err(why) }),
        }
    }
    let why = why_none(request.choice, &tried);
    if matches!(request.choice, Choice::Auto | Choice::None) {
        return Ok(Survey { tree: Tree::None(why), tried });
    }
    Err(format!(
        "[cgroup] backend = \"{}\" is not to be had here: {why}; \"auto\" takes what there is",
        request.choice
    ))
}

/// One reason of all, in the words that operators search for.
fn why_none(choice: Choice, tried: &[Tried]) -> String {
    if choice == Choice::None {
        return "no cgroup is used: supervisor.toml says [cgroup] backend = \"none\", or the command line \
                --cgroup none"
            .into();
    }
    let refused = tried.iter().any(|tried| matches!(tried.outcome, Err(Unavailable::Permission(_))));
    let list: Vec<String> = tried
        .iter()
        .filter_map(|tried| Some(format!("{}: {}", tried.backend, tried.outcome.as_ref().err()?)))
        .collect();
    let head = if refused { "Cannot create cgroup (permission denied)" } else { "Cannot create cgroup" };
    format!("{head}; tried {}; {READ_ON}", list.join("; "))
}

impl Tree {
    /// The controllers that a job's cgroup has.
    #[must_use]
    pub fn controllers(&self) -> Vec<Controller> {
        match self {
            Self::V2(tree) => tree.controllers(),
            Self::V1(tree) => tree.controllers(),
            Self::None(_) => Vec::new(),
        }
    }

    /// Makes the cgroup of a run, empty and without limits.
    ///
    /// # Errors
    /// Why there is none, in words for the report.
    pub fn create(&self, job: &str) -> Result<Cgroup, String> {
        let made = match self {
            Self::V2(tree) => tree.create(job),
            Self::V1(tree) => tree.create(job),
            Self::None(why) => return Err(why.clone()),
        };
        made.map_err(|why| match why {
            Unavailable::Permission(text) => format!("Cannot create cgroup (permission denied): {text}"),
            Unavailable::Missing(text) => format!("Cannot create cgroup: {text}"),
        })
    }

    /// Removes the cgroups of jobs that have no process in them. Those in use stay: a run that is about
    /// to start has none yet.
    pub fn sweep(&self, in_use: &[&Cgroup]) {
        match self {
            Self::V2(tree) => tree.sweep(in_use),
            Self::V1(tree) => tree.sweep(in_use),
            Self::None(_) => {}
        }
    }

    /// The directories below which the jobs' cgroups are made.
    #[must_use]
    pub fn dirs(&self) -> Vec<&Path> {
        match self {
            Self::V2(tree) => vec![tree.unit()],
            Self::V1(tree) => tree.bases(),
            Self::None(_) => Vec::new(),
        }
    }

    /// Why there are no cgroups here.
    #[must_use]
    pub fn why_none(&self) -> Option<&str> {
        match self {
            Self::None(why) => Some(why),
            Self::V1(_) | Self::V2(_) => None,
        }
    }
}
