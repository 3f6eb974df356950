//! A command line of `ffrtmp` that is wrong: what is said, and what to exit with.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Args, Command, CommandFactory, FromArgMatches, Parser};

use super::ffrtmp::{Ffrtmp, RunArgs};
use crate::wrapper::run;

/// Of the other commands, as clap and bash(1) have it.
pub const WRONG: u8 = 2;

/// Why a command line is no request. Help that was asked for is one of the reasons.
#[derive(Debug)]
pub struct Usage {
    /// What to print, and where.
    pub error: clap::Error,
    /// What to exit with: 0 for help; 125 for `run`, whose other codes may be the command's; else 2.
    pub status: u8,
}

/// What was asked for. The first argument is the program's own name.
///
/// # Errors
/// With what to type instead, as far as that can be told.
pub fn parse(arguments: &[OsString]) -> Result<Ffrtmp, Usage> {
    if let Some(run) = arguments.get(1..).and_then(parse_run) {
        return Ok(Ffrtmp { command: super::ffrtmp::Command::Run(run) });
    }
    Ffrtmp::try_parse_from(arguments).map_err(|mut error| {
        advise(&mut error, arguments);
        let of_run = arguments.get(1).is_some_and(|name| name == "run");
        let status = match (error.use_stderr(), of_run) {
            (false, _) => 0,
            (true, true) => run::FAILED,
            (true, false) => WRONG,
        };
        Usage { error, status }
    })
}

/// A good command line of `run`. To have clap build the other commands and all that there is to say in their
/// help takes as long as the rest of a start.
fn parse_run(words: &[OsString]) -> Option<Box<RunArgs>> {
    words.first().filter(|name| *name == "run")?;
    let matches = RunArgs::augment_args(Command::new("run")).try_get_matches_from(words).ok()?;
    RunArgs::from_arg_matches(&matches).ok().map(Box::new)
}

/// Adds what clap does not know.
fn advise(error: &mut clap::Error, arguments: &[OsString]) {
    let name = arguments.get(1).map(|name| name.to_string_lossy()).unwrap_or_default();
    let of = Ffrtmp::command();
    let Some(command) = of.find_subcommand(&*name) else { return };
    match error.kind() {
        ErrorKind::MissingRequiredArgument if name == "run" => {
            let tip = "say what to run, such as: ffrtmp run -- ffmpeg -i in.mp4 out.mp4".into();
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        }
        ErrorKind::MissingRequiredArgument if name == "attach" => {
            let tip: StyledStr = "say which process, such as: ffrtmp attach --pid $(pgrep -x obs)".into();
            error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip]));
        }
        ErrorKind::UnknownArgument => {
            if let Some(name) = arguments.iter().skip(2).find_map(|word| with_one_hyphen(command, word)) {
                error.remove(ContextKind::Suggested);
                error.insert(ContextKind::InvalidArg, ContextValue::String(format!("-{name}")));
                error.insert(ContextKind::SuggestedArg, ContextValue::String(format!("--{name}")));
            }
        }
        _ => {}
    }
}

/// `-nice` is `--nice`: what stands before the command and is taken for a row of short options.
fn with_one_hyphen<'a>(command: &Command, word: &'a OsString) -> Option<&'a str> {
    let name = word.to_str()?.strip_prefix('-').filter(|name| !name.starts_with('-'))?;
    let name = name.split('=').next().unwrap_or(name);
    let mut options = command.get_arguments().filter_map(clap::Arg::get_long);
    options.any(|long| long == name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> (u8, String) {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        let usage = parse(&words).expect_err(line);
        (usage.status, usage.error.to_string())
    }

    #[test]
    fn a_typo_is_told_with_what_was_meant() {
        for (line, status, meant) in [
            ("ffrtmp run --cpu-qouta 5 true", 125, "'--cpu-quota'"),
            ("ffrtmp run --memory-limt 5 true", 125, "'--memory-limit'"),
            ("ffrtmp run --cpu-quot 5 -- true", 125, "'--cpu-quota'"),
            ("ffrtmp run --cpu_quota 5 -- true", 125, "'--cpu-quota'"),
            ("ffrtmp run --intent prodction true", 125, "'production'"),
            ("ffrtmp run -nice 5 true", 125, "'--nice'"),
            ("ffrtmp run -nice=5 true", 125, "'--nice'"),
            ("ffrtmp run --nice abc true", 125, "'--nice <NICE>'"),
            ("ffrtmp attach --pid 4 --restor", 2, "'--restore'"),
            ("ffrtmp attach --pid abc", 2, "'--pid <PID>'"),
            ("ffrtmp runn true", 2, "'run'"),
            ("ffrtmp ps --jsn", 2, "'--json'"),
        ] {
            let (code, text) = said(line);
            assert_eq!(code, status, "{line}: {text}");
            assert!(text.contains(meant), "{line}: {text}");
        }
    }

    #[test]
    fn who_says_nothing_is_told_how_to_begin() {
        for line in ["ffrtmp run", "ffrtmp run --", "ffrtmp run --json"] {
            let (code, text) = said(line);
            assert_eq!(code, 125, "{line}");
            assert!(text.contains("ffrtmp run -- ffmpeg -i in.mp4 out.mp4"), "{line}: {text}");
        }
        let (code, text) = said("ffrtmp attach");
        assert!(code == 2 && text.contains("ffrtmp attach --pid"), "{text}");
        let (code, text) = said("ffrtmp");
        assert!(code == 2 && text.contains("Begin with:\n  ffrtmp run -- "), "{text}");
    }

    #[test]
    fn help_is_no_failure() {
        for line in ["ffrtmp --help", "ffrtmp -V", "ffrtmp run --help", "ffrtmp run -h", "ffrtmp help run"] {
            assert_eq!(said(line).0, 0, "{line}");
        }
    }
}
