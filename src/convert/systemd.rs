//! From a systemd service unit (systemd.service(5), systemd.exec(5), systemd.resource-control(5)).

use std::collections::HashMap;
use std::time::Duration;

use super::command::{self, Part};
use super::toml::{Draft, Item, MARK};
use crate::model::ids::check_name;
use crate::model::rlimit::{Resource, Unit as Counts};
use crate::model::signal::Signal;
use crate::model::units::{ByteSize, format_duration};

/// Converts a unit. `file_name` gives the unit its name.
pub fn convert(file_name: Option<&str>, text: &str) -> Result<Draft, Vec<String>> {
    let name = Name::of(file_name);
    let mut converter = Converter {
        draft: Draft::new("a systemd unit", name.prefix.as_deref()),
        unit: Unit::read(text),
        name,
        env: Vec::new(),
        has_files: false,
        instance_used: false,
    };
    converter.convert()?;
    Ok(converter.draft)
}

/// A directive, with all values that were assigned to it since it was last reset.
struct Directive {
    section: String,
    key: String,
    values: Vec<String>,
}

/// A unit as it is written.
struct Unit {
    directives: Vec<Directive>,
    /// Lines that are no assignments.
    odd: Vec<String>,
    /// Several files, as `systemctl cat` shows them.
    whole: bool,
}

impl Unit {
    fn read(text: &str) -> Self {
        let mut unit = Self { directives: Vec::new(), odd: Vec::new(), whole: false };
        let mut section = String::new();
        let mut begun = String::new();
        let mut known = HashMap::new();
        for line in text.lines() {
            let trimmed = line.trim();
            if trimmed.starts_with(['#', ';']) {
                unit.whole |= trimmed.starts_with("# /");
                continue;
            }
            if trimmed.is_empty() && begun.is_empty() {
                continue;
            }
            let backslashes = trimmed.len() - trimmed.trim_end_matches('\\').len();
            if backslashes % 2 == 1 {
                begun += &trimmed[..trimmed.len() - 1];
                begun.push(' ');
                continue;
            }
            let line = std::mem::take(&mut begun) + trimmed;
            unit.line(line.trim(), &mut section, &mut known);
        }
        if !begun.is_empty() {
            unit.line(begun.trim(), &mut section, &mut known);
        }
        unit
    }

    fn line(&mut self, line: &str, section: &mut String, known: &mut HashMap<(String, String), usize>) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            *section = name.into();
            return;
        }
        let Some((key, value)) = line.split_once('=').filter(|_| !section.is_empty()) else {
            if !line.is_empty() {
                self.odd.push(line.into());
            }
            return;
        };
        let (key, value) = (key.trim(), value.trim());
        let at = *known.entry((section.clone(), key.into())).or_insert_with(|| {
            let new = Directive { section: section.clone(), key: key.into(), values: Vec::new() };
            self.directives.push(new);
            self.directives.len() - 1
        });
        let values = &mut self.directives[at].values;
        if value.is_empty() {
            values.clear();
        } else {
            values.push(value.into());
        }
    }

    /// All values of a directive, which is then done with.
    fn all(&mut self, key: &str) -> Vec<String> {
        let at = self.directives.iter().position(|directive| directive.key == key);
        at.map(|at| self.directives.remove(at).values).unwrap_or_default()
    }

    /// The one that counts, which is the last.
    fn one(&mut self, key: &str) -> Option<String> {
        self.all(key).pop()
    }
}

/// What is known of a unit's name: `prefix@instance.service`.
struct Name {
    prefix: Option<String>,
    template: bool,
    instance: Option<String>,
}

impl Name {
    fn of(file_name: Option<&str>) -> Self {
        let stem = file_name.and_then(|name| name.strip_suffix(".service"));
        let (prefix, instance) = match stem.and_then(|stem| stem.split_once('@')) {
            Some((prefix, instance)) => (Some(prefix), Some(instance)),
            None => (stem, None),
        };
        Self {
            prefix: prefix.map(str::to_owned),
            template: instance.is_some(),
            instance: instance.filter(|instance| !instance.is_empty()).map(str::to_owned),
        }
    }
}

/// What a setting looks like that is taken over as it is: a value, and the key that it becomes.
type Plain = (&'static str, &'static str);

