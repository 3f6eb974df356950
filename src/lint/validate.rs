//! `ffrtmp-sup validate`: which files are looked at, as what, and with which profiles beside them.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::fs::{self, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{getegid, geteuid};

use super::check::{Checked, Facts, check_job, check_profiles, check_supervisor};
use super::diagnostic::{Diagnostic, escape_path};
use super::host::Host;
use super::render::{Findings, Format};
use super::rule::{Check, Context};
use super::rules::{self, duplicate_job};
use crate::config::load::{self, Trust};
use crate::config::paths::Layout;
use crate::config::problem::{Level, Problem};
use crate::config::profiles::Profiles;
use crate::config::schema::FileKind;
use crate::linux::clock;
use crate::model::ids::JobId;

/// What is asked for.
#[derive(Debug)]
pub struct Options {
    /// Files, folders, `-` for standard input; none: the configured folders.
    pub paths: Vec<PathBuf>,
    /// What they are; else told from their names.
    pub kind: Option<FileKind>,
    /// The name a file is to have, if it has another one now.
    pub as_name: Option<String>,
    /// Warnings count as errors.
    pub strict: bool,
    /// How to print.
    pub format: Format,
    /// Whether to print in colour, for people.
    pub color: bool,
    /// Whether to check this machine as well.
    pub host: bool,
    /// Where the configured folders are.
    pub layout: Layout,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing is wrong, or nothing that counts.
    Good,
    /// Errors, or warnings where they count.
    Bad,
    /// Something that was asked for could not be looked at.
    CannotWork,
}

impl Outcome {
    /// The exit code: 0, 1 or 2.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Good => 0,
            Self::Bad => 1,
            Self::CannotWork => 2,
        }
    }
}

