//! From text to the raw types of `schema.rs`, with every problem and its place.
//!
//! serde stops at the first value of a wrong type. Here such a value is noted and cut out, and the
//! rest is read again, so that one run tells everything.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{At, KeyPath, Problem, Step};
use super::schema::Tables;
use super::suggest::nearest;

/// Most problems of one kind that are told of one file; a file with more is no configuration.
const MOST: usize = 32;

/// A text that was read.
#[derive(Debug)]
pub struct Parsed<T> {
    /// What it says, as far as it could be read.
    pub value: T,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

/// Reads a text.
#[must_use]
pub fn parse<T: Tables>(text: &str) -> Parsed<T> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let problems = errors.iter().take(MOST).map(syntax).collect();
        return Parsed { value: T::default(), problems };
    }
    let mut problems = Vec::new();
    let mut cuts: Vec<KeyPath> = Vec::new();
    check_keys::<T>(table.get_ref(), &KeyPath::default(), &mut problems, &mut cuts);
    let mut table = table;
    cuts.iter().for_each(|cut| remove(table.get_mut(), &cut.0));
    let mut next = Some(table);
    while let Some(table) = next.take() {
        match T::deserialize(toml::de::Deserializer::from(table)) {
            Ok(value) => return Parsed { value, problems },
            Err(error) => {
                let (mut table, _) = DeTable::parse_recoverable(text);
                let place = error.span().and_then(|span| path_of(table.get_ref(), &span));
                problems.push(wrong_type(error.message(), error.span(), place.as_ref()));
                if let Some(place) = place
                    && cuts.len() < MOST
                {
                    cuts.push(place);
                    cuts.iter().for_each(|cut| remove(table.get_mut(), &cut.0));
                    next = Some(table);
                }
            }
        }
    }
    Parsed { value: T::default(), problems }
}

/// A text, read once to find any number of places in it.
pub struct Places<'a>(Spanned<DeTable<'a>>);

impl<'a> Places<'a> {
    /// Reads a text.
    #[must_use]
    pub fn of(text: &'a str) -> Self {
        Self(DeTable::parse_recoverable(text).0)
    }

    /// The bytes of the value (or key) that a place names; of the nearest table around it if it is
    /// not written in the file. `None` for the file as a whole.
    #[must_use]
    pub fn locate(&self, at: &At) -> Option<Range<usize>> {
        match at {
            At::File => None,
            At::Span(span) => Some(span.clone()),
            At::Key(path) => find(self.0.get_ref(), path, true),
            At::Value(path) => find(self.0.get_ref(), path, false),
        }
    }
}

fn find(table: &DeTable<'_>, path: &KeyPath, want_key: bool) -> Option<Range<usize>> {
    let mut found: Option<Range<usize>> = None;
    let mut here = Cursor::Table(table);
    for step in &path.0 {
        let (key, value) = match (here, step) {
            (Cursor::Table(table), Step::Key(name)) => match entry(table, name) {
                Some((key, value)) => (Some(key.span()), value),
                None => break,
            },
            (Cursor::Value(value), step) => match (value.get_ref(), step) {
                (DeValue::Table(table), Step::Key(name)) => match entry(table, name) {
                    Some((key, value)) => (Some(key.span()), value),
                    None => break,
                },
                (DeValue::Array(items), Step::Index(index)) => match items.get(*index) {
                    Some(value) => (None, value),
                    None => break,
                },
                _ => break,
            },
            (Cursor::Table(_), Step::Index(_)) => break,
        };
        // A table written with a header has no bytes of its own worth showing: its key has.
        let is_table = matches!(value.get_ref(), DeValue::Table(_));
        found = match key {
            Some(key) if want_key || is_table => Some(key),
            _ => Some(value.span()),
        };
        here = Cursor::Value(value);
    }
    found
}

#[derive(Clone, Copy)]
enum Cursor<'a, 'i> {
    Table(&'a DeTable<'i>),
    Value(&'a Spanned<DeValue<'i>>),
}

type Entry<'a, 'i> = (&'a Spanned<std::borrow::Cow<'i, str>>, &'a Spanned<DeValue<'i>>);

fn entry<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<Entry<'a, 'i>> {
    table.iter().find(|(key, _)| key.get_ref() == name)
}

