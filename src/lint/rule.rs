//! What a rule is: its texts, its examples, and what its check is given.
//!
//! Each file in `rules/` is one rule: what it says with [`rule!`], and the function that looks for it.

use super::ffmpeg::Ffmpeg;
use super::host::Host;
use crate::config::problem::Level;
pub(super) use crate::config::problem::{At, KeyPath, Problem};
use crate::config::resolve::Declared;
use crate::config::schema::{FileKind, JobFile};
use crate::model::job::{Exec, Job};
use crate::model::zones::Zones;

/// One thing that can be wrong.
#[derive(Debug)]
pub struct Rule {
    /// Its stable name, which problems carry and `explain` takes.
    pub code: &'static str,
    /// How bad it is.
    pub level: Level,
    /// What is wrong, in one line.
    pub summary: &'static str,
    /// Why it matters and what to do, in Markdown.
    pub explain: &'static str,
    /// Files that break it, and no other rule.
    pub bad: &'static [Example],
    /// The same as they should be: these break no rule at all.
    pub good: &'static [Example],
    /// Who looks for it.
    pub check: Check,
}

/// Declares the rule of a file, as `RULE`: its code and how bad it is, what is wrong in one line, why that
/// matters, what breaks it (`bad`) and how it should be (`good`). These are job files, or another kind of
/// [`Example`], which is named. Then who looks for it, see [`Check`]: most often `Job(check)`; without that
/// line it is the loader, in `config`.
macro_rules! rule {
    (
        $code:literal $level:ident $summary:literal
        because $explain:literal
        $(bad $($bad_kind:ident)? $bad:literal)+
        $(good $($good_kind:ident)? $good:literal)+
        $(check $who:ident $(($check:path))?)?
    ) => {
        /// What this file is about.
        pub static RULE: $crate::lint::rule::Rule = $crate::lint::rule::Rule {
            code: $code,
            level: $crate::config::problem::Level::$level,
            summary: $summary,
            explain: $explain,
            bad: &[$($crate::lint::rule::rule!(@example $($bad_kind)? $bad)),+],
            good: &[$($crate::lint::rule::rule!(@example $($good_kind)? $good)),+],
            check: $crate::lint::rule::rule!(@check $($who $(($check))?)?),
        };
    };
    (@example $text:literal) => { $crate::lint::rule::Example::Job($text) };
    (@example $kind:ident $text:literal) => { $crate::lint::rule::Example::$kind($text) };
    (@check) => { $crate::lint::rule::Check::Loader };
    (@check $who:ident $(($check:path))?) => { $crate::lint::rule::Check::$who $(($check))? };
}
pub(super) use rule;

/// A file that shows a rule.
#[derive(Debug)]
pub enum Example {
    /// A job file.
    Job(&'static str),
    /// A profile.
    Profile(&'static str),
    /// `supervisor.toml`.
    Supervisor(&'static str),
    /// What no text can show, in words.
    Words(&'static str),
}

/// Who looks for a problem.
#[derive(Debug, Clone, Copy)]
pub enum Check {
    /// The loader, in `config`.
    Loader,
    /// A check of one job, for the daemon and for `validate`.
    Job(fn(&Context<'_>, &mut Vec<Problem>)),
    /// `validate`, which sees all files.
    Files,
    /// A check of one job against this machine, for `validate --host`.
    Host(fn(&Context<'_>, &Host, &mut Vec<Problem>)),
}

impl Rule {
    /// A problem of this rule's.
    pub(super) fn problem(&self, at: At, message: impl Into<String>) -> Problem {
        Problem { level: self.level, ..Problem::error(self.code, at, message) }
    }
}

/// What the check of a job is given.
#[derive(Debug)]
pub struct Context<'a> {
    /// The file as it is written: for places.
    pub file: &'a JobFile,
    /// The job it comes to: for meaning. Of a template it is the first; its instances differ in names.
    pub job: &'a Job,
    /// Its command taken apart, if that is ffmpeg's.
    pub ffmpeg: Option<Ffmpeg<'a>>,
    /// What is known beside.
    pub facts: &'a Facts,
}

impl<'a> Context<'a> {
    /// For one job of a file.
    #[must_use]
    pub fn new(file: &'a JobFile, declared: &'a Declared, facts: &'a Facts) -> Self {
        let job = &declared.job;
        let ffmpeg = job.exec().and_then(|exec| Ffmpeg::read(&exec.command));
        Self { file, job, ffmpeg, facts }
    }

    /// The arguments, the program first; empty for an attached job.
    pub(super) fn argv(&self) -> &'a [String] {
        self.job.exec().map_or(&[], |exec| &exec.command)
    }

    /// The program's file name; empty for an attached job.
    pub(super) fn program(&self) -> &'a str {
        self.job.exec().map_or("", Exec::program)
    }

    /// Whether the program is gst-launch.
    pub(super) fn is_gst_launch(&self) -> bool {
        self.job.exec().is_some_and(Exec::is_gst_launch)
    }
}

/// The place of an argument.
pub(super) fn argument(index: usize) -> At {
    At::Value(KeyPath::of("exec.command").index(index))
}

/// The place of a value.
pub(super) fn value(path: &'static str) -> At {
    At::Value(KeyPath::of(path))
}

impl Example {
    /// The kind and text of an example that can be checked.
    #[must_use]
    pub fn file(&self) -> Option<(FileKind, &'static str)> {
        match self {
            Self::Job(text) => Some((FileKind::Job, text)),
            Self::Profile(text) => Some((FileKind::Profile, text)),
            Self::Supervisor(text) => Some((FileKind::Supervisor, text)),
            Self::Words(_) => None,
        }
    }
}

/// What rules may know beside the file itself. An input, so that verdicts can be repeated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts {
    /// Cores of the machine (`std::thread::available_parallelism`).
    pub cores: usize,
    /// Permission bits of the file (stat(2)); `None` for what is no file.
    pub mode: Option<u32>,
    /// Where time zones come from.
    pub zones: Zones,
}
