//! The loop, in rounds: timers that are due, then what came in, then jobs are planned, then queued starts.
//! Each part of a round is bounded, so nothing that happens to one job can keep the others waiting. Between
//! resyncs an idle supervisor does not wake.
//!
//! `serve.rs` has the rounds. The other files are what a round consists of: `files.rs` (what is declared, and which
//! processes fit), `settle.rs` (planning jobs and having the plans executed), `upgrade.rs` (a new version in our place).

mod files;
mod serve;
mod settle;
mod upgrade;

use super::agenda::{Agenda, Place};
use super::declared::Declared;
use super::execute::Executor;
use super::notify::Manager;
use super::reserve::Reserve;
use super::seek::Seeker;
use super::spaces::Spaces;
use super::upgrade::Program;
use super::watch::Watch;

/// The loop. It alone knows all parts.
pub struct Daemon {
    declared: Declared,
    watch: Watch,
    /// What finds the processes of attach jobs.
    seeker: Seeker,
    /// A job was planned since the seeker was told who is governed: it may be others by now.
    planned: bool,
    /// What the file systems have free that jobs name.
    spaces: Spaces,
    /// What the state's own has.
    reserve: Reserve,
    manager: Option<Manager>,
    /// The service manager is told that all is read once the agenda is past this.
    ready_at: Place,
    program: Program,
    /// Last: with it goes the lock on the state.
    executor: Executor,
}

impl Daemon {
    /// Nothing is read yet.
    #[must_use]
    pub fn new(
        declared: Declared,
        watch: Watch,
        spaces: Spaces,
        reserve: Reserve,
        manager: Option<Manager>,
        program: Program,
        executor: Executor,
    ) -> Self {
        Self {
            declared,
            watch,
            seeker: Seeker::new(),
            planned: true,
            spaces,
            reserve,
            manager,
            ready_at: Agenda::default().end(),
            program,
            executor,
        }
    }
}
