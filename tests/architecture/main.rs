//! The dependency rules of docs/architecture.md, held over the source text: which module may use
//! which, which files are pure, where `unsafe` may stand, and that files use each other in one direction.

mod circles;
mod code;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use code::{Token, paths, test_modules, tokens, without_tests};

/// Which modules a module may use. `lib.rs` only lists them; programs in `bin` may use all, and are
/// the only ones that set up telemetry.
const MAY_USE: &[(&str, &[&str])] = &[
    ("abort", &[]),
    ("model", &[]),
    ("config", &["model"]),
    ("reconcile", &["model"]),
    ("runs", &["abort", "model"]),
    ("telemetry", &["config"]),
    ("lint", &["model", "config", "linux"]),
    ("linux", &["model"]),
    // The priority of the thread that compresses.
    ("logs", &["model", "linux"]),
    ("wrapper", &["abort", "model", "runs", "linux"]),
    ("supervisor", &["abort", "model", "config", "reconcile", "runs", "lint", "linux", "logs", "wrapper"]),
    ("commands", &["model", "config", "reconcile", "runs", "lint", "linux", "logs", "supervisor"]),
    ("worker", &["model", "config"]),
    ("convert", &["model", "config", "lint", "worker"]),
    ("cli", &["model", "config", "runs", "lint", "linux", "worker", "wrapper"]),
];

/// Files (or folders) whose results depend on their arguments alone.
const PURE: &[&str] = &[
    "model/",
    "reconcile/",
    "config/parse.rs",
    "config/problem.rs",
    "config/profiles.rs",
    "config/resolve/",
    "config/schema.rs",
    "config/settings.rs",
    "config/suggest.rs",
    "convert/",
    "lint/argv/",
    "runs/record.rs",
    "worker/",
];

/// What a pure file may not mention: the world, and the clocks.
const IMPURE: &[&str] =
    &["tokio", "nix", "notify", "std::fs", "std::process", "std::env", "std::net", "std::thread"];
const CLOCKS: &[&str] =
    &["Instant::now", "SystemTime::now", "Timestamp::now", "Zoned::now", "libc::clock_gettime"];

/// What makes up the wrapper, of which one runs per job: small, so without a runtime.
const WRAPPER: &[&str] = &["abort.rs", "wrapper/", "linux/", "runs/", "model/", "bin/ffrtmp.rs"];

/// The only files with `unsafe` in them. That each use says why it is sound is clippy's
/// `undocumented_unsafe_blocks`, which Cargo.toml turns on.
const UNSAFE: &[&str] = &["linux/spawn/child.rs", "linux/sys.rs"];

#[test]
fn the_source_keeps_the_rules() {
    let complaints = check(&sources());
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

/// Every file of the source: its path below `src`, and its text.
fn sources() -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    assert!(files.len() > 10, "found no source under {}", src.display());
    files
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&src).expect("below src").to_str().expect("UTF-8").to_owned();
            (name, fs::read_to_string(path).expect("readable"))
        })
        .collect()
}

#[test]
fn every_folder_of_the_source_has_its_rule() {
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).expect("src") {
        let name = entry.expect("entry").file_name().into_string().expect("UTF-8");
        let module = name.strip_suffix(".rs").unwrap_or(&name);
        assert!(
            matches!(module, "lib" | "bin") || MAY_USE.iter().any(|(known, _)| *known == module),
            "src/{name} is in no line of MAY_USE: say what it may use"
        );
    }
}

/// The rules are about arrows that point one way: were there a circle, there would be no rule.
#[test]
fn the_rules_have_no_circle() {
    let mut placed: Vec<&str> = Vec::new();
    while placed.len() < MAY_USE.len() {
        let next = MAY_USE
            .iter()
            .find(|(module, uses)| !placed.contains(module) && uses.iter().all(|used| placed.contains(used)));
        placed.push(next.expect("the modules left over use each other").0);
    }
}

/// What people install cannot be made to end by a variable of the environment: src/abort.rs.
#[test]
fn no_release_has_abort_points() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |name: &str| fs::read_to_string(root.join(name)).expect("readable");
    let manifest: toml::Table = text("Cargo.toml").parse().expect("TOML");
    assert_eq!(manifest["features"].as_table().map(toml::Table::len), Some(1), "and none is the default");
    let makefile = text("Makefile");
    let builds: Vec<&str> = makefile.lines().filter(|line| line.contains("cargo build")).collect();
    assert_eq!(builds.len(), 2, "{builds:?}");
    assert!(builds.iter().all(|line| !line.contains("features")), "{builds:?}");
    assert_eq!(makefile.matches("@$(CANNOT_ABORT)").count(), 2, "each of them is looked at");
}

