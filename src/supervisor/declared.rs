//! What the files declare: the last good version of each, what is wrong with it, and when it is gone.
//!
//! Events only say where to look. What decides is the content: a file that cannot be read keeps its
//! last good version, and a file counts as deleted only when it is missing in two scans, because
//! editors and `git checkout` make files briefly absent.

use std::collections::{BTreeMap, BTreeSet, HashMap, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::unistd::{Gid, Uid};

use crate::config::load::{self, Stamp, Trust};
use crate::config::parse::parse;
use crate::config::paths::Layout;
use crate::config::problem::{Level, Problem};
use crate::config::profiles::Profiles;
use crate::config::resolve;
use crate::config::schema::JobFile;
use crate::lint::check::{Facts, check_job};
use crate::lint::diagnostic::Diagnostic;
use crate::linux::clock;
use crate::model::ids::JobId;
use crate::model::time::{BootTime, Moment};
use crate::reconcile::plan::Wanted;

/// Between the scan that misses a file and the one that takes it for deleted.
pub const CONFIRM_DELETION: Duration = Duration::from_millis(1500);

/// A file that changed less than this ago, and not by a complete hint, may still be being written.
const SETTLE: Duration = Duration::from_millis(200);

/// What the files declare.
#[derive(Debug)]
pub struct Declared {
    layout: Layout,
    facts: Facts,
    ids: (u32, u32),
    profiles: Profiles,
    profile_files: BTreeMap<String, ProfileFile>,
    files: HashMap<String, JobSource>,
    /// What is wrong with the folders themselves.
    alarms: BTreeMap<PathBuf, String>,
    /// How long a file has to be unchanged to be taken for complete.
    settle: Duration,
}

#[derive(Debug, Default)]
struct ProfileFile {
    seen: Option<Seen>,
    /// The last version that could be read.
    good: Option<JobFile>,
    text: String,
    told: Told,
    missing_since: Option<Moment>,
}

#[derive(Debug, Default)]
struct JobSource {
    seen: Option<Seen>,
    /// The jobs of the last good version; `None` if there was none since we began.
    good: Option<Vec<(JobId, Wanted)>>,
    uses_profiles: bool,
    told: Told,
    missing_since: Option<Moment>,
}

/// The version of a file that was last looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    /// `None` if it could not be read.
    stamp: Option<Stamp>,
    hash: u64,
}

/// What is wrong with a file, a line each.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    errors: Vec<String>,
    warnings: Vec<String>,
}

/// What a scan came to.
#[derive(Debug, Default)]
pub struct Scan {
    /// The jobs whose declaration is new, changed or gone.
    pub changed: BTreeSet<JobId>,
    /// Stems of files that are gone and were not read since we began: all their jobs are gone.
    pub gone: BTreeSet<String>,
    /// When to scan again: a deletion is to be confirmed, or a file may not be complete yet.
    pub again: Option<BootTime>,
    /// What there is to tell of the files.
    pub news: Vec<News>,
}

/// Something to tell of a file or folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It is not in force.
    Error(String),
    /// It is in force, and probably not what was meant.
    Warning(String),
    /// It is valid again.
    Mended(PathBuf),
}

/// A hint where to look.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hint {
    /// The file's stem.
    pub stem: String,
    /// It is known to be written to its end.
    pub complete: bool,
}

/// One pass over files: when, and what it came to so far.
struct Pass {
    now: Moment,
    trust: Trust,
    settle: Duration,
    profiles_changed: bool,
    scan: Scan,
}

