//! `ffrtmp-sup validate` as a user sees it: files in, exact text and exit code out. Each folder of
//! `tests/cases/validate` is a case: its files, a `cmd` with the arguments, perhaps a `stdin`, and the
//! `expected.txt`, which `UPDATE_EXPECT=1 cargo test --test validate` writes anew.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Standard output, standard error, exit code.
type Said = (String, String, i32);

fn run(folder: &Path, args: &[&str], stdin: &[u8]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"))
        .args(args)
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ffrtmp-sup starts");
    let mut pipe = child.stdin.take().expect("piped");
    let input = stdin.to_vec();
    // The program need not read it.
    let writer = std::thread::spawn(move || drop(pipe.write_all(&input)));
    let output = child.wait_with_output().expect("ffrtmp-sup ends");
    writer.join().expect("writer");
    let text = |bytes| String::from_utf8(bytes).expect("output is UTF-8");
    (text(output.stdout), text(output.stderr), output.status.code().expect("no signal"))
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).expect("case").flatten() {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            fs::create_dir_all(&target).expect("mkdir");
            fs::set_permissions(&target, fs::Permissions::from_mode(0o755)).expect("chmod");
            copy(&entry.path(), &target);
        } else if !["cmd", "stdin", "expected.txt"].iter().any(|name| entry.file_name() == *name) {
            fs::copy(entry.path(), &target).expect("copy");
            fs::set_permissions(&target, fs::Permissions::from_mode(0o644)).expect("chmod");
        }
    }
}

