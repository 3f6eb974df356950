//! PURE: whether a process fits a rule of `[attach] match`.
//!
//! What a rule asks is looked at in the order of what it costs to read, and nothing is read after the
//! first condition that does not hold.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use regex::{Regex, RegexBuilder};

use super::job::{Match, Not};

/// Bytes of a process's name that the kernel keeps (`TASK_COMM_LEN`, less its end).
const LONGEST_NAME: usize = 15;

/// The most that a compiled expression may take, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;

/// What is known of a process. Each is asked for only where it matters, because it has to be read.
/// What cannot be read, for want of a privilege or because the process is gone, is `None` or empty: a
/// condition on it does not hold, and of what may not hold it is not known, so that the process does not
/// fit either.
pub trait Facts {
    /// Its name (`/proc/PID/comm`): of a longer one the kernel keeps 15 bytes.
    fn name(&self) -> &[u8];
    /// How long it has been running.
    fn running_for(&self) -> Duration;
    /// Whether it runs as this user, given by name or number; `None` if that cannot be read.
    fn runs_as(&self, user: &str) -> Option<bool>;
    /// Its arguments, joined by blanks.
    fn args(&self) -> &str;
    /// The file names of its program and, for a script, of the script.
    fn programs(&self) -> Vec<Cow<'_, str>>;
    /// Whether it executes the program at this path, links followed; `None` if that cannot be read.
    fn executes(&self, program: &Path) -> Option<bool>;
    /// Whether it works in this folder or below, links followed; `None` if that cannot be read.
    fn works_in(&self, folder: &Path) -> Option<bool>;
    /// Where it is in the hierarchies of cgroups.
    fn cgroups(&self) -> &Cgroups;
    /// The name of its parent, as [`Facts::name`].
    fn parent(&self) -> &[u8];
}

/// Whether a process fits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Yes,
    /// It does not, and will not before it executes another program or is given another name.
    No,
    /// It does not, for what may change at any time: the user, the folder, the cgroup or the parent.
    NotNow,
    /// It does, but for the time that it has been running: that is enough in so much time.
    In(Duration),
}

/// A [`Match`] that was made ready.
#[derive(Debug, Clone)]
pub struct Rule {
    name: Option<String>,
    user: Option<String>,
    exe: Option<PathBuf>,
    args: Option<Regex>,
    cgroup: Option<String>,
    unit: Option<String>,
    parent: Option<String>,
    working_dir: Option<PathBuf>,
    min_runtime: Duration,
    max_runtime: Option<Duration>,
    not: Not,
    /// The expressions of `not`.
    not_args: Vec<Regex>,
}

impl Rule {
    /// Makes a rule ready.
    ///
    /// # Errors
    /// `args` is no regular expression, and why.
    pub fn new(fit: &Match) -> Result<Self, String> {
        let Match { name, exe, args, user, parent, working_dir, cgroup, unit, min_runtime, max_runtime, not } =
            fit.clone();
        Ok(Self {
            args: args.map(|args| pattern(&args)).transpose()?,
            not_args: not.args.iter().map(|args| pattern(args)).collect::<Result<_, _>>()?,
            min_runtime: min_runtime.unwrap_or_default(),
            max_runtime,
            name,
            user,
            exe,
            cgroup,
            unit,
            parent,
            working_dir,
            not,
        })
    }

    /// Whether a process fits.
    #[must_use]
    pub fn fits(&self, process: &impl Facts) -> Fit {
        /// Whether what is asked for holds for sure, and nothing that may not hold, for sure.
        fn holds<T>(asked: Option<&T>, never: &[T], is: impl Fn(&T) -> Option<bool>) -> bool {
            asked.is_none_or(|asked| is(asked) == Some(true))
                && never.iter().all(|never| is(never) == Some(false))
        }
        let not = &self.not;
        if !holds(self.name.as_ref(), &not.name, |name| Some(is_named(process, name))) {
            return Fit::No;
        }
        let age = process.running_for();
        if self.max_runtime.is_some_and(|most| age >= most) {
            return Fit::No;
        }
        if !holds(self.user.as_ref(), &not.user, |user| process.runs_as(user)) {
            return Fit::NotNow;
        }
        if !holds(self.exe.as_ref(), &not.exe, |exe| process.executes(exe))
            || !holds(self.args.as_ref(), &self.not_args, |args| Some(args.is_match(process.args())))
        {
            return Fit::No;
        }
        if !holds(self.cgroup.as_ref(), &not.cgroup, |path| Some(process.cgroups().is_below(path)))
            || !holds(self.unit.as_ref(), &not.unit, |unit| Some(process.cgroups().is_in_unit(unit)))
            || !holds(self.parent.as_ref(), &not.parent, |name| Some(process.parent() == kept(name)))
            || !holds(self.working_dir.as_ref(), &not.working_dir, |folder| process.works_in(folder))
        {
            return Fit::NotNow;
        }
        let missing = self.min_runtime.saturating_sub(age);
        if missing.is_zero() { Fit::Yes } else { Fit::In(missing) }
    }