impl Declared {
    /// Nothing declared yet. Obeyed are root's files and those of the user that runs this.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let facts = Facts { cores, mode: None, zones: clock::ZONES };
        let ids = (Uid::effective().as_raw(), Gid::effective().as_raw());
        let (profiles, _) = Profiles::build(&BTreeMap::new());
        Self {
            layout,
            facts,
            ids,
            profiles,
            profile_files: BTreeMap::new(),
            files: HashMap::new(),
            alarms: BTreeMap::new(),
            settle: SETTLE,
        }
    }

    /// What the files declare at this moment, for those who look once and obey nothing.
    #[must_use]
    pub fn snapshot(layout: Layout, now: Moment) -> Self {
        let mut declared = Self { settle: Duration::ZERO, ..Self::new(layout) };
        let _ = declared.scan(now);
        declared
    }

    /// Where job files are.
    #[must_use]
    pub fn jobs_d(&self) -> &Path {
        &self.layout.jobs_d
    }

    /// Where profiles are.
    #[must_use]
    pub fn profiles_d(&self) -> &Path {
        &self.layout.profiles_d
    }

    /// What is wanted of a job.
    #[must_use]
    pub fn wanted(&self, id: &JobId) -> Wanted {
        match self.files.get(id.stem()) {
            None => Wanted::Gone,
            Some(JobSource { good: None, .. }) => Wanted::Undecided,
            Some(JobSource { good: Some(jobs), .. }) => {
                jobs.iter().find(|(known, _)| known == id).map_or(Wanted::Gone, |(_, wanted)| wanted.clone())
            }
        }
    }

    /// Whether it is about to be known what is declared of a job: its file was not read yet, or is missing
    /// and that is not sure yet. What ended is not started again meanwhile: nobody may want it any more.
    #[must_use]
    pub fn is_undecided(&self, id: &JobId) -> bool {
        let file = self.files.get(id.stem());
        file.is_some_and(|file| file.good.is_none() && file.told.errors.is_empty())
            && !self.alarms.contains_key(&self.layout.jobs_d)
    }

    /// The files of which it is not known what they declare, by their stems; `None`: of no file is it known, since the
    /// folder itself cannot be read.
    #[must_use]
    pub fn undecided(&self) -> Option<BTreeSet<String>> {
        if self.alarms.contains_key(&self.layout.jobs_d) {
            return None;
        }
        let undecided = self.files.iter().filter(|(_, file)| file.good.is_none());
        Some(undecided.map(|(stem, _)| stem.clone()).collect())
    }

    /// Every job that a last good version declares.
    pub fn jobs(&self) -> impl Iterator<Item = &JobId> {
        self.files.values().flat_map(|file| file.good.iter().flatten()).map(|(id, _)| id)
    }

    /// What is wrong with a job's file; empty if nothing is.
    #[must_use]
    pub fn errors(&self, stem: &str) -> &[String] {
        self.files.get(stem).map_or(&[], |file| &file.told.errors)
    }

    /// Everything that is not in force, and why: folders, profiles, job files.
    pub fn all_errors(&self) -> impl Iterator<Item = &str> {
        let profiles = self.profile_files.values().flat_map(|file| &file.told.errors);
        let mut jobs: Vec<&String> = self.files.values().flat_map(|file| &file.told.errors).collect();
        jobs.sort();
        self.alarms.values().chain(profiles).chain(jobs).map(String::as_str)
    }

    /// The stems of files of which no version could be used since we began.
    pub fn unusable(&self) -> impl Iterator<Item = &str> {
        self.files
            .iter()
            .filter(|(_, file)| file.good.is_none() && !file.told.errors.is_empty())
            .map(|(stem, _)| stem.as_str())
    }

    /// A job that has a run and, so far, no file: it stays as it is until its absence is confirmed.
    pub fn expect(&mut self, id: &JobId, now: Moment) {
        let missing = || JobSource { missing_since: Some(now), ..JobSource::default() };
        self.files.entry(id.stem().to_owned()).or_insert_with(missing);
    }

    /// Looks at everything: both folders, every file.
    pub fn scan(&mut self, now: Moment) -> Scan {
        let mut pass = self.pass(now);
        self.scan_profiles(&mut pass);
        // If the folder cannot be read, nothing is known of the files, and they stay as they were.
        if let Some(files) = self.folder(self.layout.jobs_d.clone(), true, &mut pass) {
            let present: BTreeMap<String, PathBuf> = files.into_iter().collect();
            let missing = self.files.keys().filter(|stem| !present.contains_key(*stem));
            for stem in missing.cloned().collect::<Vec<_>>() {
                self.missing(&stem, &mut pass);
            }
            for (stem, path) in present {
                self.look(&stem, &path, false, &mut pass);
            }
        }
        pass.scan
    }

    /// Looks at single job files.
    pub fn look_at(&mut self, hints: &BTreeSet<Hint>, now: Moment) -> Scan {
        let mut pass = self.pass(now);
        for Hint { stem, complete } in hints {
            let path = self.layout.jobs_d.join(format!("{stem}.toml"));
            match path.symlink_metadata() {
                Ok(_) => self.look(stem, &path, *complete, &mut pass),
                Err(error) if error.kind() == io::ErrorKind::NotFound => self.missing(stem, &mut pass),
                // The next full scan tells what the matter is.
                Err(_) => pass.again(SETTLE),
            }
        }
        pass.scan
    }

    fn pass(&self, now: Moment) -> Pass {
        let trust = Trust::new(self.ids.0, self.ids.1);
        Pass { now, trust, settle: self.settle, profiles_changed: false, scan: Scan::default() }
    }

    /// The files of a folder; `None` if it cannot be read or may not be obeyed.
    fn folder(&mut self, folder: PathBuf, required: bool, pass: &mut Pass) -> Option<Vec<(String, PathBuf)>> {
        let files = match load::list(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !required => Ok(Vec::new()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err("there is no such folder; make it (mkdir -p)".to_owned())
            }
            Err(error) => Err(error.to_string()),
            Ok(files) => pass
                .trust
                .check_folder(&folder)
                .map(|()| files)
                .map_err(|what| format!("not obeyed: {what} (chown, chmod go-w)")),
        };
        match files {
            Ok(files) => {
                if self.alarms.remove(&folder).is_some() {
                    pass.scan.news.push(News::Mended(folder));
                }
                Some(files)
            }
            Err(what) => {
                let alarm = format!("{}: {what}; until that is mended, all stays as it is", folder.display());
                if self.alarms.get(&folder) != Some(&alarm) {
                    pass.scan.news.push(News::Error(alarm.clone()));
                    self.alarms.insert(folder, alarm);
                }
                None
            }
        }
    }

    fn missing(&mut self, stem: &str, pass: &mut Pass) {
        let Some(file) = self.files.get_mut(stem) else { return };
        if !pass.deletion_is_sure(&mut file.missing_since) {
            return;
        }
        match self.files.remove(stem).and_then(|file| file.good) {
            Some(jobs) => pass.scan.changed.extend(jobs.into_iter().map(|(id, _)| id)),
            None => {
                pass.scan.gone.insert(stem.to_owned());
            }
        }
    }

    fn look(&mut self, stem: &str, path: &Path, complete: bool, pass: &mut Pass) {
        let file = self.files.entry(stem.to_owned()).or_default();
        file.missing_since = None;
        let stamp = Stamp::at(path).ok();
        let profiles_changed = pass.profiles_changed && file.uses_profiles;
        let known = stamp.is_some() && file.seen.is_some_and(|seen| seen.stamp == stamp);
        if known && !profiles_changed {
            return;
        }
        if !known && !complete && pass.may_be_incomplete(stamp) {
            if profiles_changed {
                // Only this pass knows that, so the next may not take the file for one that it knows.
                file.seen = None;
            }
            pass.again(SETTLE);
            return;
        }
        let (told, declared) = match load::read(path, Some(&mut pass.trust)) {
            Err(problem) => {
                file.seen = Some(Seen { stamp: None, hash: 0 });
                (Told::of(path, "", &[problem]), None)
            }
            Ok(read) => {
                let seen = Seen { stamp: Some(read.stamp), hash: hash(&read.text) };
                let same = file.seen.is_some_and(|known| known.stamp.is_some() && known.hash == seen.hash);
                file.seen = Some(seen);
                if same && !profiles_changed {
                    return;
                }
                let checked = check_job(stem, &read.text, &self.profiles, &self.facts);
                file.uses_profiles = checked.file.names_profiles();
                let told = Told::of(path, &read.text, &checked.problems);
                let declared = told.errors.is_empty().then_some(checked.declared);
                (told, declared)
            }
        };
        pass.tell(path, &told, &file.told);
        file.told = told;
        let Some(declared) = declared else { return };
        let jobs: Vec<(JobId, Wanted)> = declared
            .into_iter()
            .map(|resolve::Declared { job, enabled }| {
                let (id, job) = (job.id.clone(), Arc::new(job));
                (id, if enabled { Wanted::Run(job) } else { Wanted::Disabled(job) })
            })
            .collect();
        let old = file.good.replace(jobs.clone());
        let differs = |here: &[(JobId, Wanted)], there: &[(JobId, Wanted)], changed: &mut BTreeSet<JobId>| {
            changed.extend(here.iter().filter(|entry| !there.contains(entry)).map(|(id, _)| id.clone()));
        };
        match old {
            Some(old) => {
                differs(&jobs, &old, &mut pass.scan.changed);
                differs(&old, &jobs, &mut pass.scan.changed);
            }
            None => {
                pass.scan.changed.extend(jobs.into_iter().map(|(id, _)| id));
                // Instances that have runs, but are not in the file any more.
                pass.scan.gone.insert(stem.to_owned());
            }
        }
    }

    fn scan_profiles(&mut self, pass: &mut Pass) {
        let Some(files) = self.folder(self.layout.profiles_d.clone(), false, pass) else { return };
        let mut changed = false;
        let present: BTreeMap<String, PathBuf> = files.into_iter().collect();
        self.profile_files.retain(|name, file| {
            let stays = present.contains_key(name) || !pass.deletion_is_sure(&mut file.missing_since);
            changed |= !stays;
            stays
        });
        for (name, path) in &present {
            let file = self.profile_files.entry(name.clone()).or_default();
            file.missing_since = None;
            let stamp = Stamp::at(path).ok();
            if stamp.is_some() && file.seen.is_some_and(|seen| seen.stamp == stamp) {
                continue;
            }
            if pass.may_be_incomplete(stamp) {
                pass.again(SETTLE);
                continue;
            }
            changed = true;
            let told = match load::read(path, Some(&mut pass.trust)) {
                Err(problem) => {
                    file.seen = Some(Seen { stamp: None, hash: 0 });
                    Told::of(path, "", &[problem])
                }
                Ok(read) => {
                    file.seen = Some(Seen { stamp: Some(read.stamp), hash: 0 });
                    let parsed = parse::<JobFile>(&read.text);
                    let told = Told::of(path, &read.text, &parsed.problems);
                    if told.errors.is_empty() {
                        (file.good, file.text) = (Some(parsed.value), read.text);
                    }
                    told
                }
            };
            pass.tell(path, &told, &file.told);
            file.told = told;
        }
        if !changed {
            return;
        }
        pass.profiles_changed = true;
        let good = self.profile_files.iter().map(|(name, file)| (name.clone(), file.good.clone())).collect();
        let (profiles, problems) = Profiles::build(&good);
        self.profiles = profiles;
        for (name, problems) in problems {
            let Some(file) = self.profile_files.get_mut(&name).filter(|_| !problems.is_empty()) else {
                continue;
            };
            let path = self.layout.profiles_d.join(format!("{name}.toml"));
            let told = Told::of(&path, &file.text, &problems);
            pass.tell(&path, &told, &file.told);
            file.told = told;
        }
    }
}