const NUMBERS: [Plain; 2] = [("Nice", "constraints.nice"), ("OOMScoreAdjust", "constraints.oom_score_adj")];
const SIZES: [Plain; 4] = [
    ("MemoryLimit", "constraints.memory_limit"),
    ("MemoryMax", "constraints.memory_limit"),
    ("MemoryHigh", "constraints.memory_high"),
    ("MemorySwapMax", "constraints.memory_swap"),
];
const ACCOUNTS: [Plain; 2] = [("User", "exec.user"), ("Group", "exec.group")];

struct Converter {
    draft: Draft,
    unit: Unit,
    name: Name,
    /// What `Environment=` sets.
    env: Vec<(String, String)>,
    /// There are files whose variables are not known.
    has_files: bool,
    instance_used: bool,
}

impl Converter {
    fn convert(&mut self) -> Result<(), Vec<String>> {
        if !self.unit.directives.iter().any(|directive| directive.section == "Service") {
            return Err(vec![
                "there is no [Service] section with a setting in it; only services can be jobs (what a timer \
                 starts can have a [[schedule]] of constraints, but no times to start at)"
                    .into(),
            ]);
        }
        for line in std::mem::take(&mut self.unit.odd).into_iter().take(10) {
            self.draft.note(format!("{line:?}"), "no setting, and without effect in systemd, too");
        }
        if !self.unit.whole {
            self.draft.note(
                "drop-ins",
                "not read; `systemctl cat UNIT | ffrtmp-sup convert --from systemd -` converts the unit with them",
            );
        }
        if let Some(text) = self.unit.one("Description") {
            let text = self.expanded("Description=", &text);
            self.draft.set("description", text, "Description=");
        }
        self.lifecycle();
        self.environment();
        self.exec()?;
        self.start();
        self.output();
        self.constraints();
        self.limits();
        self.stop();
        self.instances();
        self.rest();
        Ok(())
    }

    /// A value that is not understood.
    fn odd(&mut self, key: &str, value: &str, why: &str) {
        self.draft.note(format!("{key}={value}"), why);
    }

