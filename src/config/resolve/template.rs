//! PURE: templates: one file that declares a job for each of its `instances`, with `%i` and `%n` in its texts.

use std::collections::BTreeSet;

use super::layer::Layer;
use crate::config::problem::{At, KeyPath, Problem};
use crate::config::schema::JobFile;
use crate::model::ids::{JobId, MAX_NAME, NameError, check_name};
use crate::model::matching;

/// Most instances of a template, and most bytes that its values come to in all of them: enough for
/// any machine, and little enough that no file can fill the memory.
const MAX_INSTANCES: usize = 1_000;
const MAX_EXPANDED: usize = 16 << 20;

/// The entries of a template, or one `None` for a job of its own.
pub(super) fn instances(file: &JobFile, problems: &mut Vec<Problem>) -> Vec<Option<String>> {
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
    if entries.len() > MAX_INSTANCES {
        problems.push(too_many_instances(format!(
            "`instances` has {} entries; at most {MAX_INSTANCES} are allowed",
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

/// Tells where the instances of a template come to more than fits, and where there are none to name.
pub(super) fn check(
    file: &JobFile,
    entries: &[Option<String>],
    merged: &mut Layer,
    problems: &mut Vec<Problem>,
) {
    if entries.len() > 1 && expanded_size(merged, entries.len()) > MAX_EXPANDED {
        problems.push(too_many_instances(format!(
            "the jobs of this template come to more than {} MiB",
            MAX_EXPANDED >> 20
        )));
    }
    if file.instances.is_none() && uses_instance(merged) {
        problems.push(
            Problem::error(
                "instance-outside-template",
                At::File,
                "`%i` is used, but the file has no `instances`",
            )
            .help("add `instances = [...]`, or write `%%i` for the two characters"),
        );
    }
}

pub(super) fn bad_name(what: &str, name: &str, error: &NameError, at: At) -> Problem {
    let help = match what {
        "job" => "rename the file: the job's name is the file's name without `.toml`",
        _ => "use a-z, 0-9, '.', '_' and '-', beginning with a letter or digit, at most 64 characters",
    };
    Problem::error("bad-name", at, format!("{name:?} is no {what} name: {error}")).help(help)
}

/// The layer of one instance.
pub(super) fn expand(mut layer: Layer, id: &JobId, entry: &str) -> Layer {
    // In a regular expression a name means itself.
    let args: Vec<String> =
        layer.patterns().into_iter().map(|(_, args)| expand_args(args, id, entry)).collect();
    layer.texts(&mut |text| {
        if text.contains('%') {
            *text = expand_text(text, id.as_str(), entry);
        }
    });
    layer.patterns().into_iter().zip(args).for_each(|((_, place), args)| *place = args);
    layer
}

/// Tells of a regular expression that is none. It may be so for one instance alone.
pub(super) fn pattern_problem(ids: &[(JobId, &str)], merged: &mut Layer) -> Option<Problem> {
    let all = merged.patterns().into_iter().flat_map(|(place, args)| {
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

fn expand_args(args: &str, id: &JobId, entry: &str) -> String {
    expand_text(args, &matching::literal(id.as_str()), &matching::literal(entry))
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

/// An upper bound of the bytes that the values of a template come to in all its instances.
fn expanded_size(layer: &mut Layer, entries: usize) -> usize {
    let mut size = 0usize;
    let longest = 2 * MAX_NAME + 1;
    layer.texts(&mut |text| size += text.len() + text.matches('%').count() * longest);
    size.saturating_mul(entries)
}

fn uses_instance(layer: &mut Layer) -> bool {
    let mut used = false;
    layer.texts(&mut |text| used |= text.contains("%i") && text.replace("%%", "").contains("%i"));
    used
}

fn too_many_instances(message: String) -> Problem {
    Problem::error("too-many-instances", At::Value(KeyPath::of("instances")), message)
        .help("spread them over several files")
}

#[cfg(test)]
mod tests {
    use crate::config::resolve::testing::{EXEC, codes, read};
    use crate::model::job::{Not, Target};

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
}
