//! A job document, as a master sends it to a worker (JSON).
//!
//! A field is known by its letters: case and underscores do not count, so that `cpu_weight` and the
//! `CPUWeight` of a Go program are one. `null` is as good as nothing, and so is what a Go program sends of a
//! field that is not set, an empty text.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::json::{MOST, below, parse, shown};
use crate::config::problem::{At, Problem};
use crate::config::resolve::layer;
use crate::config::schema::{
    ConstraintsTable, ExecTable, FileKind, JobFile, RlimitsTable, Scalar, TimeoutsTable,
};
use crate::config::suggest::nearest;
use crate::model::ids::JobId;

/// What a job document says.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// `job_id`.
    pub job_id: Option<String>,
    /// `command`: the program and its arguments.
    pub command: Vec<String>,
    /// `wrapper_enabled`: whether the job is to be governed. `None`: it does not say.
    pub wrapper_enabled: Option<bool>,
    /// All that a job file could say: constraints, time-out, intent, tags. No command.
    pub file: JobFile,
    /// What was converted, or could not be, in words.
    pub notes: Vec<String>,
    /// The whole document, for the result.
    pub whole: Map<String, Value>,
}

/// Reads a job document.
///
/// # Errors
/// Everything that is wrong with it, each with its JSON path, such as `$.wrapper_constraints.cpu_weight`.
pub fn read(text: &str) -> Result<Document, Vec<String>> {
    let whole = match parse(text)? {
        Value::Object(whole) => whole,
        other => return Err(vec![format!("$: {} is no job document: an object is needed", shown(&other))]),
    };
    let mut reader = Reader::default();
    let mut top = Fields::of("$", &whole);
    let job_id = reader.take(&mut top, &["job_id", "id"]).and_then(|found| reader.job_id(&found));
    let command = reader.take(&mut top, &["command"]);
    let command = match command {
        Some(found) => reader.command(&found),
        None => {
            reader.errors.push("$.command is missing: the program and its arguments, as a list".into());
            Vec::new()
        }
    };
    let wrapper_enabled =
        reader.take(&mut top, &["wrapper_enabled"]).and_then(|found| reader.boolean(&found));
    let mut file = JobFile {
        intent: reader.said(&mut top, &["intent"], "intent").and_then(|found| reader.text(&found)),
        sla_eligible: reader.take(&mut top, &["sla_eligible"]).and_then(|found| reader.boolean(&found)),
        tags: reader.take(&mut top, &["tags"]).and_then(|found| reader.tags(&found)),
        ..JobFile::default()
    };
    let constraints = reader.take(&mut top, &["wrapper_constraints"]);
    if let Some(fields) = constraints.and_then(|found| reader.object(&found)) {
        let table = reader.constraints(fields);
        file.constraints = (table != ConstraintsTable::default()).then_some(table);
    }
    let parameters = reader.take(&mut top, &["parameters"]).and_then(|found| reader.object(&found));
    let limits = parameters.and_then(|mut fields| reader.take(&mut fields, &["resource_limits"]));
    if let Some(fields) = limits.and_then(|found| reader.object(&found)) {
        reader.limits(fields, &mut file);
    }
    // Ranges and spellings of values are those of job files.
    let (_, problems) = layer(&file, FileKind::Profile);
    let told: Vec<String> = problems.iter().map(|problem| reader.of_document(problem)).collect();
    reader.errors.extend(told);
    let Reader { mut errors, notes, .. } = reader;
    if errors.is_empty() {
        return Ok(Document { job_id, command, wrapper_enabled, file, notes, whole });
    }
    if errors.len() > MOST {
        let rest = errors.len() - MOST;
        errors.truncate(MOST);
        errors.push(format!("and {rest} more"));
    }
    Err(errors)
}

/// A value, and where it stands.
#[derive(Debug, Clone)]
struct Found<'a> {
    path: String,
    value: &'a Value,
}

/// The fields of an object that say something, by their letters.
struct Fields<'a> {
    path: String,
    fields: BTreeMap<String, Vec<Found<'a>>>,
}

