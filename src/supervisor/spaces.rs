//! Free space on the file systems that jobs name. A path may never answer (a network file system whose server is gone), so
//! each is asked by a thread of its own, and only the jobs that need it wait.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use tokio::sync::mpsc::UnboundedSender;

use crate::linux::disk;
use crate::model::ids::JobId;
use crate::model::time::BootTime;
use crate::reconcile::gates::space::Reading;
use crate::runs::durable::errno;

/// For so long an answer counts.
const FRESH: Duration = Duration::from_secs(1);

/// What a path has answered.
#[derive(Debug)]
pub struct Answer {
    path: PathBuf,
    reading: Reading,
}

/// What is known of paths, and who waits for them. There are no more of them than jobs name.
#[derive(Debug)]
pub struct Spaces {
    paths: BTreeMap<PathBuf, Asked>,
    answers: UnboundedSender<Answer>,
}

#[derive(Debug, Default)]
struct Asked {
    /// A thread asks it, since then.
    since: Option<BootTime>,
    last: Option<(BootTime, Reading)>,
    waiting: BTreeSet<JobId>,
}

impl Spaces {
    /// Answers go there.
    #[must_use]
    pub fn new(answers: UnboundedSender<Answer>) -> Self {
        Self { paths: BTreeMap::new(), answers }
    }

    /// What a path has. Where that is not known, it is asked, and [`Spaces::answered`] names the job.
    pub fn read(&mut self, path: &Path, job: &JobId, now: BootTime) -> Reading {
        let is_fresh =
            |last: &Option<(BootTime, Reading)>| last.as_ref().is_some_and(|(at, _)| *at + FRESH > now);
        self.paths.retain(|_, asked| asked.since.is_some() || is_fresh(&asked.last));
        let asked = self.paths.entry(path.to_owned()).or_default();
        if let Some((_, reading)) = asked.last.as_ref().filter(|(at, _)| *at + FRESH > now) {
            return reading.clone();
        }
        asked.waiting.insert(job.clone());
        if let Some(since) = asked.since {
            return Reading::Asked(now.since(since));
        }
        let (sender, of) = (self.answers.clone(), path.to_owned());
        let ask = move || {
            let reading = match disk::space(&of) {
                Ok(space) => Reading::Space(space),
                Err(error) => Reading::Failed(words(&error)),
            };
            // The loop is gone only when the supervisor is.
            let _ = sender.send(Answer { path: of, reading });
        };
        match thread::Builder::new().name("statvfs".into()).spawn(ask) {
            Ok(_) => {
                asked.since = Some(now);
                Reading::Asked(Duration::ZERO)
            }
            Err(error) => Reading::Failed(format!("cannot be asked: {error}")),
        }
    }

    /// Takes an answer in. Gives the jobs that wait for it.
    pub fn answered(&mut self, answer: Answer, now: BootTime) -> BTreeSet<JobId> {
        let Some(asked) = self.paths.get_mut(&answer.path) else { return BTreeSet::new() };
        (asked.since, asked.last) = (None, Some((now, answer.reading)));
        std::mem::take(&mut asked.waiting)
    }
}

fn words(error: &std::io::Error) -> String {
    errno(error).map_or_else(|| error.to_string(), |number| Errno::from_raw(number).desc().to_owned())
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::unbounded_channel;

    use super::*;

    #[test]
    fn a_path_is_asked_once_and_who_waits_is_named() {
        let (sender, mut answers) = unbounded_channel();
        let mut spaces = Spaces::new(sender);
        let job = |name: &str| JobId::new(name).expect("a name");
        let now = BootTime(1_000_000_000);
        let path = Path::new("/");
        assert_eq!(spaces.read(path, &job("a"), now), Reading::Asked(Duration::ZERO));
        let later = now + Duration::from_secs(40);
        assert_eq!(spaces.read(path, &job("b"), later), Reading::Asked(Duration::from_secs(40)));
        let answer = answers.blocking_recv().expect("an answer");
        assert_eq!(spaces.answered(answer, later), BTreeSet::from([job("a"), job("b")]));
        assert!(matches!(spaces.read(path, &job("a"), later), Reading::Space(space) if space.size > 0));
        assert!(answers.try_recv().is_err(), "nobody asked a second time");
        let stale = later + FRESH;
        assert_eq!(spaces.read(path, &job("a"), stale), Reading::Asked(Duration::ZERO));
        let answer = answers.blocking_recv().expect("an answer");
        assert_eq!(spaces.answered(answer, stale), BTreeSet::from([job("a")]));
    }

    #[test]
    fn a_path_that_is_not_there_says_so() {
        let (sender, mut answers) = unbounded_channel();
        let mut spaces = Spaces::new(sender);
        let (job, now) = (JobId::new("a").expect("a name"), BootTime(1_000_000_000));
        let path = Path::new("/no/such/path");
        spaces.read(path, &job, now);
        spaces.answered(answers.blocking_recv().expect("an answer"), now);
        assert_eq!(spaces.read(path, &job, now), Reading::Failed("No such file or directory".into()));
    }
}