fn syntax(error: &toml::de::Error) -> Problem {
    // The parser's own words, which are many; these are the mistakes that are made most.
    const HELP: &[(&str, &str)] = &[
        ("must be quoted", "put the text in quotes"),
        (
            "basic string",
            "close the text with a quote; a backslash in it is written twice, or use 'quotes' like these",
        ),
        ("literal string", "close the text with a quote"),
        ("duplicate key", "a key, and a [table], stands only once: remove one of the two"),
        ("unclosed array", "close the list with `]`, and put commas between its entries"),
        ("unclosed table", "close the name of the table with `]`"),
        ("unclosed inline table", "close the table with `}`"),
        ("recursion limit", "no key of ours nests this deep"),
    ];
    let at = error.span().map_or(At::File, At::Span);
    let said = error.message().lines().collect::<Vec<_>>().join("; ");
    let help = HELP.iter().find(|(part, _)| said.contains(part));
    let help = help.map_or("check quotes, commas and brackets here and in front of it", |(_, help)| help);
    Problem::error("syntax", at, format!("this is not TOML: {said}")).help(help)
}

fn wrong_type(said: &str, span: Option<Range<usize>>, place: Option<&KeyPath>) -> Problem {
    let at = match (place, span) {
        (Some(path), _) => At::Value(path.clone()),
        (None, Some(span)) => At::Span(span),
        (None, None) => At::File,
    };
    let said = said.strip_prefix("invalid type: ").unwrap_or(said);
    // The names of our types mean nothing to a reader.
    let said = match said.split_once("expected struct ") {
        Some((before, _)) => format!("{before}expected a table"),
        None => said.to_owned(),
    };
    let said =
        said.replace("expected i64", "expected an integer").replace("expected a map", "expected a table");
    let subject = place.map_or_else(|| "this value".into(), |path| format!("{path}"));
    const HELP: &[(&str, &str)] = &[
        ("another kind of value", "where a text is meant, put it in quotes"),
        ("expected a list of tables", "write [[name]], with two pairs of brackets, in front of each of them"),
        ("expected a boolean", "write true or false, without quotes"),
        ("expected an integer or a string", "write a whole number, or a text in quotes"),
        ("expected an integer", "write a whole number, without quotes"),
        ("expected a string", "write a text, in quotes"),
        ("expected an array of strings", "write a list of texts: [\"one\", \"two\"]"),
        ("expected a sequence", "write a list: [\"one\", \"two\"]"),
        ("expected a table", "this is a table: write [name] in front of its keys, or { key = value }"),
    ];
    let help = HELP.iter().find(|(expected, _)| said.contains(expected));
    let help = help.map_or("see the reference of this key for what it takes", |(_, help)| help);
    Problem::error("wrong-type", at, format!("{subject} has the wrong type: {said}")).help(help)
}

/// Finds keys that are not known, and values that serde would let pass although they are of the wrong
/// kind: it reads a struct from an array too, in the order of its fields, and a date as a table.
fn check_keys<T: Tables>(
    table: &DeTable<'_>,
    path: &KeyPath,
    problems: &mut Vec<Problem>,
    cuts: &mut Vec<KeyPath>,
) {
    let dotted = shape(path);
    let Some((_, known)) = T::TABLES.iter().find(|(table, _)| *table == dotted) else { return };
    let known = known();
    for (key, value) in table.iter() {
        let name = key.get_ref().as_ref();
        if !known.contains(&name) {
            if problems.len() < MOST {
                problems.push(unknown_key::<T>(name, &dotted, known, key.span()));
            }
            continue;
        }
        let place = path.clone().key(name.to_owned());
        let below = shape(&place);
        let is_table = || T::TABLES.iter().any(|(table, _)| *table == below);
        let is_list = || T::TABLES.iter().any(|(table, _)| table.strip_suffix("[]") == Some(&below));
        let (found, expected, at) = match value.get_ref() {
            DeValue::Table(_) if is_list() => (value, "a list of tables", place.clone()),
            DeValue::Table(inner) => {
                check_keys::<T>(inner, &place, problems, cuts);
                continue;
            }
            DeValue::Array(_) if is_table() => (value, "a table", place.clone()),
            DeValue::Array(items) if is_list() => {
                for (n, item) in items.iter().enumerate() {
                    if let DeValue::Table(inner) = item.get_ref() {
                        check_keys::<T>(inner, &place.clone().index(n), problems, cuts);
                    }
                }
                let other = items.iter().position(|item| !matches!(item.get_ref(), DeValue::Table(_)));
                let Some(n) = other else { continue };
                (&items[n], "a table", place.clone().index(n))
            }
            DeValue::Datetime(_) if is_table() => (value, "a table", place.clone()),
            DeValue::Datetime(_) => (value, "another kind of value", place.clone()),
            _ => continue,
        };
        let said = format!("{}, expected {expected}", found.get_ref().type_str());
        problems.push(wrong_type(&said, None, Some(&at)));
        cuts.push(place);
    }
}