#[test]
fn cases() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/validate");
    let mut folders: Vec<PathBuf> = fs::read_dir(cases).expect("cases").flatten().map(|e| e.path()).collect();
    folders.sort();
    assert!(folders.len() > 20, "the cases are gone");
    let mut wrong = Vec::new();
    for folder in folders {
        let temp = tempfile::tempdir().expect("tempdir");
        copy(&folder, temp.path());
        let command = fs::read_to_string(folder.join("cmd")).expect("cmd");
        let args: Vec<&str> = command.split_whitespace().collect();
        let stdin = fs::read(folder.join("stdin")).unwrap_or_default();
        let (out, err, code) = run(temp.path(), &args, &stdin);
        let err = if err.is_empty() { err } else { format!("standard error:\n{err}") };
        let said = format!("{out}{err}exit code: {code}\n");
        let path = folder.join("expected.txt");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&path, &said).expect("write");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if said != expected {
            wrong.push(format!("{}\nexpected:\n{expected}\nsaid:\n{said}", folder.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Runs `validate` on one file with this content, within a bounded time.
fn hostile(content: &[u8], args: &[&str]) -> Said {
    let temp = tempfile::tempdir().expect("tempdir");
    fs::write(temp.path().join("a.toml"), content).expect("write");
    bounded(temp.path(), &[&["validate", "a.toml"], args].concat())
}

fn bounded(folder: &Path, args: &[&str]) -> Said {
    let begun = Instant::now();
    let said = run(folder, args, b"");
    assert!(begun.elapsed() < Duration::from_secs(20), "{args:?} took {:?}", begun.elapsed());
    assert!(said.0.len() < 1 << 20, "{args:?} printed {} bytes", said.0.len());
    said
}

fn assert_harmless(text: &str) {
    let bad = text.chars().find(|&c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c));
    assert_eq!(bad, None, "{text:?}");
}

const GOOD: &str = "[exec]\ncommand = [\"/usr/bin/true\"]\n";

#[test]
fn bytes_that_are_no_text_are_told() {
    let (out, _, code) = hostile(b"a = 1\nb = \"\xe9\"\n", &[]);
    assert!(code == 1 && out.contains("error[not-utf8]") && out.contains("line 2"), "{out}");
    let (out, _, code) = hostile(b"a = \"\0\"\n", &[]);
    assert!(code == 1 && out.contains("error[syntax]"), "{out}");
    let (out, _, code) = hostile(
        "\u{feff}a = 1".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>().as_slice(),
        &[],
    );
    assert!(code == 1 && out.contains("not-utf8"), "{out}");
}

#[test]
fn a_file_of_a_hundred_megabytes_is_not_read() {
    let temp = tempfile::tempdir().expect("tempdir");
    let file = fs::File::create(temp.path().join("a.toml")).expect("create");
    file.set_len(100 << 20).expect("sparse");
    let (out, _, code) = bounded(temp.path(), &["validate", "a.toml"]);
    assert!(code == 1 && out.contains("error[too-large]"), "{out}");
}

#[test]
fn an_endless_standard_input_is_not_read_to_its_end() {
    let temp = tempfile::tempdir().expect("tempdir");
    let zero = fs::File::open("/dev/zero").expect("open");
    let output = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"))
        .args(["validate", "-"])
        .env_clear()
        .env("HOME", temp.path())
        .stdin(zero)
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("error[too-large]"));
}

#[test]
fn deep_nesting_is_an_error() {
    let arrays = format!("a = {}1{}", "[".repeat(10_000), "]".repeat(10_000));
    let tables = format!("a = {}1{}", "{b=".repeat(10_000), "}".repeat(10_000));
    let dotted = format!("{}z = 1", "a.".repeat(10_000));
    let header = format!("[{}z]", "a.".repeat(10_000));
    for text in [arrays, tables, dotted, header] {
        let (out, _, code) = hostile(text.as_bytes(), &[]);
        assert!(code == 1 && out.contains("error["), "{out}");
    }
}

#[test]
fn ten_thousand_problems_are_told_in_part() {
    let keys: String = (0..10_000).map(|n| format!("key{n} = 1\n")).collect();
    let env: String = (0..10_000).map(|n| format!("\"=x{n}\" = \"1\"\n")).collect();
    let instances: String = (0..900).map(|n| format!("\"X{n}\", ")).collect();
    let profiles: String = (0..10_000).map(|n| format!("\"nice{n}\", ")).collect();
    let limits: String = (0..10_000).map(|_| "\"sda\", ").collect();
    let cases = [
        format!("{keys}{GOOD}"),
        format!("{GOOD}[exec.env]\n{env}"),
        format!("instances = [{instances}]\n{GOOD}"),
        format!("profiles = [{profiles}]\n{GOOD}"),
        format!("{GOOD}[constraints]\nio_max = [{limits}]\n"),
        // A line for each, and a line of them all.
        "= 1\n".repeat(10_000),
        "= ".repeat(10_000),
    ];
    for text in cases {
        for format in ["human", "json", "sarif", "github"] {
            let (out, _, code) = hostile(text.as_bytes(), &["--format", format]);
            assert_eq!(code, 1, "{}", &out[..out.len().min(2000)]);
        }
    }
}

#[test]
fn a_template_cannot_fill_the_memory() {
    let many: String = (0..100_000).map(|n| format!("\"{n}\",")).collect();
    let (out, _, code) = hostile(format!("instances = [{many}]\n{GOOD}").as_bytes(), &[]);
    assert!(code == 1 && out.contains("error[too-many-instances]"), "{out}");
    let thousand: String = (0..1000).map(|n| format!("\"{n}\",")).collect();
    let large =
        format!("instances = [{thousand}]\n[exec]\ncommand = [\"/x\", \"{}\"]\n", "%n".repeat(100_000));
    let (out, _, code) = hostile(large.as_bytes(), &[]);
    assert!(code == 1 && out.contains("error[too-many-instances]"), "{out}");
    let (_, _, code) = hostile(format!("instances = [{thousand}]\n{GOOD}").as_bytes(), &[]);
    assert_eq!(code, 0);
}

#[test]
fn what_is_no_file_does_not_block() {
    let temp = tempfile::tempdir().expect("tempdir");
    let jobs = temp.path().join("jobs.d");
    fs::create_dir(&jobs).expect("mkdir");
    nix::unistd::mkfifo(&jobs.join("fifo.toml"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    symlink("/dev/zero", jobs.join("device.toml")).expect("symlink");
    symlink("loop.toml", jobs.join("loop.toml")).expect("symlink");
    symlink("nowhere", jobs.join("nowhere.toml")).expect("symlink");
    fs::create_dir(jobs.join("folder.toml")).expect("mkdir");
    let _socket = std::os::unix::net::UnixListener::bind(jobs.join("socket.toml")).expect("socket");
    let (out, _, code) = bounded(temp.path(), &["--root", ".", "validate"]);
    assert_eq!(code, 1, "{out}");
    for (name, what) in [
        ("fifo", "not-a-file"),
        ("device", "not-a-file"),
        ("folder", "not-a-file"),
        ("socket", "unreadable"),
        ("loop", "unreadable"),
        ("nowhere", "unreadable"),
    ] {
        let told =
            out.split("\n\n").any(|part| part.contains(&format!("{name}.toml")) && part.contains(what));
        assert!(told, "{name}: {out}");
    }
    // Named one by one they are no different.
    let (out, _, code) = bounded(temp.path(), &["validate", "jobs.d/fifo.toml", "jobs.d/loop.toml"]);
    assert!(code == 1 && out.contains("2 errors in 2 files"), "{out}");
}

#[test]
fn a_file_that_may_not_be_read_is_told() {
    let temp = tempfile::tempdir().expect("tempdir");
    let path = temp.path().join("a.toml");
    fs::write(&path, GOOD).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("chmod");
    if fs::File::open(&path).is_ok() {
        println!("SKIPPED: root reads files of every mode");
        return;
    }
    let (out, _, code) = bounded(temp.path(), &["validate", "a.toml"]);
    assert!(code == 1 && out.contains("error[unreadable]"), "{out}");
}

#[test]
fn what_others_can_write_is_told() {
    let temp = tempfile::tempdir().expect("tempdir");
    let path = temp.path().join("a.toml");
    fs::write(&path, GOOD).expect("write");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("chmod");
    let (out, _, code) = bounded(temp.path(), &["validate", "a.toml"]);
    assert!(code == 0 && out.contains("warning[untrusted]"), "{out}");
    let (out, _, code) = bounded(temp.path(), &["validate", "--host", "a.toml"]);
    assert!(code == 1 && out.contains("error[untrusted]"), "{out}");
}

#[test]
fn names_and_keys_cannot_speak_to_the_terminal() {
    let temp = tempfile::tempdir().expect("tempdir");
    let jobs = temp.path().join("jobs.d");
    fs::create_dir(&jobs).expect("mkdir");
    let text = "\"a\\u001b]0;owned\\u0007\" = 1\n\"\u{202e}\u{9b}31m\" = 1\n[exec]\ncommand = [\"/x\\u001b[2J\", \"\\u001b[2J\\n::error::x.mp4\"]\nuser = \"%i\\r\\n\"\n";
    let names: [&[u8]; 4] = [b"new\nline.toml", b"esc\x1b[31m.toml", b"::error::,x.toml", b"latin\xe9.toml"];
    for name in names {
        fs::write(jobs.join(std::ffi::OsStr::from_bytes(name)), text).expect("write");
    }
    for format in ["human", "json", "sarif", "github"] {
        let (out, _, code) = bounded(temp.path(), &["--root", ".", "validate", "--format", format]);
        assert_eq!(code, 1, "{out}");
        assert_harmless(&out);
        assert!(!out.contains("\n::error::"), "{out}");
        if format == "github" {
            assert!(
                out.lines()
                    .all(|line| line.starts_with("::error file=") || line.starts_with("::warning file=")),
                "{out}"
            );
        }
    }
    let (_, err, code) = bounded(temp.path(), &["validate", "no\x1b[31m\nsuch"]);
    assert_eq!(code, 2);
    assert_harmless(&err);
}

#[test]
fn the_machine_is_checked_on_request() {
    let temp = tempfile::tempdir().expect("tempdir");
    let text = "[exec]\ncommand = [\"/nonexistent/encode\"]\nuser = \"no-such-user-x\"\nworking_dir = \"/nonexistent\"\nenv_files = [\"/nonexistent.env\"]\n";
    fs::write(temp.path().join("a.toml"), text).expect("write");
    let (_, _, code) = bounded(temp.path(), &["validate", "a.toml"]);
    assert_eq!(code, 0);
    let (out, _, code) = bounded(temp.path(), &["validate", "--host", "a.toml"]);
    assert_eq!(code, 1);
    for wanted in ["program-not-found", "account-not-found", "working-dir-missing", "env-file-unreadable"] {
        assert!(out.contains(wanted), "{wanted}: {out}");
    }
}

#[test]
fn the_encoders_of_ffmpeg_are_asked_for() {
    let temp = tempfile::tempdir().expect("tempdir");
    // Its own program, so that the answer is known: it counts how often it is asked.
    let script = "#!/bin/sh\necho x >> asked\necho ' ------\n V..... libx264 H.264'\n";
    let program = temp.path().join("ffmpeg");
    fs::write(&program, script).expect("write");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("chmod");
    let job = |encoder: &str| {
        format!(
            "[exec]\ncommand = [{:?}, \"-nostdin\", \"-y\", \"-i\", \"/srv/in.mp4\", \"-c:v\", \"{encoder}\", \"/srv/out.mp4\"]\n",
            program.display()
        )
    };
    fs::write(temp.path().join("good.toml"), job("libx264")).expect("write");
    fs::write(temp.path().join("bad.toml"), job("libx246")).expect("write");
    let (out, _, code) = bounded(temp.path(), &["validate", "--host", "good.toml", "bad.toml"]);
    assert!(
        code == 1 && out.contains("error[encoder-missing]") && out.contains("did you mean libx264?"),
        "{out}"
    );
    assert!(out.contains("1 error in 2 files"), "{out}");
    assert_eq!(fs::read_to_string(temp.path().join("asked")).expect("asked"), "x\n");
}

#[test]
fn sarif_has_the_structure_that_services_expect() {
    let (out, _, _) =
        hostile(b"[exec]\ncommand = [\"sudo\", \"/usr/bin/true\"]\nusr = \"x\"\n", &["--format", "sarif"]);
    let document: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(document["version"], "2.1.0");
    let run = &document["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().expect("rules");
    let results = run["results"].as_array().expect("results");
    assert_eq!(results.len(), 2);
    for result in results {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().expect("index")).expect("small")];
        assert_eq!(rule["id"], result["ruleId"]);
        assert!(rule["help"]["text"].as_str().is_some_and(|text| !text.is_empty()));
        assert!(["error", "warning"].contains(&result["level"].as_str().expect("level")));
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a.toml");
        let region = &place["region"];
        let number = |key: &str| region[key].as_u64().expect("number");
        assert!(number("startLine") >= 1 && number("endColumn") > number("startColumn"));
    }
}

#[test]
fn a_closed_output_is_no_error() {
    let temp = tempfile::tempdir().expect("tempdir");
    fs::write(temp.path().join("a.toml"), GOOD).expect("write");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"))
        .args(["validate", "a.toml"])
        .current_dir(temp.path())
        .env("HOME", temp.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("ends");
    assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}