/// The checker itself, on planted violations.
#[test]
fn violations_are_seen() {
    let cases: &[(&str, &str, &str)] = &[
        ("model/a.rs", "use crate::config::load;", "model may not use config"),
        ("model/a.rs", "use crate::{model::job, linux::process};", "model may not use linux"),
        ("model/a.rs", "fn f() { crate::supervisor::run() }", "model may not use supervisor"),
        ("model/a.rs", "use super::super::config::load;", "model may not use config"),
        ("config/mod.rs", "use super::supervisor::reports;", "config may not use supervisor"),
        ("reconcile/plan.rs", "use crate::config::load;", "reconcile may not use config"),
        ("runs/dir.rs", "use crate::linux::process;", "runs may not use linux"),
        ("wrapper/run.rs", "use crate::supervisor::x;", "wrapper may not use supervisor"),
        (
            "wrapper/run.rs",
            "use crate::{\n    model::{job::Job, ids},\n    config::load,\n};",
            "4: wrapper may not use config",
        ),
        ("model/a.rs", "use tokio::time;", "pure, but mentions tokio"),
        ("model/a.rs", "use std::fs;", "pure, but mentions std::fs"),
        ("model/a.rs", "use std::{fmt, fs::File};", "pure, but mentions std::fs"),
        ("config/resolve/exec.rs", "fn f() { ::std::process::exit(1) }", "pure, but mentions std::process"),
        ("reconcile/plan.rs", "use nix::unistd;", "pure, but mentions nix"),
        ("reconcile/plan.rs", "fn f() { let now = std::time::Instant::now(); }", "pure, but reads a clock"),
        ("reconcile/plan.rs", "fn f() { jiff::Timestamp :: now(); }", "pure, but reads a clock"),
        ("reconcile/plan.rs", "#[test] fn f() { SystemTime::now(); }", "pure, but reads a clock"),
        ("wrapper/run.rs", "fn f() { tokio::spawn(()); }", "belongs to the wrapper, but mentions tokio"),
        ("bin/ffrtmp.rs", "use tokio::runtime;", "belongs to the wrapper, but mentions tokio"),
        ("linux/process.rs", "fn f() { unsafe { g() } }", "unsafe belongs into"),
    ];
    for (file, code, expected) in cases {
        let complaints = check(&[((*file).into(), format!("//! What it is for.\n{code}\n"))]);
        assert!(
            complaints.iter().any(|complaint| complaint.contains(expected)),
            "{file}: {code}\nexpected: {expected}\nfound: {complaints:?}"
        );
    }
    let complaints = check(&[("linux/a.rs".into(), "//! PURE: so it says.\n".into())]);
    assert!(complaints.len() == 1 && complaints[0].contains("not in the list"), "{complaints:?}");
    let complaints = check(&[("model/a.rs".into(), "use std::fmt;\n".into())]);
    assert!(complaints.len() == 1 && complaints[0].contains("begins with //!"), "{complaints:?}");
}