/// A path as [`Tables::TABLES`] has it: `schedule[].constraints`.
fn shape(path: &KeyPath) -> String {
    path.0.iter().fold(String::new(), |text, step| match step {
        Step::Key(key) if text.is_empty() => key.clone().into_owned(),
        Step::Key(key) => text + "." + key,
        Step::Index(_) => text + "[]",
    })
}

/// A table's heading in a file, from its path in [`Tables::TABLES`].
fn heading(table: &str) -> String {
    match table.strip_suffix("[]") {
        Some(list) => format!("[[{list}]]"),
        None => format!("[{}]", table.replace("[]", "")),
    }
}

/// systemd's directives, and ours that mean the same.
const SYSTEMD: &[(&str, &str)] = &[
    ("ExecStart", "exec.command"),
    ("WorkingDirectory", "exec.working_dir"),
    ("Environment", "exec.env"),
    ("EnvironmentFile", "exec.env_files"),
    ("PassEnvironment", "exec.env"),
    ("User", "exec.user"),
    ("Group", "exec.group"),
    ("UMask", "exec.umask"),
    ("LimitAS", "exec.rlimits.as"),
    ("LimitCORE", "exec.rlimits.core"),
    ("LimitCPU", "exec.rlimits.cpu"),
    ("LimitDATA", "exec.rlimits.data"),
    ("LimitFSIZE", "exec.rlimits.fsize"),
    ("LimitMEMLOCK", "exec.rlimits.memlock"),
    ("LimitMSGQUEUE", "exec.rlimits.msgqueue"),
    ("LimitNOFILE", "exec.rlimits.nofile"),
    ("LimitNPROC", "exec.rlimits.nproc"),
    ("LimitRTPRIO", "exec.rlimits.rtprio"),
    ("LimitSIGPENDING", "exec.rlimits.sigpending"),
    ("LimitSTACK", "exec.rlimits.stack"),
    ("StandardOutput", "exec.output"),
    ("StandardError", "exec.output"),
    ("Description", "description"),
    ("CPUQuota", "constraints.cpu_quota"),
    ("CPUQuotaPeriodSec", "constraints.cpu_max"),
    ("CPUWeight", "constraints.cpu_weight"),
    ("CPUShares", "constraints.cpu_weight"),
    ("AllowedCPUs", "constraints.cpus"),
    ("CPUAffinity", "constraints.cpus"),
    ("MemoryMax", "constraints.memory_limit"),
    ("MemoryLimit", "constraints.memory_limit"),
    ("MemoryHigh", "constraints.memory_high"),
    ("MemorySwapMax", "constraints.memory_swap"),
    ("IOWeight", "constraints.io_weight"),
    ("IOReadBandwidthMax", "constraints.io_max"),
    ("IOWriteBandwidthMax", "constraints.io_max"),
    ("Nice", "constraints.nice"),
    ("OOMScoreAdjust", "constraints.oom_score_adj"),
    ("TasksMax", "constraints.tasks_max"),
    ("IOSchedulingClass", "constraints.io_class"),
    ("Restart", "restart.policy"),
    ("RestartSec", "restart.delay"),
    ("RestartMaxDelaySec", "restart.max_delay"),
    ("StartLimitBurst", "restart.limit.starts"),
    ("StartLimitIntervalSec", "restart.limit.within"),
    ("SuccessExitStatus", "restart.success_exit_codes"),
    ("KillSignal", "stop.signal"),
    ("TimeoutStopSec", "stop.timeout"),
    ("RuntimeMaxSec", "timeouts.run"),
    ("PIDFile", "attach.pid_file"),
];

/// systemd's sections, which are no tables of ours.
const SYSTEMD_SECTIONS: &[(&str, &str)] = &[
    ("Unit", "keys of [Unit] such as Description stand at the top of the file"),
    ("Service", "what [Service] holds is spread over [exec], [constraints], [restart] and [stop]"),
    ("Install", "a job is enabled by its file being there"),
];

