//! Command lines of `ffrtmp` that are wrong, or ask for help: the real program, what it says and where, and what it
//! exits with.

use std::process::{Command, Output};

fn ffrtmp(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ffrtmp")).args(arguments).output().expect("it runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_is_wrong_is_said_on_standard_error_with_its_code() {
    for (line, code, said) in [
        (vec!["run", "--cpu-qouta", "5", "true"], 125, "'--cpu-quota'"),
        (vec!["run", "--nice", "-21", "true"], 125, "--nice is -21, which is outside -20 to 19"),
        (vec!["run"], 125, "ffrtmp run -- ffmpeg"),
        (vec!["attach", "--pid", "abc"], 2, "'abc' for '--pid <PID>'"),
        (vec!["attach", "--pid", "4000000", "--nice", "77"], 2, "--nice is 77"),
        (vec!["runn"], 2, "'run'"),
        (vec![], 2, "ffrtmp run --help"),
    ] {
        let run = ffrtmp(&line);
        let err = text(&run.stderr);
        assert_eq!(run.status.code(), Some(code), "{line:?}: {err}");
        assert!(err.contains(said) && run.stdout.is_empty(), "{line:?}: {err}");
    }
}

#[test]
fn help_goes_to_standard_output() {
    for line in [vec!["--help"], vec!["--version"], vec!["run", "--help"], vec!["attach", "-h"]] {
        let run = ffrtmp(&line);
        assert_eq!(run.status.code(), Some(0), "{line:?}");
        assert!(!run.stdout.is_empty() && run.stderr.is_empty(), "{line:?}: {run:?}");
    }
}

#[test]
fn what_belongs_to_the_command_is_left_to_it() {
    let root = tempfile::tempdir().expect("a folder");
    let root = root.path().to_str().expect("text");
    let common = ["run", "--quiet", "--cgroup", "none", "--root", root];
    let ours = ["--cpu-qouta", "--json", "-nice", "--", "--help"];
    for before in [vec!["--", "echo"], vec!["echo"]] {
        let line = [&common[..], &before[..], &ours[..]].concat();
        let run = ffrtmp(&line);
        assert_eq!(text(&run.stdout), "--cpu-qouta --json -nice -- --help\n", "{line:?}: {run:?}");
    }
    let line = [&common[..], &["--", "--cpu-qouta"]].concat();
    let run = ffrtmp(&line);
    assert_eq!(run.status.code(), Some(127), "a program of that name: {}", text(&run.stderr));
}
