//! How much is kept of each run's log. A thread of `logs` keeps them within that; without it jobs run all the same, and
//! their logs grow.

use std::path::PathBuf;

use tracing::warn;

use crate::config::settings::Settings;
use crate::logs::Bound;
use crate::logs::keeper::{Bounds, LogKeeper};
use crate::model::job::LogBounds;
use crate::model::space::Reserve;
use crate::runs::record::Spec;

/// The logs of jobs.
pub struct KeptLogs {
    /// What `supervisor.toml` says.
    default: Bound,
    /// The free space that is left to others.
    reserve: Reserve,
    /// `None`: what runs is not known yet, or no thread can be had.
    keeper: Option<LogKeeper>,
}

impl KeptLogs {
    /// Nothing is kept within anything yet.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let Settings { log_size, log_pieces, log_compress, reserve, .. } = *settings;
        let default = Bound { max_size: log_size, keep: log_pieces, compress: log_compress };
        Self { default, reserve, keeper: None }
    }

    /// Has the logs of a folder kept within their bounds from now on; `known`: what runs already.
    pub fn start<'a>(&mut self, folder: PathBuf, known: impl Iterator<Item = &'a Spec>) {
        let known: Bounds = known.filter_map(|spec| Some((spec.log.clone(), self.bound_of(spec)?))).collect();
        let started = LogKeeper::start(folder, self.default, known, self.reserve);
        let started = started.inspect_err(|error| warn!("cannot keep logs within their bounds: {error}"));
        self.keeper = started.ok();
    }

    /// Has all logs looked at now.
    pub fn look(&self) {
        if let Some(keeper) = &self.keeper {
            keeper.look();
        }
    }

    /// Tells how much of a run's log is kept from now on.
    pub fn tell(&self, spec: &Spec) {
        if let (Some(keeper), Some(bound)) = (&self.keeper, self.bound_of(spec)) {
            keeper.tell(spec.log.clone(), bound);
        }
    }

    /// `None`: what was started by somebody else writes where it likes.
    fn bound_of(&self, spec: &Spec) -> Option<Bound> {
        spec.job.exec().map(|exec| self.bound(exec.log))
    }

    /// What the job says, else what `supervisor.toml` says.
    fn bound(&self, own: LogBounds) -> Bound {
        Bound {
            max_size: own.max_size.map_or(self.default.max_size, |size| size.0),
            keep: own.keep.map_or(self.default.keep, |keep| keep as usize),
            compress: own.compress.unwrap_or(self.default.compress),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_job_says_of_its_log_counts_and_the_rest_is_as_for_all() {
        let logs = KeptLogs::new(&Settings { log_size: 5000, log_pieces: 7, ..Settings::default() });
        let Bound { max_size, keep, compress } =
            logs.bound(LogBounds { keep: Some(0), ..LogBounds::default() });
        assert_eq!((max_size, keep, compress), (5000, 0, false));
    }
}
