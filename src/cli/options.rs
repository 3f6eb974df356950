//! From options to a job: what is said on the command line goes through the same resolution as a job
//! file, with profiles, ranges and suggestions.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::ffrtmp::{ConstraintArgs, IdentityArgs, StartArgs};
use crate::config::load::{self, Trust};
use crate::config::parse::parse;
use crate::config::paths::Layout;
use crate::config::problem::{At, Level, Problem};
use crate::config::profiles::Profiles;
use crate::config::resolve::resolve_command;
use crate::config::schema::{Argv, ConstraintsTable, ExecTable, JobFile, Scalar, TimeoutsTable};
use crate::model::ids::JobId;
use crate::model::job::Job;

/// What a run is called that was given no `--job-id`.
pub const UNNAMED: &str = "unknown";

/// What is wrong with options, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct Refused(Vec<String>);

impl IdentityArgs {
    /// Lays what is said over what a job document says.
    ///
    /// # Errors
    /// A tag without `=`.
    pub fn overlay(&self, file: &mut JobFile) -> Result<(), Refused> {
        if !self.profiles.is_empty() {
            file.profiles = Some(self.profiles.clone());
        }
        file.intent = self.intent.clone().or(file.intent.take());
        file.sla_eligible = self.sla_eligible.or(file.sla_eligible);
        for tag in &self.tags {
            let Some((key, value)) = tag.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return Err(Refused(vec![format!("--tag {tag:?} is not KEY=VALUE")]));
            };
            file.tags.get_or_insert_default().insert(key.into(), value.into());
        }
        Ok(())
    }
}

impl ConstraintArgs {
    /// Lays what is said over what a job document says.
    pub fn overlay(&self, table: &mut ConstraintsTable) {
        fn over<T: Clone>(said: &Option<T>, known: &mut Option<T>) {
            if said.is_some() {
                known.clone_from(said);
            }
        }
        // Two spellings of one limit: the later one replaces the earlier one.
        if self.cpu_quota.is_some() || self.cpu_max.is_some() {
            (table.cpu_quota, table.cpu_max) = (self.cpu_quota, self.cpu_max.clone());
        }
        over(&self.cpu_weight, &mut table.cpu_weight);
        let bytes = self.memory_max.map(|bytes| Scalar::Text(format!("{bytes}B")));
        let limit = self.memory_limit.as_deref().map(size).or(bytes);
        match limit {
            // In the reference's words: none.
            Some(Scalar::Integer(0)) => table.memory_limit = None,
            Some(Scalar::Text(text)) if text == "0B" => table.memory_limit = None,
            limit => over(&limit, &mut table.memory_limit),
        }
        over(&self.memory_high.as_deref().map(size), &mut table.memory_high);
        over(&self.memory_swap.as_deref().map(size), &mut table.memory_swap);
        over(&self.io_weight, &mut table.io_weight);
        if !self.io_max.is_empty() {
            table.io_max = Some(self.io_max.clone());
        }
        over(&self.nice, &mut table.nice);
        over(&self.oom_score, &mut table.oom_score_adj);
        over(&self.tasks_max, &mut table.tasks_max);
        over(&self.cpus, &mut table.cpus);
        over(&self.io_class, &mut table.io_class);
        if self.strict {
            table.strict = Some(true);
        }
    }
}

impl StartArgs {
    /// Lays what is said over what a job document says. The working directory and the environment are taken
    /// as they are, and not part of this.
    pub fn overlay(&self, file: &mut JobFile) {
        if let Some(text) = &self.timeout {
            // As timeout(1) has it: a bare number is seconds.
            let bare = text.parse::<f64>().is_ok();
            let run = if bare { format!("{text}s") } else { text.clone() };
            file.timeouts = Some(TimeoutsTable { run: Some(run) });
        }
        if let Some(user) = &self.user {
            file.exec.get_or_insert_default().user = Some(Scalar::Text(user.clone()));
        }
    }
}

/// A bare number is MiB.
fn size(text: &str) -> Scalar {
    text.trim().parse().map_or_else(|_| Scalar::Text(text.into()), Scalar::Integer)
}

