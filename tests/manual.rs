//! Man pages and completions are made from the definitions of the command lines, and committed: packages need no
//! compiler for them, and a change of them is seen. Each of their examples is real: a shell runs it, and what it
//! says is a command line that is accepted.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::{Command, CommandFactory, Parser};
use clap_complete::{Shell, generate};
use clap_mangen::Man;
use clap_mangen::roff::{Inline, Roff, bold, italic, roman};
use ffrtmp::cli::ffrtmp::{Command as Ask, Ffrtmp};
use ffrtmp::cli::ffrtmp_sup::FfrtmpSup;
use ffrtmp::cli::request::{attach_request, run_request};

/// Set by `make manual`: the files are written, not compared.
const WRITE: &str = "FFRTMP_WRITE_MANUAL";

/// Lines of help end here on a terminal of 80 columns.
const COLUMNS: usize = 80;

fn programs() -> [Command; 2] {
    [Ffrtmp::command(), FfrtmpSup::command()]
}

/// A program and all its commands that are for people, built: each knows its whole name.
fn commands() -> Vec<Command> {
    programs()
        .into_iter()
        .flat_map(|program| {
            let mut program = program.disable_help_subcommand(true);
            program.build();
            let below: Vec<_> =
                program.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
            std::iter::once(program).chain(below)
        })
        .collect()
}

fn full_name(command: &Command) -> &str {
    command.get_display_name().unwrap_or_else(|| command.get_name())
}

/// What stands below the options.
fn end_of(command: &Command) -> String {
    command.get_after_long_help().map(ToString::to_string).unwrap_or_default()
}

/// The sections of the end of a help text, in order: heading and lines. Text before the first has none.
fn sections(text: &str) -> Vec<(String, Vec<&str>)> {
    let mut found: Vec<(String, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        match line.strip_suffix(':').filter(|line| !line.starts_with(' ')) {
            Some(heading) => found.push((heading.into(), Vec::new())),
            None if found.is_empty() => found.push((String::new(), vec![line])),
            None => found.last_mut().into_iter().for_each(|(_, lines)| lines.push(line)),
        }
    }
    for (_, lines) in &mut found {
        lines.truncate(lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1));
    }
    found
}

/// An entry: a term and what it means. What is aligned below a meaning goes on with it.
fn entry(line: &str) -> Option<(&str, &str)> {
    let (term, meaning) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?.split_once("  ")?;
    Some((term, meaning.trim_start()))
}

fn man_page(command: &Command, all: &[Command]) -> Vec<u8> {
    let man = Man::new(command.clone());
    // No version and no date: a release alone makes no page stale.
    let title = full_name(command).to_uppercase();
    let mut page = format!(
        ".\\\" Made from src/cli by `make manual`.\n\
         .TH {title} 1 \"\" \"ffrtmp-sup\" \"User Commands\"\n"
    )
    .into_bytes();
    let write = "writing to memory";
    man.render_name_section(&mut page).expect(write);
    man.render_synopsis_section(&mut page).expect(write);
    man.render_description_section(&mut page).expect(write);
    man.render_options_section(&mut page).expect(write);
    let mut roff = Roff::new();
    let below: Vec<_> = command.get_subcommands().filter(|command| !command.is_hide_set()).collect();
    if !below.is_empty() {
        roff.control("SH", ["COMMANDS"]);
        for command in &below {
            roff.control("TP", []);
            roff.text([bold(full_name(command)), roman("(1)")]);
            roff.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
        }
    }
    let mut seen = false;
    for (heading, lines) in sections(&end_of(command)) {
        let heading = if heading.is_empty() { "NOTES".into() } else { heading.to_uppercase() };
        roff.control("SH", [heading.as_str()]);
        match heading.as_str() {
            "EXAMPLES" => examples_of_page(&mut roff, &lines),
            "SEE ALSO" => {
                seen = true;
                see_also(&mut roff, &lines);
            }
            _ => entries(&mut roff, &lines),
        }
    }
    if !seen {
        let above = |known: &&Command| full_name(command).starts_with(&format!("{}-", full_name(known)));
        let program = all.iter().filter(above).max_by_key(|known| full_name(known).len());
        roff.control("SH", ["SEE ALSO"]);
        let program = program.map(full_name).unwrap_or_default().to_owned();
        see_also(&mut roff, &[&format!("{program}(1)")]);
    }
    roff.to_writer(&mut page).expect(write);
    // What these lines end with is no part of the page.
    let text = String::from_utf8(page).expect("text");
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    (lines.join("\n") + "\n").into_bytes()
}

