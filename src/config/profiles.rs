//! Profiles: named layers that jobs share. Three are built in; a file of the same name replaces one.

use std::collections::BTreeMap;

use super::parse::parse;
use super::problem::{At, KeyPath, Problem};
use super::resolve::layer::{Layer, layer, overlay};
use super::schema::{FileKind, JobFile};
use super::suggest::nearest;

/// The profiles in the binary: name and text.
pub const BUILT_IN: &[(&str, &str)] = &[
    ("live-hls", include_str!("../../profiles/live-hls.toml")),
    ("low-priority", include_str!("../../profiles/low-priority.toml")),
    ("nvenc-h264", include_str!("../../profiles/nvenc-h264.toml")),
];

/// How deep profiles may build on each other.
const DEEPEST: usize = 32;

/// Each profile file's own values; `None` for one with errors.
type Layers = BTreeMap<String, Option<Layer>>;

/// All profiles there are, each with what it is built on folded in.
#[derive(Debug, Clone, Default)]
pub struct Profiles {
    flat: Layers,
}

impl Profiles {
    /// Puts profile files together with the built-in ones. A file that could not be read is `None`.
    /// The problems are those of each file.
    #[must_use]
    pub fn build(files: &BTreeMap<String, Option<JobFile>>) -> (Self, BTreeMap<String, Vec<Problem>>) {
        let mut problems: BTreeMap<String, Vec<Problem>> = BTreeMap::new();
        let mut own: Layers = BTreeMap::new();
        for (name, text) in BUILT_IN {
            own.insert((*name).into(), Some(layer(&parse::<JobFile>(text).value, FileKind::Profile).0));
        }
        for (name, file) in files {
            let read = file.as_ref().map(|file| layer(file, FileKind::Profile));
            let (layer, found) = match read {
                Some((layer, found)) => (found.is_empty().then_some(layer), found),
                None => (None, Vec::new()),
            };
            own.insert(name.clone(), layer);
            problems.insert(name.clone(), found);
        }
        let mut profiles = Self::default();
        for name in own.keys() {
            if let Some((n, ring)) = circle(name, &own) {
                profiles.flat.insert(name.clone(), None);
                let at = At::Value(KeyPath::of("profiles").index(n));
                let message = format!("profiles go round in a circle: {}", ring.join(" -> "));
                let problem = Problem::error("profile-cycle", at, message)
                    .help("take one of them out of the other's `profiles`");
                problems.entry(name.clone()).or_default().push(problem);
            }
        }
        for name in own.keys() {
            profiles.flatten(name, 0, &own, &mut problems);
        }
        for (name, layer) in &own {
            let windows = layer.iter().flat_map(|layer| layer.schedule.iter().flatten());
            for (n, window) in windows.enumerate() {
                let Err(found) = profiles.apply(&window.profiles) else { continue };
                let table = KeyPath::of("schedule").index(n);
                let found = found.into_iter().map(|problem| problem.below(&table));
                problems.entry(name.clone()).or_default().extend(found);
                profiles.flat.insert(name.clone(), None);
            }
        }
        (profiles, problems)
    }

    /// The names there are.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.flat.keys().map(String::as_str)
    }

    /// What a list of profiles comes to, applied from left to right.
    ///
    /// # Errors
    /// A problem for each profile that is unknown or has errors, placed on its name in the list.
    pub fn apply(&self, names: &[String]) -> Result<Layer, Vec<Problem>> {
        let mut result = Layer::default();
        let mut problems = Vec::new();
        for (n, name) in names.iter().enumerate() {
            match self.flat.get(name) {
                Some(Some(layer)) => result = overlay(result, layer.clone()),
                Some(None) => problems.push(broken(n, name)),
                None => problems.push(unknown(n, name, self.names())),
            }
        }
        if problems.is_empty() { Ok(result) } else { Err(problems) }
    }

    /// Folds in what a profile is built on. Those on a circle are settled already, so this ends.
    fn flatten(
        &mut self,
        name: &str,
        depth: usize,
        own: &Layers,
        problems: &mut BTreeMap<String, Vec<Problem>>,
    ) {
        if self.flat.contains_key(name) {
            return;
        }
        let mut found = Vec::new();
        let mut base = Layer::default();
        let layer = own.get(name).and_then(Option::as_ref);
        for (n, below) in layer.iter().flat_map(|layer| &layer.profiles).enumerate() {
            if depth == DEEPEST {
                let at = At::Value(KeyPath::of("profiles"));
                found.push(
                    Problem::error("profile-cycle", at, format!("profiles nest deeper than {DEEPEST}"))
                        .help("build on fewer profiles at once"),
                );
                break;
            }
            if !own.contains_key(below) {
                found.push(unknown(n, below, own.keys().map(String::as_str)));
                continue;
            }
            self.flatten(below, depth + 1, own, problems);
            match self.flat.get(below) {
                Some(Some(layer)) => base = overlay(base, layer.clone()),
                _ => found.push(broken(n, below)),
            }
        }
        let flat = layer.filter(|_| found.is_empty()).map(|layer| overlay(base, layer.clone()));
        self.flat.insert(name.into(), flat);
        problems.entry(name.into()).or_default().extend(found);
    }
}