fn unknown_key<T: Tables>(name: &str, table: &str, known: &[&str], span: Range<usize>) -> Problem {
    let place = |path: &str| match path.rsplit_once('.') {
        Some((table, key)) => format!("`{key}` in {}", heading(table)),
        None => format!("`{path}` at the top of the file"),
    };
    let within =
        if table.is_empty() { "at the top of the file".into() } else { format!("in {}", heading(table)) };
    let has_table = |path: &str| {
        let (table, key) = path.rsplit_once('.').unwrap_or(("", path));
        T::TABLES.iter().any(|(known, keys)| *known == table && keys().contains(&key))
    };
    if let Some((_, ours)) = SYSTEMD.iter().find(|(theirs, ours)| *theirs == name && has_table(ours)) {
        return Problem::error("systemd-key", At::Span(span), format!("`{name}` is systemd's name {within}"))
            .help(format!("here it is {}", place(ours)));
    }
    if let Some((_, advice)) = SYSTEMD_SECTIONS.iter().find(|(section, _)| *section == name) {
        return Problem::error("systemd-key", At::Span(span), format!("[{name}] is a section of systemd's"))
            .help(*advice);
    }
    let problem = Problem::error("unknown-key", At::Span(span), format!("unknown key `{name}` {within}"));
    // Most often the right key in the wrong table, then a typing error here, then one elsewhere.
    let elsewhere = |wanted: &str| {
        T::TABLES.iter().find(|(_, keys)| keys().contains(&wanted)).map(|(table, _)| {
            let path = if table.is_empty() { wanted.to_owned() } else { format!("{table}.{wanted}") };
            place(&path)
        })
    };
    if let Some(right) = elsewhere(name) {
        return problem.help(format!("it belongs elsewhere: {right}"));
    }
    if let Some(near) = nearest(name, known.iter().copied()) {
        return problem.help(format!("did you mean `{near}`?"));
    }
    let all = T::TABLES.iter().flat_map(|(_, keys)| keys().iter().copied());
    if let Some(right) = nearest(name, all).and_then(elsewhere) {
        return problem.help(format!("did you mean {right}?"));
    }
    problem.help(format!("known here are: {}", known.join(", ")))
}

/// The path of the innermost entry whose key or value is at `span` or encloses it.
fn path_of(table: &DeTable<'_>, span: &Range<usize>) -> Option<KeyPath> {
    fn encloses(outer: &Range<usize>, inner: &Range<usize>) -> bool {
        outer.start <= inner.start && inner.end <= outer.end
    }
    for (key, value) in table.iter() {
        let here = || KeyPath::default().key(key.get_ref().as_ref().to_owned());
        if encloses(&key.span(), span) {
            return Some(here());
        }
        // Tables of a header reach no further than the header, so their entries are always tried.
        let within = match value.get_ref() {
            DeValue::Table(inner) => path_of(inner, span).map(|path| (here(), path)),
            DeValue::Array(items) => items.iter().enumerate().find_map(|(n, item)| match item.get_ref() {
                DeValue::Table(inner) => path_of(inner, span).map(|path| (here().index(n), path)),
                _ => None,
            }),
            _ => None,
        };
        if let Some((mut path, below)) = within {
            path.0.extend(below.0);
            return Some(path);
        }
        if encloses(&value.span(), span) {
            return Some(here());
        }
    }
    None
}