impl<'a> Fields<'a> {
    fn of(path: &str, object: &'a Map<String, Value>) -> Self {
        let mut fields: BTreeMap<String, Vec<Found<'a>>> = BTreeMap::new();
        for (key, value) in object {
            let says_nothing = value.is_null() || value.as_str().is_some_and(str::is_empty);
            if !says_nothing {
                fields.entry(letters(key)).or_default().push(Found { path: below(path, key), value });
            }
        }
        Self { path: path.into(), fields }
    }
}

/// A name without what does not count.
fn letters(name: &str) -> String {
    name.chars().filter(|c| *c != '_').map(|c| c.to_ascii_lowercase()).collect()
}

/// A number as JSON has it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Number {
    Whole(i64),
    Part(f64),
}

/// Names of `wrapper_constraints`: those of the reference, and those of `[constraints]` in a job file.
const CPU_QUOTA: &[&str] = &["cpu_quota_percent", "cpu_quota"];
const CPU_MAX: &[&str] = &["cpu_max"];
const MEMORY: &[&str] = &["memory_max_mb", "memory_limit_mb", "memory_limit"];
const NICE: &[&str] = &["nice_priority", "nice"];
const OOM: &[&str] = &["oom_score_adj", "oom_score"];

/// Names of `resource_limits`.
const LIMITS: [&str; 4] = ["max_cpu_percent", "max_memory_mb", "max_disk_mb", "timeout_sec"];

