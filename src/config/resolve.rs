//! PURE: from raw files to jobs. Values are read into layers, layers are laid over each other
//! (profiles from left to right, then the job), and what is still open gets its default.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};

use super::problem::{At, KeyPath, Problem};
use super::profiles::Profiles;
use super::schema::{
    Argv, AttachTable, ConstraintsTable, ExecTable, FileKind, JobFile, LimitTable, LogsTable, MatchTable,
    NotTable, OneOrMore, RestartTable, RlimitsTable, Scalar, ScheduleTable, StopTable, TimeoutsTable, fields,
};
use super::suggest::nearest;
use crate::model::constraints::{Constraints, CpuLimit, IoClass};
use crate::model::cpus::CpuSet;
use crate::model::ids::{JobId, NameError, check_name};
use crate::model::job::{
    Attach, Exec, Intent, Job, Lifecycle, LogBounds, Match, Not, OnRemove, Output, Restart, RestartPolicy,
    SendTo, StartLimit, Stop, Target, Timeouts, Workload,
};
use crate::model::matching;
use crate::model::process::Pid;
use crate::model::rlimit::{Resource, Rlimit, RlimitError};
use crate::model::schedule::{DayTime, Days, Window};
use crate::model::signal::Signal;
use crate::model::units::{ByteSize, UnitError, parse_duration};

/// A file's values, typed and checked one by one. What the file does not say is `None` or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layer {
    /// The profiles it builds on.
    pub profiles: Vec<String>,
    /// What it asks of the kernel.
    pub constraints: Constraints,
    strict: Option<bool>,
    /// The windows of its schedule.
    pub schedule: Option<Vec<WindowLayer>>,
    description: Option<String>,
    enabled: Option<bool>,
    lifecycle: Option<Lifecycle>,
    intent: Option<Intent>,
    sla_eligible: Option<bool>,
    tags: BTreeMap<String, String>,
    exec: ExecLayer,
    attach: Option<Attach>,
    policy: Option<RestartPolicy>,
    delay: Option<Duration>,
    max_delay: Option<Duration>,
    reset_after: Option<Duration>,
    limit: Option<StartLimit>,
    success_exit_codes: Option<BTreeSet<u8>>,
    signal: Option<Signal>,
    send: Option<SendTo>,
    stop_timeout: Option<Duration>,
    on_remove: Option<OnRemove>,
    run_timeout: Option<Duration>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct ExecLayer {
    command: Option<Vec<String>>,
    working_dir: Option<PathBuf>,
    env: BTreeMap<String, String>,
    env_files: Option<Vec<PathBuf>>,
    user: Option<String>,
    group: Option<String>,
    umask: Option<u32>,
    rlimits: BTreeMap<Resource, Rlimit>,
    output: Option<Output>,
    log: LogBounds,
}

/// A window of a schedule, with nothing but what it says itself.
#[derive(Debug, Clone, PartialEq)]
pub struct WindowLayer {
    /// The profiles whose constraints it takes.
    pub profiles: Vec<String>,
    window: Window,
    strict: Option<bool>,
}

/// A job that a file declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// The job.
    pub job: Job,
    /// It is meant to run.
    pub enabled: bool,
}

/// What a job file comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resolved {
    /// Its jobs: one, or one per instance. Empty if something is wrong.
    pub jobs: Vec<Declared>,
    /// The (first) job as far as it could be read, if something is wrong. For the linter only: the
    /// values that are wrong are missing from it.
    pub attempt: Option<Declared>,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Resolves a job file. `stem` is the file's name without its ending.
#[must_use]
pub fn resolve(stem: &str, file: &JobFile, profiles: &Profiles) -> Resolved {
    resolve_with(stem, file, profiles, pattern_problem)
}

/// The same for what a command line says, in which there are no rules to find processes by. So `ffrtmp`, one
/// of which runs per job, is spared an engine for regular expressions.
#[must_use]
pub fn resolve_command(name: &str, file: &JobFile, profiles: &Profiles) -> Resolved {
    debug_assert!(file.attach.is_none());
    resolve_with(name, file, profiles, |_, _| None)
}

/// What is wrong with the regular expression of a layer, for any of these jobs.
type CheckPattern = fn(&[(JobId, &str)], &mut Layer) -> Option<Problem>;

fn resolve_with(stem: &str, file: &JobFile, profiles: &Profiles, check_pattern: CheckPattern) -> Resolved {
    let (own, mut problems) = layer(file, FileKind::Job);
    if let Err(error) = check_name(stem) {
        problems.push(bad_name("job", stem, &error, At::File));
    }
    let base = profiles.apply(&own.profiles).unwrap_or_else(|found| {
        problems.extend(found);
        Layer::default()
    });
    let mut merged = overlay(base, own);
    let mut schedule = merged.schedule.take().unwrap_or_default();
    let before = problems.len();
    for (n, WindowLayer { profiles: names, window, strict }) in schedule.iter_mut().enumerate() {
        match profiles.apply(names) {
            Ok(base) => {
                window.constraints = laid_over(base.constraints, std::mem::take(&mut window.constraints));
                *strict = strict.or(base.strict);
            }
            Err(found) => {
                let table = KeyPath::of("schedule").index(n);
                problems.extend(found.into_iter().map(|problem| problem.below(&table)));
            }
        }
    }
    // Without its profiles a window would be judged for what it does not say.
    merged.schedule = (problems.len() == before).then_some(schedule);
    workload_problems(file, &merged, &mut problems);
    let entries = instances(file, &mut problems);
    if entries.len() > 1 && expanded_size(&mut merged, entries.len()) > MOST_EXPANDED {
        problems.push(too_many_instances(format!(
            "the jobs of this template come to more than {} MiB",
            MOST_EXPANDED >> 20
        )));
    }
    if file.instances.is_none() && uses_instance(&mut merged) {
        problems.push(
            Problem::error(
                "instance-outside-template",
                At::File,
                "`%i` is used, but the file has no `instances`",
            )
            .help("add `instances = [...]`, or write `%%i` for the two characters"),
        );
    }
    let name = |entry: &Option<String>| match entry {
        Some(entry) => JobId::instance(stem, entry).ok(),
        None => JobId::new(stem).ok(),
    };
    let named = entries.iter().filter_map(|entry| Some((name(entry)?, entry.as_deref().unwrap_or(""))));
    problems.extend(check_pattern(&named.collect::<Vec<_>>(), &mut merged));
    let declare = |layer: Layer, entry: &Option<String>| {
        let id = name(entry)?;
        let expanded = expand(layer, &id, entry.as_deref().unwrap_or(""));
        finish(id, expanded)
    };
    let Some((last, others)) = entries.split_last() else {
        return Resolved { problems, ..Resolved::default() };
    };
    if !problems.is_empty() {
        let first = others.first().unwrap_or(last);
        return Resolved { jobs: Vec::new(), attempt: declare(merged, first), problems };
    }
    let mut jobs: Vec<Declared> = others.iter().filter_map(|entry| declare(merged.clone(), entry)).collect();
    jobs.extend(declare(merged, last));
    Resolved { jobs, attempt: None, problems }
}

/// Reads the values of a job file or profile, one by one.
#[must_use]
pub fn layer(file: &JobFile, kind: FileKind) -> (Layer, Vec<Problem>) {
    let mut read = Reader::default();
    let layer = read.layer(file);
    if kind == FileKind::Profile {
        let command = file.exec.as_ref().is_some_and(|exec| exec.command.is_some());
        for (path, present) in [
            ("instances", file.instances.is_some()),
            ("attach", file.attach.is_some()),
            ("exec.command", command),
        ] {
            if present {
                let path = KeyPath::of(path);
                let message = format!("a profile has no `{path}`");
                read.error(
                    "not-in-profile",
                    At::Key(path),
                    message,
                    "profiles hold what jobs share; this belongs into each job's own file",
                );
            }
        }
    }
    (layer, read.problems)
}