fn remove(table: &mut DeTable<'_>, path: &[Step]) {
    let [Step::Key(first), rest @ ..] = path else { return };
    let found = table.iter_mut().find(|(key, _)| key.get_ref() == first.as_ref());
    let (item, rest) = match (found.map(|(_, value)| value.get_mut()), rest) {
        (Some(DeValue::Array(items)), [Step::Index(n), rest @ ..]) => {
            (items.get_mut(*n).map(Spanned::get_mut), rest)
        }
        found => found,
    };
    match (item, rest) {
        (Some(DeValue::Table(inner)), [_, ..]) => remove(inner, rest),
        _ => drop(table.remove(first.as_ref())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{JobFile, SupervisorFile};

    fn codes(text: &str) -> Vec<(&'static str, String)> {
        parse::<JobFile>(text)
            .problems
            .into_iter()
            .map(|p| {
                let shown =
                    Places::of(text).locate(&p.at).map_or_else(String::new, |span| text[span].to_owned());
                (p.code, shown)
            })
            .collect()
    }

    #[test]
    fn every_problem_of_a_file_is_told_at_once() {
        let text = "enabled = 3\nbananas = 1\n[constraints]\nnice = \"x\"\ncpu_quta = 1\ncpu_weight = [1]\n";
        let mut seen = codes(text);
        seen.sort();
        assert_eq!(
            seen,
            [
                ("unknown-key", "bananas".into()),
                ("unknown-key", "cpu_quta".into()),
                ("wrong-type", "\"x\"".into()),
                ("wrong-type", "3".into()),
                ("wrong-type", "[1]".into()),
            ]
        );
    }

    #[test]
    fn the_rest_of_a_file_with_a_wrong_value_is_still_read() {
        let parsed = parse::<JobFile>("description = \"a\"\nenabled = 1\n[stop]\nsignal = \"SIGINT\"\n");
        assert_eq!(parsed.value.description.as_deref(), Some("a"));
        assert_eq!(parsed.value.stop.and_then(|s| s.signal).as_deref(), Some("SIGINT"));
    }

    #[test]
    fn unknown_keys_lead_to_the_right_place() {
        let help = |text: &str| parse::<JobFile>(text).problems[0].help.clone().expect("help");
        assert_eq!(help("[constraints]\nmemroy_limit = 1"), "did you mean `memory_limit`?");
        assert_eq!(help("nice = 1"), "it belongs elsewhere: `nice` in [constraints]");
        assert_eq!(help("[constraints]\nCPUQuota = \"1\""), "here it is `cpu_quota` in [constraints]");
        assert!(help("[Service]\n").contains("[exec]"));
    }

    #[test]
    fn what_serde_would_let_pass_is_no_table_either() {
        for text in [
            "restart = [\"always\"]",
            "constraints = 2024-01-01",
            "tags = 2024-01-01",
            "description = 2024-01-01",
            "[exec]\nenv = { a = 2024-01-01 }",
            "instances = [2024-01-01]",
            "exec = []",
            "[exec]\nuser = 2024-01-01",
            "[exec]\ncommand = [[\"x\"]]",
            "[[restart]]\npolicy = \"always\"",
        ] {
            let seen = codes(text);
            assert!(matches!(&seen[..], [("wrong-type", _)]), "{text}: {seen:?}");
        }
    }

    #[test]
    fn free_tables_have_free_keys() {
        assert_eq!(codes("[tags]\na = \"1\"\n[exec.env]\nFOO = \"x\"\n"), []);
    }

    #[test]
    fn lists_of_tables_are_read_as_carefully() {
        let text = "[[schedule]]\nform = \"22:00\"\nto = 6\n[schedule.constraints]\nnise = 3\nnice = \"x\"\n\
                    [[schedule]]\nfrom = 22:00:00\ndays = \"mon\"\n";
        let mut seen = codes(text);
        seen.sort();
        assert_eq!(
            seen,
            [
                ("unknown-key", "form".into()),
                ("unknown-key", "nise".into()),
                ("wrong-type", "\"mon\"".into()),
                ("wrong-type", "\"x\"".into()),
                ("wrong-type", "22:00:00".into()),
                ("wrong-type", "6".into()),
            ]
        );
        let schedule = parse::<JobFile>(&format!("{text}to = \"24:00\"\n")).value.schedule;
        assert_eq!(schedule.expect("the rest of it")[1].to.as_deref(), Some("24:00"));
        for text in [
            "[schedule]\nfrom = \"22:00\"\n",
            "schedule = [1]",
            "schedule = 1",
            "schedule = [{}, 2024-01-01]",
        ] {
            let seen = codes(text);
            assert!(matches!(&seen[..], [("wrong-type", _)]), "{text}: {seen:?}");
        }
        let help = |text: &str| parse::<JobFile>(text).problems[0].help.clone().expect("help");
        assert!(help("[schedule]\n").contains("[[name]]"));
        assert_eq!(help("timezone = \"UTC\""), "it belongs elsewhere: `timezone` in [[schedule]]");
        assert_eq!(help("[[schedule]]\nnice = 3"), "it belongs elsewhere: `nice` in [constraints]");
    }

    #[test]
    fn all_tables_know_their_keys() {
        for (table, keys) in JobFile::TABLES.iter().chain(SupervisorFile::TABLES) {
            assert!(!keys().is_empty(), "[{table}]");
        }
    }

    #[test]
    fn deep_nesting_is_an_error_and_no_overflow() {
        let deep = format!("a = {}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(codes(&deep)[0].0, "syntax");
        let dotted = format!("{}z = 1", "a.".repeat(10_000));
        assert!(!codes(&dotted).is_empty());
    }
}