    /// Whether the parent matters: then a process may fit that another made which does not.
    #[must_use]
    pub fn asks_for_parent(&self) -> bool {
        self.parent.is_some() || !self.not.parent.is_empty()
    }
}

/// A regular expression of `args`.
///
/// # Errors
/// Why it is none, in one line.
pub fn pattern(text: &str) -> Result<Regex, String> {
    RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build().map_err(|error| {
        let text = match &error {
            regex::Error::CompiledTooBig(_) => return "it is too large".into(),
            error => error.to_string(),
        };
        // The lines before the last one show the place.
        let last = text.lines().next_back().unwrap_or_default();
        last.strip_prefix("error: ").unwrap_or(last).to_owned()
    })
}

/// The regular expression that fits this text alone.
#[must_use]
pub fn literal(text: &str) -> String {
    regex::escape(text)
}

/// Whether a process has a name, which may be longer than what the kernel keeps of it: then the rest has
/// to be that of its program.
fn is_named(process: &impl Facts, name: &str) -> bool {
    process.name() == kept(name)
        && (name.len() <= LONGEST_NAME || process.programs().iter().any(|program| program == name))
}

/// What the kernel keeps of a name.
fn kept(name: &str) -> &[u8] {
    name.as_bytes().get(..LONGEST_NAME).unwrap_or(name.as_bytes())
}

/// Where a process is in the hierarchies of cgroups (`/proc/PID/cgroup`, cgroups(7)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cgroups {
    /// Its path in each hierarchy.
    paths: Vec<String>,
    /// Its path in the one that systemd keeps its units in.
    systemd: Option<String>,
}

