//! From a program of a supervisord configuration (<https://supervisord.org/configuration.html>).

use std::time::Duration;

use super::command::{self, Part};
use super::toml::{Draft, Item, MARK};
use crate::model::units::format_duration;

/// Most instances that a template may have.
const MAX_PROCESSES: u64 = 1000;

/// Converts a program: the one that is asked for, or the only one.
pub fn convert(program: Option<&str>, text: &str) -> Result<Draft, Vec<String>> {
    let mut sections = read(text);
    let names: Vec<String> =
        sections.iter().filter_map(|section| section.program().map(str::to_owned)).collect();
    let name = match (program, names.as_slice()) {
        (_, []) => return Err(vec!["there is no [program:...] section in it".into()]),
        (Some(asked), names) if !names.iter().any(|name| name == asked) => {
            return Err(vec![format!("there is no program {asked:?} in it, but {}", names.join(", "))]);
        }
        (Some(asked), _) => asked.to_owned(),
        (None, [only]) => only.clone(),
        (None, names) => {
            return Err(vec![format!(
                "there are several programs in it: choose one with --program: {}",
                names.join(", ")
            )]);
        }
    };
    let at = sections.iter().position(|section| section.program() == Some(&name));
    let Some(section) = at.map(|at| sections.remove(at)) else { return Err(Vec::new()) };
    let mut converter = Converter {
        draft: Draft::new("a supervisord program", Some(&name)),
        settings: section.settings,
        name,
        processes: 1,
        first: 0,
        format: None,
    };
    for section in sections.iter().filter(|section| section.program().is_none()) {
        let why = match section.name.as_str() {
            "include" => "the files that it names are not read: convert each of them",
            name if name.starts_with("group:") => "jobs have no groups; a tag can keep the name",
            name if name.starts_with("eventlistener:") => "nobody is told of events; watch the reports",
            _ => continue,
        };
        converter.draft.note(format!("[{}]", section.name), why);
    }
    converter.convert()?;
    Ok(converter.draft)
}

/// A section, with its settings in their order.
struct Section {
    name: String,
    settings: Vec<(String, String)>,
}

impl Section {
    fn program(&self) -> Option<&str> {
        self.name.strip_prefix("program:").map(str::trim)
    }
}

/// Reads a configuration, as Python's `RawConfigParser` does for supervisord.
fn read(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    // Further lines of a value are those that stand further to the right than its key.
    let mut indent = None;
    for line in text.lines() {
        let begin = line.trim_start();
        if begin.is_empty() || begin.starts_with(['#', ';']) {
            continue;
        }
        let depth = line.len() - begin.len();
        let value = without_comment(begin);
        if indent.is_some_and(|indent| depth > indent) {
            if let Some((_, said)) = sections.last_mut().and_then(|section| section.settings.last_mut()) {
                said.push(' ');
                said.push_str(value);
            }
            continue;
        }
        if let Some(name) = value.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            // A second section of that name goes on with the first one.
            let at = sections.iter().position(|section| section.name == name.0);
            let section = match at {
                Some(at) => sections.remove(at),
                None => Section { name: name.0.into(), settings: Vec::new() },
            };
            sections.push(section);
            indent = None;
        } else if let (Some(section), Some((key, value))) =
            (sections.last_mut(), value.split_once(['=', ':']))
        {
            let key = key.trim().to_ascii_lowercase();
            section.settings.push((key, value.trim().into()));
            indent = Some(depth);
        }
    }
    sections
}

/// A line without the comment at its end, which has white space in front.
fn without_comment(line: &str) -> &str {
    let mut before = ' ';
    for (at, c) in line.char_indices() {
        if matches!(c, ';' | '#') && before.is_whitespace() {
            return line[..at].trim_end();
        }
        before = c;
    }
    line.trim_end()
}

struct Converter {
    draft: Draft,
    settings: Vec<(String, String)>,
    name: String,
    processes: u64,
    first: u64,
    /// How the number of a process is written: its width, filled with 0.
    format: Option<usize>,
}

/// Begin and end of a variable's name in a text that was expanded.
const BEGIN: char = '\u{1}';
const END: char = '\u{2}';

