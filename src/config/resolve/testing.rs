//! PURE: job files for the tests of this folder.

use std::collections::BTreeMap;

use super::{Resolved, resolve};
use crate::config::parse::parse;
use crate::config::profiles::Profiles;
use crate::config::schema::JobFile;
use crate::model::job::Job;

/// A workload, for files that are about something else.
pub(super) const EXEC: &str = "[exec]\ncommand = [\"/bin/true\"]\n";

/// What a file with this name and text comes to.
pub(super) fn read(stem: &str, text: &str) -> Resolved {
    let parsed = parse::<JobFile>(text);
    assert_eq!(parsed.problems, [], "{text}");
    resolve(stem, &parsed.value, &Profiles::build(&BTreeMap::new()).0)
}

/// The one job of a file in which nothing is wrong.
pub(super) fn one(text: &str) -> Job {
    let resolved = read("job", text);
    assert_eq!(resolved.problems, [], "{text}");
    resolved.jobs.into_iter().next().expect("one job").job
}

/// The codes of what is wrong with a file.
pub(super) fn codes(text: &str) -> Vec<&'static str> {
    read("job", text).problems.iter().map(|problem| problem.code).collect()
}

/// The same for a file with [`EXEC`] and this.
pub(super) fn codes_with(rest: &str) -> Vec<&'static str> {
    codes(&format!("{EXEC}{rest}"))
}