    /// Replaces specifiers (systemd.unit(5)).
    fn expanded(&mut self, key: &str, text: &str) -> String {
        let mut result = String::new();
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            if c != '%' {
                result.push(c);
                continue;
            }
            let Some(letter) = rest.next() else {
                result.push('%');
                break;
            };
            let prefix = self.name.prefix.clone();
            match letter {
                '%' => result.push('%'),
                'i' | 'I' => {
                    self.instance_used = true;
                    result.push(MARK);
                    result.push('i');
                }
                // A job has the name of the unit, with the instance in the same place.
                'N' => result.extend([MARK, 'n']),
                'n' => {
                    result.extend([MARK, 'n']);
                    result += ".service";
                }
                'p' if prefix.is_some() => result += &prefix.unwrap_or_default(),
                't' => result += "/run",
                'S' => result += "/var/lib",
                'C' => result += "/var/cache",
                'L' => result += "/var/log",
                'E' => result += "/etc",
                'T' => result += "/tmp",
                'V' => result += "/var/tmp",
                letter => {
                    self.draft.note(
                        key,
                        format!("%{letter} is known to systemd only, and left as it is: write its value"),
                    );
                    result.push('%');
                    result.push(letter);
                }
            }
            if "tSCLE".contains(letter) {
                self.draft
                    .note(key, format!("%{letter} is taken for that of a system unit; a user's differs"));
            }
        }
        result
    }

    fn lifecycle(&mut self) {
        let kind = self.unit.one("Type");
        match kind.as_deref() {
            None | Some("simple" | "exec" | "idle" | "oneshot") => {}
            Some("forking") => self.odd(
                "Type",
                "forking",
                "a program that goes into the background is no job: have it stay in the foreground (ffmpeg does; \
                 for others see --foreground, --no-daemon or daemon=off), or take it over with [attach] and its \
                 pid_file",
            ),
            Some(other) => {
                let why = "nobody waits for a program to be ready: a job runs from its first instruction on";
                self.odd("Type", other, why);
            }
        }
        let restart = self.unit.one("Restart").unwrap_or_else(|| "no".into());
        let from = format!("Restart={restart}");
        let lifecycle = if restart == "always" { "continuous" } else { "oneshot" };
        self.draft.set("lifecycle", lifecycle, "Type=");
        match restart.as_str() {
            "no" | "always" => {}
            "on-failure" => self.draft.set("restart.policy", "on-failure", from),
            "on-abnormal" | "on-abort" | "on-watchdog" => {
                self.draft.set("restart.policy", "on-failure", &from);
                self.draft.note(from, "became on-failure, which starts again after a bad exit code, too");
            }
            "on-success" => self.draft.note(
                from,
                "a job that starts again after success alone is not offered: it is never, on-failure or always",
            ),
            _ => self.draft.note(from, "not known"),
        }
        let restarts = restart != "no";
        if let Some(pause) = self.time("RestartSec").flatten().filter(|_| restarts) {
            // As there: the same pause each time.
            let most = self.time("RestartMaxDelaySec").flatten();
            let pause = pause.max(Duration::from_millis(1));
            self.draft.set("restart.delay", format_duration(pause), "RestartSec=");
            let most = format_duration(most.unwrap_or(pause).max(pause));
            self.draft.set("restart.max_delay", most, "RestartSec=");
        }
        if self.unit.one("RestartSteps").is_some() {
            self.draft.note("RestartSteps=", "a pause doubles each time, up to restart.max_delay");
        }
        let old = self.time("StartLimitInterval");
        let within = self.time("StartLimitIntervalSec").or(old);
        let starts = self.number("StartLimitBurst");
        // Both have a default of their own (systemd-system.conf(5)).
        let limited = within.is_some() || starts.is_some();
        let within = within.unwrap_or(Some(Duration::from_secs(10)));
        let starts = starts.unwrap_or(5);
        match within {
            Some(within) if limited && restarts && starts > 0 && !within.is_zero() => {
                self.draft.set("restart.limit.starts", starts, "StartLimitBurst=");
                self.draft.set("restart.limit.within", format_duration(within), "StartLimitIntervalSec=");
            }
            _ => {}
        }
        let codes = self.unit.all("SuccessExitStatus");
        let mut numbers = vec![0];
        for word in codes.iter().flat_map(|line| line.split_whitespace()) {
            match word.parse() {
                Ok(number) => numbers.push(number),
                Err(_) => self.draft.note(
                    format!("SuccessExitStatus={word}"),
                    "no number; restart.success_exit_codes takes exit codes alone, and no signals",
                ),
            }
        }
        if numbers.len() > 1 {
            numbers.sort_unstable();
            numbers.dedup();
            self.draft.set("restart.success_exit_codes", Item::Numbers(numbers), "SuccessExitStatus=");
        }
    }

    fn environment(&mut self) {
        for line in self.unit.all("Environment") {
            let words = match words(&line) {
                Ok(words) => words,
                Err(why) => {
                    self.odd("Environment", &line, &why);
                    continue;
                }
            };
            for word in words {
                let word = self.expanded("Environment=", &word);
                match word.split_once('=') {
                    Some((key, value)) => self.env.push((key.into(), value.into())),
                    None => self.odd("Environment", &word, "no KEY=VALUE"),
                }
            }
        }
        for (key, value) in &self.env {
            self.draft.set_in("exec.env", key, value.as_str(), format!("Environment={key}"));
        }
        let files = self.unit.all("EnvironmentFile");
        self.has_files = !files.is_empty();
        let mut list = Vec::new();
        for file in files {
            let file = self.expanded("EnvironmentFile=", &file);
            if file.contains(['*', '?', '[']) {
                self.odd("EnvironmentFile", &file, "a pattern; name each of the files in exec.env_files");
            } else {
                list.push(file);
            }
        }
        if !list.is_empty() {
            self.draft.set("exec.env_files", Item::List(list), "EnvironmentFile=");
        }
        for key in ["PassEnvironment", "UnsetEnvironment"] {
            let names = self.unit.all(key).join(" ");
            if !names.is_empty() {
                let why = "a job has what it declares and little else; [environment] pass of supervisor.toml \
                           hands variables on to all jobs";
                self.odd(key, &names, why);
            }
        }
    }

    fn exec(&mut self) -> Result<(), Vec<String>> {
        let lines = self.unit.all("ExecStart");
        let Some(first) = lines.first() else {
            return Err(vec!["ExecStart= is missing: there is nothing to start".into()]);
        };
        let bare = first.trim_start_matches(['-', '@', ':', '+', '!', '|']);
        let prefixes = &first[..first.len() - bare.len()];
        let mut words = words(bare).map_err(|why| vec![format!("ExecStart={first}: {why}")])?;
        let next = words.iter().position(|word| word == NEXT);
        if lines.len() > 1 || next.is_some() {
            let why =
                "only the first of several commands is taken over: make a job of each, or a script of all";
            self.draft.note("ExecStart=", why);
        }
        words.truncate(next.unwrap_or(words.len()));
        for prefix in prefixes.chars() {
            match prefix {
                '@' if words.len() > 1 => {
                    let argument = words.remove(1);
                    let why = "the name that the program sees itself by is that of its file here";
                    self.draft.note(format!("ExecStart=@... {argument}"), why);
                }
                '-' => self.draft.note(
                    "ExecStart=-",
                    "a failure is told as one; restart.success_exit_codes says which codes are none",
                ),
                '+' | '!' => {
                    let why = "the command has the rights of exec.user, as all jobs have";
                    self.draft.note(format!("ExecStart={prefix}"), why);
                }
                '|' => self.draft.note("ExecStart=|", "no shell is started: name one in command"),
                _ => {}
            }
        }
        let variables = !prefixes.contains(':');
        let mut command = Vec::new();
        for (n, word) in words.iter().enumerate() {
            let word = self.expanded("ExecStart=", word);
            // The path of the program is taken as it is.
            if variables && n > 0 {
                command.extend(self.substituted(&word));
            } else {
                command.push(vec![Part::Text(word)]);
            }
        }
        command::set(&mut self.draft, &command, "ExecStart=");
        Ok(())
    }

    /// Replaces variables, where `Environment=` alone says what they are.
    fn substituted(&self, word: &str) -> Vec<Vec<Part>> {
        let value = |name: &str| {
            let found = self.env.iter().rev().find(|(key, _)| key == name);
            found.filter(|_| !self.has_files).map(|(_, value)| value.clone())
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

    fn start(&mut self) {
        if let Some(dir) = self.unit.one("WorkingDirectory") {
            let dir = self.expanded("WorkingDirectory=", &dir);
            let path = dir.strip_prefix('-').unwrap_or(&dir);
            if path == "~" {
                self.odd("WorkingDirectory", "~", "write the path of the user's home folder");
            } else {
                self.draft.set("exec.working_dir", path, "WorkingDirectory=");
                if path != dir {
                    self.odd("WorkingDirectory", &dir, "the folder has to exist, or the job does not start");
                }
            }
        }
        for (key, path) in ACCOUNTS {
            if let Some(name) = self.unit.one(key) {
                let name = self.expanded(key, &name);
                self.draft.set(path, name, format!("{key}="));
            }
        }
        if let Some(mask) = self.unit.one("UMask") {
            self.draft.set("exec.umask", mask, "UMask=");
        }
    }

    fn output(&mut self) {
        let standard = self.unit.one("StandardOutput").unwrap_or_else(|| "journal".into());
        let to_file = ["file:", "append:", "truncate:"].iter().any(|kind| standard.starts_with(kind));
        let output = match standard.as_str() {
            "null" => "null",
            _ if to_file => "file",
            _ => "journal",
        };
        self.draft.set("exec.output", output, "StandardOutput=");
        if to_file {
            self.odd("StandardOutput", &standard, "output goes to logs/<job>.log in the state folder");
        } else if !matches!(standard.as_str(), "journal" | "null" | "inherit") {
            self.odd(
                "StandardOutput",
                &standard,
                "output goes to the journal: exec.output is file, journal or null",
            );
        }
        if let Some(error) = self.unit.one("StandardError")
            && error != standard
            && !matches!(error.as_str(), "inherit" | "journal")
        {
            self.odd("StandardError", &error, "goes where standard output goes");
        }
        if let Some(input) = self.unit.one("StandardInput")
            && input != "null"
        {
            self.odd("StandardInput", &input, "standard input of a job is always /dev/null");
        }
    }

    fn constraints(&mut self) {
        for (key, path) in NUMBERS {
            if let Some(number) = self.number(key) {
                self.draft.set(path, number, format!("{key}="));
            }
        }
        for (key, path) in SIZES {
            let Some(text) = self.unit.one(key) else { continue };
            match size(&text, 1024) {
                Some(Amount::Number(bytes)) => {
                    self.draft.set(path, ByteSize(bytes).to_string(), format!("{key}={text}"));
                }
                Some(Amount::Infinite) => {}
                None => self.odd(key, &text, "no number of bytes; write a size with a unit"),
            }
        }
        let period = self.time("CPUQuotaPeriodSec").flatten();
        if let Some(text) = self.unit.one("CPUQuota") {
            let percent = text.strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
            match percent.filter(|percent| (0.0..=1e6).contains(percent) && *percent > 0.0) {
                Some(percent) if percent.fract() == 0.0 && period.is_none() => {
                    self.draft.set("constraints.cpu_quota", percent as i64, format!("CPUQuota={text}"));
                }
                Some(percent) => {
                    let period = period.map_or(100_000.0, |period| (period.as_secs_f64() * 1e6).round());
                    let quota = (percent / 100.0 * period).round();
                    let max = format!("{quota} {period}");
                    self.draft.set("constraints.cpu_max", max, format!("CPUQuota={text}"));
                }
                None => self.odd("CPUQuota", &text, "no percentage above 0"),
            }
        }
        if let Some(shares) = self.number("CPUShares") {
            // 1024 shares are what a weight of 100 is.
            let weight = (shares.clamp(2, 262_144) * 100 / 1024).clamp(1, 10_000);
            self.draft.set("constraints.cpu_weight", weight, "CPUShares=");
        }
        match self.unit.one("CPUWeight").as_deref() {
            Some("idle") => {
                self.draft.set("constraints.cpu_weight", 1, "CPUWeight=idle");
                self.odd("CPUWeight", "idle", "became 1, the least weight: it still gets a share");
            }
            Some(text) => self.set_number("CPUWeight", text, "constraints.cpu_weight"),
            None => {}
        }
        match self.unit.one("TasksMax").as_deref() {
            Some("infinity") | None => {}
            Some(text) => self.set_number("TasksMax", text, "constraints.tasks_max"),
        }
        if let Some(weight) = self.number("IOWeight") {
            let percent = (weight.clamp(1, 10_000) + 50) / 100;
            let percent = percent.max(1);
            self.draft.set("constraints.io_weight", percent, "IOWeight=");
            self.odd(
                "IOWeight",
                &weight.to_string(),
                &format!("became {percent}: here it is percent of the kernel's maximum, 10000"),
            );
        }
        self.bandwidth();
        let affinity = self.unit.all("CPUAffinity").join(" ");
        let allowed = self.unit.all("AllowedCPUs").join(" ");
        for (key, text) in [("CPUAffinity", affinity), ("AllowedCPUs", allowed)] {
            let list: Vec<&str> =
                text.split(|c: char| c.is_whitespace() || c == ',').filter(|part| !part.is_empty()).collect();
            if !list.is_empty() {
                self.draft.set("constraints.cpus", list.join(","), format!("{key}={text}"));
            }
        }
        let level = self.number("IOSchedulingPriority");
        if let Some(class) = self.unit.one("IOSchedulingClass") {
            let level = level.unwrap_or(4);
            let io_class = match class.as_str() {
                "idle" | "3" => Some("idle".to_owned()),
                "best-effort" | "2" => Some(format!("best-effort:{level}")),
                "realtime" | "1" => Some(format!("realtime:{level}")),
                _ => None,
            };
            if let Some(io_class) = io_class {
                self.draft.set("constraints.io_class", io_class, "IOSchedulingClass=");
            }
        } else if let Some(level) = level {
            let class = format!("best-effort:{level}");
            self.draft.set("constraints.io_class", class, "IOSchedulingPriority=");
        }
    }

    /// `IOReadBandwidthMax=` and its kin, of devices by their numbers.
    fn bandwidth(&mut self) {
        let mut devices: Vec<(String, Vec<String>)> = Vec::new();
        for (key, limit) in [
            ("IOReadBandwidthMax", "rbps"),
            ("IOWriteBandwidthMax", "wbps"),
            ("IOReadIOPSMax", "riops"),
            ("IOWriteIOPSMax", "wiops"),
        ] {
            for line in self.unit.all(key) {
                let (path, amount) = line.split_once(char::is_whitespace).unwrap_or((&line, ""));
                let amount = match size(amount.trim(), 1000) {
                    Some(Amount::Number(number)) => number.to_string(),
                    Some(Amount::Infinite) => "max".into(),
                    None => {
                        self.odd(key, &line, "no device and number");
                        continue;
                    }
                };
                let said = format!("{limit}={amount}");
                // A link that is made of the numbers (udev).
                match path.strip_prefix("/dev/block/") {
                    Some(numbers) => match devices.iter_mut().find(|(known, _)| known == numbers) {
                        Some((_, limits)) => limits.push(said),
                        None => devices.push((numbers.into(), vec![said])),
                    },
                    None => self.odd(
                        key,
                        &line,
                        &format!(
                            "the kernel knows devices by number: constraints.io_max = [\"MAJOR:MINOR {said}\"], \
                             with those that `lsblk -o NAME,MAJ:MIN {path}` shows"
                        ),
                    ),
                }
            }
        }
        if !devices.is_empty() {
            let lines = devices.into_iter().map(|(device, limits)| format!("{device} {}", limits.join(" ")));
            self.draft.set("constraints.io_max", Item::List(lines.collect()), "IO...Max=");
        }
    }

    fn limits(&mut self) {
        for resource in Resource::ALL {
            let path = resource.path();
            let key = format!("Limit{}", path.rsplit('.').next().unwrap_or(path).to_uppercase());
            let Some(text) = self.unit.one(&key) else { continue };
            let mut values = Vec::new();
            for part in text.split(':') {
                let value = match (part.trim(), resource.unit()) {
                    ("infinity", _) => Some("unlimited".into()),
                    (part, Counts::Count) => part.parse::<u64>().ok().map(|number| number.to_string()),
                    (part, Counts::Bytes) => match size(part, 1024) {
                        Some(Amount::Number(bytes)) => Some(ByteSize(bytes).to_string()),
                        _ => None,
                    },
                    (part, Counts::Seconds) => match time(part) {
                        Some(Some(time)) => Some(format_duration(time)),
                        _ => None,
                    },
                };
                values.extend(value);
            }
            match values.as_slice() {
                // Nothing to be limited.
                [all] if all == "unlimited" && resource.unit() != Counts::Count => {}
                [] => self.odd(&key, &text, "no limit that is understood"),
                values => self.draft.set(path, values.join(":"), format!("{key}={text}")),
            }
        }
    }

    fn stop(&mut self) {
        if let Some(signal) = self.unit.one("KillSignal") {
            let number = signal.parse().ok().and_then(Signal::from_number);
            let signal = number.map_or(signal, |signal| signal.to_string());
            self.draft.set("stop.signal", signal, "KillSignal=");
        }
        let both = self.time("TimeoutSec");
        match self.time("TimeoutStopSec").or(both) {
            Some(Some(timeout)) if !timeout.is_zero() => {
                self.draft.set("stop.timeout", format_duration(timeout), "TimeoutStopSec=");
            }
            Some(_) => self.draft.note(
                "TimeoutStopSec=",
                "to wait without end is not offered: what does not end is killed after stop.timeout (10s)",
            ),
            None => {}
        }
        if let Some(Some(run)) = self.time("RuntimeMaxSec") {
            self.draft.set("timeouts.run", format_duration(run), "RuntimeMaxSec=");
        }
        match self.unit.one("KillMode").as_deref() {
            None | Some("mixed") => {}
            Some(mode) => {
                let why = "stop.signal goes to the main process, and after stop.timeout SIGKILL to all, as with \
                           KillMode=mixed";
                self.odd("KillMode", mode, why);
            }
        }
        if self.unit.one("SendSIGKILL").is_some_and(|value| is_no(&value)) {
            self.draft.note("SendSIGKILL=no", "what does not end by itself is killed after stop.timeout");
        }
    }

    fn instances(&mut self) {
        let default = self.unit.one("DefaultInstance");
        if !self.name.template && !self.instance_used {
            return;
        }
        let instance = self.name.instance.clone().or(default).filter(|name| check_name(name).is_ok());
        if instance.is_none() {
            self.draft.note(
                "%i",
                "this is a template: name its instances in `instances`, where \"example\" stands now; each is a job <job>@<instance>",
            );
        }
        let instance = instance.unwrap_or_else(|| "example".into());
        self.draft.set("instances", Item::List(vec![instance]), "the name of the unit");
    }

    /// What is not taken over.
    fn rest(&mut self) {
        for Directive { section, key, values } in std::mem::take(&mut self.unit.directives) {
            if values.is_empty() || section.starts_with("X-") || key.starts_with("X-") {
                continue;
            }
            if let Some(why) = not_taken(&section, &key) {
                let value: String = values.join(" ").chars().take(60).collect();
                self.draft.note(format!("{key}={value}"), why);
            }
        }
    }

    fn set_number(&mut self, key: &str, text: &str, path: &'static str) {
        match text.parse::<i64>() {
            Ok(number) => self.draft.set(path, number, format!("{key}={text}")),
            Err(_) => self.odd(key, text, "no number"),
        }
    }

    fn number(&mut self, key: &str) -> Option<i64> {
        let text = self.unit.one(key)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.odd(key, &text, "no number");
        }
        number
    }

    /// A time, or no end.
    fn time(&mut self, key: &str) -> Option<Option<Duration>> {
        let text = self.unit.one(key)?;
        let time = time(&text);
        if time.is_none() {
            self.odd(key, &text, "no time that is understood");
        }
        time
    }
}