/// Does it. What was found goes to `out`; why it could not do its work to `err`.
///
/// # Errors
/// Those of the two outputs.
pub fn run(
    options: &Options,
    stdin: &mut dyn Read,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> io::Result<Outcome> {
    let mut work = Work::default();
    let refused = work.collect(options);
    for reason in &refused {
        writeln!(err, "ffrtmp-sup validate: {reason}")?;
    }
    if !refused.is_empty() && work.items.is_empty() {
        return Ok(Outcome::CannotWork);
    }
    let findings = work.check(options, stdin);
    findings.print(options.format, options.color, out)?;
    out.flush()?;
    let counts = if options.strict { Level::Warning } else { Level::Error };
    Ok(if !refused.is_empty() {
        Outcome::CannotWork
    } else if findings.diagnostics.iter().any(|diagnostic| diagnostic.level >= counts) {
        Outcome::Bad
    } else {
        Outcome::Good
    })
}

/// Why something cannot be looked at.
#[derive(Debug, PartialEq, Eq)]
struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One file to be looked at.
#[derive(Debug)]
struct Item {
    /// Its path as given; for standard input a name.
    path: PathBuf,
    source: Source,
    kind: FileKind,
    /// The name of the job or profile.
    stem: String,
    /// The folder of the profiles beside it.
    profiles: PathBuf,
    /// Job names have to differ among the items of one scope.
    scope: PathBuf,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Disk,
    Stdin,
}

#[derive(Debug, Default)]
struct Work {
    items: Vec<Item>,
    seen: HashSet<PathBuf>,
    /// Folders, and where they really are.
    folders: HashMap<PathBuf, PathBuf>,
}

impl Work {
    /// Finds the files; gives what could not be found.
    fn collect(&mut self, options: &Options) -> Vec<Refused> {
        if options.as_name.is_some() && options.paths.len() != 1 {
            return vec![Refused("--as gives a name to one file: name exactly one".into())];
        }
        if options.paths.is_empty() {
            return self.configured(options);
        }
        options.paths.iter().filter_map(|path| self.named(path, options).err()).collect()
    }

    /// The configured folders. Jobs have to be there; profiles and settings may be missing.
    fn configured(&mut self, options: &Options) -> Vec<Refused> {
        let layout = &options.layout;
        let scope = layout.jobs_d.parent().unwrap_or(Path::new("/"));
        let wanted = |kind| options.kind.is_none_or(|only| only == kind);
        let mut refused = Vec::new();
        for (kind, folder) in [(FileKind::Job, &layout.jobs_d), (FileKind::Profile, &layout.profiles_d)] {
            if !wanted(kind) {
                continue;
            }
            match self.folder(folder, kind, &layout.profiles_d, scope) {
                Err(error) if kind == FileKind::Job || error.kind() != io::ErrorKind::NotFound => {
                    refused.push(Refused(format!(
                        "cannot read the configured folder {}: {error}; create it, or name files, folders \
                         or --root",
                        escape_path(folder)
                    )));
                }
                _ => {}
            }
        }
        if wanted(FileKind::Supervisor) && layout.supervisor_toml.symlink_metadata().is_ok() {
            self.file(&layout.supervisor_toml, FileKind::Supervisor, None, &layout.profiles_d, scope);
        }
        refused
    }

    fn named(&mut self, path: &Path, options: &Options) -> Result<(), Refused> {
        let layout = &options.layout;
        let stem = options.as_name.as_deref().map(|name| name.strip_suffix(".toml").unwrap_or(name));
        if path.as_os_str() == "-" {
            self.items.push(Item {
                path: stem.map_or_else(|| "<stdin>".into(), |stem| format!("{stem}.toml").into()),
                source: Source::Stdin,
                kind: options.kind.unwrap_or(FileKind::Job),
                stem: stem.unwrap_or("stdin").into(),
                profiles: layout.profiles_d.clone(),
                scope: PathBuf::new(),
            });
            return Ok(());
        }
        let shown = escape_path(path);
        let meta = match fs::metadata(path) {
            Ok(meta) => Some(meta),
            // It is there, but leads nowhere: a problem of the file's, told with all others.
            Err(_) if path.symlink_metadata().is_ok() => None,
            Err(error) => return Err(Refused(format!("{shown}: {error}"))),
        };
        if meta.is_some_and(|meta| meta.is_dir()) {
            if stem.is_some() {
                return Err(Refused(format!("{shown} is a folder: --as names one file")));
            }
            return self
                .tree(path, options)
                .map_err(|error| Refused(format!("cannot read the folder {shown}: {error}")));
        }
        let folder = parent(path);
        let name = options.as_name.as_deref().map_or(path, Path::new);
        let kind = options.kind.unwrap_or_else(|| kind_of(name, &folder));
        self.file(path, kind, stem, &profiles_beside(&folder, layout), &scope_of(&folder));
        Ok(())
    }

    /// A folder that was named: a root with all that belongs to it, profiles, or jobs.
    fn tree(&mut self, path: &Path, options: &Options) -> io::Result<()> {
        let [jobs, profiles, settings] =
            ["jobs.d", "profiles.d", "supervisor.toml"].map(|name| path.join(name));
        let is_root = jobs.is_dir() || profiles.is_dir() || settings.is_file();
        let wanted = |kind| options.kind.is_none_or(|only| only == kind);
        if !is_root {
            let kind = options.kind.unwrap_or_else(|| kind_of(Path::new(""), path));
            let profiles = match kind {
                FileKind::Profile => path.to_owned(),
                _ => profiles_beside(path, &options.layout),
            };
            return self.folder(path, kind, &profiles, &scope_of(path));
        }
        for (kind, folder) in [(FileKind::Job, &jobs), (FileKind::Profile, &profiles)] {
            if wanted(kind) && folder.is_dir() {
                self.folder(folder, kind, &profiles, path)?;
            }
        }
        if wanted(FileKind::Supervisor) && settings.symlink_metadata().is_ok() {
            self.file(&settings, FileKind::Supervisor, None, &profiles, path);
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path, kind: FileKind, profiles: &Path, scope: &Path) -> io::Result<()> {
        for (_, path) in load::list(folder)? {
            self.file(&path, kind, None, profiles, scope);
        }
        Ok(())
    }

    fn file(&mut self, path: &Path, kind: FileKind, stem: Option<&str>, profiles: &Path, scope: &Path) {
        // Named twice, as a file and by its folder, it is still one file.
        let name = path.file_name().unwrap_or_default();
        let folder = parent(path);
        let real = self
            .folders
            .entry(folder)
            .or_insert_with_key(|folder| folder.canonicalize().unwrap_or_else(|_| folder.clone()));
        if !self.seen.insert(real.join(name)) {
            return;
        }
        let name = name.to_string_lossy();
        let stem = stem.unwrap_or_else(|| name.strip_suffix(".toml").unwrap_or(&name)).to_owned();
        self.items.push(Item {
            path: path.to_owned(),
            source: Source::Disk,
            kind,
            stem,
            profiles: profiles.to_owned(),
            scope: scope.to_owned(),
        });
    }

    /// Looks at all files.
    fn check(&self, options: &Options, stdin: &mut dyn Read) -> Findings {
        let piped = self.items.iter().any(|item| item.source == Source::Stdin);
        let piped = piped.then(|| load::read_stream(stdin));
        let mut sets: HashMap<&Path, ProfileSet> = HashMap::new();
        for item in &self.items {
            sets.entry(&item.profiles).or_insert_with(|| ProfileSet::of(&item.profiles));
        }
        let bench = Bench {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            host: options.host.then(Host::here),
            layout: &options.layout,
            own: (geteuid().as_raw(), getegid().as_raw()),
            piped: piped.as_ref(),
            sets,
        };
        let mut results = bench.check_all(&self.items);
        let mut declared: HashMap<(&Path, JobId), &Path> = HashMap::new();
        for (item, result) in self.items.iter().zip(&mut results) {
            for id in std::mem::take(&mut result.ids) {
                match declared.entry((&item.scope, id)) {
                    Entry::Vacant(free) => {
                        free.insert(&item.path);
                    }
                    Entry::Occupied(taken) => {
                        result.problems.push(duplicate_job::problem(&taken.key().1, taken.get()));
                    }
                }
            }
        }
        let mut diagnostics: Vec<Diagnostic> = self
            .items
            .iter()
            .zip(&results)
            .flat_map(|(item, result)| Diagnostic::all(&item.path, &result.text, &result.problems))
            .collect();
        diagnostics.sort_by(|a, b| a.key().cmp(&b.key()));
        Findings { files: self.items.len(), diagnostics }
    }
}

/// What all files are checked with.
struct Bench<'a> {
    cores: usize,
    host: Option<Host>,
    layout: &'a Layout,
    /// Our user and group.
    own: (u32, u32),
    /// Standard input, which can be read only once.
    piped: Option<&'a Result<String, Problem>>,
    sets: HashMap<&'a Path, ProfileSet>,
}

/// What came of one file.
#[derive(Default)]
struct Found {
    /// Its text; empty where nothing is wrong.
    text: String,
    /// The jobs it declares.
    ids: Vec<JobId>,
    problems: Vec<Problem>,
}

impl Bench<'_> {
    /// Checks files, on all cores if they are many.
    fn check_all(&self, items: &[Item]) -> Vec<Found> {
        let check = |items: &[Item]| -> Vec<Found> {
            let mut trust = Trusted::default();
            items.iter().map(|item| self.check(item, &mut trust)).collect()
        };
        let share = items.len().div_ceil(self.cores).max(64);
        std::thread::scope(|scope| {
            let mut shares = items.chunks(share);
            let own = shares.next().unwrap_or_default();
            let others: Vec<_> = shares.map(|items| scope.spawn(move || check(items))).collect();
            let mut all = check(own);
            for other in others {
                all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            all
        })
    }

    fn check(&self, item: &Item, trust: &mut Trusted) -> Found {
        // There is one for each item.
        let Some(set) = self.sets.get(item.profiles.as_path()) else { return Found::default() };
        let mut facts = Facts { cores: self.cores, mode: None, zones: clock::ZONES };
        let mut problems = Vec::new();
        let read = match item.source {
            Source::Stdin => {
                self.piped.cloned().unwrap_or_else(|| Ok(String::new())).map(|text| (text, None))
            }
            Source::Disk => load::read(&item.path, None).map(|read| (read.text, Some(read.meta))),
        };
        let (text, meta) = match read {
            Ok(read) => read,
            Err(problem) => return Found { problems: vec![problem], ..Found::default() },
        };
        if let Some(meta) = meta {
            facts.mode = Some(meta.mode() & 0o7777);
            problems.extend(self.distrust(&item.path, &meta, trust));
        }
        let mut ids = Vec::new();
        match item.kind {
            FileKind::Supervisor => problems.extend(check_supervisor(&text).1),
            FileKind::Profile => problems.extend(profile_problems(item, &text, set)),
            FileKind::Job => {
                let checked = check_job(&item.stem, &text, &set.profiles, &facts);
                self.host_problems(&checked, &facts, &mut problems);
                ids.extend(checked.declared.into_iter().map(|declared| declared.job.id));
                problems.extend(checked.problems);
            }
        }
        let text = if problems.is_empty() { String::new() } else { text };
        Found { text, ids, problems }
    }

    fn host_problems(&self, checked: &Checked, facts: &Facts, problems: &mut Vec<Problem>) {
        let Some(host) = &self.host else { return };
        for declared in &checked.declared {
            let context = Context::new(&checked.file, declared, facts);
            let before = problems.len();
            for rule in rules::RULES {
                if let Check::Host(check) = rule.check {
                    check(&context, host, problems);
                }
            }
            // What is wrong with one instance is wrong with most of the others.
            if problems.len() > before {
                break;
            }
        }
    }

    /// Whether the supervisor would refuse to obey the file. Elsewhere than in the configured folders
    /// the owner does not count: a checkout belongs to whoever made it.
    fn distrust(&self, path: &Path, meta: &Metadata, trust: &mut Trusted) -> Option<Problem> {
        let configured = self.layout.jobs_d.parent().is_some_and(|root| path.starts_with(root));
        let (uid, gid) = match configured || self.host.is_some() {
            true => self.own,
            false => (meta.uid(), meta.gid()),
        };
        let trust = trust.0.entry((uid, gid)).or_insert_with(|| Trust::new(uid, gid));
        let level = if self.host.is_some() { Level::Error } else { Level::Warning };
        trust.check_file(path, meta).err().map(|problem| Problem { level, ..problem })
    }
}

fn profile_problems(item: &Item, text: &str, set: &ProfileSet) -> Vec<Problem> {
    let is_in_set = item.source == Source::Disk && parent(&item.path) == item.profiles;
    if is_in_set && set.texts.contains_key(&item.stem) {
        return set.problems.get(&item.stem).cloned().unwrap_or_default();
    }
    // A file from elsewhere, that is to take its place in the folder.
    let mut texts = set.texts.clone();
    texts.insert(item.stem.clone(), Some(text.to_owned()));
    check_profiles(&texts).1.remove(&item.stem).unwrap_or_default()
}

/// The trust in folders, by whose files they hold.
#[derive(Default)]
struct Trusted(HashMap<(u32, u32), Trust>);

/// The profiles of one folder.
struct ProfileSet {
    texts: BTreeMap<String, Option<String>>,
    profiles: Profiles,
    problems: BTreeMap<String, Vec<Problem>>,
}

impl ProfileSet {
    /// Reads a folder; one that is not there has no files.
    fn of(folder: &Path) -> Self {
        let files = load::list(folder).unwrap_or_default();
        let texts: BTreeMap<_, _> = files
            .into_iter()
            .map(|(stem, path)| (stem, load::read(&path, None).ok().map(|read| read.text)))
            .collect();
        let (profiles, problems) = check_profiles(&texts);
        Self { texts, profiles, problems }
    }
}

fn parent(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => ".".into(),
    }
}