/// Lays one layer over another. Single values and lists replace, tables of free keys are merged.
#[must_use]
pub fn overlay(base: Layer, over: Layer) -> Layer {
    let o = over;
    fn merge<K: Ord, V>(mut base: BTreeMap<K, V>, over: BTreeMap<K, V>) -> BTreeMap<K, V> {
        base.extend(over);
        base
    }
    Layer {
        profiles: o.profiles,
        constraints: laid_over(base.constraints, o.constraints),
        strict: o.strict.or(base.strict),
        schedule: o.schedule.or(base.schedule),
        description: o.description.or(base.description),
        enabled: o.enabled.or(base.enabled),
        lifecycle: o.lifecycle.or(base.lifecycle),
        intent: o.intent.or(base.intent),
        sla_eligible: o.sla_eligible.or(base.sla_eligible),
        tags: merge(base.tags, o.tags),
        exec: ExecLayer {
            command: o.exec.command.or(base.exec.command),
            working_dir: o.exec.working_dir.or(base.exec.working_dir),
            env: merge(base.exec.env, o.exec.env),
            env_files: o.exec.env_files.or(base.exec.env_files),
            user: o.exec.user.or(base.exec.user),
            group: o.exec.group.or(base.exec.group),
            umask: o.exec.umask.or(base.exec.umask),
            rlimits: merge(base.exec.rlimits, o.exec.rlimits),
            output: o.exec.output.or(base.exec.output),
            log: LogBounds {
                max_size: o.exec.log.max_size.or(base.exec.log.max_size),
                keep: o.exec.log.keep.or(base.exec.log.keep),
                compress: o.exec.log.compress.or(base.exec.log.compress),
            },
        },
        attach: o.attach.or(base.attach),
        policy: o.policy.or(base.policy),
        delay: o.delay.or(base.delay),
        max_delay: o.max_delay.or(base.max_delay),
        reset_after: o.reset_after.or(base.reset_after),
        limit: o.limit.or(base.limit),
        success_exit_codes: o.success_exit_codes.or(base.success_exit_codes),
        signal: o.signal.or(base.signal),
        send: o.send.or(base.send),
        stop_timeout: o.stop_timeout.or(base.stop_timeout),
        on_remove: o.on_remove.or(base.on_remove),
        run_timeout: o.run_timeout.or(base.run_timeout),
    }
}

/// Constraints with others laid over them. `strict` is not among them: a layer has its own.
fn laid_over(base: Constraints, over: Constraints) -> Constraints {
    Constraints {
        cpu: over.cpu.or(base.cpu),
        cpu_weight: over.cpu_weight.or(base.cpu_weight),
        memory_limit: over.memory_limit.or(base.memory_limit),
        memory_high: over.memory_high.or(base.memory_high),
        memory_swap: over.memory_swap.or(base.memory_swap),
        io_weight: over.io_weight.or(base.io_weight),
        io_max: over.io_max.or(base.io_max),
        nice: over.nice.or(base.nice),
        oom_score_adj: over.oom_score_adj.or(base.oom_score_adj),
        tasks_max: over.tasks_max.or(base.tasks_max),
        cpus: over.cpus.or(base.cpus),
        io_class: over.io_class.or(base.io_class),
        strict: false,
    }
}

/// Fills in the defaults. `None` without a workload, which [`workload_problems`] has told.
fn finish(id: JobId, layer: Layer) -> Option<Declared> {
    let lifecycle = layer.lifecycle.unwrap_or_default();
    let workload = match (layer.attach, layer.exec.command) {
        (Some(attach), _) => Workload::Attach(attach),
        (None, Some(command)) => Workload::Exec(Exec {
            command,
            working_dir: layer.exec.working_dir,
            env: layer.exec.env,
            env_files: layer.exec.env_files.unwrap_or_default(),
            user: layer.exec.user,
            group: layer.exec.group,
            umask: layer.exec.umask,
            rlimits: layer.exec.rlimits,
            output: layer.exec.output.unwrap_or_default(),
            log: layer.exec.log,
        }),
        (None, None) => return None,
    };
    let attached = matches!(workload, Workload::Attach(_));
    let strict = layer.strict.unwrap_or(false);
    let window = |WindowLayer { window, strict: own, .. }| {
        let constraints = laid_over(layer.constraints.clone(), window.constraints);
        Window { constraints: Constraints { strict: own.unwrap_or(strict), ..constraints }, ..window }
    };
    let job = Job {
        id,
        description: layer.description,
        profiles: layer.profiles,
        lifecycle,
        intent: layer.intent.unwrap_or_default(),
        sla_eligible: layer.sla_eligible.unwrap_or(false),
        tags: layer.tags,
        schedule: layer.schedule.into_iter().flatten().map(window).collect(),
        active: None,
        constraints: Constraints { strict, ..layer.constraints },
        restart: Restart {
            policy: layer.policy.unwrap_or(match lifecycle {
                Lifecycle::Oneshot => RestartPolicy::Never,
                Lifecycle::Continuous => RestartPolicy::Always,
            }),
            delay: layer.delay.unwrap_or(Duration::from_secs(1)),
            max_delay: layer.max_delay.unwrap_or(Duration::from_secs(60)),
            reset_after: layer.reset_after.unwrap_or(Duration::from_secs(300)),
            limit: layer.limit,
            success_exit_codes: layer.success_exit_codes.unwrap_or_else(|| BTreeSet::from([0])),
        },
        stop: Stop {
            signal: layer.signal.unwrap_or(match &workload {
                Workload::Exec(exec) if exec.is_gst_launch() => Signal::INT,
                _ => Signal::TERM,
            }),
            send: layer.send.unwrap_or_default(),
            timeout: layer.stop_timeout.unwrap_or(Duration::from_secs(10)),
            // What we did not start, we never end.
            on_remove: if attached { OnRemove::Leave } else { layer.on_remove.unwrap_or(OnRemove::Stop) },
        },
        timeouts: Timeouts { run: layer.run_timeout },
        workload,
    };
    Some(Declared { job, enabled: layer.enabled.unwrap_or(true) })
}

fn workload_problems(file: &JobFile, merged: &Layer, problems: &mut Vec<Problem>) {
    let attach = file.attach.is_some();
    if attach && file.exec.is_some() {
        problems.push(
            Problem::error(
                "exec-and-attach",
                At::Key(KeyPath::of("attach")),
                "a job has either [exec] or [attach]",
            )
            .help("[exec] starts a workload, [attach] takes over one that runs: remove one of the two"),
        );
    } else if !attach && file.exec.is_none() {
        problems.push(
            Problem::error("no-workload", At::File, "the job has neither [exec] nor [attach]")
                .help("add [exec] with `command = [\"program\", \"argument\"]`"),
        );
    } else if !attach && merged.exec.command.is_none() && problems.is_empty() {
        problems.push(
            Problem::error("no-workload", At::Key(KeyPath::of("exec")), "[exec] has no `command`")
                .help("add `command = [\"program\", \"argument\"]`"),
        );
    }
    if file.instances.is_some() && merged.attach.as_ref().is_some_and(|attach| attach.all) {
        problems.push(
            Problem::error(
                "all-in-template",
                At::Value(KeyPath::of("attach.all")),
                "`all` makes a run <job>@<pid> of each process, and `instances` a job <job>@<entry> of each entry",
            )
            .help("remove one of the two: `all` finds every process that fits without them"),
        );
    }
    if attach && merged.on_remove == Some(OnRemove::Stop) {
        let at = At::Value(KeyPath::of("stop.on_remove"));
        problems.push(
            Problem::error("stop-of-attached", at, "an attached workload is never ended, only let go")
                .help("remove `on_remove`, or write \"leave\""),
        );
    }
}

/// Most instances of a template, and most bytes that its values come to in all of them: enough for
/// any machine, and little enough that no file can fill the memory.
const MOST_INSTANCES: usize = 1_000;
const MOST_EXPANDED: usize = 16 << 20;

/// Where a job file says how much of its log is kept.
const LOG_PATHS: [&str; 2] = ["exec.log.max_size", "exec.log.keep"];

/// Kinds of systemd units that processes are in.
const UNIT_SUFFIXES: [&str; 3] = [".service", ".scope", ".slice"];

/// Most windows of a schedule: they are compared with each other, and each is a copy of all constraints.
const MOST_WINDOWS: usize = 32;

/// An upper bound of the bytes that the values of a template come to in all its instances.
fn expanded_size(layer: &mut Layer, entries: usize) -> usize {
    let mut size = 0usize;
    let longest = 2 * crate::model::ids::MAX_NAME + 1;
    texts(layer, &mut |text| size += text.len() + text.matches('%').count() * longest);
    size.saturating_mul(entries)
}

/// The entries of a template, or one `None` for a job of its own.
fn instances(file: &JobFile, problems: &mut Vec<Problem>) -> Vec<Option<String>> {
    let Some(entries) = &file.instances else { return vec![None] };
    let path = KeyPath::of("instances");
    if entries.is_empty() {
        problems.push(
            Problem::error(
                "no-instances",
                At::Value(path.clone()),
                "`instances` is empty: the file declares no job",
            )
            .help("name an instance, or write `enabled = false`"),
        );
    }
    if entries.len() > MOST_INSTANCES {
        problems.push(too_many_instances(format!(
            "`instances` has {} entries; at most {MOST_INSTANCES} are allowed",
            entries.len()
        )));
        return vec![None];
    }
    let mut seen = BTreeSet::new();
    for (n, entry) in entries.iter().enumerate() {
        let at = At::Value(path.clone().index(n));
        if let Err(error) = check_name(entry) {
            problems.push(bad_name("instance", entry, &error, at));
        } else if !seen.insert(entry) {
            problems.push(
                Problem::error("duplicate-instance", at, format!("instance `{entry}` is named twice"))
                    .help("remove one of the two"),
            );
        }
    }
    entries.iter().cloned().map(Some).collect()
}