impl Pass {
    fn again(&mut self, after: Duration) {
        let at = self.now.boot + after;
        self.scan.again = Some(self.scan.again.map_or(at, |known| known.min(at)));
    }

    /// Notes that a file is missing; true once that was so for long enough.
    fn deletion_is_sure(&mut self, missing_since: &mut Option<Moment>) -> bool {
        let since = *missing_since.get_or_insert(self.now);
        let sure = self.now.boot.since(since.boot) >= CONFIRM_DELETION;
        if !sure {
            self.again(CONFIRM_DELETION - self.now.boot.since(since.boot));
        }
        sure
    }

    fn may_be_incomplete(&self, stamp: Option<Stamp>) -> bool {
        let age = stamp.map(|stamp| self.now.wall.unix_ms() - stamp.modified_unix_ms());
        age.is_some_and(|age| (0..self.settle.as_millis() as i64).contains(&age))
    }

    fn tell(&mut self, path: &Path, told: &Told, before: &Told) {
        if told == before {
            return;
        }
        if told.errors.is_empty() && !before.errors.is_empty() {
            self.scan.news.push(News::Mended(path.to_owned()));
        }
        self.scan.news.extend(told.errors.iter().cloned().map(News::Error));
        self.scan.news.extend(told.warnings.iter().cloned().map(News::Warning));
    }
}

