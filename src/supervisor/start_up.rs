//! The start: the state is locked, the parts are made, and the loop begins.

use std::path::PathBuf;

use anyhow::Context;
use nix::sys::stat::Mode;
use tracing::warn;

use super::claim::Claim;
use super::daemon::Daemon;
use super::declared::Declared;
use super::execute::Executor;
use super::host::Host;
use super::inbox::Inbox;
use super::kept_logs::KeptLogs;
use super::notify::Manager;
use super::reporter::Reporter;
use super::reserve::Reserve;
use super::resync::RESYNC;
use super::spaces::Spaces;
use super::upgrade::{self, Program};
use super::watch::Watch;
use super::writer::Writer;
use super::{copied, folders, lock};
use crate::abort::{self, Point};
use crate::config::paths::Layout;
use crate::config::settings::Settings;
use crate::linux::clock;
use crate::runs::durable;
use crate::runs::retention;

/// What a supervisor is started with.
#[derive(Debug)]
pub struct Options {
    /// Where everything lies.
    pub layout: Layout,
    /// What `supervisor.toml` says.
    pub settings: Settings,
    /// The wrapper program.
    pub wrapper: PathBuf,
    /// A cgroup that was delegated to us, if it is not the one we are in.
    pub cgroup_parent: Option<PathBuf>,
}

/// Runs the supervisor until SIGTERM or SIGINT. The workloads run on.
///
/// # Errors
/// It cannot begin: another one runs, folders cannot be made, the wrapper is not there.
pub fn run(options: Options) -> anyhow::Result<()> {
    let Options { layout, settings, wrapper, cgroup_parent } = options;
    upgrade::block_signals();
    // Files have modes of their own; cgroups have not, and who may write in their directories can leave them.
    nix::sys::stat::umask(Mode::S_IWGRP | Mode::S_IWOTH);
    folders::make(&layout).context("cannot use the supervisor's own folders")?;
    abort::at(Point::FoldersMade);
    // Before anything of ours can get the number of the descriptor.
    let lock = lock::take(&layout.lock(), upgrade::handed_lock())?;
    abort::at(Point::StateLocked);
    copied::refuse(&layout)?;
    durable::sweep(&layout.run);
    let program = Program::of_this_process().context("cannot tell which program this is")?;
    let host = Host::open(&layout, &settings, &wrapper, cgroup_parent.as_deref())?;
    abort::at(Point::CgroupsOpened);
    if let Err(error) = nix::sys::prctl::set_child_subreaper(true) {
        warn!("cannot become a subreaper, so an orphaned workload's exit code may be lost: {error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let (inbox, senders) = Inbox::open()?;
        upgrade::unblock_signals();
        let (watch, watching) = Watch::new(&layout, senders.files.clone());
        if let Err(error) = watching {
            warn!("cannot watch the folders: {error}; they are looked at every {} s", RESYNC.as_secs());
        }
        let bounds = retention::Bounds { gone_jobs: settings.gone_jobs, max_jobs: settings.max_gone_jobs };
        let writer = Writer::start(&layout, settings.keep, bounds, senders.written.clone())
            .context("cannot write reports")?;
        let executor = Executor::new(
            host,
            Claim::new(layout.clone(), lock),
            Reporter::new(writer, clock::boot()),
            KeptLogs::new(&settings),
            senders.runs.clone(),
        );
        let manager = Manager::from_environment(clock::boot());
        let spaces = Spaces::new(senders.spaces.clone());
        let reserve = Reserve::new(layout.state.clone(), settings.reserve);
        let declared = Declared::new(layout);
        let daemon = Daemon::new(declared, watch, spaces, reserve, manager, program, executor);
        // `senders` lives as long as the loop, so no source is ever closed.
        daemon.serve(inbox).await
    })
}