fn too_many_instances(message: String) -> Problem {
    Problem::error("too-many-instances", At::Value(KeyPath::of("instances")), message)
        .help("spread them over several files")
}

fn bad_name(what: &str, name: &str, error: &NameError, at: At) -> Problem {
    let help = match what {
        "job" => "rename the file: the job's name is the file's name without `.toml`",
        _ => "use a-z, 0-9, '.', '_' and '-', beginning with a letter or digit, at most 64 characters",
    };
    Problem::error("bad-name", at, format!("{name:?} is no {what} name: {error}")).help(help)
}

/// Replaces `%i` by the instance, `%n` by the job's name and `%%` by `%`. Any other `%` stands for
/// itself, so that `segment_%03d.ts` needs no care.
fn expand_text(text: &str, id: &str, entry: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        result.push_str(&rest[..at]);
        let (replacement, skip) = match rest.as_bytes().get(at + 1) {
            Some(b'i') => (entry, 2),
            Some(b'n') => (id, 2),
            Some(b'%') => ("%", 2),
            _ => ("%", 1),
        };
        result.push_str(replacement);
        rest = &rest[at + skip..];
    }
    result + rest
}

/// Applies a change to every text of a layer in which `%i` and `%n` have a meaning.
fn texts(layer: &mut Layer, change: &mut dyn FnMut(&mut String)) {
    let mut path = |path: &mut PathBuf| {
        // Made from a text, so this gives it back.
        if let Ok(mut text) = std::mem::take(path).into_os_string().into_string() {
            change(&mut text);
            *path = text.into();
        }
    };
    layer.exec.working_dir.iter_mut().for_each(&mut path);
    layer.exec.env_files.iter_mut().flatten().for_each(&mut path);
    match layer.attach.as_mut().map(|attach| &mut attach.target) {
        Some(Target::PidFile(file)) => path(file),
        Some(Target::Match(fit)) => {
            let Match { name, exe, args, user, parent, working_dir, cgroup, unit, not, .. } = &mut **fit;
            let paths = [&mut not.exe, &mut not.working_dir];
            let paths = paths.into_iter().flatten();
            exe.iter_mut().chain(working_dir).chain(paths).for_each(path);
            [name, args, user, parent, cgroup, unit].into_iter().flatten().for_each(&mut *change);
            let Not { name, args, user, parent, cgroup, unit, exe: _, working_dir: _ } = not;
            [name, args, user, parent, cgroup, unit].into_iter().flatten().for_each(&mut *change);
        }
        Some(Target::Pid(_)) | None => {}
    }
    layer.exec.command.iter_mut().flatten().for_each(&mut *change);
    layer.exec.env.values_mut().for_each(&mut *change);
    layer.tags.values_mut().for_each(&mut *change);
    [&mut layer.description, &mut layer.exec.user, &mut layer.exec.group]
        .into_iter()
        .flatten()
        .for_each(&mut *change);
}

fn expand(mut layer: Layer, id: &JobId, entry: &str) -> Layer {
    // In a regular expression a name means itself.
    let args: Vec<String> =
        args_of(&mut layer).into_iter().map(|(_, args)| expand_args(args, id, entry)).collect();
    texts(&mut layer, &mut |text| {
        if text.contains('%') {
            *text = expand_text(text, id.as_str(), entry);
        }
    });
    args_of(&mut layer).into_iter().zip(args).for_each(|((_, place), args)| *place = args);
    layer
}

fn expand_args(args: &str, id: &JobId, entry: &str) -> String {
    expand_text(args, &matching::literal(id.as_str()), &matching::literal(entry))
}

/// The regular expressions of a layer, and where they stand.
fn args_of(layer: &mut Layer) -> Vec<(&'static str, &mut String)> {
    match layer.attach.as_mut().map(|attach| &mut attach.target) {
        Some(Target::Match(fit)) => {
            let Match { args, not, .. } = &mut **fit;
            let own = args.iter_mut().map(|args| ("attach.match.args", args));
            own.chain(not.args.iter_mut().map(|args| ("attach.match.not.args", args))).collect()
        }
        _ => Vec::new(),
    }
}

/// The values of a list, and where each stands.
fn places<'a, T>(
    path: &'static str,
    list: Option<&'a OneOrMore<T>>,
) -> impl Iterator<Item = (KeyPath, &'a T)> {
    let at = move |n| match list {
        Some(OneOrMore::More(_)) => KeyPath::of(path).index(n),
        _ => KeyPath::of(path),
    };
    list.into_iter().flat_map(OneOrMore::values).enumerate().map(move |(n, value)| (at(n), value))
}

/// Tells of a regular expression that is none. It may be so for one instance alone.
fn pattern_problem(ids: &[(JobId, &str)], merged: &mut Layer) -> Option<Problem> {
    let all = args_of(merged).into_iter().flat_map(|(place, args)| {
        let told = if args.contains('%') { ids } else { ids.get(..1).unwrap_or_default() };
        told.iter().map(move |(id, entry)| (place, expand_args(args, id, entry)))
    });
    all.into_iter().find_map(|(place, text)| {
        let why = matching::pattern(&text).err()?;
        let at = At::Value(KeyPath::of(place));
        let help = "in such an expression . ( ) [ ] { } | * + ? ^ $ and \\ mean something: for themselves write a \\ before them";
        Some(Problem::error("bad-pattern", at, format!("{text:?} is no regular expression: {why}")).help(help))
    })
}

fn uses_instance(layer: &mut Layer) -> bool {
    let mut used = false;
    texts(layer, &mut |text| used |= text.contains("%i") && text.replace("%%", "").contains("%i"));
    used
}

/// Reads values, and notes what is wrong with them.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) problems: Vec<Problem>,
}

impl Reader {
    pub(super) fn error(
        &mut self,
        code: &'static str,
        at: At,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.push(Problem::error(code, at, message).help(help));
    }

    fn layer(&mut self, file: &JobFile) -> Layer {
        let default = JobFile::default();
        let mut layer = Layer {
            profiles: file.profiles.clone().unwrap_or_default(),
            description: self.text("description", file.description.as_ref()),
            enabled: file.enabled,
            lifecycle: self.choice("lifecycle", file.lifecycle.as_ref()),
            intent: self.choice("intent", file.intent.as_ref()),
            sla_eligible: file.sla_eligible,
            tags: file.tags.clone().unwrap_or_default(),
            exec: self.exec(file.exec.as_ref().unwrap_or(&ExecTable::default())),
            attach: file.attach.as_ref().and_then(|attach| self.attach(attach)),
            ..Layer::default()
        };
        let constraints = file.constraints.clone().unwrap_or_default();
        layer.strict = constraints.strict;
        layer.constraints = self.constraints(&constraints);
        layer.schedule = file.schedule.as_ref().map(|tables| self.schedule(tables));
        self.restart(file.restart.as_ref().unwrap_or(&RestartTable::default()), &mut layer);
        let stop = file.stop.as_ref();
        self.stop(stop.unwrap_or(&StopTable::default()), &mut layer);
        let timeouts = file.timeouts.as_ref().or(default.timeouts.as_ref());
        layer.run_timeout =
            self.positive("timeouts.run", timeouts.unwrap_or(&TimeoutsTable::default()).run.as_ref());
        layer
    }

    fn exec(&mut self, table: &ExecTable) -> ExecLayer {
        let env = table.env.clone().unwrap_or_default();
        for (key, value) in &env {
            let at = KeyPath::of("exec.env").key(key.clone());
            if key.is_empty() || key.contains(['=', '\0']) {
                self.error(
                    "bad-env-name",
                    At::Key(at.clone()),
                    format!("{key:?} is no name of an environment variable"),
                    "use letters, digits and '_'",
                );
            }
            self.no_nul(at, value);
        }
        ExecLayer {
            command: table.command.as_ref().and_then(|command| self.command(command)),
            working_dir: self.path("exec.working_dir", table.working_dir.as_ref()),
            env_files: table.env_files.as_ref().map(|files| {
                for (n, file) in files.iter().enumerate() {
                    self.absolute(KeyPath::of("exec.env_files").index(n), file.trim_start_matches('-'));
                }
                files.iter().map(PathBuf::from).collect()
            }),
            user: self.account("exec.user", table.user.as_ref()),
            group: self.account("exec.group", table.group.as_ref()),
            umask: table.umask.as_ref().and_then(|umask| self.umask(umask)),
            rlimits: table.rlimits.as_ref().map(|table| self.rlimits(table)).unwrap_or_default(),
            output: self.choice("exec.output", table.output.as_ref()),
            log: table.log.as_ref().map(|log| self.log_bounds(LOG_PATHS, log)).unwrap_or_default(),
            env,
        }
    }

