//! `ffrtmp-sup convert`: each folder of `tests/cases/convert` holds an `input.*`, perhaps the name of a
//! `program`, and what comes of it, `expected.toml` and `expected.notes`, which
//! `UPDATE_EXPECT=1 cargo test --test convert` writes anew. What comes of it has to be a job file without errors.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use ffrtmp::config::problem::Level;
use ffrtmp::config::profiles::Profiles;
use ffrtmp::convert::{Converted, Kind, convert, tell};
use ffrtmp::lint::check::{Checked, Facts, check_job};
use ffrtmp::model::zones::Zones;

fn check(toml: &str) -> Checked {
    check_job("job", toml, &Profiles::default(), &Facts { cores: 4, mode: None, zones: Zones::BUILT_IN })
}

fn assert_good(toml: &str) -> Checked {
    let checked = check(toml);
    let errors: Vec<_> = checked.problems.iter().filter(|problem| problem.level == Level::Error).collect();
    assert!(errors.is_empty() && !checked.declared.is_empty(), "{errors:?}\n{toml}");
    checked
}

#[test]
fn cases() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/convert");
    let mut folders: Vec<PathBuf> = fs::read_dir(cases).expect("cases").flatten().map(|e| e.path()).collect();
    folders.sort();
    assert!(folders.len() > 5, "the cases are gone");
    let mut wrong = Vec::new();
    for folder in folders {
        let files = fs::read_dir(&folder).expect("case").flatten().map(|entry| entry.path());
        let input = files.into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == "input"));
        let input = input.unwrap_or_else(|| panic!("{} has no input", folder.display()));
        let text = fs::read_to_string(&input).expect("readable");
        let program = fs::read_to_string(folder.join("program")).ok();
        let case = folder.file_name().and_then(|name| name.to_str()).expect("UTF-8");
        let extension = input.extension().and_then(|extension| extension.to_str()).expect("UTF-8");
        let kind = tell(Some(&format!("x.{extension}")), &text).expect("can be told");
        // A template by its name, too.
        let at = if case.ends_with("template") { "@" } else { "" };
        let name = format!("{case}{at}.{extension}");
        let Converted { toml, notes } =
            convert(kind, Some(&name), program.as_deref().map(str::trim), &text).expect(case);
        assert_good(&toml);
        let notes: String = notes.iter().map(|note| format!("{note}\n")).collect();
        for (file, made) in [("expected.toml", toml), ("expected.notes", notes)] {
            let path = folder.join(file);
            if std::env::var_os("UPDATE_EXPECT").is_some() {
                fs::write(&path, &made).expect("write");
            }
            let expected = fs::read_to_string(&path).unwrap_or_default();
            if made != expected {
                wrong.push(format!("{}\nexpected:\n{expected}\nmade:\n{made}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn command_of(kind: Kind, text: &str) -> Vec<String> {
    let toml = convert(kind, Some("x.service"), None, text).expect(text).toml;
    let mut checked = assert_good(&toml);
    checked.declared.remove(0).job.exec().expect("exec").command.clone()
}

/// What systemd.syntax(7) and systemd.service(5) say of command lines.
#[test]
fn a_command_of_a_unit_is_split_as_systemd_splits_it() {
    for (line, words) in [
        (
            r#"/bin/x "two words" 'it''s' a\sb "\"" '\x41\n'"#,
            vec!["/bin/x", "two words", "its", "a b", "\"", "A\n"],
        ),
        (r#"/bin/x a"b c"d "" \; "#, vec!["/bin/x", "ab cd", "", ";"]),
        ("/bin/x %% %%i $$HOME $$", vec!["/bin/x", "%", "%i", "$HOME", "$"]),
        (":/bin/x ${A} $B", vec!["/bin/x", "${A}", "$B"]),
        ("@/bin/x other a", vec!["/bin/x", "a"]),
        ("-+/bin/x a", vec!["/bin/x", "a"]),
        ("/bin/x %t/sock", vec!["/bin/x", "/run/sock"]),
    ] {
        assert_eq!(command_of(Kind::Systemd, &format!("[Service]\nExecStart={line}\n")), words, "{line}");
    }
    let unit = "[Service]\nEnvironment=A=1 \"B=2 3\"\nExecStart=/bin/x ${A}${B} $B $A-\n";
    assert_eq!(command_of(Kind::Systemd, unit), ["/bin/x", "12 3", "2", "3", "$A-"]);
}

/// As Python's `shlex.split`.
#[test]
fn a_command_of_supervisord_is_split_as_it_splits_it() {
    for (line, words) in [
        (r#"x "a b" 'c\d' "e\"f\g" h\ i"#, vec!["x", "a b", "c\\d", "e\"f\\g", "h i"]),
        ("x '' a;b ; comment", vec!["x", "", "a;b"]),
        ("x %(program_name)s-%(process_num)03d %%i", vec!["x", "p-000", "%i"]),
    ] {
        assert_eq!(command_of(Kind::Supervisord, &format!("[program:p]\ncommand={line}\n")), words, "{line}");
    }
}

/// The command that was made for a shell does what the other supervisor would do.
#[test]
fn variables_come_out_of_the_shell_as_they_went_in() {
    let unit =
        "[Service]\nEnvironmentFile=/x\nExecStart=/usr/bin/printf [%%s] ${A} $A \"it's ${B}\" '*' ${NONE}\n";
    let command = command_of(Kind::Systemd, unit);
    let output = Command::new(&command[0])
        .args(&command[1..])
        .env_clear()
        .env("A", "one two")
        .env("B", "$(no)")
        .output()
        .expect("runs");
    let said = String::from_utf8(output.stdout).expect("UTF-8");
    assert_eq!(said, "[one two][one][two][it's $(no)][*][]", "{command:?}");
}

#[test]
fn what_is_no_job_is_refused_and_says_why() {
    for (kind, text, why) in [
        (Kind::Systemd, "[Timer]\nOnCalendar=daily\n", "only services can be jobs"),
        (Kind::Systemd, "[Service]\nType=oneshot\n", "ExecStart= is missing"),
        (Kind::Systemd, "[Service]\nExecStart=/bin/x \"a\n", "a quote is not closed"),
        (Kind::Systemd, "[Service]\nExecStart=bin/x\n", "relative path"),
        (Kind::Systemd, "[Service]\nExecStart=/bin/x\0\n", "NUL"),
        (Kind::Supervisord, "[supervisord]\n", "no [program:...] section"),
        (
            Kind::Supervisord,
            "[program:a]\ncommand=x\n[program:b]\ncommand=y\n",
            "choose one with --program: a, b",
        ),
        (Kind::Supervisord, "[program:a]\ndirectory=/\n", "command= is missing"),
        (Kind::Worker, "{\"command\": \"ffmpeg -i x\"}", "$.command: one text"),
        (Kind::Worker, "{\"command\": [\"bin/x\"]}", "relative path"),
    ] {
        let told = convert(kind, None, None, text).expect_err(text).join("\n");
        assert!(told.contains(why), "{text}: {told}");
    }
    let told = convert(Kind::Supervisord, None, Some("c"), "[program:a]\ncommand=x\n").expect_err("no c");
    assert!(told[0].contains("no program \"c\""), "{told:?}");
}

fn run(args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ffrtmp-sup"))
        .args(args)
        .env_clear()
        .env("HOME", "/nonexistent")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut pipe = child.stdin.take().expect("piped");
    // The program need not read it.
    let _ = pipe.write_all(stdin.as_bytes());
    drop(pipe);
    child.wait_with_output().expect("ends")
}

/// On the command line: the file on standard output, notes on standard error, and `validate` takes it.
#[test]
fn the_command_makes_a_file_that_validate_takes() {
    let unit = "[Unit]\nAfter=x\n[Service]\nExecStart=/usr/bin/sleep 60\n[Install]\nWantedBy=y\n";
    let made = run(&["convert", "-"], unit);
    let (out, err) = (String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
    assert_eq!(made.status.code(), Some(0), "{err}");
    assert!(err.lines().any(|line| line.starts_with("After=x: ")), "{err}");
    assert!(err.lines().any(|line| line.starts_with("WantedBy=y: ")), "{err}");
    let checked = run(&["validate", "--kind", "job", "--as", "x.toml", "-"], &out);
    assert_eq!(checked.status.code(), Some(0), "{}", String::from_utf8_lossy(&checked.stdout));
    let refused = run(&["convert", "--from", "worker", "-"], "[]");
    assert_eq!((refused.status.code(), refused.stdout.len()), (Some(1), 0));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("$: a list is no job document"));
    assert_eq!(run(&["convert", "-"], "hello").status.code(), Some(2));
    assert_eq!(run(&["convert", "/nonexistent/x.service"], "").status.code(), Some(2));
}
