//! PURE: `[attach]`: which running processes are taken over.

use std::path::PathBuf;

use super::reader::Reader;
use super::shared::change_path;
use crate::config::problem::{At, KeyPath};
use crate::config::schema::{AttachTable, MatchTable, NotTable, OneOrMore};
use crate::model::job::{Attach, Match, Not, Target};
use crate::model::process::Pid;

/// Kinds of systemd units that processes are in.
const UNIT_SUFFIXES: [&str; 3] = [".service", ".scope", ".slice"];

/// Reads the table.
pub(super) fn read(read: &mut Reader, table: &AttachTable) -> Option<Attach> {
    let given = [table.pid.is_some(), table.pid_file.is_some(), table.match_.is_some()];
    if given.iter().filter(|given| **given).count() != 1 {
        read.error(
            "attach-one-of",
            At::Key(KeyPath::of("attach")),
            "[attach] needs exactly one of `pid`, `pid_file` and `match`",
            "keep the one that tells which process is meant",
        );
        return None;
    }
    let (all, relocate) = (table.all.unwrap_or(false), table.move_.unwrap_or(false));
    if all && table.match_.is_none() {
        read.error(
            "all-without-match",
            At::Value(KeyPath::of("attach.all")),
            "`all` is for `match`: the other two name one process",
            "remove `all`, or describe the processes with `match`",
        );
    }
    let of = |target| Attach { target, all, relocate };
    if let Some(number) = read.integer("attach.pid", table.pid, 2, 4_194_304) {
        let pid = u32::try_from(number).ok().and_then(Pid::new)?;
        return Some(of(Target::Pid(pid)));
    }
    if let Some(file) = read.path("attach.pid_file", table.pid_file.as_ref()) {
        return Some(of(Target::PidFile(file)));
    }
    table.match_.as_ref().and_then(|fit| matching(read, fit)).map(|fit| of(Target::Match(Box::new(fit))))
}

/// Applies a change to every text in which `%i` and `%n` have a meaning.
pub(super) fn texts(attach: &mut Attach, change: &mut dyn FnMut(&mut String)) {
    match &mut attach.target {
        Target::Pid(_) => {}
        Target::PidFile(file) => change_path(file, change),
        Target::Match(fit) => {
            let Match {
                name,
                exe,
                args,
                user,
                parent,
                working_dir,
                cgroup,
                unit,
                not,
                min_runtime: _,
                max_runtime: _,
            } = &mut **fit;
            let paths = [&mut not.exe, &mut not.working_dir];
            for path in exe.iter_mut().chain(working_dir).chain(paths.into_iter().flatten()) {
                change_path(path, change);
            }
            [name, args, user, parent, cgroup, unit].into_iter().flatten().for_each(&mut *change);
            let Not { name, args, user, parent, cgroup, unit, exe: _, working_dir: _ } = not;
            [name, args, user, parent, cgroup, unit].into_iter().flatten().for_each(&mut *change);
        }
    }
}

/// The regular expressions in it, and where they stand.
pub(super) fn patterns(attach: &mut Attach) -> Vec<(&'static str, &mut String)> {
    match &mut attach.target {
        Target::Match(fit) => {
            let Match { args, not, .. } = &mut **fit;
            let own = args.iter_mut().map(|args| ("attach.match.args", args));
            own.chain(not.args.iter_mut().map(|args| ("attach.match.not.args", args))).collect()
        }
        _ => Vec::new(),
    }
}