    /// `[logs]` or `[exec.log]`, of which these are the paths of size and number.
    pub(super) fn log_bounds(&mut self, [size, keep]: [&'static str; 2], table: &LogsTable) -> LogBounds {
        let max_size = self.size(size, table.max_size.as_ref(), 0);
        if max_size.is_some_and(|size| size < LogBounds::LEAST_SIZE) {
            self.error(
                "out-of-range",
                At::Value(KeyPath::of(size)),
                format!("{size} is less than {}", LogBounds::LEAST_SIZE),
                format!("use {} or more; the default is 64MiB", LogBounds::LEAST_SIZE),
            );
        }
        let pieces = self.integer(keep, table.keep, 0, LogBounds::MOST_PIECES.into());
        LogBounds {
            max_size: max_size.filter(|size| *size >= LogBounds::LEAST_SIZE),
            keep: pieces.and_then(|keep| u32::try_from(keep).ok()),
            compress: table.compress,
        }
    }

    fn command(&mut self, command: &Argv) -> Option<Vec<String>> {
        let path = KeyPath::of("exec.command");
        match command {
            Argv::Line(line) => {
                let words: Vec<String> = line.split_whitespace().map(|word| format!("{word:?}")).collect();
                self.error(
                    "shell-string",
                    At::Value(path),
                    "`command` is one string; it has to be a list with one string for each argument",
                    format!(
                        "no shell is involved, so write `command = [{}]`; where you do need a shell: \
                         [\"/bin/sh\", \"-c\", \"...\"]",
                        words.join(", ")
                    ),
                );
                None
            }
            Argv::List(list) if list.first().is_none_or(|program| program.is_empty()) => {
                self.error(
                    "empty-command",
                    At::Value(path),
                    "`command` names no program",
                    "its first entry is the program",
                );
                None
            }
            Argv::List(list) => {
                for (n, argument) in list.iter().enumerate() {
                    self.no_nul(path.clone().index(n), argument);
                }
                if list[0].contains('/') {
                    self.absolute(path.index(0), &list[0]);
                }
                Some(list.clone())
            }
        }
    }

    fn attach(&mut self, table: &AttachTable) -> Option<Attach> {
        let given = [table.pid.is_some(), table.pid_file.is_some(), table.match_.is_some()];
        if given.iter().filter(|given| **given).count() != 1 {
            self.error(
                "attach-one-of",
                At::Key(KeyPath::of("attach")),
                "[attach] needs exactly one of `pid`, `pid_file` and `match`",
                "keep the one that tells which process is meant",
            );
            return None;
        }
        let (all, relocate) = (table.all.unwrap_or(false), table.move_.unwrap_or(false));
        if all && table.match_.is_none() {
            self.error(
                "all-without-match",
                At::Value(KeyPath::of("attach.all")),
                "`all` is for `match`: the other two name one process",
                "remove `all`, or describe the processes with `match`",
            );
        }
        let of = |target| Attach { target, all, relocate };
        if let Some(number) = self.integer("attach.pid", table.pid, 2, 4_194_304) {
            let pid = u32::try_from(number).ok().and_then(Pid::new)?;
            return Some(of(Target::Pid(pid)));
        }
        if let Some(file) = self.path("attach.pid_file", table.pid_file.as_ref()) {
            return Some(of(Target::PidFile(file)));
        }
        table.match_.as_ref().and_then(|fit| self.matching(fit)).map(|fit| of(Target::Match(Box::new(fit))))
    }

    fn matching(&mut self, table: &MatchTable) -> Option<Match> {
        let fit = Match {
            name: self.text("attach.match.name", table.name.as_ref()),
            exe: self.path("attach.match.exe", table.exe.as_ref()),
            args: self.text("attach.match.args", table.args.as_ref()),
            user: self.account("attach.match.user", table.user.as_ref()),
            parent: self.text("attach.match.parent", table.parent.as_ref()),
            cgroup: table
                .cgroup
                .clone()
                .inspect(|path| self.absolute(KeyPath::of("attach.match.cgroup"), path)),
            unit: table.unit.clone().inspect(|unit| self.unit(KeyPath::of("attach.match.unit"), unit)),
            working_dir: self.path("attach.match.working_dir", table.working_dir.as_ref()),
            min_runtime: self.duration("attach.match.min_runtime", table.min_runtime.as_ref()),
            max_runtime: self.positive("attach.match.max_runtime", table.max_runtime.as_ref()),
            not: table.not.as_ref().map(|not| self.not(not)).unwrap_or_default(),
        };
        if let (Some(least), Some(most)) = (fit.min_runtime, fit.max_runtime)
            && most <= least
        {
            self.error(
                "match-nothing",
                At::Value(KeyPath::of("attach.match.max_runtime")),
                "no process has been running for `min_runtime` and less than `max_runtime`",
                "make `max_runtime` the longer of the two",
            );
        }
        // Everybody is in the root, and every text contains an empty one.
        let said = [
            table.name.is_some(),
            table.exe.is_some(),
            table.args.as_ref().is_some_and(|args| !args.is_empty()),
            table.user.is_some(),
            table.parent.is_some(),
            table.working_dir.as_ref().is_some_and(|path| path != "/"),
            table.cgroup.as_ref().is_some_and(|path| path != "/"),
            table.unit.is_some(),
        ];
        if !said.contains(&true) {
            self.error(
                "match-all",
                At::Key(KeyPath::of("attach.match")),
                "`match` fits every process",
                "say which program is meant, with `name`, `exe`, `args`, `user`, `parent`, `working_dir`, `cgroup` or `unit`",
            );
            return None;
        }
        Some(fit)
    }

    fn not(&mut self, table: &NotTable) -> Not {
        // Everybody is below the root, and every text contains an empty one.
        let not_all = |reader: &mut Self, at: KeyPath, text: &str, all: &str| {
            if text == all {
                let help = "leave it out, or name what is not meant";
                reader.error(
                    "match-nothing",
                    At::Value(at),
                    "this holds for every process: none is left",
                    help,
                );
            }
        };
        let folder = |reader: &mut Self, at: KeyPath, text: &str| {
            reader.absolute(at.clone(), text);
            not_all(reader, at, text, "/");
        };
        let args = |reader: &mut Self, at: KeyPath, text: &str| {
            reader.no_nul(at.clone(), text);
            not_all(reader, at, text, "");
        };
        let paths = |list: Vec<String>| list.into_iter().map(PathBuf::from).collect();
        let mut user = Vec::new();
        for (at, value) in places("attach.match.not.user", table.user.as_ref()) {
            user.extend(self.account_at(at, value));
        }
        Not {
            name: self.each("attach.match.not.name", table.name.as_ref(), Self::no_nul),
            exe: paths(self.each("attach.match.not.exe", table.exe.as_ref(), Self::absolute)),
            args: self.each("attach.match.not.args", table.args.as_ref(), args),
            user,
            parent: self.each("attach.match.not.parent", table.parent.as_ref(), Self::no_nul),
            working_dir: paths(self.each("attach.match.not.working_dir", table.working_dir.as_ref(), folder)),
            cgroup: self.each("attach.match.not.cgroup", table.cgroup.as_ref(), folder),
            unit: self.each("attach.match.not.unit", table.unit.as_ref(), Self::unit),
        }
    }

    /// The texts of a list, each of them checked.
    fn each(
        &mut self,
        path: &'static str,
        list: Option<&OneOrMore<String>>,
        check: impl Fn(&mut Self, KeyPath, &str),
    ) -> Vec<String> {
        let mut texts = Vec::new();
        for (at, text) in places(path, list) {
            check(self, at, text);
            texts.push(text.clone());
        }
        texts
    }

    fn unit(&mut self, path: KeyPath, unit: &str) {
        self.no_nul(path.clone(), unit);
        let name = UNIT_SUFFIXES.iter().find_map(|suffix| unit.strip_suffix(suffix));
        if name.is_none_or(str::is_empty) || unit.contains('/') {
            let help = match unit.contains(['/', '.']) || unit.is_empty() {
                true => format!("write its name with one of {}", UNIT_SUFFIXES.join(", ")),
                false => format!("did you mean \"{unit}.service\"?"),
            };
            let message = format!("{unit:?} is no systemd unit that processes are in");
            self.error("not-a-systemd-unit", At::Value(path), message, help);
        }
    }

    fn constraints(&mut self, table: &ConstraintsTable) -> Constraints {
        if table.cpu_quota.is_some() && table.cpu_max.is_some() {
            self.error(
                "cpu-quota-and-max",
                At::Key(KeyPath::of("constraints.cpu_max")),
                "`cpu_quota` and `cpu_max` are two spellings of the same limit",
                "keep one of the two",
            );
        }
        let quota = self.integer("constraints.cpu_quota", table.cpu_quota, 0, 1_000_000);
        let quota = quota.and_then(|percent| u32::try_from(percent).ok()).map(CpuLimit::Quota);
        let max = table.cpu_max.as_ref().and_then(|text| self.cpu_max(text));
        let strings = |texts: &Vec<String>| texts.iter().map(|text| text.trim().to_owned()).collect();
        for (n, line) in table.io_max.iter().flatten().enumerate() {
            self.io_max(n, line);
        }
        Constraints {
            cpu: quota.or(max),
            cpu_weight: self.integer("constraints.cpu_weight", table.cpu_weight, 1, 10_000).map(|v| v as u16),
            memory_limit: self.size("constraints.memory_limit", table.memory_limit.as_ref(), 1),
            memory_high: self.size("constraints.memory_high", table.memory_high.as_ref(), 1),
            memory_swap: self.size("constraints.memory_swap", table.memory_swap.as_ref(), 0),
            io_weight: self.integer("constraints.io_weight", table.io_weight, 1, 100).map(|v| v as u8),
            io_max: table.io_max.as_ref().map(strings),
            nice: self.integer("constraints.nice", table.nice, -20, 19).map(|v| v as i8),
            oom_score_adj: self
                .integer("constraints.oom_score_adj", table.oom_score_adj, -1000, 1000)
                .map(|v| v as i16),
            tasks_max: self
                .integer("constraints.tasks_max", table.tasks_max, 1, 4_194_304)
                .map(i64::unsigned_abs),
            cpus: table.cpus.as_ref().and_then(|text| self.cpus(text)),
            io_class: table.io_class.as_ref().and_then(|text| self.io_class(text)),
            strict: false,
        }
    }

    fn cpu_max(&mut self, text: &str) -> Option<CpuLimit> {
        const RANGE: std::ops::RangeInclusive<u64> = 1_000..=1_000_000;
        let mut words = text.split_whitespace();
        let quota = match words.next() {
            Some("max") => Some(None),
            Some(word) => word.parse().ok().filter(|quota| *quota >= 1_000).map(Some),
            None => None,
        };
        let period = words.next().map_or(Some(100_000), |word| word.parse().ok());
        let period = period.filter(|period| RANGE.contains(period));
        if let (Some(quota_us), Some(period_us), None) = (quota, period, words.next()) {
            return Some(CpuLimit::Max { quota_us, period_us });
        }
        self.error(
            "bad-cpu-max",
            At::Value(KeyPath::of("constraints.cpu_max")),
            format!("{text:?} is not what cpu.max takes"),
            "write \"QUOTA PERIOD\" in microseconds, as \"50000 100000\" for half a core, or \"max\"; \
             the quota is at least 1000, the period 1000 to 1000000",
        );
        None
    }

    fn io_max(&mut self, n: usize, line: &str) {
        let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let mut words = line.split_whitespace();
        let device =
            words.next().and_then(|dev| dev.split_once(':')).is_some_and(|(a, b)| number(a) && number(b));
        let mut limits = 0;
        let good = words.all(|word| {
            limits += 1;
            word.split_once('=').is_some_and(|(key, value)| {
                matches!(key, "rbps" | "wbps" | "riops" | "wiops") && (value == "max" || number(value))
            })
        });
        if !(device && good && limits > 0) {
            self.error(
                "bad-io-max",
                At::Value(KeyPath::of("constraints.io_max").index(n)),
                format!("{line:?} is not what io.max takes"),
                "write \"MAJOR:MINOR\" and one or more of rbps=, wbps=, riops=, wiops=, as \"8:0 wbps=10485760\"; \
                 `lsblk -o NAME,MAJ:MIN` shows the devices",
            );
        }
    }

    fn cpus(&mut self, text: &str) -> Option<CpuSet> {
        let set = CpuSet::parse(text).ok();
        if set.is_none() {
            self.error(
                "bad-cpus",
                At::Value(KeyPath::of("constraints.cpus")),
                format!("{text:?} is no list of CPUs"),
                "write numbers and ranges, as \"0-3,8\"",
            );
        }
        set
    }

    fn io_class(&mut self, text: &str) -> Option<IoClass> {
        let (class, level) = text.split_once(':').map_or((text, None), |(class, level)| (class, Some(level)));
        let level = match level {
            None => Some(4),
            Some(level) => level.parse::<u8>().ok().filter(|level| *level <= 7),
        };
        match (class, level) {
            ("idle", _) if text == "idle" => return Some(IoClass::Idle),
            ("best-effort", Some(level)) => return Some(IoClass::BestEffort(level)),
            ("realtime", Some(level)) => return Some(IoClass::Realtime(level)),
            _ => {}
        }
        self.error(
            "bad-io-class",
            At::Value(KeyPath::of("constraints.io_class")),
            format!("{text:?} is no I/O class"),
            "write \"idle\", \"best-effort:0\" to \"best-effort:7\", or \"realtime:0\" to \"realtime:7\"",
        );
        None
    }

    fn schedule(&mut self, tables: &[ScheduleTable]) -> Vec<WindowLayer> {
        let path = KeyPath::of("schedule");
        if tables.len() > MOST_WINDOWS {
            self.error(
                "too-many-windows",
                At::Key(path),
                format!("`schedule` has {} windows; at most {MOST_WINDOWS} are allowed", tables.len()),
                "days that are alike can share a window: days = [\"mon-fri\"]",
            );
            return Vec::new();
        }
        let mut windows = Vec::new();
        let mut good = true;
        for (n, table) in tables.iter().enumerate() {
            let mut read = Self::default();
            windows.extend(read.window(table));
            good &= read.problems.is_empty();
            let table = path.clone().index(n);
            self.problems.extend(read.problems.into_iter().map(|problem| problem.below(&table)));
        }
        // With one missing the others would have wrong places.
        if good { windows } else { Vec::new() }
    }

    /// A window; places are told from its own table on.
    fn window(&mut self, table: &ScheduleTable) -> Option<WindowLayer> {
        let days = match &table.days {
            None => Some(Days::ALL),
            Some(names) => {
                let known = names.iter().enumerate().map(|(n, name)| self.days(n, name));
                known.collect::<Vec<_>>().into_iter().try_fold(Days::NONE, |days, more| Some(days.and(more?)))
            }
        };
        let from = table.from.as_ref().map_or(Some(DayTime::START), |text| self.day_time("from", text));
        let to = table.to.as_ref().map_or(Some(DayTime::END), |text| self.day_time("to", text));
        // Both are midnight; as an end it is that of the day.
        let to = to.map(|to| if to == DayTime::START { DayTime::END } else { to });
        let timezone = self.text("timezone", table.timezone.as_ref());
        let constraints =
            self.constraints(table.constraints.as_ref().unwrap_or(&ConstraintsTable::default()));
        let (days, from, to) = (days?, from?, to?);
        if days == Days::NONE {
            let at = At::Value(KeyPath::of("days"));
            let help = "name a day, or leave `days` out for every day";
            self.error("schedule-never", at, "the window begins on no day", help);
        }
        if from == to || from == DayTime::END {
            let message = format!("the window goes from {from} to {to}, which is no time at all");
            let help = "for a whole day leave `from` and `to` out, or write \"00:00\" and \"24:00\"";
            self.error("schedule-never", At::Value(KeyPath::of("from")), message, help);
        }
        let window = Window { days, from, to, timezone, constraints };
        let profiles = table.profiles.clone().unwrap_or_default();
        Some(WindowLayer { profiles, window, strict: table.constraints.as_ref().and_then(|c| c.strict) })
    }

    fn days(&mut self, n: usize, name: &str) -> Option<Days> {
        let days = Days::parse(name);
        if days.is_none() {
            let known = || Days::NAMES.iter().map(|(name, _)| *name);
            // Written out, as in `monday`.
            let near =
                known().take(7).find(|day| name.to_lowercase().starts_with(day) && !name.contains('-'));
            let help = match near.or_else(|| nearest(name, known())) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!(
                    "write one of {}, or a range as \"mon-fri\"",
                    known().collect::<Vec<_>>().join(", ")
                ),
            };
            let at = At::Value(KeyPath::of("days").index(n));
            self.error("unknown-value", at, format!("{name:?} is no day of the week"), help);
        }
        days
    }