/// The job that all that was said comes to. `command` is what the report shows of it; it is empty for an
/// attached process, whose command is not known yet.
///
/// # Errors
/// With the option, the value, and what to do.
pub fn job_of(
    id: Option<&str>,
    mut file: JobFile,
    command: Vec<String>,
    layout: &Layout,
) -> Result<Job, Refused> {
    let id = JobId::given(id.unwrap_or(UNNAMED))
        .map_err(|error| Refused(vec![format!("--job-id {:?}: {error}", id.unwrap_or(UNNAMED))]))?;
    let profiles = profiles_of(&file, layout)?;
    // Each `%` is meant as it is: there are no instances here.
    for value in file.tags.iter_mut().flat_map(BTreeMap::values_mut) {
        *value = value.replace('%', "%%");
    }
    // The command is no job file's: a path may be relative, and needs no second look. But its name decides which
    // signal stops it.
    let program = command.first().and_then(|program| Path::new(program).file_name());
    let program = program.map_or(UNNAMED.into(), |name| name.to_string_lossy().replace('%', "%%"));
    let placeholder = Argv::List(vec![program]);
    file.exec = Some(ExecTable { command: Some(placeholder), ..file.exec.unwrap_or_default() });
    let resolved = resolve_command(UNNAMED, &file, &profiles);
    let errors: Vec<String> =
        resolved.problems.iter().filter(|p| p.level == Level::Error).map(of_options).collect();
    match resolved.jobs.into_iter().next() {
        Some(declared) if errors.is_empty() => {
            let mut job = Job { id, ..declared.job };
            if let crate::model::job::Workload::Exec(exec) = &mut job.workload {
                exec.command = command;
            }
            Ok(job)
        }
        _ => Err(Refused(errors)),
    }
}

/// A problem of a job file, in the words of the command line.
fn of_options(problem: &Problem) -> String {
    let help = problem.help.as_ref().map(|help| format!("; {help}")).unwrap_or_default();
    let text = format!("{}{help}", problem.message);
    let (At::Key(path) | At::Value(path)) = &problem.at else { return text };
    let key = path.to_string();
    let option = option_of(&key);
    let text = text.replace(&key, &option);
    if text.starts_with(&option) { text } else { format!("{option}: {text}") }
}

/// The option that sets a key.
fn option_of(key: &str) -> String {
    let name = key.rsplit('.').next().unwrap_or(key);
    let name = name.split('[').next().unwrap_or(name);
    match (key, name) {
        (_, "oom_score_adj") => "--oom-score".into(),
        ("timeouts.run", _) => "--timeout".into(),
        (_, "profiles") => "--profile".into(),
        _ => format!("--{}", name.replace('_', "-")),
    }
}

/// The profiles that may be named: those in the program, and the files of `profiles.d`, which are read
/// only where one is named.
fn profiles_of(file: &JobFile, layout: &Layout) -> Result<Profiles, Refused> {
    let mut files = BTreeMap::new();
    if !file.names_profiles() {
        return Ok(Profiles::default());
    }
    let list = match load::list(&layout.profiles_d) {
        Ok(list) => list,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(Refused(vec![format!("--profile: {}: {error}", layout.profiles_d.display())]));
        }
    };
    let mut trust = Trust::new(nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    let mut wrong = BTreeMap::new();
    for (name, path) in list {
        let read = load::read(&path, Some(&mut trust)).map(|text| parse::<JobFile>(&text.text));
        let (value, problems) = match read {
            Ok(parsed) => (parsed.problems.is_empty().then_some(parsed.value), parsed.problems),
            Err(problem) => (None, vec![problem]),
        };
        files.insert(name.clone(), value);
        wrong.insert(name, problems);
    }
    let (profiles, problems) = Profiles::build(&files);
    // Of those that are asked for; the others are nobody's concern here.
    let asked = file.profiles.iter().flatten();
    let said: Vec<String> = asked
        .flat_map(|name| {
            let found = wrong.get(name).into_iter().chain(problems.get(name)).flatten();
            let path = layout.profiles_d.join(format!("{name}.toml"));
            found.map(move |problem| format!("--profile {name}: {}: {}", path.display(), problem.message))
        })
        .collect();
    if said.is_empty() { Ok(profiles) } else { Err(Refused(said)) }
}

