//! What is started, and what it starts with: `ExecStart=`, `Environment=`, `User=`, `StandardOutput=`
//! (systemd.exec(5)).

use super::conversion::Conversion;
use super::values::{NEXT, words};
use crate::convert::command::{self, Part};
use crate::convert::toml::Item;

const ACCOUNTS: [(&str, &str); 2] = [("User", "exec.user"), ("Group", "exec.group")];

/// Takes over `[exec]`.
///
/// # Errors
/// There is nothing to start.
pub(super) fn take_over(work: &mut Conversion) -> Result<(), Vec<String>> {
    // Variables first: the command names them.
    environment(work);
    command(work)?;
    start(work);
    output(work);
    Ok(())
}

fn environment(work: &mut Conversion) {
    for line in work.unit.all("Environment") {
        let words = match words(&line) {
            Ok(words) => words,
            Err(why) => {
                work.odd("Environment", &line, &why);
                continue;
            }
        };
        for word in words {
            let word = work.expanded("Environment=", &word);
            match word.split_once('=') {
                Some((key, value)) => work.env.push((key.into(), value.into())),
                None => work.odd("Environment", &word, "no KEY=VALUE"),
            }
        }
    }
    for (key, value) in &work.env {
        work.draft.set_in("exec.env", key, value.as_str(), format!("Environment={key}"));
    }
    let files = work.unit.all("EnvironmentFile");
    work.has_files = !files.is_empty();
    let mut list = Vec::new();
    for file in files {
        let file = work.expanded("EnvironmentFile=", &file);
        if file.contains(['*', '?', '[']) {
            work.odd("EnvironmentFile", &file, "a pattern; name each of the files in exec.env_files");
        } else {
            list.push(file);
        }
    }
    if !list.is_empty() {
        work.draft.set("exec.env_files", Item::List(list), "EnvironmentFile=");
    }
    for key in ["PassEnvironment", "UnsetEnvironment"] {
        let names = work.unit.all(key).join(" ");
        if !names.is_empty() {
            let why = "a job has what it declares and little else; [environment] pass of supervisor.toml \
                       hands variables on to all jobs";
            work.odd(key, &names, why);
        }
    }
}

fn command(work: &mut Conversion) -> Result<(), Vec<String>> {
    let lines = work.unit.all("ExecStart");
    let Some(first) = lines.first() else {
        return Err(vec!["ExecStart= is missing: there is nothing to start".into()]);
    };
    let bare = first.trim_start_matches(['-', '@', ':', '+', '!', '|']);
    let prefixes = &first[..first.len() - bare.len()];
    let mut words = words(bare).map_err(|why| vec![format!("ExecStart={first}: {why}")])?;
    let next = words.iter().position(|word| word == NEXT);
    if lines.len() > 1 || next.is_some() {
        let why = "only the first of several commands is taken over: make a job of each, or a script of all";
        work.draft.note("ExecStart=", why);
    }
    words.truncate(next.unwrap_or(words.len()));
    for prefix in prefixes.chars() {
        match prefix {
            '@' if words.len() > 1 => {
                let argument = words.remove(1);
                let why = "the name that the program sees itself by is that of its file here";
                work.draft.note(format!("ExecStart=@... {argument}"), why);
            }
            '-' => work.draft.note(
                "ExecStart=-",
                "a failure is told as one; restart.success_exit_codes says which codes are none",
            ),
            '+' | '!' => {
                let why = "the command has the rights of exec.user, as all jobs have";
                work.draft.note(format!("ExecStart={prefix}"), why);
            }
            '|' => work.draft.note("ExecStart=|", "no shell is started: name one in command"),
            _ => {}
        }
    }
    let variables = !prefixes.contains(':');
    let mut command = Vec::new();
    for (n, word) in words.iter().enumerate() {
        let word = work.expanded("ExecStart=", word);
        // The path of the program is taken as it is.
        if variables && n > 0 {
            command.extend(substituted(work, &word));
        } else {
            command.push(vec![Part::Text(word)]);
        }
    }
    command::set(&mut work.draft, &command, "ExecStart=");
    Ok(())
}

/// Replaces variables, where `Environment=` alone says what they are.
fn substituted(work: &Conversion, word: &str) -> Vec<Vec<Part>> {
    let value = |name: &str| {
        let found = work.env.iter().rev().find(|(key, _)| key == name);
        found.filter(|_| !work.has_files).map(|(_, value)| value.clone())
    };
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if let Some(name) = word.strip_prefix('$').filter(|name| is_name(name)) {
        return match value(name) {
            Some(value) => value.split_whitespace().map(|word| vec![Part::Text(word.into())]).collect(),
            None => vec![vec![Part::Words(name.into())]],
        };
    }
    let mut parts = vec![Part::Text(String::new())];
    let mut push = |part: Part| match (parts.last_mut(), part) {
        (Some(Part::Text(before)), Part::Text(text)) => *before += &text,
        (_, part) => parts.push(part),
    };
    let mut rest = word;
    while let Some(at) = rest.find('$') {
        push(Part::Text(rest[..at].into()));
        rest = &rest[at + 1..];
        let braced = rest.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        match braced {
            Some((name, after)) if is_name(name) => {
                push(match value(name) {
                    Some(value) => Part::Text(value),
                    None => Part::Variable(name.into()),
                });
                rest = after;
            }
            _ => {
                push(Part::Text("$".into()));
                rest = rest.strip_prefix('$').unwrap_or(rest);
            }
        }
    }
    push(Part::Text(rest.into()));
    vec![parts]
}

fn start(work: &mut Conversion) {
    if let Some(dir) = work.unit.one("WorkingDirectory") {
        let dir = work.expanded("WorkingDirectory=", &dir);
        let path = dir.strip_prefix('-').unwrap_or(&dir);
        if path == "~" {
            work.odd("WorkingDirectory", "~", "write the path of the user's home folder");
        } else {
            work.draft.set("exec.working_dir", path, "WorkingDirectory=");
            if path != dir {
                work.odd("WorkingDirectory", &dir, "the folder has to exist, or the job does not start");
            }
        }
    }
    for (key, path) in ACCOUNTS {
        if let Some(name) = work.unit.one(key) {
            let name = work.expanded(key, &name);
            work.draft.set(path, name, format!("{key}="));
        }
    }
    if let Some(mask) = work.unit.one("UMask") {
        work.draft.set("exec.umask", mask, "UMask=");
    }
}

fn output(work: &mut Conversion) {
    let standard = work.unit.one("StandardOutput").unwrap_or_else(|| "journal".into());
    let to_file = ["file:", "append:", "truncate:"].iter().any(|kind| standard.starts_with(kind));
    let output = match standard.as_str() {
        "null" => "null",
        _ if to_file => "file",
        _ => "journal",
    };
    work.draft.set("exec.output", output, "StandardOutput=");
    if to_file {
        work.odd("StandardOutput", &standard, "output goes to logs/<job>.log in the state folder");
    } else if !matches!(standard.as_str(), "journal" | "null" | "inherit") {
        work.odd(
            "StandardOutput",
            &standard,
            "output goes to the journal: exec.output is file, journal or null",
        );
    }
    if let Some(error) = work.unit.one("StandardError")
        && error != standard
        && !matches!(error.as_str(), "inherit" | "journal")
    {
        work.odd("StandardError", &error, "goes where standard output goes");
    }
    if let Some(input) = work.unit.one("StandardInput")
        && input != "null"
    {
        work.odd("StandardInput", &input, "standard input of a job is always /dev/null");
    }
}
