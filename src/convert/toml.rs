//! A job file that is being made, and how it is written.

use crate::config::problem::{At, Level, Problem};
use crate::config::profiles::Profiles;
use crate::lint::check::{Facts, check_job};
use crate::model::zones::Zones;

/// The tables of a job file, in the order in which they are written.
const TABLES: [&str; 10] = [
    "",
    "tags",
    "exec",
    "exec.env",
    "exec.rlimits",
    "constraints",
    "restart",
    "restart.limit",
    "stop",
    "timeouts",
];

/// Longest line that a list is written on.
const WIDTH: usize = 100;

/// Most notes that are kept.
const MAX_NOTES: usize = 200;

/// A job file that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// Its text, which `validate` finds no error in.
    pub toml: String,
    /// What was not taken over, or not as it was: what, why, and what to do, a line each.
    pub notes: Vec<String>,
}

/// Stands in front of a letter that means something, in a text that is being made: no text of an argument,
/// a variable or a path can hold a NUL character of its own.
pub(super) const MARK: char = '\0';

/// A value.
#[derive(Debug, Clone)]
pub enum Item {
    /// As it is written: a number, true or false.
    Plain(String),
    /// A text.
    Text(String),
    /// Texts.
    List(Vec<String>),
    /// Numbers.
    Numbers(Vec<i64>),
}

impl From<i64> for Item {
    fn from(number: i64) -> Self {
        Self::Plain(number.to_string())
    }
}

impl From<bool> for Item {
    fn from(value: bool) -> Self {
        Self::Plain(value.to_string())
    }
}

impl From<&str> for Item {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Item {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

/// A key with its value, and what it was made from.
#[derive(Debug, Clone)]
struct Entry {
    table: &'static str,
    key: String,
    item: Item,
    from: String,
}

/// A job file that is being made.
#[derive(Debug)]
pub struct Draft {
    made_from: String,
    entries: Vec<Entry>,
    notes: Vec<String>,
    /// Notes beside these.
    more: usize,
}

impl Draft {
    /// Begins. `made_from` says what it is made from; `name` is what its file may be called.
    pub fn new(made_from: &str, name: Option<&str>) -> Self {
        let name = name.map(job_name).filter(|name| !name.is_empty());
        let save = name.map_or_else(String::new, |name| format!("\n# Its place: jobs.d/{name}.toml"));
        Self {
            made_from: format!("# Made from {made_from} by ffrtmp-sup convert.{save}"),
            entries: Vec::new(),
            notes: Vec::new(),
            more: 0,
        }
    }

    /// Sets a key, such as `exec.command`, that is made from something, such as `ExecStart=`.
    pub fn set(&mut self, path: &'static str, item: impl Into<Item>, from: impl Into<String>) {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        self.set_in(table, key, item, from);
    }

    /// Sets a key of a table with free keys. The last one counts.
    pub fn set_in(&mut self, table: &'static str, key: &str, item: impl Into<Item>, from: impl Into<String>) {
        self.entries.retain(|entry| (entry.table, entry.key.as_str()) != (table, key));
        let (key, item, from) = (key.into(), item.into(), from.into());
        self.entries.push(Entry { table, key, item, from });
    }

    /// Notes what was not taken over, or not as it was.
    pub fn note(&mut self, what: impl AsRef<str>, why: impl AsRef<str>) {
        let line = format!("{}: {}", one_line(what.as_ref()), one_line(why.as_ref()));
        if self.notes.len() >= MAX_NOTES {
            self.more += 1;
        } else if !self.notes.contains(&line) {
            self.notes.push(line);
        }
    }

    /// Writes it. What `validate` would call an error is left out, and noted.
    pub fn finish(mut self) -> Result<Converted, Vec<String>> {
        loop {
            let toml = self.render();
            // One core: a quota above the machine's is a warning, and not for this machine.
            let facts = Facts { cores: 1, mode: None, zones: Zones::BUILT_IN };
            let problems = check_job("job", &toml, &Profiles::default(), &facts).problems;
            let errors: Vec<Problem> =
                problems.into_iter().filter(|problem| problem.level == Level::Error).collect();
            if errors.is_empty() {
                if self.more > 0 {
                    self.notes.push(format!("and {} more", self.more));
                }
                return Ok(Converted { toml, notes: self.notes });
            }
            let mut left_out = false;
            for problem in &errors {
                let Some(path) = path_of(problem) else { continue };
                let (bad, good): (Vec<Entry>, Vec<Entry>) =
                    self.entries.drain(..).partition(|entry| is_at(entry, &path));
                self.entries = good;
                for entry in bad {
                    left_out = true;
                    self.note(&entry.from, format!("left out: {}", told(problem)));
                }
            }
            if !left_out {
                return Err(errors.iter().map(told).collect());
            }
        }
    }