/// Reads values, and notes what is wrong with them and what became of them.
#[derive(Default)]
struct Reader {
    errors: Vec<String>,
    notes: Vec<String>,
    /// Which value of the document a key of the job file came from.
    places: Vec<(&'static str, String)>,
}

impl Reader {
    /// A field, by any of its names.
    fn take<'a>(&mut self, from: &mut Fields<'a>, names: &[&str]) -> Option<Found<'a>> {
        let found: Vec<Found<'a>> =
            names.iter().filter_map(|name| from.fields.remove(&letters(name))).flatten().collect();
        if let [first, second, ..] = found.as_slice() {
            self.twice(&first.path, &second.path);
            return None;
        }
        found.into_iter().next()
    }

    /// The same, for a value that a key of a job file is made from.
    fn said<'a>(&mut self, from: &mut Fields<'a>, names: &[&str], key: &'static str) -> Option<Found<'a>> {
        let found = self.take(from, names)?;
        self.places.push((key, found.path.clone()));
        Some(found)
    }

    fn twice(&mut self, first: &str, second: &str) {
        self.errors.push(format!("{first} and {second} are two spellings of the same: keep one of the two"));
    }

    fn wrong(&mut self, found: &Found<'_>, what: &str) {
        self.errors.push(format!("{}: {} is not {what}", found.path, shown(found.value)));
    }

    fn text(&mut self, found: &Found<'_>) -> Option<String> {
        let text = found.value.as_str().map(str::to_owned);
        if text.is_none() {
            self.wrong(found, "a text");
        }
        text
    }

    fn boolean(&mut self, found: &Found<'_>) -> Option<bool> {
        let value = found.value.as_bool();
        if value.is_none() {
            self.wrong(found, "true or false");
        }
        value
    }

    fn object<'a>(&mut self, found: &Found<'a>) -> Option<Fields<'a>> {
        let object = found.value.as_object();
        if object.is_none() {
            self.wrong(found, "an object");
        }
        Some(Fields::of(&found.path, object?))
    }

    fn number(&mut self, found: &Found<'_>) -> Option<Number> {
        // Up to here every whole number has a float of its own.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if let Some(whole) = found.value.as_i64() {
            return Some(Number::Whole(whole));
        }
        match found.value.as_f64() {
            Some(number) if number.abs() > EXACT => self.wrong(found, "a number of a sensible size"),
            Some(number) if number.fract() == 0.0 => return Some(Number::Whole(number as i64)),
            Some(number) => return Some(Number::Part(number)),
            None => self.wrong(found, "a number"),
        }
        None
    }

    fn whole(&mut self, found: &Found<'_>) -> Option<i64> {
        match self.number(found)? {
            Number::Whole(number) => Some(number),
            Number::Part(_) => {
                self.wrong(found, "a whole number");
                None
            }
        }
    }

    /// A number of which 0 stands for none.
    fn above_zero(&mut self, found: &Found<'_>) -> Option<Number> {
        match self.number(found)? {
            Number::Whole(0) => None,
            Number::Whole(number) if number < 0 => {
                self.wrong(found, "a number of 0 or more");
                None
            }
            Number::Part(number) if number < 0.0 => {
                self.wrong(found, "a number of 0 or more");
                None
            }
            number => Some(number),
        }
    }

    fn job_id(&mut self, found: &Found<'_>) -> Option<String> {
        let text = self.text(found)?;
        if let Err(error) = JobId::given(&text) {
            self.wrong(found, &format!("the name of a job: {error}"));
        }
        Some(text)
    }

    fn command(&mut self, found: &Found<'_>) -> Vec<String> {
        let list = match found.value {
            Value::Array(list) => list,
            Value::String(_) => {
                self.errors.push(format!(
                    "{}: one text; a list with one text for each argument is needed, because no shell is \
                     involved; where you do need one: [\"/bin/sh\", \"-c\", \"...\"]",
                    found.path
                ));
                return Vec::new();
            }
            _ => {
                self.wrong(found, "a list of texts");
                return Vec::new();
            }
        };
        let mut command = Vec::new();
        for (n, value) in list.iter().enumerate() {
            let item = Found { path: format!("{}[{n}]", found.path), value };
            let text = self.text(&item).unwrap_or_default();
            if text.contains('\0') {
                self.errors.push(format!("{}: an argument cannot hold a NUL character", item.path));
            }
            command.push(text);
        }
        if list.first().is_none_or(|program| program.as_str() == Some("")) {
            self.errors.push(format!("{} names no program: its first entry is the program", found.path));
        }
        command
    }

    fn tags(&mut self, found: &Found<'_>) -> Option<BTreeMap<String, String>> {
        let Some(object) = found.value.as_object() else {
            self.wrong(found, "an object of texts");
            return None;
        };
        let mut tags = BTreeMap::new();
        for (key, value) in object.iter().filter(|(_, value)| !value.is_null()) {
            let item = Found { path: below(&found.path, key), value };
            tags.insert(key.clone(), self.text(&item).unwrap_or_default());
        }
        Some(tags)
    }

    /// `wrapper_constraints`.
    fn constraints(&mut self, mut from: Fields<'_>) -> ConstraintsTable {
        let from = &mut from;
        let mut table = ConstraintsTable::default();
        let quota = self.said(from, CPU_QUOTA, "constraints.cpu_quota");
        let max = self.said(from, CPU_MAX, "constraints.cpu_max");
        match (quota, max) {
            (Some(quota), max) => match (self.number(&quota), max) {
                // What a Go program sends of a number that is not set.
                (Some(Number::Whole(0)), Some(max)) => table.cpu_max = self.text(&max),
                (_, Some(max)) => self.twice(&quota.path, &max.path),
                (Some(number), None) => {
                    (table.cpu_quota, table.cpu_max) = cpu(number);
                    self.places.push(("constraints.cpu_max", quota.path));
                }
                (None, None) => {}
            },
            (None, Some(max)) => table.cpu_max = self.text(&max),
            (None, None) => {}
        }
        // 0: not set.
        let weight = self.said(from, &["cpu_weight"], "constraints.cpu_weight");
        table.cpu_weight = weight.and_then(|found| self.whole(&found)).filter(|weight| *weight != 0);
        let weight = self.said(from, &["io_weight"], "constraints.io_weight");
        table.io_weight = weight.and_then(|found| self.whole(&found)).filter(|weight| *weight != 0);
        if let Some(found) = self.said(from, MEMORY, "constraints.memory_limit") {
            let named = letters(&found.path).ends_with("memorylimit");
            table.memory_limit = match found.value {
                Value::String(text) if named => Some(Scalar::Text(text.clone())),
                _ => self.above_zero(&found).map(mib),
            };
        }
        table.memory_high =
            self.said(from, &["memory_high"], "constraints.memory_high").and_then(|found| self.size(&found));
        table.memory_swap =
            self.said(from, &["memory_swap"], "constraints.memory_swap").and_then(|found| self.size(&found));
        let lines = self.said(from, &["io_max"], "constraints.io_max");
        table.io_max = lines.and_then(|found| self.lines(&found));
        table.nice = self.said(from, NICE, "constraints.nice").and_then(|found| self.whole(&found));
        table.oom_score_adj =
            self.said(from, OOM, "constraints.oom_score_adj").and_then(|found| self.whole(&found));
        table.tasks_max =
            self.said(from, &["tasks_max"], "constraints.tasks_max").and_then(|found| self.whole(&found));
        table.cpus = self.said(from, &["cpus"], "constraints.cpus").and_then(|found| self.text(&found));
        table.io_class =
            self.said(from, &["io_class"], "constraints.io_class").and_then(|found| self.text(&found));
        table.strict = self.take(from, &["strict"]).and_then(|found| self.boolean(&found));
        let known = [CPU_QUOTA, CPU_MAX, MEMORY, NICE, OOM].concat();
        let known = known.into_iter().chain([
            "cpu_weight",
            "io_weight",
            "memory_high",
            "memory_swap",
            "io_max",
            "tasks_max",
            "cpus",
            "io_class",
            "strict",
        ]);
        self.unknown(from, &known.collect::<Vec<_>>());
        table
    }

    /// A size of a job file: a number of MiB, or a text with a unit.
    fn size(&mut self, found: &Found<'_>) -> Option<Scalar> {
        match found.value {
            Value::String(text) => Some(Scalar::Text(text.clone())),
            _ => self.number(found).map(mib),
        }
    }

    /// Lines for the kernel: a text, or a list of them.
    fn lines(&mut self, found: &Found<'_>) -> Option<Vec<String>> {
        match found.value {
            Value::String(text) => Some(text.lines().map(str::to_owned).collect()),
            Value::Array(list) => {
                let items = list.iter().enumerate();
                let items = items.map(|(n, value)| Found { path: format!("{}[{n}]", found.path), value });
                let lines: Vec<String> = items.filter_map(|item| self.text(&item)).collect();
                (!lines.is_empty()).then_some(lines)
            }
            _ => {
                self.wrong(found, "a text, or a list of texts");
                None
            }
        }
    }

    /// `parameters.resource_limits`: what `wrapper_constraints` does not say.
    fn limits(&mut self, mut from: Fields<'_>, file: &mut JobFile) {
        let from = &mut from;
        let [cpu_percent, memory_mb, disk_mb, timeout_sec] = LIMITS;
        let mut table = file.constraints.take().unwrap_or_default();
        if let Some(found) = self.take(from, &[cpu_percent])
            && let Some(number) = self.above_zero(&found)
        {
            let said = ["constraints.cpu_quota", "constraints.cpu_max"];
            if table.cpu_quota.is_none() && table.cpu_max.is_none() {
                (table.cpu_quota, table.cpu_max) = cpu(number);
                let key = if table.cpu_max.is_some() { said[1] } else { said[0] };
                self.became(&found, key, "percent of one core");
            } else {
                self.not_used(&found, &said);
            }
        }
        if let Some(found) = self.take(from, &[memory_mb])
            && let Some(number) = self.above_zero(&found)
        {
            let key = "constraints.memory_limit";
            if table.memory_limit.is_none() {
                table.memory_limit = Some(mib(number));
                self.became(&found, key, "MiB");
            } else {
                self.not_used(&found, &[key]);
            }
        }
        file.constraints = (table != ConstraintsTable::default()).then_some(table);
        if let Some(found) = self.take(from, &[disk_mb])
            && let Some(number) = self.above_zero(&found)
        {
            let size = match mib(number) {
                Scalar::Integer(mib) => Scalar::Text(format!("{mib}MiB")),
                text => text,
            };
            let rlimits = Some(RlimitsTable { fsize: Some(size), ..RlimitsTable::default() });
            file.exec = Some(ExecTable { rlimits, ..ExecTable::default() });
            let what = "MiB of a single file: the kernel limits no sum of files, so several may come to more";
            self.became(&found, "exec.rlimits.fsize", what);
        }
        if let Some(found) = self.take(from, &[timeout_sec])
            && let Some(number) = self.above_zero(&found)
        {
            let run = match number {
                Number::Whole(seconds) => format!("{seconds}s"),
                Number::Part(seconds) => format!("{}ms", (seconds * 1e3).round()),
            };
            file.timeouts = Some(TimeoutsTable { run: Some(run) });
            self.became(&found, "timeouts.run", "seconds");
        }
        self.unknown(from, &LIMITS);
    }

    fn became(&mut self, found: &Found<'_>, key: &'static str, unit: &str) {
        self.places.push((key, found.path.clone()));
        self.notes.push(format!("{}: {} became {key} ({unit})", found.path, shown(found.value)));
    }

    /// Notes that a legacy limit gives way to one of `wrapper_constraints`.
    fn not_used(&mut self, found: &Found<'_>, keys: &[&str]) {
        let by = self.places.iter().find(|(key, _)| keys.contains(key));
        let by = by.map_or("$.wrapper_constraints", |(_, path)| path.as_str());
        self.notes.push(format!("{}: not used, because {by} says it", found.path));
    }

    /// Notes the fields that ask for nothing, because nobody knows what.
    fn unknown(&mut self, fields: &Fields<'_>, known: &[&str]) {
        for found in fields.fields.values().flatten() {
            if self.notes.len() >= MOST {
                return;
            }
            let name = found.path.trim_start_matches(fields.path.as_str()).trim_start_matches('.');
            let hint = match nearest(name, known.iter().copied()) {
                Some(near) => format!("; did you mean {near}?"),
                None => String::new(),
            };
            self.notes.push(format!("{}: not known here, and without effect{hint}", found.path));
        }
    }

    /// A problem of a job file, told of the document that it was made from.
    fn of_document(&self, problem: &Problem) -> String {
        let help = problem.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
        let told = format!("{}{help}", problem.message);
        let (At::Key(path) | At::Value(path)) = &problem.at else { return told };
        let key = path.to_string();
        let origin = self.places.iter().find(|(known, _)| {
            key.strip_prefix(known).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
        });
        match origin {
            Some((_, origin)) => format!("{origin}: {told}"),
            None => format!("$.{path}: {told}"),
        }
    }
}