    fn day_time(&mut self, key: &'static str, text: &str) -> Option<DayTime> {
        let time = DayTime::parse(text);
        if time.is_none() {
            // A digit is missing, most often.
            let padded = format!("0{text}");
            let help = match DayTime::parse(&padded) {
                Some(_) => format!("did you mean \"{padded}\"?"),
                None => "write hours and minutes of a day of 24 hours, as \"06:00\" or \"22:30\"".into(),
            };
            self.error("bad-time", At::Value(KeyPath::of(key)), format!("{text:?} is no time of day"), help);
        }
        time
    }

    fn restart(&mut self, table: &RestartTable, layer: &mut Layer) {
        layer.policy = self.choice("restart.policy", table.policy.as_ref());
        layer.delay = self.positive("restart.delay", table.delay.as_ref());
        layer.max_delay = self.positive("restart.max_delay", table.max_delay.as_ref());
        layer.reset_after = self.positive("restart.reset_after", table.reset_after.as_ref());
        layer.limit = table.limit.as_ref().and_then(|limit| self.limit(limit));
        layer.success_exit_codes = table.success_exit_codes.as_ref().map(|codes| {
            let path = KeyPath::of("restart.success_exit_codes");
            let numbers = codes.iter().enumerate();
            numbers
                .filter_map(|(n, code)| self.range(path.clone().index(n), *code, 0, 255))
                .map(|v| v as u8)
                .collect()
        });
    }