fn entries(roff: &mut Roff, lines: &[&str]) {
    let mut in_entry = false;
    for line in lines {
        if let Some((term, meaning)) = entry(line) {
            roff.control("TP", []);
            roff.text([bold(term)]);
            roff.text([roman(meaning)]);
            in_entry = true;
        } else if line.is_empty() {
            roff.control("PP", []);
        } else {
            // More than the two of a paragraph: it goes on with the entry.
            if in_entry && !line.starts_with("   ") {
                roff.control("PP", []);
                in_entry = false;
            }
            roff.text([roman(line.trim())]);
        }
    }
}

fn examples_of_page(roff: &mut Roff, lines: &[&str]) {
    let mut in_command = false;
    for line in lines {
        match line.strip_prefix("    ") {
            Some(command) => {
                if !in_command {
                    roff.control("PP", []);
                    roff.control("nf", []);
                    roff.control("RS", ["4"]);
                }
                in_command = true;
                roff.text([bold(command)]);
            }
            None => {
                if in_command {
                    roff.control("RE", []);
                    roff.control("fi", []);
                }
                if line != lines.first().unwrap_or(&"") {
                    roff.control("PP", []);
                }
                in_command = false;
                roff.text([roman(line.trim())]);
            }
        }
    }
    if in_command {
        roff.control("RE", []);
        roff.control("fi", []);
    }
}

fn see_also(roff: &mut Roff, lines: &[&str]) {
    let names = lines.iter().flat_map(|line| line.split(',')).map(str::trim).filter(|name| !name.is_empty());
    let mut text: Vec<Inline> = Vec::new();
    for name in names {
        if !text.is_empty() {
            text.push(roman(", "));
        }
        let (name, section) = name.split_once('(').unwrap_or((name, ""));
        text.push(italic(name));
        text.push(roman(format!("({section}")));
    }
    roff.text(text);
}

/// Everything that is made, by its path.
fn made() -> BTreeMap<PathBuf, Vec<u8>> {
    let all = commands();
    let mut files: BTreeMap<PathBuf, Vec<u8>> = all
        .iter()
        .map(|command| (format!("deployment/man/{}.1", full_name(command)).into(), man_page(command, &all)))
        .collect();
    for mut program in programs() {
        let name = program.get_name().to_owned();
        for (shell, file) in [
            (Shell::Bash, format!("{name}.bash")),
            (Shell::Zsh, format!("_{name}")),
            (Shell::Fish, format!("{name}.fish")),
        ] {
            let mut text = Vec::new();
            generate(shell, &mut program, &name, &mut text);
            let mut text = String::from_utf8(text).expect("text");
            if shell == Shell::Bash {
                text = mended(&name, &text);
            }
            let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
            files.insert(Path::new("deployment/completions").join(file), (lines.join("\n") + "\n").into());
        }
    }
    files
}

/// What bash is told, as it should have been made.
fn mended(name: &str, text: &str) -> String {
    // clap_complete 4.6 has two names for the commands of a program with a hyphen, and so finds none of them.
    let text = text.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"));
    if name != "ffrtmp" {
        return text;
    }
    // Behind `--` stands a command, with options of its own.
    text.replace("complete -F _ffrtmp ", "complete -F _ffrtmp_or_command ") + BEHIND
}

const BEHIND: &str = r#"
_ffrtmp_or_command() {
    local i
    for ((i = 1; i < COMP_CWORD; i++)); do
        [[ ${COMP_WORDS[i]} == -- ]] || continue
        if declare -F _command_offset >/dev/null; then
            _command_offset $((i + 1))
        elif ((i + 1 == COMP_CWORD)); then
            COMPREPLY=($(compgen -c -- "$2"))
        fi
        return
    done
    _ffrtmp "$@"
}
"#;

fn here() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn what_is_committed_is_what_the_definitions_say() {
    let made = made();
    let folders = ["deployment/man", "deployment/completions"];
    let committed: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| fs::read_dir(here().join(folder)).ok())
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .map(|path| path.strip_prefix(here()).expect("below it").to_owned())
        .collect();
    let gone = committed.iter().filter(|path| !made.contains_key(*path));
    if std::env::var_os(WRITE).is_some() {
        gone.for_each(|path| fs::remove_file(here().join(path)).expect("removed"));
        for (path, bytes) in &made {
            let path = here().join(path);
            fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            fs::write(&path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        }
        return;
    }
    let same = |path: &PathBuf, bytes: &Vec<u8>| fs::read(here().join(path)).is_ok_and(|is| is == *bytes);
    let stale: Vec<String> = made
        .iter()
        .filter(|(path, bytes)| !same(path, bytes))
        .map(|(path, _)| path)
        .chain(gone)
        .map(|path| path.display().to_string())
        .collect();
    assert!(stale.is_empty(), "not what src/cli says any more: {}; run `make manual`", stale.join(", "));
}

