//! PURE: a layer: the values of one file, typed and checked. Layers are laid over each other.

use std::collections::BTreeMap;

use super::exec::{self, ExecLayer};
use super::reader::Reader;
use super::restart::{self, RestartLayer};
use super::schedule::{self, WindowLayer};
use super::shared::merge;
use super::stop::{self, StopLayer};
use super::{attach, constraints, needs, timeouts};
use crate::config::problem::{At, KeyPath, Problem};
use crate::config::schema::{FileKind, JobFile};
use crate::model::constraints::Constraints;
use crate::model::job::{Attach, Intent, Lifecycle, Timeouts};
use crate::model::space::FreeSpace;

/// A file's values, typed and checked one by one. What the file does not say is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    /// The profiles it builds on.
    pub profiles: Vec<String>,
    /// What it asks of the kernel.
    pub constraints: Constraints,
    pub(super) strict: Option<bool>,
    /// The windows of its schedule.
    pub schedule: Option<Vec<WindowLayer>>,
    pub(super) description: Option<String>,
    pub(super) enabled: Option<bool>,
    pub(super) lifecycle: Option<Lifecycle>,
    pub(super) intent: Option<Intent>,
    pub(super) sla_eligible: Option<bool>,
    pub(super) tags: BTreeMap<String, String>,
    pub(super) exec: ExecLayer,
    pub(super) attach: Option<Attach>,
    pub(super) restart: RestartLayer,
    pub(super) stop: StopLayer,
    pub(super) timeouts: Timeouts,
    pub(super) needs: Option<Vec<FreeSpace>>,
}

/// Reads the values of a job file or profile, one by one.
#[must_use]
pub fn layer(file: &JobFile, kind: FileKind) -> (Layer, Vec<Problem>) {
    let mut read = Reader::default();
    let layer = read_file(&mut read, file);
    if kind == FileKind::Profile {
        let command = file.exec.as_ref().is_some_and(|exec| exec.command.is_some());
        for (path, present) in [
            ("instances", file.instances.is_some()),
            ("attach", file.attach.is_some()),
            ("exec.command", command),
        ] {
            if present {
                let path = KeyPath::of(path);
                let message = format!("a profile has no `{path}`");
                read.error(
                    "not-in-profile",
                    At::Key(path),
                    message,
                    "profiles hold what jobs share; this belongs into each job's own file",
                );
            }
        }
    }
    (layer, read.problems)
}

fn read_file(read: &mut Reader, file: &JobFile) -> Layer {
    let of_job = file.constraints.clone().unwrap_or_default();
    // In the order in which problems are told.
    Layer {
        profiles: file.profiles.clone().unwrap_or_default(),
        description: read.text("description", file.description.as_ref()),
        enabled: file.enabled,
        lifecycle: read.choice("lifecycle", file.lifecycle.as_ref()),
        intent: read.choice("intent", file.intent.as_ref()),
        sla_eligible: file.sla_eligible,
        tags: file.tags.clone().unwrap_or_default(),
        exec: exec::read(read, &file.exec.clone().unwrap_or_default()),
        attach: file.attach.as_ref().and_then(|table| attach::read(read, table)),
        strict: of_job.strict,
        constraints: constraints::read(read, &of_job),
        schedule: file.schedule.as_ref().map(|tables| schedule::read(read, tables)),
        restart: restart::read(read, &file.restart.clone().unwrap_or_default()),
        stop: stop::read(read, &file.stop.clone().unwrap_or_default()),
        timeouts: timeouts::read(read, &file.timeouts.clone().unwrap_or_default()),
        needs: file.needs.as_ref().map(|tables| needs::read(read, tables)),
    }
}

/// Lays one layer over another. Single values and lists replace, tables of free keys are merged.
#[must_use]
pub fn overlay(base: Layer, over: Layer) -> Layer {
    Layer {
        profiles: over.profiles,
        constraints: constraints::overlay(base.constraints, over.constraints),
        strict: over.strict.or(base.strict),
        schedule: over.schedule.or(base.schedule),
        description: over.description.or(base.description),
        enabled: over.enabled.or(base.enabled),
        lifecycle: over.lifecycle.or(base.lifecycle),
        intent: over.intent.or(base.intent),
        sla_eligible: over.sla_eligible.or(base.sla_eligible),
        tags: merge(base.tags, over.tags),
        exec: exec::overlay(base.exec, over.exec),
        attach: over.attach.or(base.attach),
        restart: restart::overlay(base.restart, over.restart),
        stop: stop::overlay(base.stop, over.stop),
        timeouts: timeouts::overlay(base.timeouts, over.timeouts),
        needs: over.needs.or(base.needs),
    }
}

impl Layer {
    /// Applies a change to every text in which `%i` and `%n` have a meaning.
    pub(super) fn texts(&mut self, change: &mut dyn FnMut(&mut String)) {
        let Self { exec, attach, tags, description, .. } = self;
        exec.texts(change);
        if let Some(attach) = attach {
            attach::texts(attach, change);
        }
        tags.values_mut().chain(description).for_each(change);
    }

    /// The regular expressions in it, and where they stand.
    pub(super) fn patterns(&mut self) -> Vec<(&'static str, &mut String)> {
        self.attach.as_mut().map(attach::patterns).unwrap_or_default()
    }
}