    fn limit(&mut self, table: &LimitTable) -> Option<StartLimit> {
        let starts = self.integer("restart.limit.starts", table.starts, 1, 1000);
        let within = self.positive("restart.limit.within", table.within.as_ref());
        if table.starts.is_none() || table.within.is_none() {
            self.error(
                "incomplete-limit",
                At::Value(KeyPath::of("restart.limit")),
                "`limit` needs both `starts` and `within`",
                "write `limit = { starts = 10, within = \"10m\" }`",
            );
        }
        Some(StartLimit { starts: u32::try_from(starts?).ok()?, within: within? })
    }

    fn stop(&mut self, table: &StopTable, layer: &mut Layer) {
        layer.stop_timeout = self.positive("stop.timeout", table.timeout.as_ref());
        layer.send = self.choice("stop.send", table.send.as_ref());
        layer.on_remove = self.choice("stop.on_remove", table.on_remove.as_ref());
        layer.signal = table.signal.as_ref().and_then(|name| {
            let signal = Signal::from_name(name);
            if signal.is_none() {
                let near = nearest(name, Signal::names()).unwrap_or("SIGTERM");
                self.error(
                    "unknown-value",
                    At::Value(KeyPath::of("stop.signal")),
                    format!("no signal is named {name:?}"),
                    format!("did you mean \"{near}\"?"),
                );
            }
            signal
        });
    }

    fn text(&mut self, path: &'static str, text: Option<&String>) -> Option<String> {
        text.inspect(|text| self.no_nul(KeyPath::of(path), text)).cloned()
    }

    fn no_nul(&mut self, path: KeyPath, text: &str) {
        if text.contains('\0') {
            self.error(
                "nul-character",
                At::Value(path),
                "this text holds a NUL character, which no argument, variable or path can",
                "remove it",
            );
        }
    }

    pub(super) fn path(&mut self, path: &'static str, text: Option<&String>) -> Option<PathBuf> {
        text.map(|text| {
            self.absolute(KeyPath::of(path), text);
            PathBuf::from(text)
        })
    }

    fn absolute(&mut self, path: KeyPath, text: &str) {
        self.no_nul(path.clone(), text);
        if !text.starts_with('/') {
            self.error(
                "relative-path",
                At::Value(path),
                format!("{text:?} is a relative path"),
                "write the path from / on: a supervisor has no folder it could be relative to",
            );
        }
    }

    fn account(&mut self, path: &'static str, value: Option<&Scalar>) -> Option<String> {
        self.account_at(KeyPath::of(path), value?)
    }

    fn account_at(&mut self, path: KeyPath, value: &Scalar) -> Option<String> {
        match value {
            Scalar::Integer(number) => {
                self.range(path, *number, 0, i64::from(u32::MAX - 1)).map(|n| n.to_string())
            }
            Scalar::Text(name) => {
                self.no_nul(path, name);
                Some(name.clone())
            }
        }
    }

    fn umask(&mut self, value: &Scalar) -> Option<u32> {
        let mask = match value {
            Scalar::Integer(number) => u32::try_from(*number).ok(),
            Scalar::Text(text) => u32::from_str_radix(text.trim_start_matches("0o"), 8).ok(),
        };
        let mask = mask.filter(|mask| *mask <= 0o777);
        if mask.is_none() {
            self.error(
                "bad-umask",
                At::Value(KeyPath::of("exec.umask")),
                "this is no file mode creation mask",
                "write it in octal, as \"022\"",
            );
        }
        mask
    }

    fn rlimits(&mut self, table: &RlimitsTable) -> BTreeMap<Resource, Rlimit> {
        let RlimitsTable {
            as_,
            core,
            cpu,
            data,
            fsize,
            memlock,
            msgqueue,
            nofile,
            nproc,
            rtprio,
            sigpending,
            stack,
        } = table;
        let given = [
            (Resource::As, as_),
            (Resource::Core, core),
            (Resource::Cpu, cpu),
            (Resource::Data, data),
            (Resource::Fsize, fsize),
            (Resource::Memlock, memlock),
            (Resource::Msgqueue, msgqueue),
            (Resource::Nofile, nofile),
            (Resource::Nproc, nproc),
            (Resource::Rtprio, rtprio),
            (Resource::Sigpending, sigpending),
            (Resource::Stack, stack),
        ];
        let given = given.into_iter().filter_map(|(resource, value)| Some((resource, value.as_ref()?)));
        given.filter_map(|(resource, value)| Some((resource, self.rlimit(resource, value)?))).collect()
    }

    fn rlimit(&mut self, resource: Resource, value: &Scalar) -> Option<Rlimit> {
        let text = match value {
            Scalar::Integer(number) => number.to_string(),
            Scalar::Text(text) => text.clone(),
        };
        let error = match Rlimit::parse(resource, &text) {
            Ok(limit) => return Some(limit),
            Err(error) => error,
        };
        let path = resource.path();
        let (unit, example) = match resource {
            Resource::Cpu => ("s", "90s or 10m"),
            _ => ("MiB", "512MiB or 4GiB"),
        };
        let at = At::Value(KeyPath::of(path));
        let message = format!("{path}: {error}");
        let help = match &error {
            RlimitError::Unit(error) => {
                let number = text.split(':').next().unwrap_or(&text);
                self.unit_error(path, error, number, unit, example);
                return None;
            }
            RlimitError::OutOfRange { least, most, .. } => {
                self.error("out-of-range", at, message, format!("use a value from {least} to {most}"));
                return None;
            }
            RlimitError::NoCount(_) => "write a whole number, or two as \"1024:4096\"".into(),
            RlimitError::NotSeconds(_) => "write whole seconds, as \"90s\"".into(),
            RlimitError::SoftAboveHard { soft, hard } => {
                format!("the soft limit comes first: \"{hard}:{soft}\"")
            }
            RlimitError::NoGrace => "write the soft limit alone: the hard one is 5 s above it then".into(),
        };
        self.error("bad-rlimit", at, message, help);
        None
    }

    pub(super) fn integer(
        &mut self,
        path: &'static str,
        value: Option<i64>,
        min: i64,
        max: i64,
    ) -> Option<i64> {
        value.and_then(|value| self.range(KeyPath::of(path), value, min, max))
    }

    fn range(&mut self, path: KeyPath, value: i64, min: i64, max: i64) -> Option<i64> {
        if (min..=max).contains(&value) {
            return Some(value);
        }
        let message = format!("{path} is {value}, which is outside {min} to {max}");
        self.error("out-of-range", At::Value(path), message, format!("use a value from {min} to {max}"));
        None
    }

    fn duration(&mut self, path: &'static str, text: Option<&String>) -> Option<Duration> {
        let text = text?;
        parse_duration(text)
            .map_err(|error| self.unit_error(path, &error, text, "s", "10s, 1m30s or 2h"))
            .ok()
    }

    /// A duration that makes no sense as 0.
    pub(super) fn positive(&mut self, path: &'static str, text: Option<&String>) -> Option<Duration> {
        let duration = self.duration(path, text)?;
        if duration.is_zero() {
            self.error(
                "out-of-range",
                At::Value(KeyPath::of(path)),
                format!("{path} is 0, which would leave no time at all"),
                "use 1ms or more, or leave the key out for its default",
            );
            return None;
        }
        Some(duration)
    }

    pub(super) fn size(&mut self, path: &'static str, value: Option<&Scalar>, min: u64) -> Option<ByteSize> {
        let size = match value? {
            // A bare number is MiB.
            Scalar::Integer(mib) => match u64::try_from(*mib) {
                Ok(mib) => ByteSize::from_mib(mib),
                Err(_) => {
                    self.range(KeyPath::of(path), *mib, min as i64, i64::MAX >> 20);
                    return None;
                }
            },
            Scalar::Text(text) => ByteSize::parse(text),
        };
        let written = match value? {
            Scalar::Integer(number) => number.to_string(),
            Scalar::Text(text) => text.clone(),
        };
        let size =
            size.map_err(|error| self.unit_error(path, &error, &written, "MiB", "512MiB or 4GiB")).ok()?;
        if size.0 < min {
            self.error(
                "out-of-range",
                At::Value(KeyPath::of(path)),
                format!("{path} is 0, with which nothing can run"),
                "leave the key out for no limit",
            );
            return None;
        }
        Some(size)
    }