impl Converter {
    /// A setting, which is then done with. The last one counts.
    fn take(&mut self, key: &str) -> Option<String> {
        let found = self.settings.extract_if(.., |(known, _)| known == key);
        found.last().map(|(_, value)| value).filter(|value| !value.is_empty())
    }

    fn number(&mut self, key: &str) -> Option<u64> {
        let text = self.take(key)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.draft.note(format!("{key}={text}"), "no number");
        }
        number
    }

    fn boolean(&mut self, key: &str) -> Option<bool> {
        let text = self.take(key)?.to_ascii_lowercase();
        Some(matches!(text.as_str(), "true" | "yes" | "on" | "1" | "t" | "y"))
    }

    fn convert(&mut self) -> Result<(), Vec<String>> {
        self.first = self.number("numprocs_start").unwrap_or(0);
        self.processes = self.number("numprocs").unwrap_or(1);
        if self.processes > MAX_PROCESSES {
            let why = format!("a template has at most {MAX_PROCESSES} instances; these are the first");
            self.draft.note(format!("numprocs={}", self.processes), why);
            self.processes = MAX_PROCESSES;
        }
        let command = self.take("command").ok_or_else(|| vec!["command= is missing".to_owned()])?;
        let command = self.expanded("command", &command);
        let words = words(&command).map_err(|why| vec![format!("command={command}: {why}")])?;
        let words: Vec<Vec<Part>> = words.iter().map(|word| parts(word)).collect();
        command::set(&mut self.draft, &words, "command=");
        self.environment();
        self.start();
        self.restart();
        self.output();
        self.instances();
        for (key, value) in std::mem::take(&mut self.settings) {
            if let Some(why) = not_taken(&key).filter(|_| !value.is_empty()) {
                self.draft.note(format!("{key}={value}"), why);
            }
        }
        Ok(())
    }

    /// Replaces `%(name)s`.
    fn expanded(&mut self, key: &str, text: &str) -> String {
        let mut result = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            result += &rest[..at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                result.push('%');
                rest = after;
                continue;
            }
            let named = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
            let named = named.and_then(|(name, after)| {
                let end = after.find(|c: char| c.is_ascii_alphabetic())?;
                Some((name, &after[..end], &after[end + 1..]))
            });
            let Some((name, width, after)) = named else {
                self.draft
                    .note(format!("{key}="), "a single % is taken for itself; supervisord would refuse it");
                result.push('%');
                continue;
            };
            match name {
                "program_name" | "group_name" => result += &self.name.clone(),
                "process_num" if self.processes == 1 => {
                    let width = width.parse().unwrap_or(0).min(20);
                    result += &format!("{:0width$}", self.first);
                }
                "process_num" => {
                    let width = width.parse().unwrap_or(0).min(20);
                    if *self.format.get_or_insert(width) != width {
                        let why = "the number of the process is written in two ways; here it is written as in the \
                                   first";
                        self.draft.note(format!("{key}="), why);
                    }
                    result.extend([MARK, 'i']);
                }
                "numprocs" => result += &self.processes.to_string(),
                name => match name.strip_prefix("ENV_") {
                    Some(variable) if is_name(variable) => {
                        result.push(BEGIN);
                        result += variable;
                        result.push(END);
                        self.draft.note(
                            format!("%({name})s"),
                            format!(
                                "supervisord's own environment is not known here: hand the variable on with \
                                 [environment] pass = [\"{variable}\"] in supervisor.toml, or set it in exec.env"
                            ),
                        );
                    }
                    _ => {
                        let why = format!("%({name})s is known to supervisord only: write its value");
                        self.draft.note(format!("{key}="), why);
                        result += &format!("%({name})s");
                    }
                },
            }
            rest = after;
        }
        result + rest
    }

    /// The same, for a value in which no variable can stand.
    fn fixed(&mut self, key: &str, text: &str) -> Option<String> {
        let text = self.expanded(key, text);
        if text.contains(BEGIN) {
            self.draft.note(format!("{key}="), "left out: no variable is replaced here; write its value");
            return None;
        }
        Some(text)
    }

    fn environment(&mut self) {
        let Some(text) = self.take("environment") else { return };
        let pairs = match pairs(&text) {
            Ok(pairs) => pairs,
            Err(why) => {
                self.draft.note(format!("environment={text}"), why);
                return;
            }
        };
        for (name, value) in pairs {
            if let Some(value) = self.fixed(&format!("environment={name}"), &value) {
                self.draft.set_in("exec.env", &name, value, format!("environment={name}"));
            }
        }
    }

    fn start(&mut self) {
        if let Some(dir) = self.take("directory")
            && let Some(dir) = self.fixed("directory", &dir)
        {
            self.draft.set("exec.working_dir", dir, "directory=");
        }
        if let Some(user) = self.take("user") {
            self.draft.set("exec.user", user, "user=");
        }
        if let Some(mask) = self.take("umask") {
            self.draft.set("exec.umask", mask, "umask=");
        }
        if self.boolean("autostart") == Some(false) {
            self.draft.set("enabled", false, "autostart=false");
            self.draft
                .note("autostart=false", "nothing is started by hand: the job starts when enabled is true");
        }
    }

    fn restart(&mut self) {
        let exit_codes = self.take("exitcodes").unwrap_or_else(|| "0".into());
        let restart = self.take("autorestart").unwrap_or_else(|| "unexpected".into());
        let restarts = match restart.to_ascii_lowercase().as_str() {
            "unexpected" => {
                self.draft.set("lifecycle", "oneshot", "autorestart=");
                self.draft.set("restart.policy", "on-failure", "autorestart=");
                let numbers: Result<Vec<i64>, _> =
                    exit_codes.split(',').map(|code| code.trim().parse()).collect();
                match numbers {
                    Ok(numbers) if numbers != [0] => {
                        let numbers = Item::Numbers(numbers);
                        self.draft.set("restart.success_exit_codes", numbers, "exitcodes=");
                    }
                    Ok(_) => {}
                    Err(_) => self.draft.note(format!("exitcodes={exit_codes}"), "no numbers"),
                }
                true
            }
            "true" | "yes" | "on" | "1" | "t" | "y" => {
                self.draft.set("lifecycle", "continuous", "autorestart=");
                true
            }
            _ => {
                self.draft.set("lifecycle", "oneshot", "autorestart=");
                false
            }
        };
        let seconds = self.number("startsecs");
        let tries = self.number("startretries");
        if let Some(seconds) = seconds.filter(|seconds| *seconds > 0 && restarts) {
            let time = format_duration(Duration::from_secs(seconds.min(1 << 32)));
            self.draft.set("restart.reset_after", time, "startsecs=");
        }
        if let Some(tries) = tries.filter(|_| restarts) {
            // As many pauses, which double from 1 s to 1 min, and as many starts that fail late.
            let tries = tries.min(999);
            let pauses: u64 = (0..tries).map(|n| (1u64 << n.min(6)).min(60)).sum();
            let within = 2 * (pauses + (tries + 1) * seconds.unwrap_or(1).clamp(1, 1 << 20));
            self.draft.set("restart.limit.starts", i64::try_from(tries + 1).unwrap_or(1000), "startretries=");
            let time = format_duration(Duration::from_secs(within));
            self.draft.set("restart.limit.within", &*time, "startretries=");
            self.draft.note(
                format!("startretries={tries}"),
                format!(
                    "became {} starts within {time}: a job is given up by the time in which it was started so often",
                    tries + 1
                ),
            );
        }
        if let Some(signal) = self.take("stopsignal") {
            let bare = signal.strip_prefix("SIG").unwrap_or(&signal);
            self.draft.set("stop.signal", format!("SIG{bare}"), "stopsignal=");
        }
        if let Some(seconds) = self.number("stopwaitsecs").filter(|seconds| *seconds > 0) {
            let time = format_duration(Duration::from_secs(seconds.min(1 << 32)));
            self.draft.set("stop.timeout", time, "stopwaitsecs=");
        }
        if self.boolean("stopasgroup") == Some(true) {
            let why = "stop.signal goes to the main process alone; what is left is killed after stop.timeout";
            self.draft.note("stopasgroup=true", why);
        }
    }

    fn output(&mut self) {
        let Some(file) = self.take("stdout_logfile") else { return };
        match file.as_str() {
            "NONE" | "/dev/null" => self.draft.set("exec.output", "null", "stdout_logfile="),
            "AUTO" => {}
            "/dev/stdout" | "/dev/stderr" | "/dev/fd/1" | "/dev/fd/2" | "syslog" => {
                self.draft.set("exec.output", "journal", "stdout_logfile=");
            }
            _ => self.draft.note(
                format!("stdout_logfile={file}"),
                "output goes to logs/<job>.log in the state folder, standard error with it",
            ),
        }
    }

    fn instances(&mut self) {
        if self.processes < 2 {
            return;
        }
        let width = self.format.unwrap_or(0);
        let last = self.first.saturating_add(self.processes);
        let entries: Vec<String> = (self.first..last).map(|n| format!("{n:0width$}")).collect();
        let (first, count) = (entries.first().cloned().unwrap_or_default(), self.processes);
        self.draft.set("instances", Item::List(entries), "numprocs=");
        let why = format!("became {count} instances: each is a job of its own, the first one <job>@{first}");
        self.draft.note(format!("numprocs={count}"), why);
        self.take("process_name");
    }
}