/// Why a directive has no place in a job file, and what to do. `None` where nothing is lost without it.
fn not_taken(section: &str, key: &str) -> Option<&'static str> {
    const SANDBOX: &[&str] = &[
        "Protect",
        "Private",
        "Restrict",
        "SystemCall",
        "ReadOnly",
        "ReadWrite",
        "Inaccessible",
        "Exec",
        "NoExec",
        "Bind",
        "Capability",
        "Ambient",
        "LockPersonality",
        "MemoryDeny",
        "Root",
        "Temporary",
        "Mount",
        "DynamicUser",
        "Device",
        "IPAddress",
        "Socket",
        "Keyring",
        "AppArmor",
        "SELinux",
        "RemoveIPC",
        "Secure",
        "ProcSubset",
        "Personality",
        "Smack",
    ];
    let begins = |list: &[&str]| list.iter().any(|start| key.starts_with(start));
    let why = match (section, key) {
        (
            _,
            "CPUAccounting" | "MemoryAccounting" | "IOAccounting" | "TasksAccounting" | "BlockIOAccounting",
        ) => {
            return None;
        }
        ("Install", _) => "a job is enabled by its file being in jobs.d",
        (
            _,
            "After"
            | "Before"
            | "Wants"
            | "Requires"
            | "Requisite"
            | "BindsTo"
            | "PartOf"
            | "Upholds"
            | "Conflicts"
            | "RequiresMountsFor"
            | "WantsMountsFor"
            | "PropagatesReloadTo"
            | "JoinsNamespaceOf"
            | "DefaultDependencies",
        ) => {
            "jobs have no order, among each other or against units: one that lacks something starts again as \
             [restart] says; what all jobs need goes into the unit of ffrtmp-sup"
        }
        (_, "OnFailure" | "OnSuccess" | "FailureAction" | "SuccessAction" | "StartLimitAction") => {
            "nothing is started when a job ends; watch its report, reports/<job>.json"
        }
        ("Unit", "Documentation") => "write it as a comment",
        ("Unit", key) if key.starts_with("Condition") || key.starts_with("Assert") => {
            "a job has no conditions; `enabled = false` keeps it from starting"
        }
        (_, "ExecStartPre" | "ExecStartPost" | "ExecStopPost" | "ExecCondition") => {
            "a job is one command: let a script do this, and `exec` the program as its last step"
        }
        (_, "ExecStop") => "a job is stopped by stop.signal, and killed after stop.timeout",
        (_, "ExecReload" | "ReloadSignal") => {
            "nothing is reloaded: an edit of constraints holds at once, one of [exec] starts the job again"
        }
        (
            _,
            "RuntimeDirectory"
            | "StateDirectory"
            | "CacheDirectory"
            | "LogsDirectory"
            | "ConfigurationDirectory",
        ) => "no folders are made for a job: make it once, with tmpfiles.d(5) or `install -d -o USER`",
        (_, "WatchdogSec" | "NotifyAccess" | "FileDescriptorStoreMax") => {
            "a job has no watchdog and no notification socket"
        }
        (_, "TimeoutStartSec" | "TimeoutAbortSec") => "a job runs from its first instruction on",
        (_, "Slice" | "Delegate") => "a job lives in a cgroup of its own, below that of ffrtmp-sup",
        (_, "PIDFile") => "a job is the process that is started; a pid file is for [attach]",
        (_, "RemainAfterExit") => "a job that exited has ended",
        (_, "RestartPreventExitStatus" | "RestartForceExitStatus") => {
            "which exits are failures is said by restart.success_exit_codes"
        }
        (_, "SyslogIdentifier") => "lines in the journal bear the name of the job",
        (_, "NoNewPrivileges") => "set for every job that has a user of its own",
        (_, "OOMPolicy") => "a kill for memory is told, and restart.policy decides",
        ("Service", _) if begins(SANDBOX) => {
            "jobs have no sandbox of their own: in the unit of ffrtmp-sup it holds for all jobs; bwrap(1) in \
             front of the command makes one for this job"
        }
        _ => "there is nothing like it in a job file",
    };
    Some(why)
}

