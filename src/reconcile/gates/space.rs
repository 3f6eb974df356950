//! PURE: a job starts only where there is the free space that it needs, and a oneshot only where the state's file system
//! has its reserve: what runs already must always be able to record its end.

use std::path::Path;
use std::time::Duration;

use crate::model::job::{Job, Lifecycle};
use crate::model::space::{NoSpace, Reserve, Space};

/// What is known of the file system that a path is on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// What it has.
    Space(Space),
    /// It cannot be known: why.
    Failed(String),
    /// It was asked so long ago, and has not answered yet.
    Asked(Duration),
}

/// Why a job may not start now. `state` is the state folder, with what its file system has where that is known; `read`
/// tells of other paths.
pub fn shut(
    job: &Job,
    reserve: Reserve,
    state: (&Path, Option<Space>),
    mut read: impl FnMut(&Path) -> Reading,
) -> Option<NoSpace> {
    if job.lifecycle == Lifecycle::Oneshot
        && job.exec().is_some()
        && let (path, Some(space)) = state
        && reserve.missing(space).is_some()
    {
        return Some(NoSpace::Reserve { path: path.into(), free: space.free, reserve: reserve.of(space) });
    }
    job.needs.iter().find_map(|need| {
        let path = need.path.clone();
        match read(&path) {
            Reading::Space(space) if space.free >= need.at_least => None,
            Reading::Space(space) => Some(NoSpace::Free { need: need.clone(), free: space.free }),
            Reading::Failed(error) => Some(NoSpace::Unknown { path, error }),
            Reading::Asked(since) => Some(NoSpace::Silent { path, since }),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::plan::tests::job;

    const LOW: Space = Space { free: 10 << 20, size: 100 << 30 };

    fn words(toml: &str, state: Option<Space>, reading: Reading) -> Option<String> {
        let job = job("a", toml);
        let shut = shut(&job, Reserve::Usual, (Path::new("/state"), state), |_| reading.clone());
        shut.map(|why| format!("waits {why}"))
    }

    #[test]
    fn only_a_oneshot_waits_for_the_reserve() {
        let enough = Space { free: 1 << 30, ..LOW };
        let unasked = || Reading::Failed("nobody asked".into());
        assert_eq!(
            words("", Some(LOW), unasked()).as_deref(),
            Some("waits for free space on /state: 10 MiB are free, and [disk] reserve keeps 512 MiB")
        );
        assert_eq!(words("", Some(enough), unasked()), None);
        assert_eq!(words("", None, unasked()), None);
        assert_eq!(words("lifecycle = \"continuous\"", Some(LOW), unasked()), None);
    }

    #[test]
    fn a_job_waits_for_what_it_needs_and_says_for_what() {
        let needs =
            "lifecycle = \"continuous\"\n[[needs]]\nfree = { path = \"/srv/out\", at_least = \"5GiB\" }";
        let words = |reading| words(needs, Some(LOW), reading);
        let free = |free| Reading::Space(Space { free, size: 1 << 40 });
        assert_eq!(words(free(5 << 30)), None);
        assert_eq!(
            words(free((3 << 30) + (1 << 28))).as_deref(),
            Some("waits for 5 GiB of free space on /srv/out (3.2 GiB are free)")
        );
        assert_eq!(
            words(Reading::Failed("No such file or directory".into())).as_deref(),
            Some("waits for /srv/out: No such file or directory")
        );
        assert_eq!(
            words(Reading::Asked(Duration::from_millis(40_500))).as_deref(),
            Some("waits for /srv/out (no answer for 40s)")
        );
    }
}
