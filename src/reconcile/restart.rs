//! PURE: whether and when a job that ended starts again.

use std::time::Duration;

use crate::model::exit::{State, Verdict};
use crate::model::history::StartHistory;
use crate::model::ids::RunId;
use crate::model::job::{Restart, RestartPolicy};
use crate::model::time::BootTime;

/// What follows an exit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The job starts again at this time, with this behind it.
    Start {
        /// When.
        at: BootTime,
        /// What the next run's spec remembers; the new start itself is not in it yet.
        history: StartHistory,
    },
    /// The job is done.
    Done,
    /// The job stays down, although it did not end well.
    Down(Why),
}

/// Why a job stays down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `restart.policy`.
    Policy,
    /// `restart.limit`.
    Limit,
}

impl Why {
    /// In words, with what to do.
    #[must_use]
    pub fn describe(self) -> &'static str {
        match self {
            Self::Policy => "restart.policy does not start it again, an edit of [exec] does",
            Self::Limit => "it reached restart.limit, and an edit of [exec] starts it again",
        }
    }
}

/// A run that ended: what the decision rests on. Times are of this boot; a run of an earlier one has none.
#[derive(Debug, Clone, Copy)]
pub struct EndedRun<'a> {
    /// The run; its id spreads the restarts of many jobs that fell at once.
    pub id: &'a RunId,
    /// What its spec remembers.
    pub history: &'a StartHistory,
    /// When its workload began.
    pub started: Option<BootTime>,
    /// When it ended.
    pub ended: Option<BootTime>,
    /// How.
    pub verdict: &'a Verdict,
}

/// Decides what follows. Deterministic: asked again, it gives the same answer.
#[must_use]
pub fn next(rules: &Restart, run: EndedRun<'_>) -> Next {
    let good = run.verdict.state == State::Completed;
    match (rules.policy, good) {
        (RestartPolicy::Always, _) | (RestartPolicy::OnFailure, false) => {}
        (_, true) => return Next::Done,
        (RestartPolicy::Never, false) => return Next::Down(Why::Policy),
    }
    // A run of an earlier boot: nothing of its counts applies to this one.
    let Some(ended) = run.ended else {
        let history = StartHistory { restarts: run.history.restarts + 1, ..StartHistory::default() };
        return Next::Start { at: BootTime(0), history };
    };
    let lasted = run.started.map_or(Duration::ZERO, |started| ended.since(started));
    let backoff = if lasted >= rules.reset_after { 0 } else { run.history.backoff };
    let at = ended + pause(rules, backoff, run.id);
    let mut recent = run.history.recent.clone();
    if let Some(limit) = rules.limit {
        recent.retain(|start| *start + limit.within > at);
        if recent.len() >= limit.starts as usize {
            return Next::Down(Why::Limit);
        }
    } else {
        recent.clear();
    }
    let history =
        StartHistory { restarts: run.history.restarts + 1, backoff: backoff.saturating_add(1), recent };
    Next::Start { at, history }
}

/// `delay` doubled `backoff` times, at most `max_delay`, plus up to a tenth of jitter.
fn pause(rules: &Restart, backoff: u32, id: &RunId) -> Duration {
    let doubled = 2u32.checked_pow(backoff).and_then(|factor| rules.delay.checked_mul(factor));
    let pause = doubled.unwrap_or(rules.max_delay).min(rules.max_delay.max(rules.delay));
    // FNV-1a: any spread will do, if it is the same at every asking.
    let hash = id
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    pause + pause.mul_f64((hash % 1000) as f64 / 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::{Ended, judge};
    use crate::reconcile::plan::tests::job;

    const ALWAYS: &str =
        "[restart]\npolicy = \"always\"\ndelay = \"1s\"\nmax_delay = \"8s\"\nreset_after = \"1m\"\n";

    fn after(toml: &str, history: &StartHistory, ran: u64, status: i32) -> Next {
        let job = job("a", toml);
        let verdict = judge(&job, &Ended::Waited { status }, None, None);
        let id = RunId::new(1, 7);
        let ended = Some(BootTime(1_000_000));
        let started = Some(BootTime(1_000_000 - ran));
        next(&job.restart, EndedRun { id: &id, history, started, ended, verdict: &verdict })
    }

    fn delay(next: Next) -> u64 {
        match next {
            Next::Start { at, .. } => at.0 - 1_000_000,
            other => panic!("no start: {other:?}"),
        }
    }

    #[test]
    fn pauses_double_up_to_the_cap_and_shrink_after_a_long_run() {
        let with = |backoff| StartHistory { backoff, ..StartHistory::default() };
        for (backoff, least) in [(0, 1000), (1, 2000), (2, 4000), (3, 8000), (4, 8000), (400, 8000)] {
            let pause = delay(after(ALWAYS, &with(backoff), 100, 256));
            assert!((least..=least + least / 10).contains(&pause), "{backoff}: {pause}");
        }
        assert!(delay(after(ALWAYS, &with(5), 60_000, 256)) <= 1100);
    }

    #[test]
    fn the_policy_decides() {
        let none = StartHistory::default();
        let policy = |name: &str| format!("[restart]\npolicy = \"{name}\"\n");
        assert_eq!(after("", &none, 1, 0), Next::Done);
        assert_eq!(after("", &none, 1, 256), Next::Down(Why::Policy));
        assert_eq!(after(&policy("on-failure"), &none, 1, 0), Next::Done);
        assert!(matches!(after(&policy("on-failure"), &none, 1, 256), Next::Start { .. }));
        assert!(matches!(after(&policy("always"), &none, 1, 0), Next::Start { .. }));
        let live = "lifecycle = \"continuous\"\n[restart]\npolicy = \"on-failure\"\n";
        assert!(
            matches!(after(live, &none, 1, 0), Next::Start { .. }),
            "any exit of a live job is a failure"
        );
    }

    #[test]
    fn the_limit_counts_starts_within_its_window() {
        let toml = format!("{ALWAYS}limit = {{ starts = 2, within = \"1m\" }}\n");
        let recent = |times: &[u64]| StartHistory {
            recent: times.iter().map(|t| BootTime(*t)).collect(),
            ..StartHistory::default()
        };
        assert_eq!(after(&toml, &recent(&[980_000, 990_000]), 1, 256), Next::Down(Why::Limit));
        assert!(matches!(after(&toml, &recent(&[900_000, 990_000]), 1, 256), Next::Start { .. }));
    }
}