fn is_no(text: &str) -> bool {
    matches!(text, "no" | "false" | "off" | "0")
}

/// A number of something, or no limit.
enum Amount {
    Number(u64),
    Infinite,
}

/// `4G`, `512M`, `infinity`.
fn size(text: &str, base: u64) -> Option<Amount> {
    if text == "infinity" {
        return Some(Amount::Infinite);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic()).trim_end();
    let exponent = match text[digits.len()..].trim() {
        "" | "B" => 0,
        "K" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        "P" => 5,
        "E" => 6,
        _ => return None,
    };
    let factor = base.checked_pow(exponent)?;
    match digits.parse::<u64>() {
        Ok(number) => number.checked_mul(factor).map(Amount::Number),
        Err(_) => {
            let number = digits.parse::<f64>().ok().filter(|number| *number >= 0.0)? * factor as f64;
            (number < 1e18).then_some(Amount::Number(number as u64))
        }
    }
}

/// A time span (systemd.time(7)): `5`, `1min 30s`, `500ms`; `infinity` is no end.
fn time(text: &str) -> Option<Option<Duration>> {
    if text == "infinity" {
        return Some(None);
    }
    let mut total = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let number: f64 = rest[..end].parse().ok()?;
        rest = rest[end..].trim_start();
        let end = rest.find(|c: char| !c.is_alphabetic()).unwrap_or(rest.len());
        total += number
            * match &rest[..end] {
                "us" | "usec" | "μs" | "µs" => 1e-6,
                "ms" | "msec" => 1e-3,
                "" | "s" | "sec" | "second" | "seconds" => 1.0,
                "m" | "min" | "minute" | "minutes" => 60.0,
                "h" | "hr" | "hour" | "hours" => 3600.0,
                "d" | "day" | "days" => 86_400.0,
                "w" | "week" | "weeks" => 604_800.0,
                "M" | "month" | "months" => 2_629_800.0,
                "y" | "year" | "years" => 31_557_600.0,
                _ => return None,
            };
        rest = rest[end..].trim_start();
    }
    Duration::try_from_secs_f64(total).ok().filter(|time| time.as_secs() < 1 << 40).map(Some)
}

