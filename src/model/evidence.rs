//! Evidence: what the kernel counted while a run went on, and whose fault it follows from it that a
//! process was killed for memory.
//!
//! [`Counters`] are read at the start and again at the end; the difference is the [`Evidence`]. A counter
//! that nobody could read is absent, never 0.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::usage::Usage;

/// The counters that a run's end is judged by, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Counters {
    /// What the run's own cgroup counts of memory.
    pub memory: Option<MemoryEvents>,
    /// The limits on memory above the run's cgroup, the nearest first.
    pub above: Vec<LimitAbove>,
    /// `above` goes up to the host's root. In a container the limits outside of it cannot be seen.
    pub up_to_the_host: bool,
    /// Processes of the whole host that were killed for memory (`oom_kill` of `/proc/vmstat`).
    pub host_kills: Option<u64>,
    /// How often no process or thread could be made in the run's cgroup (`max` of `pids.events`).
    pub tasks_refused: Option<u64>,
    /// What the cgroup has used.
    pub usage: Usage,
}

/// What a cgroup counts of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryEvents {
    /// How often its own limit was reached and nothing could be reclaimed (`oom` of `memory.events`).
    /// Version 1 only tells how often the limit was reached (`memory.failcnt`).
    pub limit_reached: u64,
    /// How often the kernel killed a process of it for memory, whoever's limit that was for (`oom_kill`).
    /// With `memory.oom.group` it counts the one that it chose twice.
    pub kills: u64,
}

/// A limit on memory above a run's cgroup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitAbove {
    /// The file of the limit: `memory.max`, in version 1 `memory.limit_in_bytes`.
    pub file: PathBuf,
    /// As in [`MemoryEvents`], of this one cgroup.
    pub reached: u64,
}

/// What the kernel counted between the start of a run and its end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evidence {
    /// Of the run's own cgroup.
    pub memory: Option<MemoryEvents>,
    /// The limits above that were reached meanwhile, the nearest first.
    pub above: Vec<LimitAbove>,
    /// All limits up to the host's root were seen.
    pub up_to_the_host: bool,
    /// As in [`Counters`].
    pub host_kills: Option<u64>,
    /// As in [`Counters`].
    pub tasks_refused: Option<u64>,
    /// The most memory that the cgroup had in use, in bytes.
    pub memory_peak_bytes: Option<u64>,
    /// How often the kernel sent SIGXCPU to the main process, which had used up the CPU time of
    /// `exec.rlimits.cpu`. Told by its soft limit, which the kernel raises by a second each time.
    pub cpu_limit_signals: u64,
}

/// Whose limit a process was killed for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OomCause {
    /// The job's own.
    OwnLimit,
    /// That of a cgroup above, by the file of the limit.
    LimitAbove(PathBuf),
    /// None that can be seen: the host had no memory left.
    Host {
        /// All limits were seen. Else it may have been one outside of this container.
        certain: bool,
    },
}

/// What the counters say of kills for memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OomKills {
    /// There was none.
    None,
    /// There were some in the job's cgroup, for this reason.
    Some(OomCause),
    /// Nobody counts for the job alone. On the whole host there were so many, if that is known.
    Unknown(Option<u64>),
}

impl Evidence {
    /// Whether processes of the run were killed for memory, and whose fault that is.
    ///
    /// The kernel counts a kill in the victim's cgroup, and the shortage in the cgroup whose limit was
    /// reached; the nearest one explains it.
    #[must_use]
    pub fn oom_kills(&self) -> OomKills {
        match self.memory {
            None if self.host_kills == Some(0) => OomKills::None,
            None => OomKills::Unknown(self.host_kills),
            Some(MemoryEvents { kills: 0, .. }) => OomKills::None,
            Some(MemoryEvents { limit_reached, .. }) => {
                let cause = match self.above.iter().find(|limit| limit.reached > 0) {
                    _ if limit_reached > 0 => OomCause::OwnLimit,
                    Some(limit) => OomCause::LimitAbove(limit.file.clone()),
                    None => OomCause::Host { certain: self.up_to_the_host },
                };
                OomKills::Some(cause)
            }
        }
    }
}