#[test]
fn what_is_allowed_is_not_complained_about() {
    let cases: &[(&str, &str)] = &[
        ("model/a.rs", "use super::ids::JobId;\nuse crate::model::job;"),
        ("model/a.rs", "// tokio, std::fs and crate::linux in a comment\n/* nix::x /* nested */ std::fs */"),
        (
            "model/a.rs",
            "const T: &str = \"std::fs::read, unsafe\"; const R: &str = r#\"tokio::x \" nix::y\"#;",
        ),
        ("model/a.rs", "const C: char = '\"'; const L: &'static str = \"tokio::x\";"),
        (
            "model/a.rs",
            "#[cfg(test)]\nmod tests {\n    use super::*;\n    fn f() { std::fs::read(\"}\"); }\n}",
        ),
        (
            "supervisor/mod.rs",
            "use crate::{config, linux::process, model, reconcile::plan, runs};\nuse tokio::time;",
        ),
        ("config/load.rs", "use std::fs;\nuse crate::model::ids;"),
        ("bin/ffrtmp-sup.rs", "use ffrtmp::supervisor;\nuse tokio::runtime;"),
        ("linux/sys.rs", "fn f() { unsafe { g() } }"),
        ("model/a.rs", "fn f() { let tokio = 1; x.nix(); Self::now(); }"),
    ];
    for (file, code) in cases {
        let complaints = check(&[((*file).into(), format!("//! What it is for.\n{code}\n"))]);
        assert!(complaints.is_empty(), "{file}: {code}\n{complaints:?}");
    }
    let properties = [
        ("reconcile/mod.rs".into(), "//! x\n#[cfg(test)]\nmod properties;\n".into()),
        ("reconcile/properties.rs".into(), "//! x\nuse std::fs;\nuse crate::supervisor;\n".into()),
    ];
    assert_eq!(check(&properties), Vec::<String>::new(), "a file of tests may use what it likes");
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

/// Every rule on every file (path below `src`, text); a line for each thing that is wrong.
fn check(sources: &[(String, String)]) -> Vec<String> {
    let mut complaints = Vec::new();
    let codes: Vec<(&str, Vec<Token>)> =
        sources.iter().map(|(file, text)| (file.as_str(), tokens(text))).collect();
    let tests: BTreeSet<String> =
        codes.iter().flat_map(|(file, tokens)| test_modules(file, tokens)).collect();
    for ((file, text), (_, tokens)) in sources.iter().zip(&codes) {
        if !text.starts_with("//!") {
            complaints.push(format!("src/{file}:1: every file begins with //! and what it is for"));
        }
        if text.starts_with("//! PURE") && !is_in(PURE, file) {
            complaints.push(format!("src/{file}:1: it says that it is pure, and is not in the list"));
        }
        if tests.contains(file) {
            continue;
        }
        check_file(file, &without_tests(tokens), &mut complaints);
    }
    complaints
}

/// Whether a list names the file, or a folder that it is in.
fn is_in(list: &[&str], file: &str) -> bool {
    list.iter().any(|rule| file == *rule || (rule.ends_with('/') && file.starts_with(rule)))
}

fn check_file(file: &str, tokens: &[Token], complaints: &mut Vec<String>) {
    let mut complain = |line: usize, what: &str| {
        let mut text = String::new();
        let _ = write!(text, "src/{file}:{line}: {what}");
        if !complaints.contains(&text) {
            complaints.push(text);
        }
    };
    let module = file.split('/').next().map_or(file, |part| part.strip_suffix(".rs").unwrap_or(part));
    let may_use = MAY_USE.iter().find(|(name, _)| *name == module).map(|(_, uses)| *uses);

    for token in tokens {
        if token.text == "unsafe" && !is_in(UNSAFE, file) {
            complain(token.line, &format!("unsafe belongs into {}", UNSAFE.join(" or ")));
        }
    }
    for path in paths(tokens) {
        let text = path.segments.join("::");
        if let (Some(may_use), Some(used)) = (may_use, module_used(file, &path.segments))
            && used != module
            && !may_use.contains(&used)
        {
            complain(path.line, &format!("{module} may not use {used}"));
        }
        let mentions = |name: &str| text == name || text.starts_with(&format!("{name}::"));
        if is_in(PURE, file) {
            if let Some(name) = IMPURE.iter().find(|name| mentions(name)) {
                complain(path.line, &format!("this file is pure, but mentions {name}"));
            }
            if CLOCKS.iter().any(|clock| text == *clock || text.ends_with(&format!("::{clock}"))) {
                complain(path.line, &format!("this file is pure, but reads a clock: {text}"));
            }
        }
        if is_in(WRAPPER, file) && mentions("tokio") {
            complain(path.line, "this file belongs to the wrapper, but mentions tokio");
        }
    }
}

/// The module of this crate that a path leads to, if it leads out of where it stands.
fn module_used<'a>(file: &str, segments: &'a [String]) -> Option<&'a str> {
    let supers = segments.iter().take_while(|segment| *segment == "super").count();
    let used = if segments[0] == "crate" {
        segments.get(1)?
    } else {
        // `a/b.rs` is two modules deep, `a/mod.rs` one.
        let depth = file.split('/').filter(|part| *part != "mod.rs").count();
        segments.get(supers).filter(|_| supers >= depth)?
    };
    MAY_USE.iter().any(|(name, _)| name == used).then_some(used.as_str())
}