#[test]
fn help_fits_a_terminal_of_eighty_columns() {
    for command in commands() {
        for text in [command.get_after_help(), command.get_after_long_help()].into_iter().flatten() {
            for line in text.to_string().lines() {
                let name = full_name(&command);
                assert!(line.chars().count() <= COLUMNS, "{name}: {line}");
                assert!(line.trim_end() == line && !line.contains('\t'), "{name}: {line:?}");
            }
        }
        let mut command = command.clone().term_width(COLUMNS);
        for text in [command.render_help(), command.render_long_help()] {
            for line in text.to_string().lines() {
                assert!(line.trim_end().chars().count() <= COLUMNS, "{}: {line}", full_name(&command));
            }
        }
    }
}

#[test]
fn every_command_teaches() {
    for command in commands() {
        let text = end_of(&command);
        let has = |heading: &str| sections(&text).iter().any(|(known, _)| known == heading);
        let name = full_name(&command);
        assert!(has("Examples"), "{name} has no examples");
        assert!(has("Exit status") || name == "ffrtmp-sup-schema", "{name} does not say what it exits with");
        for option in command.get_arguments().filter(|option| !option.is_hide_set()) {
            assert!(option.get_help().is_some(), "{name}: nothing is said of {}", option.get_id());
        }
    }
}

#[test]
fn every_option_stands_in_the_reference() {
    let page = fs::read_to_string(here().join("docs/reference/command-line.md")).expect("the page");
    for command in commands() {
        let name = full_name(&command);
        let heading = command.get_name();
        assert!(
            page.contains(&format!("\n## {heading}\n")) || page.contains(&format!("\n### {heading}\n")),
            "{name}"
        );
        let options = command.get_arguments().filter_map(|option| option.get_long_and_visible_aliases());
        for option in options.flatten().filter(|option| !["help", "version"].contains(option)) {
            assert!(page.contains(&format!("--{option}")), "{name}: nothing is said of --{option}");
        }
    }
}

/// The commands in the examples of a help text: one after the other, as somebody would copy them.
fn examples(text: &str) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    for (_, lines) in sections(text).iter().filter(|(heading, _)| heading == "Examples") {
        for line in lines.iter().filter_map(|line| line.strip_prefix("    ")) {
            match commands.last_mut().filter(|_| goes_on) {
                Some(last) => last.push_str(&format!("\n{line}")),
                None => commands.push(line.into()),
            }
            goes_on = line.ends_with('\\');
        }
    }
    commands
}

/// What a shell makes of an example: the command lines that `ffrtmp` and `ffrtmp-sup` are called with. All that
/// it calls are programs that write down how they were called.
fn called(example: &str) -> Vec<Vec<OsString>> {
    use std::os::unix::ffi::OsStringExt;
    let dir = tempfile::tempdir().expect("a folder");
    let bin = dir.path().join("bin");
    fs::create_dir_all(dir.path().join("jobs.d")).expect("a folder");
    fs::create_dir(&bin).expect("a folder");
    fs::write(dir.path().join("job.json"), "{}").expect("a file");
    let note = "#!/bin/sh\nprintf '%s\\0' \"${0##*/}\" \"$@\" >>\"$NOTES\"\nprintf '\\n\\0' >>\"$NOTES\"\n";
    for (name, text) in [
        ("ffrtmp", note),
        ("ffrtmp-sup", note),
        ("pgrep", "#!/bin/sh\necho 4242\n"),
        ("timeout", "#!/bin/sh\nshift 3\nexec \"$@\"\n"),
    ] {
        let path = bin.join(name);
        fs::write(&path, text).expect("a program");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a program");
    }
    let notes = dir.path().join("notes");
    let path = format!("{}:/usr/bin:/bin", bin.display());
    let run = Process::new("/bin/sh")
        .args(["-euc", example])
        .current_dir(dir.path())
        .env("PATH", path)
        .env("NOTES", &notes)
        .output()
        .expect("a shell");
    assert!(run.status.success() && run.stderr.is_empty(), "{example}: {run:?}");
    let notes = fs::read(&notes).unwrap_or_else(|_| panic!("{example}: calls neither program"));
    let calls = notes.split(|byte| *byte == 0).fold(vec![Vec::new()], |mut calls, word| {
        match word {
            b"\n" => calls.push(Vec::new()),
            word => calls.last_mut().into_iter().for_each(|call| call.push(OsString::from_vec(word.into()))),
        }
        calls
    });
    calls.into_iter().filter(|call| call.iter().any(|word| !word.is_empty())).collect()
}

