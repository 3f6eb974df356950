//! What a start needs, looked up and laid out before the fork: all that the child will touch.

use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::line::FIRST_RLIMIT;
use crate::linux::priority::io_priority_of;
use crate::linux::rlimits::{self, Raw};
use crate::linux::user::{self, Credentials};
use crate::model::constraints::{ConstraintName, Constraints};
use crate::model::cpus::CpuSet;
use crate::model::exit::{Stage, StartError};
use crate::model::job::Exec;

/// Where a program is looked for if the environment has no PATH (execvp(3)).
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// The file mode creation mask of a job that names none.
const DEFAULT_UMASK: u32 = 0o022;

/// What a workload has from whoever starts it, where nothing else is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Manner {
    /// Nothing, like a service: a session of its own, the kernel's default priorities, signals and umask, no
    /// descriptors.
    Service,
    /// Everything, like a command that env(1) starts: priorities, umask, descriptors, and these signals,
    /// which stay ignored (nohup(1)).
    Command {
        /// It leads a session of its own, which signals to its parent's process group do not reach. Else it
        /// is in that group, and takes part in the terminal's job control.
        session: bool,
        /// The numbers of the signals.
        ignored: Vec<i32>,
    },
}

/// A workload, ready to be started: all that the child will touch.
#[derive(Debug)]
pub struct Plan {
    pub(super) argv: Vec<CString>,
    pub(super) environment: Vec<CString>,
    /// The paths to execute, one after the other until one works.
    pub(super) candidates: Vec<CString>,
    pub(super) working_dir: CString,
    pub(super) credentials: Option<Credentials>,
    pub(super) umask: Option<u32>,
    pub(super) manner: Manner,
    pub(super) nice: Option<i8>,
    /// The text to write.
    pub(super) oom_score_adj: Option<CString>,
    pub(super) cpus: Option<CpuSet>,
    /// As the kernel takes it.
    pub(super) io_priority: Option<i32>,
    /// The message if it is refused, and the limit as the kernel takes it.
    pub(super) rlimits: Vec<(i32, i32, Raw)>,
    /// For messages.
    pub(super) search_path: String,
}

impl Plan {
    /// Looks up and lays out what a start needs. `argv` is the command, for those that are no text `exec`
    /// could hold. Of the constraints, the process sets those that are attributes of its own, but for what
    /// `elsewhere` names: another mechanism keeps it.
    ///
    /// # Errors
    /// What can be known before the fork: an empty command, a NUL in a text, an unknown user.
    pub fn new<T: AsRef<OsStr>>(
        exec: &Exec,
        argv: &[T],
        environment: &[(T, T)],
        constraints: &Constraints,
        elsewhere: &[ConstraintName],
        manner: Manner,
    ) -> Result<Self, StartError> {
        let text = |stage, what: &str, text: &[u8]| {
            CString::new(text).map_err(|_| failed(stage, None, format!("{what} holds a NUL character")))
        };
        let Some(program) = argv.first().map(AsRef::as_ref).filter(|program| !program.is_empty()) else {
            return Err(failed(Stage::Exec, None, "exec.command names no program".into()));
        };
        let words = argv
            .iter()
            .map(|argument| text(Stage::Exec, "exec.command", argument.as_ref().as_bytes()))
            .collect::<Result<Vec<_>, _>>()?;
        let variables = environment
            .iter()
            .map(|(key, value)| {
                let (key, value) = (key.as_ref(), value.as_ref());
                let line = [key.as_bytes(), b"=", value.as_bytes()].concat();
                text(Stage::Environment, &key.to_string_lossy(), &line)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let path = environment.iter().rev().find(|(key, _)| key.as_ref() == "PATH");
        let search_path = path.map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value.as_ref());
        let candidates = candidates(program, search_path)
            .into_iter()
            .map(|path| text(Stage::Exec, "PATH", &path))
            .collect::<Result<Vec<_>, _>>()?;
        let working_dir = exec.working_dir.as_deref().unwrap_or(Path::new("/"));
        let default_umask = match manner {
            Manner::Service => Some(DEFAULT_UMASK),
            Manner::Command { .. } => None,
        };
        Ok(Self {
            argv: words,
            environment: variables,
            candidates,
            working_dir: text(Stage::WorkingDir, "exec.working_dir", working_dir.as_os_str().as_bytes())?,
            credentials: user::credentials(exec.user.as_deref(), exec.group.as_deref())?,
            umask: exec.umask.or(default_umask),
            manner,
            nice: constraints.nice,
            oom_score_adj: constraints.oom_score_adj.and_then(|value| CString::new(value.to_string()).ok()),
            cpus: constraints.cpus.clone().filter(|_| !elsewhere.contains(&ConstraintName::Cpus)),
            io_priority: constraints.io_class.map(|class| io_priority_of(Some(class))),
            rlimits: exec
                .rlimits
                .iter()
                .map(|(&resource, limit)| {
                    let (number, values) = rlimits::raw(resource, limit);
                    (FIRST_RLIMIT + resource as i32, number, values)
                })
                .collect(),
            search_path: search_path.to_string_lossy().into_owned(),
        })
    }
}

/// Where execvp(3) would look: the name itself if it has a slash, else in each directory of PATH, of
/// which an empty one is the working directory.
fn candidates(program: &OsStr, search_path: &OsStr) -> Vec<Vec<u8>> {
    let program = program.as_bytes();
    if program.contains(&b'/') {
        return vec![program.into()];
    }
    let dirs = search_path.as_bytes().split(|byte| *byte == b':');
    dirs.map(|dir| [if dir.is_empty() { b"." } else { dir }, b"/", program].concat()).collect()
}

pub(super) fn failed(stage: Stage, errno: Option<i32>, detail: String) -> StartError {
    StartError { stage, errno, detail }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_for_as_execvp_does() {
        let looked_for = |program: &str, path: &str| {
            let found = candidates(program.as_ref(), path.as_ref()).into_iter();
            found.map(|path| String::from_utf8(path).expect("text")).collect::<Vec<_>>()
        };
        assert_eq!(looked_for("/bin/true", "/usr/bin"), ["/bin/true"]);
        assert_eq!(looked_for("./run", "/usr/bin"), ["./run"]);
        assert_eq!(looked_for("ffmpeg", "/usr/bin::/bin"), ["/usr/bin/ffmpeg", "./ffmpeg", "/bin/ffmpeg"]);
    }

    #[test]
    fn a_nul_is_refused_before_anything_is_made() {
        let plan = |command: &str, variable: &str| {
            let exec: Exec =
                serde_json::from_value(serde_json::json!({"command": [command]})).expect("a table");
            let environment = [(String::from("KEY"), String::from(variable))];
            let plan =
                Plan::new(&exec, &exec.command, &environment, &Constraints::default(), &[], Manner::Service);
            plan.map_err(|error| error.stage).err()
        };
        assert_eq!(plan("a\0b", ""), Some(Stage::Exec));
        assert_eq!(plan("a", "\0"), Some(Stage::Environment));
        assert_eq!(plan("", ""), Some(Stage::Exec));
        assert_eq!(plan("a", ""), None);
    }
}