impl Told {
    fn of(path: &Path, text: &str, problems: &[Problem]) -> Self {
        let (errors, warnings): (Vec<_>, Vec<_>) =
            Diagnostic::all(path, text, problems).into_iter().partition(|found| found.level == Level::Error);
        let lines = |found: Vec<Diagnostic>| found.iter().map(ToString::to_string).collect();
        Self { errors: lines(errors), warnings: lines(warnings) }
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::time::SystemTime;

    use super::*;
    use crate::model::time::WallTime;

    /// `jobs.d/job.toml` was written at `now`, its profile a second before. The job was read at once.
    fn job_and_profile(root: &Path, now: Moment) -> Declared {
        let layout = Layout::under(root);
        for folder in [&layout.jobs_d, &layout.profiles_d] {
            fs::create_dir(folder).expect("made");
        }
        let mut declared = Declared::new(layout);
        write(root, "jobs.d/job.toml", "profiles = [\"calm\"]\n[exec]\ncommand = [\"true\"]\n", now);
        let complete = [Hint { stem: "job".into(), complete: true }].into();
        declared.look_at(&complete, now);
        assert!(declared.errors("job")[0].contains("no profile `calm`"), "{:?}", declared.errors("job"));
        write(root, "profiles.d/calm.toml", "[constraints]\nnice = 3\n", after(now, -1000));
        declared
    }

    fn write(root: &Path, file: &str, text: &str, at: Moment) {
        fs::write(root.join(file), text).expect("written");
        let at = SystemTime::UNIX_EPOCH + Duration::from_millis(at.wall.unix_ms().unsigned_abs());
        File::options().write(true).open(root.join(file)).and_then(|f| f.set_modified(at)).expect("dated");
    }

    fn after(now: Moment, ms: i64) -> Moment {
        let boot = BootTime(now.boot.0.saturating_add_signed(ms));
        Moment { wall: WallTime::from_unix_ms(now.wall.unix_ms() + ms), boot }
    }

    #[test]
    fn a_job_that_is_younger_than_its_profile_gets_it() {
        let root = tempfile::tempdir().expect("a directory");
        let now = clock::now();
        let mut declared = job_and_profile(root.path(), now);
        let _ = declared.scan(now);
        let _ = declared.scan(after(now, 1000));
        assert_eq!(declared.errors("job"), &[] as &[String]);
    }

    #[test]
    fn a_job_that_is_being_written_while_its_profile_changes_gets_it_later() {
        let root = tempfile::tempdir().expect("a directory");
        let now = clock::now();
        let mut declared = job_and_profile(root.path(), after(now, -100));
        // Touched, with the same text.
        let text = fs::read_to_string(root.path().join("jobs.d/job.toml")).expect("read");
        write(root.path(), "jobs.d/job.toml", &text, now);
        let scan = declared.scan(now);
        assert!(scan.again.is_some() && !declared.errors("job").is_empty());
        let _ = declared.scan(after(now, 1000));
        assert_eq!(declared.errors("job"), &[] as &[String]);
    }
}