/// Percent of one core, as `cpu_quota` or, where that is no whole number, as `cpu_max`.
fn cpu(percent: Number) -> (Option<i64>, Option<String>) {
    match percent {
        Number::Whole(percent) => (Some(percent), None),
        Number::Part(percent) => (None, Some(format!("{} 100000", (percent * 1e3).round()))),
    }
}

/// So many MiB, to the byte.
fn mib(number: Number) -> Scalar {
    match number {
        Number::Whole(mib) => Scalar::Integer(mib),
        Number::Part(mib) => Scalar::Text(format!("{}B", (mib * 1_048_576.0).round())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn good(document: &Value) -> Document {
        read(&document.to_string()).unwrap_or_else(|errors| panic!("{document}: {errors:?}"))
    }

    fn constraints(document: &Value) -> ConstraintsTable {
        good(&json!({"command": ["x"], "wrapper_constraints": document})).file.constraints.unwrap_or_default()
    }

    /// What is wrong with a document that has these fields beside a command.
    fn errors(fields: Value) -> Vec<String> {
        let mut document = json!({"command": ["ffmpeg"]});
        document.as_object_mut().expect("object").extend(fields.as_object().expect("object").clone());
        read(&document.to_string()).expect_err("refused")
    }

    #[test]
    fn the_documents_of_the_reference() {
        let submitted = good(&json!({
            "job_id": "job-12345",
            "command": ["ffmpeg", "-i", "input.mp4", "output.mp4"],
            "wrapper_constraints": {"cpu_quota_percent": 200, "memory_limit_mb": 4096, "nice_priority": -5},
        }));
        assert_eq!(submitted.job_id.as_deref(), Some("job-12345"));
        assert_eq!(submitted.command, ["ffmpeg", "-i", "input.mp4", "output.mp4"]);
        assert_eq!((submitted.wrapper_enabled, submitted.file.sla_eligible), (None, None));
        let expected = ConstraintsTable {
            cpu_quota: Some(200),
            memory_limit: Some(Scalar::Integer(4096)),
            nice: Some(-5),
            ..ConstraintsTable::default()
        };
        assert_eq!(submitted.file.constraints, Some(expected));
        assert_eq!(submitted.notes, [] as [&str; 0]);

        let go = good(&json!({
            "ID": "job-123",
            "Command": ["ffmpeg"],
            "WrapperEnabled": true,
            "SLAEligible": true,
            "WrapperConstraints": {
                "CPUMax": "50000 100000",
                "CPUWeight": 100,
                "MemoryMaxMB": 1024,
                "IOMax": "8:0 rbps=10485760 wbps=10485760",
            },
        }));
        assert_eq!((go.job_id.as_deref(), go.wrapper_enabled), (Some("job-123"), Some(true)));
        assert_eq!(go.file.sla_eligible, Some(true));
        let expected = ConstraintsTable {
            cpu_max: Some("50000 100000".into()),
            cpu_weight: Some(100),
            memory_limit: Some(Scalar::Integer(1024)),
            io_max: Some(vec!["8:0 rbps=10485760 wbps=10485760".into()]),
            ..ConstraintsTable::default()
        };
        assert_eq!(go.file.constraints, Some(expected));

        let legacy = good(&json!({
            "ID": "legacy-transcode",
            "Command": ["ffmpeg"],
            "WrapperEnabled": false,
            "Parameters": {"resource_limits": {
                "max_cpu_percent": 80.0, "max_memory_mb": 1024.0, "max_disk_mb": 5000, "timeout_sec": 90,
            }},
        }));
        assert_eq!(legacy.wrapper_enabled, Some(false));
        let expected = ConstraintsTable {
            cpu_quota: Some(80),
            memory_limit: Some(Scalar::Integer(1024)),
            ..ConstraintsTable::default()
        };
        assert_eq!(legacy.file.constraints, Some(expected));
        assert_eq!(legacy.file.timeouts, Some(TimeoutsTable { run: Some("90s".into()) }));
        let fsize = legacy.file.exec.and_then(|exec| exec.rlimits).and_then(|limits| limits.fsize);
        assert_eq!(fsize, Some(Scalar::Text("5000MiB".into())));
        assert_eq!(legacy.notes.len(), 4, "{:?}", legacy.notes);
        assert!(legacy.notes[0].starts_with("$.Parameters.resource_limits.max_cpu_percent: 80.0 became "));
        assert!(legacy.notes[2].contains("single file"), "{:?}", legacy.notes);
    }

    #[test]
    fn a_legacy_limit_gives_way_and_says_to_whom() {
        let document = good(&json!({
            "command": ["x"],
            "wrapper_constraints": {"cpu_max": "50000 100000"},
            "parameters": {"resource_limits": {"max_cpu_percent": 80, "max_memory_mb": 0}, "other": 1},
        }));
        let table = document.file.constraints.expect("constraints");
        assert_eq!((table.cpu_quota, table.memory_limit), (None, None));
        assert_eq!(
            document.notes,
            [
                "$.parameters.resource_limits.max_cpu_percent: not used, because $.wrapper_constraints.cpu_max says it"
            ]
        );
    }

    #[test]
    fn numbers_are_what_json_has() {
        let size = |text: &str| Some(Scalar::Text(text.into()));
        assert_eq!(constraints(&json!({"memory_max_mb": 1024.0})).memory_limit, Some(Scalar::Integer(1024)));
        assert_eq!(constraints(&json!({"memory_max_mb": 0.5})).memory_limit, size("524288B"));
        assert_eq!(constraints(&json!({"memory_limit": "4GiB"})).memory_limit, size("4GiB"));
        let part = constraints(&json!({"cpu_quota_percent": 62.5}));
        assert_eq!((part.cpu_quota, part.cpu_max.as_deref()), (None, Some("62500 100000")));
        let lines = constraints(&json!({"io_max": ["8:0 rbps=1", "8:16 wbps=2"]}));
        assert_eq!(lines.io_max, Some(vec!["8:0 rbps=1".into(), "8:16 wbps=2".into()]));
    }

    /// A Go program sends all fields of a struct, and of those that are not set their zero.
    #[test]
    fn what_is_not_set_is_not_asked_for() {
        let zeros = json!({
            "CPUMax": "", "CPUWeight": 0, "MemoryMaxMB": 0, "IOMax": "", "memory_high": null, "io_max": [],
        });
        assert_eq!(constraints(&zeros), ConstraintsTable::default());
        let both = constraints(&json!({"cpu_max": "50000 100000", "cpu_quota_percent": 0}));
        assert_eq!((both.cpu_quota, both.cpu_max.as_deref()), (None, Some("50000 100000")));
        assert_eq!(constraints(&json!({"cpu_quota_percent": 0})).cpu_quota, Some(0), "without a limit");
        let document =
            good(&json!({"job_id": null, "id": "a", "command": ["x"], "intent": "", "tags": null}));
        assert_eq!((document.job_id.as_deref(), document.file), (Some("a"), JobFile::default()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_path() {
        let constraint = |fields: Value| errors(json!({"wrapper_constraints": fields}));
        let limit = |fields: Value| errors(json!({"parameters": {"resource_limits": fields}}));
        let table = [
            (
                constraint(json!({"cpu_weight": "high"})),
                "$.wrapper_constraints.cpu_weight: \"high\" is not a number",
            ),
            (
                constraint(json!({"CPUWeight": 1.5})),
                "$.wrapper_constraints.CPUWeight: 1.5 is not a whole number",
            ),
            (
                constraint(json!({"memory_max_mb": "4GiB"})),
                "$.wrapper_constraints.memory_max_mb: \"4GiB\" is not a number",
            ),
            (
                constraint(json!({"memory_max_mb": -1})),
                "$.wrapper_constraints.memory_max_mb: -1 is not a number of 0 or more",
            ),
            (
                constraint(json!({"memory_limit_mb": 1e300})),
                "$.wrapper_constraints.memory_limit_mb: 1e+300 is not ",
            ),
            (
                constraint(json!({"io_max": ["8:0 rbps=1", 5]})),
                "$.wrapper_constraints.io_max[1]: 5 is not a text",
            ),
            (
                constraint(json!({"io_max": 5})),
                "$.wrapper_constraints.io_max: 5 is not a text, or a list of texts",
            ),
            (
                constraint(json!({"strict": "yes"})),
                "$.wrapper_constraints.strict: \"yes\" is not true or false",
            ),
            (
                limit(json!({"timeout_sec": "1h"})),
                "$.parameters.resource_limits.timeout_sec: \"1h\" is not a number",
            ),
            (errors(json!({"wrapper_constraints": []})), "$.wrapper_constraints: a list is not an object"),
            (errors(json!({"parameters": 3})), "$.parameters: 3 is not an object"),
            (errors(json!({"wrapper_enabled": "true"})), "$.wrapper_enabled: \"true\" is not true or false"),
            (errors(json!({"sla_eligible": 1})), "$.sla_eligible: 1 is not true or false"),
            (errors(json!({"job_id": 7})), "$.job_id: 7 is not a text"),
            (errors(json!({"job_id": "a/b"})), "$.job_id: \"a/b\" is not the name of a job: "),
            (errors(json!({"tags": {"a b": 1}})), "$.tags[\"a b\"]: 1 is not a text"),
            (
                errors(json!({"command": "ffmpeg -i x"})),
                "$.command: one text; a list with one text for each argument",
            ),
            (errors(json!({"command": ["ffmpeg", 5]})), "$.command[1]: 5 is not a text"),
            (errors(json!({"command": []})), "$.command names no program"),
            (errors(json!({"command": ["a", "b\u{0}"]})), "$.command[1]: an argument cannot hold a NUL"),
            (errors(json!({"command": null})), "$.command is missing"),
            // Two spellings.
            (errors(json!({"job_id": "a", "ID": "a"})), "$.job_id and $.ID are two spellings"),
            (errors(json!({"wrapper_enabled": true, "WrapperEnabled": true})), " are two spellings"),
            (
                constraint(json!({"cpu_max": "50000 100000", "cpu_quota_percent": 200})),
                "$.wrapper_constraints.cpu_quota_percent and $.wrapper_constraints.cpu_max are two spellings",
            ),
            (
                constraint(json!({"memory_max_mb": 1, "memory_limit_mb": 2})),
                "$.wrapper_constraints.memory_max_mb and $.wrapper_constraints.memory_limit_mb are two spellings",
            ),
            // Of the right kind, and not possible: the words of job files, at the place in the document.
            (
                constraint(json!({"cpu_weight": 10_001})),
                "$.wrapper_constraints.cpu_weight: constraints.cpu_weight is 10001, which is outside 1 to 10000",
            ),
            (
                constraint(json!({"nice_priority": -21})),
                "$.wrapper_constraints.nice_priority: constraints.nice is -21",
            ),
            (
                constraint(json!({"CPUMax": "50%"})),
                "$.wrapper_constraints.CPUMax: \"50%\" is not what cpu.max takes; write",
            ),
            (
                constraint(json!({"cpu_quota_percent": 0.5})),
                "$.wrapper_constraints.cpu_quota_percent: \"500 100000\" is not",
            ),
            (
                constraint(json!({"io_max": ["sda"]})),
                "$.wrapper_constraints.io_max: \"sda\" is not what io.max takes",
            ),
            (
                constraint(json!({"memory_limit": "4"})),
                "$.wrapper_constraints.memory_limit: constraints.memory_limit: \"4\" has no unit",
            ),
            (
                limit(json!({"max_cpu_percent": 2_000_000})),
                "$.parameters.resource_limits.max_cpu_percent: constraints.cpu_quota is 2000000",
            ),
            (
                limit(json!({"timeout_sec": 0.0001})),
                "$.parameters.resource_limits.timeout_sec: timeouts.run is 0",
            ),
            (errors(json!({"intent": "prod"})), "$.intent: intent cannot be \"prod\"; known are: production"),
        ];
        for (told, expected) in table {
            assert!(told.len() == 1 && told[0].contains(expected), "expected {expected}\ntold {told:?}");
        }
    }

    #[test]
    fn everything_wrong_is_told_at_once_but_not_without_end() {
        let told =
            errors(json!({"command": [], "job_id": 1, "wrapper_constraints": {"nice": "x", "cpus": 1}}));
        assert_eq!(told.len(), 4, "{told:?}");
        let many: Vec<u32> = (0..1000).collect();
        let told = errors(json!({ "command": many }));
        assert!(told.len() == MOST + 1 && told[MOST] == "and 968 more", "{told:?}");
    }

    #[test]
    fn a_constraint_that_nobody_knows_is_noted_and_kept() {
        let document = json!({
            "command": ["x"],
            "scenario_name": "h264_nvenc_5mbps",
            "wrapper_constraints": {"memroy_max_mb": 512, "gpu": {"a": 1}},
        });
        let read = good(&document);
        assert_eq!(
            read.notes,
            [
                "$.wrapper_constraints.gpu: not known here, and without effect",
                "$.wrapper_constraints.memroy_max_mb: not known here, and without effect; did you mean memory_max_mb?"
            ]
        );
        assert_eq!(Value::Object(read.whole), document);
    }

    #[test]
    fn other_documents_are_told_for_what_they_are() {
        for (text, told) in [
            ("[]", "$: a list is no job document"),
            ("null", "$: null is no job document"),
            ("{}", "$.command is missing"),
            ("{\"command\": [\"x\"], \"command\": [\"y\"]}", "$.command stands twice"),
            ("", "this is not JSON"),
        ] {
            let errors = read(text).expect_err("refused");
            assert!(errors.len() == 1 && errors[0].contains(told), "{text}: {errors:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_it(text in ".*") {
            let _ = read(&text);
        }

        #[test]
        fn no_value_breaks_it(key in 0usize..22, value in 0usize..12) {
            let keys = [
                "cpu_quota_percent", "cpu_quota", "cpu_max", "cpu_weight", "memory_max_mb", "memory_limit",
                "memory_high", "memory_swap", "io_weight", "io_max", "nice", "oom_score_adj", "tasks_max",
                "cpus", "io_class", "strict", "x", "max_cpu_percent", "max_memory_mb", "max_disk_mb",
                "timeout_sec", "",
            ];
            let values = [
                json!(null), json!(true), json!(0), json!(-1), json!(1.5), json!(1e308), json!(u64::MAX),
                json!(i64::MIN), json!("\u{0}\u{202e}"), json!([[], 1]), json!({"": {}}), json!(-1e-300),
            ];
            let fields = json!({ keys[key]: values[value].clone() });
            let document = json!({
                "command": ["x"], "wrapper_constraints": fields, "parameters": {"resource_limits": fields},
            });
            let _ = read(&document.to_string());
        }
    }
}
