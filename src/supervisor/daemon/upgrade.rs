//! The upgrade: what has to be done before a new version can take our place.

use tracing::{error, info};

use super::Daemon;

/// This program's version.
const VERSION_NOW: &str = env!("CARGO_PKG_VERSION");

impl Daemon {
    /// Lets the program that we were started by, which may be a new version by now, take our place in this
    /// process. Returns where that fails.
    pub(super) fn upgrade(&mut self) {
        let path = self.program.path().to_owned();
        let version = match self.program.try_out() {
            Ok(version) => version,
            Err(why) => return error!("upgrade refused, still running {VERSION_NOW}: {why}"),
        };
        // What only we know has to be on disk: exits of processes that are our children, reports.
        self.executor.reap();
        for job in self.executor.reaped() {
            self.executor.look_again(&job, None, None);
        }
        // Starts that wait are the next program's.
        while let Some(job) = self.executor.jobs_mut().pop() {
            self.settle(&job);
        }
        self.executor.flush();
        if let Some((job, _)) = self.executor.jobs().runs().find(|(_, run)| run.owes_record()) {
            return error!(job = %job, "upgrade refused, still running {VERSION_NOW}: this job's exit is not recorded yet");
        }
        info!("{} is executed in this process: {version}, after {}", path.display(), VERSION_NOW);
        if let Some(manager) = &mut self.manager {
            manager.reloading();
        }
        let error = self.executor.hand_on(|lock| self.program.execute(lock));
        error!("upgrade refused, still running {VERSION_NOW}: cannot execute {}: {error}", path.display());
    }
}
