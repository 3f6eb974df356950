//! PURE: from `supervisor.toml` to the supervisor's settings.

use std::path::PathBuf;
use std::time::Duration;

use super::problem::{At, KeyPath, Problem};
use super::resolve::log;
use super::resolve::reader::Reader;
use super::schema::{LogLevel, SupervisorFile};
use crate::model::cgroup::Choice;
use crate::model::space::Reserve;

/// What `supervisor.toml` came to, with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Ended runs kept per job.
    pub keep: usize,
    /// How long the files of a job stay that is no longer declared.
    pub gone_jobs: Duration,
    /// Of how many such jobs.
    pub max_gone_jobs: usize,
    /// Bytes of a job's log at which it is rotated.
    pub log_size: u64,
    /// Older pieces of a job's log that are kept.
    pub log_pieces: usize,
    /// Older pieces are compressed.
    pub log_compress: bool,
    /// What the state's file system keeps free.
    pub reserve: Reserve,
    /// Variables handed on to workloads, beside the built-in list.
    pub pass: Vec<String>,
    /// Which mechanism keeps the limits.
    pub cgroup: Choice,
    /// Least severe lines that are logged.
    pub log_level: LogLevel,
    /// The wrapper; `None`: beside the supervisor's own program.
    pub wrapper: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            keep: 20,
            gone_jobs: Duration::from_secs(30 * 86_400),
            max_gone_jobs: 1000,
            log_size: 64 << 20,
            log_pieces: 3,
            log_compress: false,
            reserve: Reserve::default(),
            pass: Vec::new(),
            cgroup: Choice::default(),
            log_level: LogLevel::default(),
            wrapper: None,
        }
    }
}

/// Resolves `supervisor.toml`. A value that is wrong has its default in the result.
#[must_use]
pub fn resolve(file: &SupervisorFile) -> (Settings, Vec<Problem>) {
    let mut read = Reader::default();
    let default = Settings::default();
    let keep = file.reports.as_ref().and_then(|reports| reports.keep);
    let keep = read.integer("reports.keep", keep, 1, 10_000).and_then(|keep| usize::try_from(keep).ok());
    let retention = file.retention.clone().unwrap_or_default();
    let gone_jobs = read.positive("retention.gone_jobs", retention.gone_jobs.as_ref());
    let max_gone_jobs = read.integer("retention.max_jobs", retention.max_jobs, 0, 1_000_000);
    let logs = file.logs.as_ref();
    let logs =
        logs.map(|logs| log::read(&mut read, ["logs.max_size", "logs.keep"], logs)).unwrap_or_default();
    let reserve = file.disk.as_ref().and_then(|disk| disk.reserve.as_ref());
    let path = "disk.reserve";
    let reserve = reserve.and_then(|text| {
        let read_it = Reserve::parse(text);
        read_it.map_err(|error| read.unit_error(path, &error, text, "MiB", "2% or 512MiB")).ok()
    });
    let level = read.choice("log.level", file.log.as_ref().and_then(|log| log.level.as_ref()));
    let cgroup =
        read.choice("cgroup.backend", file.cgroup.as_ref().and_then(|cgroup| cgroup.backend.as_ref()));
    let wrapper = read.path("wrapper", file.wrapper.as_ref());
    let pass = file.environment.as_ref().and_then(|environment| environment.pass.clone()).unwrap_or_default();
    for (n, name) in pass.iter().enumerate() {
        if name.is_empty() || name.contains(['=', '\0']) {
            read.error(
                "bad-env-name",
                At::Value(KeyPath::of("environment.pass").index(n)),
                format!("{name:?} is no name of an environment variable"),
                "use letters, digits and '_'; the value comes from the supervisor's own environment",
            );
        }
    }
    let settings = Settings {
        keep: keep.unwrap_or(default.keep),
        gone_jobs: gone_jobs.unwrap_or(default.gone_jobs),
        max_gone_jobs: max_gone_jobs
            .and_then(|jobs| usize::try_from(jobs).ok())
            .unwrap_or(default.max_gone_jobs),
        log_size: logs.max_size.map_or(default.log_size, |size| size.0),
        log_pieces: logs.keep.map_or(default.log_pieces, |keep| keep as usize),
        log_compress: logs.compress.unwrap_or(default.log_compress),
        reserve: reserve.unwrap_or(default.reserve),
        pass,
        cgroup: cgroup.unwrap_or(default.cgroup),
        log_level: level.unwrap_or(default.log_level),
        wrapper,
    };
    (settings, read.problems)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::parse;

    #[test]
    fn settings_have_defaults_and_wrong_ones_are_told() {
        let read = |text: &str| resolve(&parse::<SupervisorFile>(text).value);
        assert_eq!(read(""), (Settings::default(), vec![]));
        let (settings, problems) = read(
            "wrapper = \"ffrtmp\"\n[cgroup]\nbackend = \"v3\"\n[reports]\nkeep = 0\n[log]\nlevel = \"loud\"\n[environment]\npass = [\"A\", \"B=1\"]\n",
        );
        let codes: Vec<&str> = problems.iter().map(|p| p.code).collect();
        assert_eq!(
            codes,
            ["out-of-range", "unknown-value", "unknown-value", "relative-path", "bad-env-name"]
        );
        assert_eq!(settings.keep, 20);
        let (settings, problems) = read("[logs]\nmax_size = \"1KiB\"\nkeep = 0\n");
        assert_eq!((settings.log_size, settings.log_pieces, problems.len()), (64 << 20, 0, 1));
        let (settings, problems) = read("[logs]\nmax_size = \"2MiB\"\n");
        assert_eq!((settings.log_size, settings.log_pieces, problems.len()), (2 << 20, 3, 0));
        let (settings, problems) = read("[logs]\ncompress = true\nkeep = 1001\n");
        assert_eq!((settings.log_compress, settings.log_pieces, problems.len()), (true, 3, 1));
        let (settings, problems) = read("[disk]\nreserve = \"5%\"\n");
        assert_eq!((settings.reserve, problems.len()), (Reserve::Percent(5), 0));
        let (settings, problems) = read("[disk]\nreserve = \"much\"\n");
        assert_eq!((settings.reserve, problems.len()), (Reserve::Usual, 1));
        let (settings, problems) = read("[reports]\nkeep = 5\n[log]\nlevel = \"debug\"\n");
        assert_eq!((settings.keep, settings.log_level, problems), (5, LogLevel::Debug, vec![]));
    }
}