    fn unit_error(&mut self, path: &'static str, error: &UnitError, text: &str, unit: &str, example: &str) {
        let (code, help) = match error {
            UnitError::NoUnit(_) => ("missing-unit", format!("did you mean \"{}{unit}\"?", text.trim())),
            _ => ("bad-unit", format!("write a number and a unit, as {example}")),
        };
        self.error(code, At::Value(KeyPath::of(path)), format!("{path}: {error}"), help);
    }

    pub(super) fn choice<T: for<'de> Deserialize<'de>>(
        &mut self,
        path: &'static str,
        text: Option<&String>,
    ) -> Option<T> {
        let text = text?;
        let value = T::deserialize(StrDeserializer::<ValueError>::new(text)).ok();
        if value.is_none() {
            let known = fields::of::<T>();
            let help = match nearest(text, known.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"? known are: {}", known.join(", ")),
                None => format!("known are: {}", known.join(", ")),
            };
            let at = At::Value(KeyPath::of(path));
            self.error("unknown-value", at, format!("{path} cannot be {text:?}"), help);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse::parse;

    fn read(stem: &str, text: &str) -> Resolved {
        let parsed = parse::<JobFile>(text);
        assert_eq!(parsed.problems, [], "{text}");
        resolve(stem, &parsed.value, &Profiles::build(&BTreeMap::new()).0)
    }

    fn one(text: &str) -> Job {
        let resolved = read("job", text);
        assert_eq!(resolved.problems, [], "{text}");
        resolved.jobs.into_iter().next().expect("one job").job
    }

    fn codes(text: &str) -> Vec<&'static str> {
        read("job", text).problems.iter().map(|p| p.code).collect()
    }

    const EXEC: &str = "[exec]\ncommand = [\"/bin/true\"]\n";

    #[test]
    fn defaults_are_those_of_the_reference() {
        let job = one(EXEC);
        assert_eq!(job.lifecycle, Lifecycle::Oneshot);
        assert_eq!(job.restart.policy, RestartPolicy::Never);
        assert_eq!((job.stop.signal, job.stop.timeout), (Signal::TERM, Duration::from_secs(10)));
        assert_eq!(job.stop.on_remove, OnRemove::Stop);
        let gst =
            |rest: &str| one(&format!("[exec]\ncommand = [\"/usr/bin/gst-launch-1.0\", \"-e\"]\n{rest}"));
        assert_eq!(gst("").stop.signal, Signal::INT, "the one that its -e answers to");
        assert_eq!(gst("[stop]\nsignal = \"TERM\"\n").stop.signal, Signal::TERM);
        let live = one(&format!("lifecycle = \"continuous\"\n{EXEC}"));
        assert_eq!(live.restart.policy, RestartPolicy::Always);
        let attached = one("[attach]\npid = 1234\n");
        assert_eq!(attached.stop.on_remove, OnRemove::Leave);
    }

    #[test]
    fn the_job_wins_over_its_profiles_and_the_right_one_over_the_left() {
        let job =
            one(&format!("profiles = [\"low-priority\", \"live-hls\"]\n{EXEC}[constraints]\nnice = 3\n"));
        assert_eq!((job.constraints.nice, job.constraints.cpu_weight), (Some(3), Some(200)));
        assert_eq!(job.constraints.oom_score_adj, Some(500));
        let quota = one(&format!("profiles = [\"nvenc-h264\"]\n{EXEC}[constraints]\ncpu_max = \"max\"\n"));
        assert_eq!(quota.constraints.cpu, Some(CpuLimit::Max { quota_us: None, period_us: 100_000 }));
    }

    #[test]
    fn limits_of_a_profile_and_of_the_job_are_merged_one_by_one() {
        let profile = parse::<JobFile>("[exec.rlimits]\nnofile = 100\ncore = 0\n").value;
        let own = parse::<JobFile>("[exec.rlimits]\nnofile = \"200:300\"\n").value;
        let (base, _) = layer(&profile, FileKind::Profile);
        let (over, _) = layer(&own, FileKind::Job);
        let limits = overlay(base, over).exec.rlimits;
        let both = |soft, hard| Rlimit { soft: Some(soft), hard: Some(hard) };
        assert_eq!(
            limits,
            BTreeMap::from([(Resource::Core, both(0, 0)), (Resource::Nofile, both(200, 300))])
        );
    }

    #[test]
    fn a_template_gives_a_job_for_each_instance() {
        let text = "instances = [\"a\", \"b\"]\n[exec]\ncommand = [\"/bin/x\", \"%i\", \"%n\", \"%%i\", \"s_%03d.ts\"]\n\
                    working_dir = \"/srv/%i\"\n";
        let jobs = read("ch", text).jobs;
        let exec = jobs[1].job.exec().expect("exec");
        assert_eq!(jobs[1].job.id.as_str(), "ch@b");
        assert_eq!(exec.command[1..], ["b", "ch@b", "%i", "s_%03d.ts"]);
        assert_eq!(exec.working_dir, Some("/srv/b".into()));
        assert_eq!(codes("[exec]\ncommand = [\"/bin/x\", \"%i\"]\n"), ["instance-outside-template"]);
        assert_eq!(
            codes(&format!("instances = [\"a\", \"a\", \"B\"]\n{EXEC}")),
            ["duplicate-instance", "bad-name"]
        );
        assert_eq!(codes(&format!("instances = []\n{EXEC}")), ["no-instances"]);
    }

    #[test]
    fn a_rule_says_which_processes_are_meant() {
        let job = one(
            "[attach]\nall = true\nmove = true\n[attach.match]\nname = \"obs\"\nexe = \"/usr/bin/obs\"\n\
             args = \"--profile (a|b)\"\nuser = 1000\nparent = \"gnome-shell\"\ncgroup = \"/user.slice\"\n\
             unit = \"obs.scope\"\nmin_runtime = \"5s\"\nmax_runtime = \"1m\"\nworking_dir = \"/srv\"\n\
             [attach.match.not]\nname = \"x\"\nexe = [\"/x\"]\nargs = [\"x\", \"y\"]\nuser = [0, \"bob\"]\nparent = \"sh\"\n\
             working_dir = [\"/tmp\"]\ncgroup = \"/x\"\nunit = [\"x.scope\"]\n",
        );
        let wanted = Match {
            name: Some("obs".into()),
            exe: Some("/usr/bin/obs".into()),
            args: Some("--profile (a|b)".into()),
            user: Some("1000".into()),
            parent: Some("gnome-shell".into()),
            cgroup: Some("/user.slice".into()),
            unit: Some("obs.scope".into()),
            min_runtime: Some(Duration::from_secs(5)),
            max_runtime: Some(Duration::from_secs(60)),
            working_dir: Some("/srv".into()),
            not: Not {
                name: vec!["x".into()],
                exe: vec!["/x".into()],
                args: vec!["x".into(), "y".into()],
                user: vec!["0".into(), "bob".into()],
                parent: vec!["sh".into()],
                working_dir: vec!["/tmp".into()],
                cgroup: vec!["/x".into()],
                unit: vec!["x.scope".into()],
            },
        };
        let attach = Attach { target: Target::Match(Box::new(wanted)), all: true, relocate: true };
        assert_eq!(job.attach(), Some(&attach));
        let plain = one("[attach]\nmatch = { name = \"obs\" }\n");
        assert_eq!(plain.attach().map(|attach| (attach.all, attach.relocate)), Some((false, false)));
    }

    #[test]
    fn a_name_in_an_expression_means_itself() {
        let text = "instances = [\"a.b\", \"c\"]\n[attach.match]\nexe = \"/srv/%i/obs\"\nunit = \"obs@%i.service\"\n\
                    parent = \"%i\"\ncgroup = \"/%n\"\nargs = \"^x --id=%i (%n|%%)$\"\n\
                    working_dir = \"/srv/%i\"\nnot = { args = [\"%i\"], exe = \"/x/%i\", name = \"%n\", working_dir = \"/y/%i\" }\n";
        let jobs = read("ch", text).jobs;
        let Some(Target::Match(fit)) = jobs[0].job.attach().map(|attach| &attach.target) else { panic!() };
        assert_eq!(fit.args.as_deref(), Some("^x --id=a\\.b (ch@a\\.b|%)$"));
        assert_eq!(
            (fit.exe.clone(), fit.unit.as_deref()),
            (Some("/srv/a.b/obs".into()), Some("obs@a.b.service"))
        );
        assert_eq!((fit.parent.as_deref(), fit.cgroup.as_deref()), (Some("a.b"), Some("/ch@a.b")));
        assert_eq!(fit.working_dir, Some("/srv/a.b".into()));
        let not = Not {
            args: vec!["a\\.b".into()],
            exe: vec!["/x/a.b".into()],
            name: vec!["ch@a.b".into()],
            working_dir: vec!["/y/a.b".into()],
            ..Not::default()
        };
        assert_eq!(fit.not, not);
        // One that is none for one instance alone.
        assert_eq!(
            codes("instances = [\"z\", \"a\"]\n[attach]\nmatch = { args = \"[b-%i]\" }\n"),
            ["bad-pattern"]
        );
    }