/// Why a setting has no place in a job file, and what to do. `None` where nothing is lost without it.
fn not_taken(key: &str) -> Option<&'static str> {
    Some(match key {
        // What a job has anyway: both streams in one place, and every process ended.
        "redirect_stderr" | "killasgroup" | "stdout_capture_maxbytes" | "stderr_capture_maxbytes" => {
            return None;
        }
        "priority" => {
            "jobs start and stop in no order; for the priority of its processes see constraints.nice"
        }
        "process_name" => "a job is called as its file",
        "stderr_logfile" => "standard error goes where standard output goes",
        "stdout_logfile_maxbytes"
        | "stdout_logfile_backups"
        | "stderr_logfile_maxbytes"
        | "stderr_logfile_backups" => {
            "logs are rotated: see [logs] in supervisor.toml, and [exec.log] for one job"
        }
        "stdout_events_enabled" | "stderr_events_enabled" => "nobody is told of events; watch the reports",
        "stdout_syslog" | "stderr_syslog" => "use exec.output = \"journal\"",
        "serverurl" => "a job has no connection to its supervisor",
        _ => "there is nothing like it in a job file",
    })
}

fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Splits a command as `shlex.split` does: quotes, and backslashes outside of single ones.
fn words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match (c, quote) {
            ('\\', None) => word.get_or_insert_default().push(rest.next().ok_or("it ends with a backslash")?),
            ('\\', Some('"')) => {
                let next = rest.next().ok_or("it ends with a backslash")?;
                let word = word.get_or_insert_default();
                // Before other characters it stands for itself.
                if !matches!(next, '"' | '\\') {
                    word.push('\\');
                }
                word.push(next);
            }
            (c, Some(open)) if c == open => quote = None,
            (c, Some(_)) => word.get_or_insert_default().push(c),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, None) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".into());
    }
    words.extend(word);
    Ok(words)
}

/// The text and the variables of a word.
fn parts(word: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = word;
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (name, after) = after.split_once(END).unwrap_or((after, ""));
        parts.push(Part::Text(before.into()));
        parts.push(if is_name(name) { Part::Variable(name.into()) } else { Part::Text(name.into()) });
        rest = after;
    }
    parts.push(Part::Text(rest.into()));
    parts
}

/// `KEY="value",KEY2=value2`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut rest = text.trim_start_matches([' ', '\t', ',']);
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("no KEY=\"value\" pairs, with commas between them")?;
        let after = after.trim_start();
        let mut value = String::new();
        let mut quote = None;
        let mut end = after.len();
        for (at, c) in after.char_indices() {
            match (c, quote) {
                (c, Some(open)) if c == open => quote = None,
                (c, Some(_)) => value.push(c),
                ('"' | '\'', None) => quote = Some(c),
                (',', None) => {
                    end = at;
                    break;
                }
                (c, None) if c.is_whitespace() => {}
                (c, None) => value.push(c),
            }
        }
        if quote.is_some() {
            return Err("a quote is not closed".into());
        }
        pairs.push((name.trim().into(), value));
        rest = after[end..].trim_start_matches([' ', '\t', ',']);
    }
    Ok(pairs)
}