fn is_named(folder: &Path, names: &[&str]) -> bool {
    // `.` and `..` have no name of their own.
    let real = folder.file_name().is_none().then(|| folder.canonicalize().ok()).flatten();
    let name = real.as_deref().unwrap_or(folder).file_name();
    name.is_some_and(|name| names.iter().any(|known| name == *known))
}

fn is_profiles(folder: &Path) -> bool {
    is_named(folder, &["profiles.d", "profiles"])
}

fn kind_of(name: &Path, folder: &Path) -> FileKind {
    if name.file_name().is_some_and(|name| name == "supervisor.toml") {
        FileKind::Supervisor
    } else if is_profiles(folder) {
        FileKind::Profile
    } else {
        FileKind::Job
    }
}

/// The folder of the profiles that the supervisor would see beside a file of this folder.
fn profiles_beside(folder: &Path, layout: &Layout) -> PathBuf {
    if is_profiles(folder) {
        folder.to_owned()
    } else if is_named(folder, &["jobs.d"]) {
        folder.join("../profiles.d")
    } else {
        layout.profiles_d.clone()
    }
}

/// Jobs of one root, or of folders that are no root's, must not share a name.
fn scope_of(folder: &Path) -> PathBuf {
    if is_named(folder, &["jobs.d"]) { folder.join("..") } else { PathBuf::new() }
}