impl Counters {
    /// What was counted since the baseline, and what was used. A counter that has no baseline, or is below
    /// it because the cgroup was made anew, tells nothing.
    #[must_use]
    pub fn since(&self, baseline: &Self) -> (Evidence, Usage) {
        let memory = self.memory.zip(baseline.memory).and_then(|(now, before)| {
            Some(MemoryEvents {
                limit_reached: now.limit_reached.checked_sub(before.limit_reached)?,
                kills: now.kills.checked_sub(before.kills)?,
            })
        });
        let above = self.above.iter().filter_map(|limit| {
            // One that was not there at the start had reached nothing.
            let before =
                baseline.above.iter().find(|old| old.file == limit.file).map_or(0, |old| old.reached);
            let reached = limit.reached.checked_sub(before).filter(|reached| *reached > 0)?;
            Some(LimitAbove { file: limit.file.clone(), reached })
        });
        let usage = self.usage.since(&baseline.usage);
        let evidence = Evidence {
            memory,
            above: above.collect(),
            up_to_the_host: self.up_to_the_host,
            host_kills: difference(self.host_kills, baseline.host_kills),
            tasks_refused: difference(self.tasks_refused, baseline.tasks_refused),
            memory_peak_bytes: usage.memory_peak_bytes,
            // No cgroup counts this: whoever sees the main process end fills it in.
            cpu_limit_signals: 0,
        };
        (evidence, usage)
    }
}

fn difference(now: Option<u64>, before: Option<u64>) -> Option<u64> {
    now?.checked_sub(before?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(file: &str, reached: u64) -> LimitAbove {
        LimitAbove { file: file.into(), reached }
    }

    /// The run's (limit reached, kills), the parent's and the grandparent's limit, the host's kills.
    fn counters(own: Option<(u64, u64)>, above: [u64; 2], host_kills: Option<u64>) -> Counters {
        Counters {
            memory: own.map(|(limit_reached, kills)| MemoryEvents { limit_reached, kills }),
            above: vec![limit("/unit/jobs/memory.max", above[0]), limit("/unit/memory.max", above[1])],
            up_to_the_host: true,
            host_kills,
            ..Counters::default()
        }
    }

    #[test]
    fn whose_fault_it_is() {
        let jobs = || OomCause::LimitAbove("/unit/jobs/memory.max".into());
        let unit = || OomCause::LimitAbove("/unit/memory.max".into());
        let host = || OomCause::Host { certain: true };
        let before = counters(Some((5, 3)), [7, 8], Some(100));
        let at = |own, above, host| counters(Some(own), above, Some(host));
        for (what, end, expected) in [
            ("its own limit", at((6, 4), [7, 8], 101), OomKills::Some(OomCause::OwnLimit)),
            ("a group of three", at((6, 6), [7, 8], 103), OomKills::Some(OomCause::OwnLimit)),
            ("the parent's limit", at((5, 4), [8, 8], 101), OomKills::Some(jobs())),
            ("the grandparent's limit", at((5, 4), [7, 9], 101), OomKills::Some(unit())),
            ("the nearest explains it", at((5, 4), [8, 9], 101), OomKills::Some(jobs())),
            ("its own before all others", at((6, 4), [8, 9], 101), OomKills::Some(OomCause::OwnLimit)),
            ("the host", at((5, 4), [7, 8], 101), OomKills::Some(host())),
            ("somebody's SIGKILL", at((5, 3), [7, 8], 100), OomKills::None),
            ("another job's kill", at((5, 3), [8, 8], 101), OomKills::None),
            ("a limit that was reached and killed nobody", at((6, 3), [7, 8], 100), OomKills::None),
        ] {
            assert_eq!(end.since(&before).0.oom_kills(), expected, "{what}");
        }
    }

    #[test]
    fn what_nobody_counted_is_not_known() {
        let none = counters(None, [0, 0], None);
        let host = |kills| counters(None, [0, 0], Some(kills));
        let own = |kills| counters(Some((kills, kills)), [0, 0], Some(0));
        let of = |now: &Counters, before: &Counters| now.since(before).0.oom_kills();
        assert_eq!(of(&none, &none), OomKills::Unknown(None));
        assert_eq!(of(&host(4), &host(4)), OomKills::None, "nobody at all was killed");
        assert_eq!(of(&host(6), &host(4)), OomKills::Unknown(Some(2)));
        assert_eq!(of(&own(1), &none), OomKills::Unknown(None), "no baseline");
        assert_eq!(of(&own(1), &own(2)), OomKills::None, "made anew, and nobody on the host was killed");
        let container = Counters { up_to_the_host: false, ..counters(Some((0, 1)), [0, 0], Some(1)) };
        let cause = OomCause::Host { certain: false };
        assert_eq!(of(&container, &counters(Some((0, 0)), [0, 0], Some(0))), OomKills::Some(cause));
    }

    #[test]
    fn counters_of_an_older_version_are_read() {
        assert_eq!(serde_json::from_str::<Counters>("{}").ok(), Some(Counters::default()));
        assert_eq!(serde_json::from_str::<Evidence>("{}").ok(), Some(Evidence::default()));
    }
}
