//! PURE: `[exec]`: the program to start, and what it starts with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::reader::Reader;
use super::shared::{change_path, merge};
use super::{log, rlimits};
use crate::config::problem::{At, KeyPath};
use crate::config::schema::{Argv, ExecTable, Scalar};
use crate::model::job::{Exec, LogBounds, Output};
use crate::model::rlimit::{Resource, Rlimit};

/// Where a job file says how much of its log is kept.
const LOG_PATHS: [&str; 2] = ["exec.log.max_size", "exec.log.keep"];

/// What a file says of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ExecLayer {
    pub(super) command: Option<Vec<String>>,
    pub(super) working_dir: Option<PathBuf>,
    pub(super) env: BTreeMap<String, String>,
    pub(super) env_files: Option<Vec<PathBuf>>,
    pub(super) user: Option<String>,
    pub(super) group: Option<String>,
    pub(super) umask: Option<u32>,
    pub(super) rlimits: BTreeMap<Resource, Rlimit>,
    pub(super) output: Option<Output>,
    pub(super) log: LogBounds,
}

/// Reads the table.
pub(super) fn read(read: &mut Reader, table: &ExecTable) -> ExecLayer {
    let env = table.env.clone().unwrap_or_default();
    for (key, value) in &env {
        let at = KeyPath::of("exec.env").key(key.clone());
        if key.is_empty() || key.contains(['=', '\0']) {
            read.error(
                "bad-env-name",
                At::Key(at.clone()),
                format!("{key:?} is no name of an environment variable"),
                "use letters, digits and '_'",
            );
        }
        read.no_nul(at, value);
    }
    ExecLayer {
        command: table.command.as_ref().and_then(|command| self::command(read, command)),
        working_dir: read.path("exec.working_dir", table.working_dir.as_ref()),
        env_files: table.env_files.as_ref().map(|files| {
            for (n, file) in files.iter().enumerate() {
                read.absolute(KeyPath::of("exec.env_files").index(n), file.trim_start_matches('-'));
            }
            files.iter().map(PathBuf::from).collect()
        }),
        user: read.account("exec.user", table.user.as_ref()),
        group: read.account("exec.group", table.group.as_ref()),
        umask: table.umask.as_ref().and_then(|umask| self::umask(read, umask)),
        rlimits: table.rlimits.as_ref().map(|table| rlimits::read(read, table)).unwrap_or_default(),
        output: read.choice("exec.output", table.output.as_ref()),
        log: table.log.as_ref().map(|log| log::read(read, LOG_PATHS, log)).unwrap_or_default(),
        env,
    }
}

/// Values with others laid over them. The tables of free keys are merged.
pub(super) fn overlay(base: ExecLayer, over: ExecLayer) -> ExecLayer {
    ExecLayer {
        command: over.command.or(base.command),
        working_dir: over.working_dir.or(base.working_dir),
        env: merge(base.env, over.env),
        env_files: over.env_files.or(base.env_files),
        user: over.user.or(base.user),
        group: over.group.or(base.group),
        umask: over.umask.or(base.umask),
        rlimits: merge(base.rlimits, over.rlimits),
        output: over.output.or(base.output),
        log: log::overlay(base.log, over.log),
    }
}

impl ExecLayer {
    /// Applies a change to every text in which `%i` and `%n` have a meaning.
    pub(super) fn texts(&mut self, change: &mut dyn FnMut(&mut String)) {
        let Self {
            command,
            working_dir,
            env,
            env_files,
            user,
            group,
            umask: _,
            rlimits: _,
            output: _,
            log: _,
        } = self;
        for path in working_dir.iter_mut().chain(env_files.iter_mut().flatten()) {
            change_path(path, change);
        }
        command.iter_mut().flatten().chain(env.values_mut()).for_each(&mut *change);
        [user, group].into_iter().flatten().for_each(change);
    }

    /// Fills in the defaults; `None` without a command.
    pub(super) fn finish(self) -> Option<Exec> {
        Some(Exec {
            command: self.command?,
            working_dir: self.working_dir,
            env: self.env,
            env_files: self.env_files.unwrap_or_default(),
            user: self.user,
            group: self.group,
            umask: self.umask,
            rlimits: self.rlimits,
            output: self.output.unwrap_or_default(),
            log: self.log,
        })
    }
}

fn command(read: &mut Reader, command: &Argv) -> Option<Vec<String>> {
    let path = KeyPath::of("exec.command");
    match command {
        Argv::Line(line) => {
            let words: Vec<String> = line.split_whitespace().map(|word| format!("{word:?}")).collect();
            read.error(
                "shell-string",
                At::Value(path),
                "`command` is one string; it has to be a list with one string for each argument",
                format!(
                    "no shell is involved, so write `command = [{}]`; where you do need a shell: \
                     [\"/bin/sh\", \"-c\", \"...\"]",
                    words.join(", ")
                ),
            );
            None
        }
        Argv::List(list) if list.first().is_none_or(|program| program.is_empty()) => {
            read.error(
                "empty-command",
                At::Value(path),
                "`command` names no program",
                "its first entry is the program",
            );
            None
        }
        Argv::List(list) => {
            for (n, argument) in list.iter().enumerate() {
                read.no_nul(path.clone().index(n), argument);
            }
            if list[0].contains('/') {
                read.absolute(path.index(0), &list[0]);
            }
            Some(list.clone())
        }
    }
}

fn umask(read: &mut Reader, value: &Scalar) -> Option<u32> {
    let mask = match value {
        Scalar::Integer(number) => u32::try_from(*number).ok(),
        Scalar::Text(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
    };
    let mask = mask.filter(|mask| *mask <= 0o777);
    if mask.is_none() {
        read.error(
            "bad-umask",
            At::Value(KeyPath::of("exec.umask")),
            "this is no file mode creation mask",
            "write it in octal, as \"022\"",
        );
    }
    mask
}

#[cfg(test)]
mod tests {
    use crate::config::resolve::testing::codes;

    #[test]
    fn every_wrong_value_has_its_code() {
        assert_eq!(codes("[exec]\ncommand = \"ffmpeg -i x\"\n"), ["shell-string"]);
        assert_eq!(codes("[exec]\ncommand = []\n"), ["empty-command"]);
        assert_eq!(codes("[exec]\ncommand = [\"./x\"]\n"), ["relative-path"]);
        assert_eq!(codes("[exec]\ncommand = [\"x\\u0000\"]\n"), ["nul-character"]);
    }
}