/// The way from a profile back to itself, and the entry of its list at which it begins.
fn circle(name: &str, own: &Layers) -> Option<(usize, Vec<String>)> {
    fn search<'a>(
        from: &'a str,
        goal: &str,
        own: &'a Layers,
        seen: &mut Vec<&'a str>,
    ) -> Option<(usize, Vec<String>)> {
        let below = &own.get(from)?.as_ref()?.profiles;
        for (n, next) in below.iter().enumerate() {
            if next == goal {
                return Some((n, vec![from.into(), goal.into()]));
            }
            if !seen.contains(&next.as_str()) {
                seen.push(next);
                if let Some((_, mut way)) = search(next, goal, own, seen) {
                    way.insert(0, from.into());
                    return Some((n, way));
                }
            }
        }
        None
    }
    search(name, name, own, &mut Vec::new())
}

fn unknown<'a>(n: usize, name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    let known: Vec<&str> = known.collect();
    let help = match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known are: {}", known.join(", ")),
    };
    let at = At::Value(KeyPath::of("profiles").index(n));
    Problem::error("unknown-profile", at, format!("there is no profile `{name}`")).help(help)
}

fn broken(n: usize, name: &str) -> Problem {
    let at = At::Value(KeyPath::of("profiles").index(n));
    Problem::error("broken-profile", at, format!("profile `{name}` has errors")).help("mend that file first")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::units::ByteSize;

    fn build(files: &[(&str, &str)]) -> (Profiles, BTreeMap<String, Vec<Problem>>) {
        let parsed =
            files.iter().map(|(n, text)| ((*n).into(), Some(parse::<JobFile>(text).value))).collect();
        Profiles::build(&parsed)
    }

    #[test]
    fn the_built_in_profiles_mean_what_they_say() {
        let (profiles, _) = build(&[]);
        for (name, text) in BUILT_IN {
            assert_eq!(parse::<JobFile>(text).problems, [], "{name}");
        }
        let low = profiles.apply(&["low-priority".into()]).expect("built in");
        assert_eq!((low.constraints.cpu_weight, low.constraints.nice), (Some(50), Some(10)));
        assert_eq!(low.constraints.memory_limit, Some(ByteSize(1 << 30)));
        assert_eq!(low.constraints.oom_score_adj, Some(500));
        let hls = profiles.apply(&["live-hls".into()]).expect("built in");
        assert_eq!((hls.constraints.cpu_weight, hls.constraints.cpu), (Some(200), None));
        let nvenc = profiles.apply(&["nvenc-h264".into()]).expect("built in");
        assert_eq!(nvenc.constraints.nice, Some(-5));
    }

    #[test]
    fn a_file_replaces_a_built_in_profile_and_may_build_on_another() {
        let (profiles, problems) = build(&[
            ("low-priority", "[constraints]\nnice = 19\n"),
            ("mine", "profiles = [\"low-priority\"]\n[constraints]\ncpu_weight = 7\n"),
        ]);
        assert!(problems.values().all(Vec::is_empty), "{problems:?}");
        let mine = profiles.apply(&["mine".into()]).expect("good");
        assert_eq!((mine.constraints.nice, mine.constraints.cpu_weight), (Some(19), Some(7)));
        assert_eq!(mine.constraints.oom_score_adj, None);
    }

    #[test]
    fn a_circle_is_told_in_each_file_that_is_part_of_it() {
        let (profiles, problems) = build(&[
            ("a", "profiles = [\"b\"]"),
            ("b", "profiles = [\"a\"]"),
            ("c", "profiles = [\"c\"]"),
            ("d", "profiles = [\"a\"]"),
        ]);
        for name in ["a", "b", "c"] {
            assert_eq!(problems[name][0].code, "profile-cycle", "{name}");
        }
        assert!(!problems["d"].is_empty());
        assert!(profiles.apply(&["a".into()]).is_err());
    }

    #[test]
    fn the_windows_of_a_profile_name_profiles_that_are_there() {
        let (profiles, problems) = build(&[
            ("a", "[[schedule]]\nprofiles = [\"b\"]\n"),
            ("b", "[[schedule]]\nprofiles = [\"a\"]\n"),
            ("day", "[[schedule]]\nprofiles = [\"a\", \"bb\"]\n"),
        ]);
        assert!(
            problems["a"].is_empty() && profiles.apply(&["a".into(), "b".into()]).is_ok(),
            "{problems:?}"
        );
        let problem = &problems["day"][0];
        assert_eq!(problem.code, "unknown-profile");
        assert_eq!(problem.at, At::Value(KeyPath::of("schedule").index(0).key("profiles").index(1)));
        assert!(profiles.apply(&["day".into()]).is_err());
    }

    #[test]
    fn a_misspelt_profile_is_suggested() {
        let (profiles, _) = build(&[]);
        let problems = profiles.apply(&["live-hsl".into()]).expect_err("unknown");
        assert_eq!(
            (problems[0].code, problems[0].help.as_deref()),
            ("unknown-profile", Some("did you mean `live-hls`?"))
        );
    }
}