    fn render(&self) -> String {
        let mut text = self.made_from.clone() + "\n";
        for table in TABLES {
            let mut entries: Vec<&Entry> = self.entries.iter().filter(|entry| entry.table == table).collect();
            // What a job is about comes first.
            entries.sort_by_key(|entry| entry.key != "command");
            if !entries.is_empty() && !table.is_empty() {
                text += &format!("\n[{table}]\n");
            }
            for entry in entries {
                let key = key(&entry.key);
                text += &format!("{key} = {}\n", write(&entry.item, key.len() + 3));
            }
        }
        text
    }
}

/// The nearest name that a job may have.
fn job_name(name: &str) -> String {
    let fit = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') => c,
        _ => '-',
    };
    let name: String = name.chars().take(64).map(fit).collect();
    name.trim_start_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

/// The key that is to go for a problem to be gone. A job without a command is none.
fn path_of(problem: &Problem) -> Option<String> {
    let (At::Key(path) | At::Value(path)) = &problem.at else { return None };
    let path = path.to_string();
    (path != "exec" && !path.starts_with("exec.command")).then_some(path)
}

/// Whether a path is that of an entry, or of something in it; or of a table that it is in.
fn is_at(entry: &Entry, path: &str) -> bool {
    let own =
        if entry.table.is_empty() { entry.key.clone() } else { format!("{}.{}", entry.table, entry.key) };
    let within = |outer: &str, inner: &str| {
        inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    within(&own, path) || within(path, &own)
}

fn told(problem: &Problem) -> String {
    let help = problem.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    format!("{}{help}", problem.message)
}

/// Notes are lines.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn key(key: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if !key.is_empty() && key.chars().all(bare) { key.into() } else { quoted(key) }
}

fn write(item: &Item, begun: usize) -> String {
    match item {
        Item::Plain(text) => text.clone(),
        Item::Text(text) => quoted(text),
        Item::Numbers(numbers) => {
            let numbers: Vec<String> = numbers.iter().map(i64::to_string).collect();
            format!("[{}]", numbers.join(", "))
        }
        Item::List(texts) => {
            let items: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
            let line = format!("[{}]", items.join(", "));
            if begun + line.chars().count() <= WIDTH {
                return line;
            }
            // An option and its value share a line.
            let mut text = String::from("[");
            let mut alone = false;
            for (n, item) in items.iter().enumerate() {
                let option = texts[n].starts_with('-') && texts[n].len() > 1;
                let value = alone && !option;
                text += if value { " " } else { "\n    " };
                text += item;
                text.push(',');
                alone = option;
            }
            text + "\n]"
        }
    }
}

/// A basic string. Of the text, `%` stands for itself, and what is marked for what a job file means by it.
fn quoted(text: &str) -> String {
    let mut result = String::from("\"");
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            MARK if matches!(rest.peek(), Some('i' | 'n')) => result.push('%'),
            '%' if matches!(rest.peek(), Some('i' | 'n' | '%' | &MARK)) => result += "%%",
            '"' => result += "\\\"",
            '\\' => result += "\\\\",
            '\n' => result += "\\n",
            '\t' => result += "\\t",
            c if c.is_control() => result += &format!("\\u{:04X}", u32::from(c)),
            c => result.push(c),
        }
    }
    result.push('"');
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::job::Job;

    fn made(command: &[&str], path: &'static str, item: Item) -> (Job, Vec<String>) {
        let mut draft = Draft::new("a test", None);
        draft.set("exec.command", Item::List(command.iter().map(|&word| word.into()).collect()), "command");
        draft.set(path, item, "it");
        let converted = draft.finish().expect("good");
        let facts = Facts { cores: 1, mode: None, zones: Zones::BUILT_IN };
        let checked = check_job("name", &converted.toml, &Profiles::default(), &facts);
        (checked.declared.into_iter().next().expect(&converted.toml).job, converted.notes)
    }

    #[test]
    fn every_argument_comes_back_as_it_was() {
        let odd = [
            "x",
            "",
            " ",
            "a\"b\\c",
            "\n\t\r\u{1}\u{7f}",
            "%",
            "%%",
            "%i",
            "%n",
            "%%i",
            "%%%",
            "s_%03d.ts",
            "%d%",
            "ü€",
            "'",
            "-",
            "#",
            "\u{85}\u{2028}",
        ];
        let (job, notes) = made(&odd, "description", "d %i %% %".into());
        assert_eq!(job.exec().expect("exec").command, odd);
        assert_eq!((job.description.as_deref(), notes), (Some("d %i %% %"), vec![]));
        let long: Vec<String> = (0..50).map(|n| format!("-option{n}")).collect();
        let long: Vec<&str> = long.iter().map(String::as_str).collect();
        assert_eq!(made(&long, "description", "x".into()).0.exec().expect("exec").command, long);
    }

    #[test]
    fn what_would_be_an_error_is_left_out_and_noted() {
        let (job, notes) = made(&["x"], "constraints.nice", 50.into());
        assert_eq!(job.constraints.nice, None);
        assert_eq!(
            notes,
            ["it: left out: constraints.nice is 50, which is outside -20 to 19; use a value from -20 to 19"]
        );
        let (_, notes) = made(&["x"], "restart.limit.starts", 5.into());
        assert!(notes.len() == 1 && notes[0].contains("needs both"), "{notes:?}");
    }

    #[test]
    fn without_a_command_there_is_no_job() {
        let mut draft = Draft::new("a test", None);
        draft.set("exec.command", Item::List(vec!["./x".into()]), "command");
        let told = draft.finish().expect_err("refused");
        assert!(told.len() == 1 && told[0].contains("relative path"), "{told:?}");
        assert!(Draft::new("a test", None).finish().is_err());
    }

    #[test]
    fn a_name_is_made_to_fit() {
        for (name, fit) in [("Job 12/A", "job-12-a"), ("_x", "x"), ("ä", ""), ("live@a", "live-a")] {
            assert_eq!(job_name(name), fit);
        }
    }
}
