//! The schemas, judged by a validator that is not ours: Debian's python3-jsonschema reads every
//! example and profile, and refuses what is wrong.

use std::path::{Path, PathBuf};
use std::process::Command;

const PYTHON: &str = "/usr/bin/python3";

/// Reads a schema and files of TOML; prints what the validator says of each.
const CHECK: &str = "
import json, sys, tomllib
from jsonschema import Draft202012Validator
schema = json.load(open(sys.argv[1]))
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for path in sys.argv[2:]:
    errors = [error.message for error in validator.iter_errors(tomllib.load(open(path, 'rb')))]
    print('bad' if errors else 'good', path, *errors, sep='\\t')
";

/// Whether the validator is here; says why not.
fn can_run() -> bool {
    let probe = Command::new(PYTHON).args(["-c", "import jsonschema, tomllib"]).output();
    let there = probe.is_ok_and(|output| output.status.success());
    if !there {
        println!("SKIPPED: {PYTHON} has no jsonschema or tomllib: apt install python3-jsonschema");
    }
    there
}

fn judge(kind: &str, files: &[PathBuf]) -> Vec<String> {
    let temp = tempfile::tempdir().expect("tempdir");
    let schema =
        Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup")).args(["schema", kind]).output().expect("runs");
    assert!(schema.status.success());
    let path = temp.path().join("schema.json");
    std::fs::write(&path, schema.stdout).expect("write");
    let output =
        Command::new(PYTHON).args(["-c", CHECK]).arg(&path).args(files).output().expect("python runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).lines().map(Into::into).collect()
}

/// All files of a folder of the repository that end so, whatever folders they lie in.
fn files(folder: &str) -> Vec<PathBuf> {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join(folder)];
    let mut found = Vec::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|ending| ending == "toml") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// What a file is, as `validate` tells it from folder and name.
fn kind(path: &Path) -> &'static str {
    let within = |name: &str| path.components().any(|part| part.as_os_str() == name);
    match path.file_name().and_then(|name| name.to_str()) {
        Some("supervisor.toml") => "supervisor",
        _ if within("profiles") || within("profiles.d") => "profile",
        _ => "job",
    }
}

#[test]
fn examples_and_profiles_fit_their_schemas() {
    if !can_run() {
        return;
    }
    let all: Vec<PathBuf> = ["profiles", "examples"].into_iter().flat_map(files).collect();
    assert!(all.len() >= 3, "{all:?}");
    for wanted in ["job", "profile", "supervisor"] {
        let some: Vec<PathBuf> = all.iter().filter(|path| kind(path) == wanted).cloned().collect();
        for line in judge(wanted, &some) {
            assert!(line.starts_with("good"), "{line}");
        }
    }
}

#[test]
fn what_is_wrong_is_refused_and_what_is_right_is_not() {
    if !can_run() {
        return;
    }
    let temp = tempfile::tempdir().expect("tempdir");
    let exec = "[exec]\ncommand = [\"x\"]\n";
    let cases = [
        ("job", exec.to_owned(), true),
        (
            "job",
            format!("{exec}user = 1000\numask = \"022\"\n[constraints]\nmemory_limit = \"4GiB\"\n"),
            true,
        ),
        ("job", format!("{exec}[exec.rlimits]\nnofile = 1024\ncore = 0\ncpu = \"1m:2m\"\n"), true),
        ("job", format!("{exec}[exec.rlimits]\nnofiles = 1024\n"), false),
        ("profile", "[exec.rlimits]\nas = \"4GiB\"\n".into(), true),
        ("job", "unknown = 1\n".into(), false),
        ("job", "[exec]\ncommand = \"x y\"\n".into(), false),
        ("job", "[exec]\ncommand = []\n".into(), false),
        ("job", format!("lifecycle = \"forever\"\n{exec}"), false),
        ("job", format!("{exec}[constraints]\nnice = 20\n"), false),
        ("job", format!("{exec}[constraints]\ncpus = \"all\"\n"), false),
        ("job", format!("{exec}[restart]\nlimit = {{ starts = 0 }}\n"), false),
        (
            "job",
            format!("{exec}[[schedule]]\ndays = [\"mon-fri\"]\nfrom = \"22:00\"\nto = \"24:00\"\n"),
            true,
        ),
        ("job", format!("{exec}[[schedule]]\nconstraints = {{ nice = 20 }}\n"), false),
        ("job", format!("{exec}[[schedule]]\nfrom = \"24:00\"\n"), false),
        ("job", format!("{exec}[[schedule]]\ndays = [\"monday\"]\n"), false),
        ("job", format!("{exec}[schedule]\nfrom = \"22:00\"\n"), false),
        ("job", "tags = { a = 1 }\n".into(), false),
        ("profile", "[constraints]\nnice = 5\n".into(), true),
        ("profile", exec.to_owned(), false),
        ("profile", "instances = [\"a\"]\n".into(), false),
        (
            "job",
            "[attach]\nmatch = { name = \"x\", not = { user = [0, \"a\"], name = \"y\" } }\n".into(),
            true,
        ),
        ("job", "[attach]\nmatch = { name = \"x\", not = { name = [5] } }\n".into(), false),
        ("job", "[attach]\nmatch = { name = \"x\", not = { names = \"y\" } }\n".into(), false),
        ("profile", "[attach]\npid = 5\n".into(), false),
        ("supervisor", "[reports]\nkeep = 5\n[log]\nlevel = \"debug\"\n".into(), true),
        ("supervisor", "[reports]\nkeep = 0\n".into(), false),
        ("supervisor", "[log]\nlevel = \"loud\"\n".into(), false),
    ];
    for wanted in ["job", "profile", "supervisor"] {
        let mut some = Vec::new();
        for (n, (kind, text, good)) in cases.iter().enumerate() {
            if *kind == wanted {
                let path = temp.path().join(format!("{n}-{}.toml", if *good { "good" } else { "bad" }));
                std::fs::write(&path, text).expect("write");
                some.push(path);
            }
        }
        for line in judge(wanted, &some) {
            let (verdict, path) = line.split_once('\t').expect("a verdict");
            let path = path.split('\t').next().unwrap_or(path);
            assert!(path.ends_with(&format!("-{verdict}.toml")), "{line}");
        }
    }
}