/// The path of a program, as messages show it: where PATH has it, else as it was given.
#[must_use]
pub fn shown_program(program: &str, path: Option<&str>) -> String {
    if program.contains('/') {
        return program.into();
    }
    let dirs = path.unwrap_or("/bin:/usr/bin").split(':').filter(|dir| !dir.is_empty());
    let found = dirs.map(|dir| Path::new(dir).join(program)).find(|file| is_executable(file));
    found.map_or_else(|| program.into(), |file| file.display().to_string())
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::super::ffrtmp::{Command, Ffrtmp, RunArgs};
    use super::*;
    use crate::model::constraints::CpuLimit;
    use crate::model::signal::Signal;
    use crate::model::units::ByteSize;

    fn run_args(line: &[&str]) -> RunArgs {
        let all = ["ffrtmp", "run"].iter().chain(line);
        match Ffrtmp::try_parse_from(all).expect("parses").command {
            Command::Run(args) => *args,
            other => panic!("{other:?}"),
        }
    }

    fn job(line: &[&str]) -> Result<Job, Refused> {
        let args = run_args(line);
        let mut file = JobFile::default();
        args.identity.overlay(&mut file)?;
        args.constraints.overlay(file.constraints.get_or_insert_default());
        args.start.overlay(&mut file);
        let command = args.command.iter().map(|word| word.to_string_lossy().into_owned()).collect();
        job_of(args.identity.job_id.as_deref(), file, command, &Layout::under(Path::new("/nowhere")))
    }

    #[test]
    fn the_definitions_are_sound() {
        Ffrtmp::command().debug_assert();
    }

    #[test]
    fn options_come_to_what_the_reference_means_by_them() {
        let job = job(&[
            "--job-id",
            "transcode-h264-001",
            "--sla-eligible",
            "--intent",
            "test",
            "--cpu-quota",
            "200",
            "--memory-limit",
            "4096",
            "--nice",
            "-5",
            "--oom-score",
            "-500",
            "--tag",
            "rate=50%",
            "--timeout",
            "90",
            "--",
            "ffmpeg",
            "-i",
            "a%03d.png",
            "--nice",
            "x",
        ])
        .expect("good");
        assert_eq!((job.id.as_str(), job.sla_eligible), ("transcode-h264-001", true));
        assert_eq!(job.constraints.cpu, Some(CpuLimit::Quota(200)));
        assert_eq!(job.constraints.memory_limit, Some(ByteSize(4096 << 20)));
        assert_eq!((job.constraints.nice, job.constraints.oom_score_adj), (Some(-5), Some(-500)));
        assert_eq!(job.tags["rate"], "50%");
        assert_eq!(job.timeouts.run, Some(std::time::Duration::from_secs(90)));
        assert_eq!(job.exec().expect("exec").command, ["ffmpeg", "-i", "a%03d.png", "--nice", "x"]);
    }

    #[test]
    fn sizes_are_mib_or_have_a_unit() {
        for (line, bytes) in [
            (["--memory-limit", "512"], Some(512 << 20)),
            (["--memory-limit", "4GiB"], Some(4 << 30)),
            (["--memory-max", "1073741824"], Some(1 << 30)),
            (["--memory-limit", "0"], None),
        ] {
            let job = job(&[line[0], line[1], "true"]).expect("good");
            assert_eq!(job.constraints.memory_limit, bytes.map(ByteSize), "{line:?}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_option() {
        for (line, told) in [
            (["--nice", "-21"], "--nice is -21, which is outside -20 to 19"),
            (["--oom-score", "1001"], "--oom-score is 1001, "),
            (["--cpu-weight", "0"], "--cpu-weight is 0, "),
            (["--memory-limit=-1", "--strict"], "--memory-limit is -1, "),
            (["--memory-limit", "4Gibi"], "--memory-limit"),
            (["--timeout", "soon"], "--timeout"),
            (["--profile", "low-priorty"], "low-priority"),
            (["--tag", "x"], "--tag \"x\" is not KEY=VALUE"),
            (["--job-id", "a/b"], "--job-id \"a/b\": "),
        ] {
            let error = job(&[line[0], line[1], "true"]).expect_err("refused").to_string();
            assert!(error.contains(told), "{line:?}: {error}");
        }
    }

    #[test]
    fn a_program_is_stopped_by_the_signal_that_suits_it() {
        let signal = |program: &str| job(&["--timeout", "1", program, "-e"]).expect("good").stop.signal;
        assert_eq!(signal("./bin/gst-launch-1.0"), Signal::INT, "it drops its streams at SIGTERM");
        assert_eq!(
            (signal("ffmpeg"), signal("./100%i"), signal("/")),
            (Signal::TERM, Signal::TERM, Signal::TERM)
        );
    }

    #[test]
    fn a_profile_is_a_base_for_what_is_said() {
        let job = job(&["--profile", "low-priority", "--nice", "3", "true"]).expect("good");
        assert_eq!(job.constraints.nice, Some(3));
        assert!(job.constraints.cpu_weight.is_some(), "from the profile");
    }
}