    #[test]
    fn a_window_has_its_profiles_and_its_own_values_over_what_the_job_has() {
        let job = one(&format!(
            "profiles = [\"low-priority\"]\n{EXEC}[constraints]\ncpu_quota = 50\nstrict = true\n\
             [[schedule]]\nprofiles = [\"live-hls\"]\nconstraints = {{ nice = 1, strict = false }}\n\
             [[schedule]]\ndays = [\"weekend\", \"fri\"]\nfrom = \"22:00\"\nto = \"00:00\"\ntimezone = \"UTC\"\n"
        ));
        assert_eq!(job.constraints.nice, Some(10));
        let night = &job.schedule[0].constraints;
        assert_eq!(
            (night.nice, night.cpu_weight, night.cpu),
            (Some(1), Some(200), Some(CpuLimit::Quota(50)))
        );
        assert_eq!((night.oom_score_adj, night.strict), (Some(500), false));
        assert_eq!(job.schedule[0].to_string(), "daily 00:00-24:00");
        assert_eq!(job.schedule[1].to_string(), "fri-sun 22:00-24:00 UTC");
        assert_eq!(job.schedule[1].constraints, job.constraints);
    }

    #[test]
    fn every_wrong_value_has_its_code() {
        let with = |rest: &str| codes(&format!("{EXEC}{rest}"));
        assert_eq!(with("[constraints]\nnice = 20\n"), ["out-of-range"]);
        assert_eq!(with("[constraints]\nmemory_limit = \"512\"\n"), ["missing-unit"]);
        assert_eq!(with("[constraints]\nmemory_limit = 0\n"), ["out-of-range"]);
        assert_eq!(with("[constraints]\nmemory_limit = -1\n"), ["out-of-range"]);
        assert_eq!(with("[constraints]\nmemory_swap = 0\n"), [] as [&str; 0]);
        assert_eq!(with("[constraints]\ncpu_max = \"50%\"\n"), ["bad-cpu-max"]);
        assert_eq!(with("[constraints]\ncpus = \"3-1\"\n"), ["bad-cpus"]);
        assert_eq!(with("[constraints]\nio_max = [\"sda\"]\n"), ["bad-io-max"]);
        assert_eq!(with("[constraints]\nio_class = \"idle:3\"\n"), ["bad-io-class"]);
        let rlimit = |rest: &str| codes(&format!("{EXEC}rlimits = {{ {rest} }}\n"));
        assert_eq!(rlimit("nofile = 1024, core = 0, as = \"4GiB\", cpu = \"10m\""), [] as [&str; 0]);
        assert_eq!(rlimit("nofile = -1"), ["bad-rlimit"]);
        assert_eq!(rlimit("nofile = \"2048:1024\""), ["bad-rlimit"]);
        assert_eq!(rlimit("nofile = \"unlimited\""), ["out-of-range"]);
        assert_eq!(rlimit("rtprio = 100"), ["out-of-range"]);
        assert_eq!(rlimit("fsize = 1000"), ["missing-unit"]);
        assert_eq!(rlimit("cpu = 60"), ["missing-unit"]);
        assert_eq!(rlimit("cpu = \"1y\""), ["bad-unit"]);
        assert_eq!(rlimit("cpu = \"1m:1m\""), ["bad-rlimit"]);
        assert_eq!(with("[stop]\nsignal = \"SIGTREM\"\n"), ["unknown-value"]);
        assert_eq!(with("[stop]\ntimeout = \"0s\"\n"), ["out-of-range"]);
        assert_eq!(with("[restart]\npolicy = \"allways\"\n"), ["unknown-value"]);
        assert_eq!(with("[restart]\nlimit = { starts = 3 }\n"), ["incomplete-limit"]);
        assert_eq!(with("[[schedule]]\nfrom = \"6:00\"\nto = \"25:00\"\n"), ["bad-time", "bad-time"]);
        assert_eq!(with("[[schedule]]\ndays = [\"monday\", \"tue-\"]\n"), ["unknown-value", "unknown-value"]);
        assert_eq!(with("[[schedule]]\ndays = []\n"), ["schedule-never"]);
        assert_eq!(with("[[schedule]]\nfrom = \"08:00\"\nto = \"08:00\"\n"), ["schedule-never"]);
        assert_eq!(with("[[schedule]]\nfrom = \"24:00\"\nto = \"08:00\"\n"), ["schedule-never"]);
        assert_eq!(with("[[schedule]]\nconstraints = { nice = 20 }\n"), ["out-of-range"]);
        assert_eq!(with("[[schedule]]\nprofiles = [\"x\"]\n"), ["unknown-profile"]);
        assert_eq!(with(&"[[schedule]]\n".repeat(33)), ["too-many-windows"]);
        assert_eq!(codes("[exec]\ncommand = \"ffmpeg -i x\"\n"), ["shell-string"]);
        assert_eq!(codes("[exec]\ncommand = []\n"), ["empty-command"]);
        assert_eq!(codes("[exec]\ncommand = [\"./x\"]\n"), ["relative-path"]);
        assert_eq!(codes("[exec]\ncommand = [\"x\\u0000\"]\n"), ["nul-character"]);
        assert_eq!(codes("[exec]\n"), ["no-workload"]);
        assert_eq!(codes(""), ["no-workload"]);
        assert_eq!(codes("[attach]\n"), ["attach-one-of"]);
        assert_eq!(codes("[attach]\nmatch = {}\n"), ["match-all"]);
        assert_eq!(codes("[attach]\nmatch = { cgroup = \"/\", args = \"\" }\n"), ["match-all"]);
        assert_eq!(codes("[attach]\nmatch = { args = \"a(b\" }\n"), ["bad-pattern"]);
        let not = |text: &str| codes(&format!("[attach]\nmatch = {{ name = \"x\", not = {{ {text} }} }}\n"));
        assert_eq!(not("args = [\"a\", \"a(b\"]"), ["bad-pattern"]);
        assert_eq!(not("exe = \"x\", working_dir = [\"/x\", \"y\"], cgroup = \"z\""), ["relative-path"; 3]);
        assert_eq!(not("user = [-1, 5]"), ["out-of-range"]);
        assert_eq!(not("unit = [\"x\"]"), ["not-a-systemd-unit"]);
        assert_eq!(not("args = \"\""), ["match-nothing"]);
        assert_eq!(not("cgroup = \"/\", working_dir = [\"/\"]"), ["match-nothing"; 2]);
        assert_eq!(not(""), [""; 0]);
        let times = |most| {
            codes(&format!(
                "[attach]\nmatch = {{ name = \"x\", min_runtime = \"5s\", max_runtime = \"{most}\" }}\n"
            ))
        };
        assert_eq!(
            (times("5s"), times("0s"), times("6s")),
            (vec!["match-nothing"], vec!["out-of-range"], vec![])
        );
        assert_eq!(
            codes("[attach]\nmatch = { max_runtime = \"5s\", not = { name = \"x\" } }\n"),
            ["match-all"]
        );
        assert_eq!(codes("[attach]\nmatch = { exe = \"obs\", cgroup = \"x\" }\n"), ["relative-path"; 2]);
        for unit in ["obs", "obs.socket", ".service", "/system.slice/obs.service", ""] {
            assert_eq!(
                codes(&format!("[attach]\nmatch = {{ unit = {unit:?} }}\n")),
                ["not-a-systemd-unit"],
                "{unit}"
            );
        }
        assert_eq!(codes("[attach]\npid_file = \"/x\"\nall = true\n"), ["all-without-match"]);
        assert_eq!(
            codes("instances = [\"a\"]\n[attach]\nmatch = { name = \"%i\" }\nall = true\n"),
            ["all-in-template"]
        );
        assert_eq!(codes(&format!("{EXEC}[attach]\npid = 5\n")), ["exec-and-attach"]);
        assert_eq!(codes("[attach]\npid = 5\n[stop]\non_remove = \"stop\"\n"), ["stop-of-attached"]);
    }
}
