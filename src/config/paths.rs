//! Where everything lies: as root, as another user (XDG), or under one folder (`--root DIR`).

use std::path::{Path, PathBuf};

/// The folders and files of one supervisor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// `supervisor.toml`.
    pub supervisor_toml: PathBuf,
    /// Where job files are.
    pub jobs_d: PathBuf,
    /// Where profiles are.
    pub profiles_d: PathBuf,
    /// What has to outlive a reboot.
    pub state: PathBuf,
    /// What need not.
    pub run: PathBuf,
}

/// The environment variables that place a user's files.
#[derive(Debug, Clone, Default)]
pub struct UserDirs {
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub config: Option<PathBuf>,
    /// `XDG_STATE_HOME`.
    pub state: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime: Option<PathBuf>,
}

impl Layout {
    /// All under one folder.
    #[must_use]
    pub fn under(root: &Path) -> Self {
        Self::at(root, root.join("state"), root.join("run"))
    }

    /// Root's.
    #[must_use]
    pub fn of_root() -> Self {
        Self::at(Path::new("/etc/ffrtmp"), "/var/lib/ffrtmp".into(), "/run/ffrtmp".into())
    }

    /// Another user's, by the XDG base directory specification. `None` without a home folder.
    /// Relative paths count as unset, as the specification demands.
    #[must_use]
    pub fn of_user(dirs: &UserDirs) -> Option<Self> {
        let absolute = |path: &Option<PathBuf>| path.clone().filter(|p| p.is_absolute());
        let home = absolute(&dirs.home);
        let or_home = |path: &Option<PathBuf>, below: &str| {
            absolute(path).or_else(|| home.as_ref().map(|home| home.join(below)))
        };
        let config = or_home(&dirs.config, ".config")?.join("ffrtmp");
        let state = or_home(&dirs.state, ".local/state")?.join("ffrtmp");
        let run = absolute(&dirs.runtime).map_or_else(|| state.join("run"), |run| run.join("ffrtmp"));
        Some(Self::at(&config, state, run))
    }

    fn at(config: &Path, state: PathBuf, run: PathBuf) -> Self {
        Self {
            supervisor_toml: config.join("supervisor.toml"),
            jobs_d: config.join("jobs.d"),
            profiles_d: config.join("profiles.d"),
            state,
            run,
        }
    }

    /// `<run>/cli`: the run directories of what the command line started (`ffrtmp run`, `ffrtmp attach`), a
    /// folder per job. The supervisor, which ends what no file declares, never looks there. Nothing of them
    /// has to outlive a reboot: the reports do.
    #[must_use]
    pub fn command_line_runs(&self) -> PathBuf {
        self.run.join("cli")
    }

    /// `<state>/cli/reports`: the reports of the same, in the form of [`Layout::reports`].
    #[must_use]
    pub fn command_line_reports(&self) -> PathBuf {
        self.state.join("cli/reports")
    }

    /// `<state>/reports`: the newest report of each job.
    #[must_use]
    pub fn reports(&self) -> PathBuf {
        self.state.join("reports")
    }

    /// `<state>/reports/history`: the reports of ended runs, a folder per job.
    #[must_use]
    pub fn history(&self) -> PathBuf {
        self.state.join("reports/history")
    }

    /// `<state>/runs`: the run directories, a folder per job.
    #[must_use]
    pub fn runs(&self) -> PathBuf {
        self.state.join("runs")
    }

    /// `<state>/logs`: what workloads print.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.state.join("logs")
    }

    /// `<state>/supervisor.lock`: held by the one supervisor of this state; its pid is in it.
    #[must_use]
    pub fn lock(&self) -> PathBuf {
        self.state.join("supervisor.lock")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_users_files_follow_xdg() {
        let home = UserDirs { home: Some("/home/u".into()), ..UserDirs::default() };
        let layout = Layout::of_user(&home).expect("a home is enough");
        assert_eq!(layout.jobs_d, Path::new("/home/u/.config/ffrtmp/jobs.d"));
        assert_eq!(layout.state, Path::new("/home/u/.local/state/ffrtmp"));
        assert_eq!(layout.run, Path::new("/home/u/.local/state/ffrtmp/run"));
        let all = UserDirs {
            config: Some("/c".into()),
            state: Some("rel".into()),
            runtime: Some("/r".into()),
            ..home
        };
        let layout = Layout::of_user(&all).expect("a home is enough");
        assert_eq!(layout.supervisor_toml, Path::new("/c/ffrtmp/supervisor.toml"));
        assert_eq!(layout.state, Path::new("/home/u/.local/state/ffrtmp"));
        assert_eq!(layout.run, Path::new("/r/ffrtmp"));
        assert_eq!(Layout::of_user(&UserDirs::default()), None);
    }
}