impl Cgroups {
    /// Takes the text apart.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut found = Self::default();
        let mut unified = None;
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(_), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                continue;
            };
            match controllers {
                "" => unified = Some(path.to_owned()),
                "name=systemd" => found.systemd = Some(path.to_owned()),
                _ => {}
            }
            if !found.paths.iter().any(|known| known == path) {
                found.paths.push(path.to_owned());
            }
        }
        // Where both are there, systemd's own is the one with units in it (hybrid hierarchy).
        found.systemd = found.systemd.or(unified);
        found
    }

    /// Whether it is in this cgroup or in one below it, in whichever hierarchy.
    #[must_use]
    pub fn is_below(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        self.paths
            .iter()
            .any(|own| own.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
    }

    /// Whether it is in this unit of systemd's, of the system or of a user, or in one below it.
    #[must_use]
    pub fn is_in_unit(&self, unit: &str) -> bool {
        // systemd puts `_` before a name that is that of a file in a cgroup (cg_escape).
        let is_unit = |part: &str| part == unit || part.strip_prefix('_') == Some(unit);
        self.systemd.as_ref().is_some_and(|path| path.split('/').any(is_unit))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// A process, and what was asked of it.
    struct Process {
        name: &'static str,
        cgroups: Cgroups,
        /// What others may not see cannot be read.
        hides: bool,
        asked: RefCell<Vec<&'static str>>,
    }

    fn obs() -> Process {
        let cgroups =
            Cgroups::parse("0::/user.slice/user-1000.slice/user@1000.service/app.slice/obs.scope\n");
        Process { name: "obs", cgroups, hides: false, asked: RefCell::default() }
    }

    impl Facts for Process {
        fn name(&self) -> &[u8] {
            self.name.as_bytes()
        }
        fn running_for(&self) -> Duration {
            Duration::from_secs(3)
        }
        fn runs_as(&self, user: &str) -> Option<bool> {
            self.asked.borrow_mut().push("user");
            Some(["alice", "1000"].contains(&user))
        }
        fn args(&self) -> &str {
            self.asked.borrow_mut().push("args");
            "/usr/bin/obs --profile Live --startstreaming"
        }
        fn programs(&self) -> Vec<Cow<'_, str>> {
            self.asked.borrow_mut().push("programs");
            vec!["a-name-that-is-long-enough".into()]
        }
        fn executes(&self, program: &Path) -> Option<bool> {
            self.asked.borrow_mut().push("exe");
            (!self.hides).then(|| program == Path::new("/usr/bin/obs"))
        }
        fn works_in(&self, folder: &Path) -> Option<bool> {
            self.asked.borrow_mut().push("cwd");
            (!self.hides).then(|| Path::new("/home/alice/live").starts_with(folder))
        }
        fn cgroups(&self) -> &Cgroups {
            self.asked.borrow_mut().push("cgroups");
            &self.cgroups
        }
        fn parent(&self) -> &[u8] {
            self.asked.borrow_mut().push("parent");
            b"gnome-session-b"
        }
    }

    fn rule(text: &str) -> Rule {
        let fit: Match = serde_json::from_str(text).expect("a match");
        Rule::new(&fit).expect("a rule")
    }

    #[test]
    fn every_condition_has_to_hold() {
        let cases = [
            (r#"{"name": "obs"}"#, Fit::Yes),
            (r#"{"name": "ob"}"#, Fit::No),
            (r#"{"name": "obs2"}"#, Fit::No),
            (r#"{"user": "alice"}"#, Fit::Yes),
            (r#"{"user": "1000", "name": "obs"}"#, Fit::Yes),
            (r#"{"user": "bob", "name": "obs"}"#, Fit::NotNow),
            (r#"{"exe": "/usr/bin/obs"}"#, Fit::Yes),
            (r#"{"exe": "/usr/bin/obs2"}"#, Fit::No),
            (r#"{"args": "--profile (Live|Test)\\b"}"#, Fit::Yes),
            (r#"{"args": "^--profile"}"#, Fit::No),
            (r#"{"parent": "gnome-session-binary"}"#, Fit::Yes),
            (r#"{"parent": "gnome-session-b"}"#, Fit::Yes),
            (r#"{"parent": "gnome"}"#, Fit::NotNow),
            (r#"{"cgroup": "/user.slice"}"#, Fit::Yes),
            (r#"{"cgroup": "/user.slice/"}"#, Fit::Yes),
            (r#"{"cgroup": "/user"}"#, Fit::NotNow),
            (r#"{"unit": "obs.scope"}"#, Fit::Yes),
            (r#"{"unit": "user@1000.service"}"#, Fit::Yes),
            (r#"{"unit": "obs.service"}"#, Fit::NotNow),
            (r#"{"name": "obs", "min_runtime": 3000}"#, Fit::Yes),
            (r#"{"name": "obs", "min_runtime": 5000}"#, Fit::In(Duration::from_secs(2))),
            (r#"{"name": "x", "min_runtime": 5000}"#, Fit::No),
            (r#"{"max_runtime": 3001}"#, Fit::Yes),
            (r#"{"max_runtime": 3000}"#, Fit::No),
            (r#"{"min_runtime": 5000, "max_runtime": 9000}"#, Fit::In(Duration::from_secs(2))),
            (r#"{"working_dir": "/home/alice/live"}"#, Fit::Yes),
            (r#"{"working_dir": "/home/alice"}"#, Fit::Yes),
            (r#"{"working_dir": "/home/ali"}"#, Fit::NotNow),
            (r#"{"working_dir": "/home/alice/live/x"}"#, Fit::NotNow),
        ];
        for (text, fit) in cases {
            assert_eq!(rule(text).fits(&obs()), fit, "{text}");
        }
    }

    #[test]
    fn nothing_that_is_ruled_out_may_hold() {
        let cases = [
            (r#"{"name": ["vlc", "obs"]}"#, Fit::No),
            (r#"{"name": ["vlc"]}"#, Fit::Yes),
            (r#"{"exe": ["/usr/bin/obs"]}"#, Fit::No),
            (r#"{"exe": ["/usr/bin/vlc"]}"#, Fit::Yes),
            (r#"{"args": ["--idle", "--profile Live"]}"#, Fit::No),
            (r#"{"args": ["--profile$"]}"#, Fit::Yes),
            (r#"{"user": ["root", "1000"]}"#, Fit::NotNow),
            (r#"{"user": ["root", "bob"]}"#, Fit::Yes),
            (r#"{"parent": ["gnome-session-binary"]}"#, Fit::NotNow),
            (r#"{"parent": ["tmux: server"]}"#, Fit::Yes),
            (r#"{"working_dir": ["/srv", "/home/alice"]}"#, Fit::NotNow),
            (r#"{"working_dir": ["/home/bob"]}"#, Fit::Yes),
            (r#"{"cgroup": ["/user.slice"]}"#, Fit::NotNow),
            (r#"{"cgroup": ["/system.slice"]}"#, Fit::Yes),
            (r#"{"unit": ["obs.scope"]}"#, Fit::NotNow),
            (r#"{"unit": ["obs.service"]}"#, Fit::Yes),
            // One is enough.
            (r#"{"user": ["bob"], "parent": ["sh"], "name": ["obs"]}"#, Fit::No),
            ("{}", Fit::Yes),
        ];
        for (not, fit) in cases {
            assert_eq!(rule(&format!(r#"{{"user": "alice", "not": {not}}}"#)).fits(&obs()), fit, "{not}");
        }
        assert!(rule(r#"{"name": "x", "not": {"parent": ["y"]}}"#).asks_for_parent());
    }

    #[test]
    fn what_cannot_be_seen_fits_neither_what_is_asked_for_nor_what_is_ruled_out() {
        let hidden = Process { hides: true, ..obs() };
        for (text, fit) in [
            (r#"{"exe": "/usr/bin/obs"}"#, Fit::No),
            (r#"{"name": "obs", "not": {"exe": ["/usr/bin/vlc"]}}"#, Fit::No),
            (r#"{"working_dir": "/home"}"#, Fit::NotNow),
            (r#"{"name": "obs", "not": {"working_dir": ["/srv"]}}"#, Fit::NotNow),
            (r#"{"name": "obs", "not": {"name": ["vlc"]}}"#, Fit::Yes),
        ] {
            assert_eq!(rule(text).fits(&hidden), fit, "{text}");
        }
    }

    #[test]
    fn nothing_is_read_that_does_not_matter() {
        let process = obs();
        let all =
            r#"{"name": "vlc", "user": "bob", "exe": "/x", "args": "x", "parent": "x", "unit": "x.service"}"#;
        assert_eq!(rule(all).fits(&process), Fit::No);
        assert_eq!(*process.asked.borrow(), [""; 0]);
        assert_eq!(rule(&all.replace("vlc", "obs")).fits(&process), Fit::NotNow);
        assert_eq!(*process.asked.borrow(), ["user"]);
    }

    #[test]
    fn a_name_is_whole_where_the_kernel_cuts_it() {
        let long = Process { name: "a-name-that-is-", ..obs() };
        assert_eq!(rule(r#"{"name": "a-name-that-is-long-enough"}"#).fits(&long), Fit::Yes);
        assert_eq!(rule(r#"{"name": "a-name-that-is-"}"#).fits(&long), Fit::Yes);
        assert_eq!(rule(r#"{"name": "a-name-that-is-another"}"#).fits(&long), Fit::No);
        assert_eq!(rule(r#"{"name": "a-name-that"}"#).fits(&long), Fit::No);
    }

    #[test]
    fn a_process_is_found_in_every_kind_of_hierarchy() {
        let v1 =
            Cgroups::parse("9:name=systemd:/system.slice/nginx.service\n8:pids:/\n4:memory:/a:b/c\n0::/\n");
        assert!(v1.is_in_unit("nginx.service") && v1.is_in_unit("system.slice") && !v1.is_in_unit("nginx"));
        assert!(v1.is_below("/a:b") && v1.is_below("/") && v1.is_below("/system.slice/nginx.service"));
        assert!(!v1.is_below("/a") && !v1.is_below("/system.slice/nginx"));
        let v2 = Cgroups::parse("0::/system.slice/_cpu.service\n");
        assert!(v2.is_in_unit("cpu.service") && !v2.is_in_unit("_cpu.scope"));
        assert!(!Cgroups::parse("").is_below("/") && !Cgroups::parse("x\n").is_in_unit(""));
    }

    #[test]
    fn what_is_no_expression_is_told_in_a_line() {
        assert_eq!(pattern("a(b").map(drop), Err("unclosed group".into()));
        assert_eq!(pattern("(a{1000}){1000}").map(drop), Err("it is too large".into()));
        assert!(pattern(r"(?i)-i\s+rtmp://").is_ok());
    }
}