fn matching(read: &mut Reader, table: &MatchTable) -> Option<Match> {
    let fit = Match {
        name: read.text("attach.match.name", table.name.as_ref()),
        exe: read.path("attach.match.exe", table.exe.as_ref()),
        args: read.text("attach.match.args", table.args.as_ref()),
        user: read.account("attach.match.user", table.user.as_ref()),
        parent: read.text("attach.match.parent", table.parent.as_ref()),
        cgroup: table.cgroup.clone().inspect(|path| read.absolute(KeyPath::of("attach.match.cgroup"), path)),
        unit: table.unit.clone().inspect(|unit| self::unit(read, KeyPath::of("attach.match.unit"), unit)),
        working_dir: read.path("attach.match.working_dir", table.working_dir.as_ref()),
        min_runtime: read.duration("attach.match.min_runtime", table.min_runtime.as_ref()),
        max_runtime: read.positive("attach.match.max_runtime", table.max_runtime.as_ref()),
        not: table.not.as_ref().map(|not| self::not(read, not)).unwrap_or_default(),
    };
    if let (Some(least), Some(most)) = (fit.min_runtime, fit.max_runtime)
        && most <= least
    {
        read.error(
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
        read.error(
            "match-all",
            At::Key(KeyPath::of("attach.match")),
            "`match` fits every process",
            "say which program is meant, with `name`, `exe`, `args`, `user`, `parent`, `working_dir`, `cgroup` or `unit`",
        );
        return None;
    }
    Some(fit)
}

fn not(read: &mut Reader, table: &NotTable) -> Not {
    // Everybody is below the root, and every text contains an empty one.
    let not_all = |read: &mut Reader, at: KeyPath, text: &str, all: &str| {
        if text == all {
            let help = "leave it out, or name what is not meant";
            read.error("match-nothing", At::Value(at), "this holds for every process: none is left", help);
        }
    };
    let folder = |read: &mut Reader, at: KeyPath, text: &str| {
        read.absolute(at.clone(), text);
        not_all(read, at, text, "/");
    };
    let args = |read: &mut Reader, at: KeyPath, text: &str| {
        read.no_nul(at.clone(), text);
        not_all(read, at, text, "");
    };
    let paths = |list: Vec<String>| list.into_iter().map(PathBuf::from).collect();
    let mut user = Vec::new();
    for (at, value) in places("attach.match.not.user", table.user.as_ref()) {
        user.extend(read.account_at(at, value));
    }
    Not {
        name: each(read, "attach.match.not.name", table.name.as_ref(), Reader::no_nul),
        exe: paths(each(read, "attach.match.not.exe", table.exe.as_ref(), Reader::absolute)),
        args: each(read, "attach.match.not.args", table.args.as_ref(), args),
        user,
        parent: each(read, "attach.match.not.parent", table.parent.as_ref(), Reader::no_nul),
        working_dir: paths(each(read, "attach.match.not.working_dir", table.working_dir.as_ref(), folder)),
        cgroup: each(read, "attach.match.not.cgroup", table.cgroup.as_ref(), folder),
        unit: each(read, "attach.match.not.unit", table.unit.as_ref(), self::unit),
    }
}

/// The texts of a list, each of them checked.
fn each(
    read: &mut Reader,
    path: &'static str,
    list: Option<&OneOrMore<String>>,
    check: impl Fn(&mut Reader, KeyPath, &str),
) -> Vec<String> {
    let mut texts = Vec::new();
    for (at, text) in places(path, list) {
        check(read, at, text);
        texts.push(text.clone());
    }
    texts
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

fn unit(read: &mut Reader, path: KeyPath, unit: &str) {
    read.no_nul(path.clone(), unit);
    let name = UNIT_SUFFIXES.iter().find_map(|suffix| unit.strip_suffix(suffix));
    if name.is_none_or(str::is_empty) || unit.contains('/') {
        let help = match unit.contains(['/', '.']) || unit.is_empty() {
            true => format!("write its name with one of {}", UNIT_SUFFIXES.join(", ")),
            false => format!("did you mean \"{unit}.service\"?"),
        };
        let message = format!("{unit:?} is no systemd unit that processes are in");
        read.error("not-a-systemd-unit", At::Value(path), message, help);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::resolve::testing::{codes, one};

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
    fn every_wrong_value_has_its_code() {
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
    }
}