#[test]
fn every_example_is_a_command_line_that_is_accepted() {
    let mut count = 0;
    for command in commands() {
        for example in examples(&end_of(&command)) {
            for call in called(&example) {
                count += 1;
                if call[0] == "ffrtmp-sup" {
                    let asked = FfrtmpSup::try_parse_from(&call);
                    asked.unwrap_or_else(|error| panic!("{example}: {error}"));
                    continue;
                }
                let asked =
                    Ffrtmp::try_parse_from(&call).unwrap_or_else(|error| panic!("{example}: {error}"));
                // What its values mean is looked at, too.
                let refused = match asked.command {
                    Ask::Run(args) if args.start.job.is_none() => run_request(*args).err(),
                    Ask::Attach(args) => attach_request(*args).err(),
                    _ => None,
                };
                assert_eq!(refused, None, "{example}");
            }
        }
    }
    assert!(count >= 30, "only {count} examples were found");
}

/// What bash offers for the last word of a line; `None` where there is no bash.
fn offered(script: &Path, line: &[&str]) -> Option<Vec<String>> {
    let program = line[0];
    let words = line.join(" ");
    let ask = format!(
        "source '{}' && complete -p {program} >/dev/null || exit 9\n\
         COMP_WORDS=({words}{}) COMP_CWORD={} COMP_LINE='{words}'\n\
         $(complete -p {program} | sed 's/.*-F \\([^ ]*\\).*/\\1/') {program} '{}' '{}'\n\
         printf '%s\\n' \"${{COMPREPLY[@]}}\"",
        script.display(),
        if line.last() == Some(&"") { " ''" } else { "" },
        line.len() - 1,
        line[line.len() - 1],
        line[line.len() - 2],
    );
    let run = match Process::new("bash").args(["--norc", "-c", &ask]).output() {
        Ok(run) => run,
        Err(_) => {
            println!("SKIPPED bash_completes: there is no bash");
            return None;
        }
    };
    assert!(run.status.success(), "{run:?}");
    Some(String::from_utf8_lossy(&run.stdout).lines().map(str::to_owned).collect())
}

#[test]
fn bash_completes() {
    let folder = here().join("deployment/completions");
    for (program, line, wanted) in [
        ("ffrtmp", vec!["ffrtmp", "ru"], "run"),
        ("ffrtmp", vec!["ffrtmp", "run", "--cpu-q"], "--cpu-quota"),
        ("ffrtmp", vec!["ffrtmp", "run", "--intent", "pro"], "production"),
        ("ffrtmp", vec!["ffrtmp", "attach", "--rest"], "--restore"),
        ("ffrtmp-sup", vec!["ffrtmp-sup", "vali"], "validate"),
        ("ffrtmp-sup", vec!["ffrtmp-sup", "validate", "--format", "sar"], "sarif"),
    ] {
        let Some(found) = offered(&folder.join(format!("{program}.bash")), &line) else { return };
        assert_eq!(found, [wanted], "{line:?}");
    }
    // A command behind `--`, and its options, which are not ours.
    for (last, wanted) in [("printen", "printenv"), ("--cpu-q", "")] {
        let line = ["ffrtmp", "run", "--", "printf", last];
        let line = if last.starts_with('-') { line.to_vec() } else { vec!["ffrtmp", "run", "--", last] };
        let Some(found) = offered(&folder.join("ffrtmp.bash"), &line) else { return };
        assert!(found.iter().all(|word| word == wanted) && !found.is_empty(), "{line:?}: {found:?}");
    }
}

#[test]
fn the_pages_are_clean() {
    let all = commands();
    for command in &all {
        let path = here().join(format!("deployment/man/{}.1", full_name(command)));
        let checked = Process::new("groff").args(["-man", "-ww", "-Tutf8", "-z"]).arg(&path).output();
        let Ok(checked) = checked else {
            println!("SKIPPED the_pages_are_clean: there is no groff");
            return;
        };
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success() && said.is_empty(), "{}: {said}", path.display());
    }
}