/// Stands for a `;` that begins another command.
const NEXT: &str = "\0;";

/// Splits a line into words, with quotes and C's escapes (systemd.syntax(7)).
fn words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut plain = true;
    let mut rest = line.chars();
    while let Some(c) = rest.next() {
        match c {
            '\\' => {
                plain = false;
                word.get_or_insert_default().push(escape(&mut rest)?);
            }
            c if quote == Some(c) => quote = None,
            c if quote.is_some() => word.get_or_insert_default().push(c),
            '"' | '\'' => {
                (quote, plain) = (Some(c), false);
                word.get_or_insert_default();
            }
            c if c.is_whitespace() => {
                words.extend(word.take().map(|word| if plain && word == ";" { NEXT.into() } else { word }));
                plain = true;
            }
            c => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed".into());
    }
    words.extend(word.map(|word| if plain && word == ";" { NEXT.into() } else { word }));
    Ok(words)
}

/// The character after a backslash.
fn escape(rest: &mut std::str::Chars<'_>) -> Result<char, String> {
    let Some(c) = rest.next() else { return Err("it ends with a backslash".into()) };
    let mut number = |digits: usize, base: u32, first: Option<char>| {
        let text: String = first.into_iter().chain(rest.by_ref().take(digits)).collect();
        let number = u32::from_str_radix(&text, base).ok().filter(|number| *number != 0);
        number.and_then(char::from_u32).ok_or_else(|| format!("{text:?} is the number of no character"))
    };
    Ok(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        's' => ' ',
        '\\' | '"' | '\'' | ';' => c,
        'x' => number(2, 16, None)?,
        'u' => number(4, 16, None)?,
        'U' => number(8, 16, None)?,
        '0'..='7' => number(2, 8, Some(c))?,
        other => return Err(format!("\\{other} is no escape that systemd knows")),
    })
}
