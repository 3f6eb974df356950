//! What this supervisor and its host give to every run: the wrapper that starts it, its cgroup, its environment, and
//! by what it is known for one of ours.

use std::fs::OpenOptions;
use std::io::{self, PipeReader};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;

use super::{cgroups, environment, open_files};
use crate::config::paths::Layout;
use crate::config::settings::Settings;
use crate::linux::cgroup::Tree;
use crate::linux::{clock, process};
use crate::model::exit::StartError;
use crate::model::ids::RunId;
use crate::model::job::Job;
use crate::model::process::BootId;
use crate::runs::dir::{LockFile, RunDir, new_run_id};
use crate::runs::record::Spec;
use crate::wrapper::launch::Launcher;

/// Where runs are made, and with what.
pub struct Host {
    layout: Layout,
    /// The state folder by its one true path, by which workloads are known for those of this supervisor.
    identity: PathBuf,
    boot_id: BootId,
    launcher: Launcher,
    /// The wrapper program, opened at our own start, so that both stay of one version.
    _wrapper_file: OwnedFd,
    /// The soft limit on open files before we raised it: what workloads get.
    open_files: Option<u64>,
    /// Where the cgroups of runs are made.
    cgroups: Tree,
    /// Variables handed on to workloads, beside the built-in list.
    pass: Vec<String>,
}

impl Host {
    /// Opens the wrapper program, raises our own limit on open files, and chooses what keeps limits.
    ///
    /// # Errors
    /// The wrapper is not there, or a mechanism that was asked for is not.
    pub fn open(
        layout: &Layout,
        settings: &Settings,
        wrapper: &Path,
        cgroup_parent: Option<&Path>,
    ) -> anyhow::Result<Self> {
        let (wrapper, wrapper_file) = open_wrapper(wrapper)?;
        let open_files = open_files::raise();
        Ok(Self {
            identity: layout.state.canonicalize().context("cannot tell where the state folder is")?,
            boot_id: process::boot_id().context("cannot read the boot id")?,
            launcher: Launcher::new(wrapper, &layout.runs()),
            _wrapper_file: wrapper_file,
            open_files,
            cgroups: cgroups::open(layout, settings.cgroup, cgroup_parent)?,
            pass: settings.pass.clone(),
            layout: layout.clone(),
        })
    }

    /// Where everything lies.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The state folder by its one true path: the environment of our workloads has it.
    #[must_use]
    pub fn identity(&self) -> &Path {
        &self.identity
    }

    /// Where the cgroups of runs are made.
    #[must_use]
    pub fn cgroups(&self) -> &Tree {
        &self.cgroups
    }

    /// Why a run that lives has no cgroup.
    #[must_use]
    pub fn why_without_cgroup(&self) -> String {
        let started_without = "the run was started without a cgroup; restart the job to give it one";
        self.cgroups.why_none().unwrap_or(started_without).into()
    }

    /// What is recorded of each new run of a job, whether its workload is started or taken over. `last`: the run before.
    #[must_use]
    pub fn spec(&self, job: &Arc<Job>, last: Option<&RunId>) -> Spec {
        let now = clock::now();
        let log = self.layout.logs().join(format!("{}.log", job.id));
        Spec { log, ..Spec::new(Arc::clone(job), new_run_id(now, last), self.boot_id.clone(), now) }
    }

    /// The soft limit on open files that workloads get.
    #[must_use]
    pub fn open_files(&self) -> Option<u64> {
        self.open_files
    }

    /// The environment of a run's workload.
    ///
    /// # Errors
    /// Its user or its folder cannot be found.
    pub fn environment(&self, job: &Job, run: &RunId) -> Result<Vec<(String, String)>, StartError> {
        let Some(exec) = job.exec() else { return Ok(Vec::new()) };
        environment::build(&job.id, run, exec, &self.identity, &self.pass, std::env::vars_os())
    }

    /// Has the wrapper of a run started: [`Launcher::launch`].
    ///
    /// # Errors
    /// No wrapper was started.
    pub fn launch(&mut self, run: &RunDir, lock: LockFile) -> io::Result<PipeReader> {
        self.launcher.launch(run, lock)
    }

    /// Makes sure that wrappers are started: some are slow to come.
    pub fn check_launcher(&mut self) {
        self.launcher.check();
    }
}

/// Opens the wrapper program, and gives the path under which it can be executed from now on, whatever
/// is installed over it.
fn open_wrapper(path: &Path) -> anyhow::Result<(PathBuf, OwnedFd)> {
    let mut options = OpenOptions::new();
    let file =
        options.read(true).custom_flags(libc::O_PATH | libc::O_CLOEXEC).open(path).with_context(|| {
            format!(
                "cannot find the wrapper {}; install `ffrtmp` beside `ffrtmp-sup`, or name it with --wrapper",
                path.display()
            )
        })?;
    if !file.metadata()?.is_file() {
        anyhow::bail!("the wrapper {} is not a program", path.display());
    }
    let file = OwnedFd::from(file);
    let number: RawFd = file.as_raw_fd();
    Ok((PathBuf::from(format!("/proc/self/fd/{number}")), file))
}
