//! PURE: the platform's service level: of the eligible runs that have ended, the share in which the platform
//! did its part.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil;
use jiff::tz::TimeZone;
use serde::Serialize;

use super::exit::ExitReason;
use super::ids::{JobId, RunId};
use super::job::Intent;
use super::report::Report;
use super::time::WallTime;
use super::units::{UnitError, parse_duration};

/// So many runs, and in how many of them the platform did its part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Tally {
    /// `successes / total`; null where there is nothing to divide by. Nothing is not 100 %.
    pub platform_sla_uptime: Option<f64>,
    /// Runs in which the platform did its part, however the workload did.
    pub successes: u64,
    /// Eligible runs that have ended.
    pub total: u64,
    /// When the first of them ended.
    pub first_ended_at: Option<WallTime>,
}

impl Tally {
    #[allow(clippy::cast_precision_loss, reason = "nobody keeps 2^53 reports")]
    fn count(&mut self, ended_at: Option<WallTime>, success: bool) {
        self.total += 1;
        self.successes += u64::from(success);
        self.platform_sla_uptime = Some(self.successes as f64 / self.total as f64);
        self.first_ended_at = earlier(self.first_ended_at, ended_at);
    }

    /// The share in percent, cut after two digits, so that 100 is said of nothing less.
    #[must_use]
    pub fn percent(&self) -> Option<String> {
        let hundredths = u128::from(self.successes) * 10_000;
        let hundredths = hundredths.checked_div(u128::from(self.total))?;
        Some(format!("{}.{:02}%", hundredths / 100, hundredths % 100))
    }
}

fn earlier(known: Option<WallTime>, other: Option<WallTime>) -> Option<WallTime> {
    known.into_iter().chain(other).min()
}

/// A run in which the platform failed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Violation {
    /// When it ended.
    pub ended_at: Option<WallTime>,
    /// The job.
    pub job_id: JobId,
    /// The run.
    pub run_id: RunId,
    /// Why it ended.
    pub exit_reason: Option<ExitReason>,
    /// Why the platform is to blame.
    pub platform_sla_reason: Option<String>,
    /// In words.
    pub message: String,
}

/// What was read, whatever of it counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Kept {
    /// Reports of runs that have ended, each run once.
    pub runs: u64,
    /// Those of them that are not eligible.
    pub not_eligible: u64,
    /// When the first of them ended: of what was before, no report is kept.
    pub first_ended_at: Option<WallTime>,
}

/// The service level.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sla {
    /// Of all.
    #[serde(flatten)]
    pub all: Tally,
    /// By what they ran for.
    pub by_intent: BTreeMap<Intent, Tally>,
    /// By label, `key=value`. A run counts with each of its labels.
    pub by_tag: BTreeMap<String, Tally>,
    /// By job.
    pub by_job: BTreeMap<JobId, Tally>,
    /// The runs in which the platform failed, the newest first.
    pub violations: Vec<Violation>,
    /// What this was computed from.
    pub kept: Kept,
}

/// Computes the service level from reports, of the runs that ended at `since` or later. A run that is
/// reported twice counts once.
#[must_use]
pub fn of<'a>(reports: impl IntoIterator<Item = &'a Report>, since: Option<WallTime>) -> Sla {
    let mut sla = Sla::default();
    let mut seen = BTreeSet::new();
    for report in reports {
        // What still runs, and what was let go while it ran, has no verdict.
        let Some(success) = report.platform_sla else { continue };
        if !seen.insert((&report.job_id, &report.run_id)) {
            continue;
        }
        let last = report.events.last();
        let ended_at = report.ended_at.or(last.map(|event| event.at));
        sla.kept.runs += 1;
        sla.kept.first_ended_at = earlier(sla.kept.first_ended_at, ended_at);
        if !report.sla_eligible {
            sla.kept.not_eligible += 1;
            continue;
        }
        if since.is_some_and(|since| ended_at.is_none_or(|ended_at| ended_at < since)) {
            continue;
        }
        sla.all.count(ended_at, success);
        sla.by_intent.entry(report.intent).or_default().count(ended_at, success);
        for (key, value) in &report.tags {
            sla.by_tag.entry(format!("{key}={value}")).or_default().count(ended_at, success);
        }
        sla.by_job.entry(report.job_id.clone()).or_default().count(ended_at, success);
        if !success {
            sla.violations.push(Violation {
                ended_at,
                job_id: report.job_id.clone(),
                run_id: report.run_id.clone(),
                exit_reason: report.exit_reason,
                platform_sla_reason: report.platform_sla_reason.clone(),
                message: last.map(|event| event.message.clone()).unwrap_or_default(),
            });
        }
    }
    let age = |violation: &Violation| (violation.ended_at, violation.run_id.clone());
    sla.violations.sort_by_key(|violation| std::cmp::Reverse(age(violation)));
    sla
}

/// Why a text is no time to begin at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?}: {why}; give a duration before now, such as 24h or 7d, or a time, such as 2026-01-31, \
     2026-01-31T12:00 (of this host) or 2026-01-31T12:00:00Z"
)]
pub struct BadSince {
    /// What was written.
    pub text: String,
    /// What is wrong with it.
    pub why: String,
}

/// Reads since when runs are to count: a duration before now, a date, or a time; of this zone where it names
/// none.
///
/// # Errors
/// It is none of these, or lies in the future.
pub fn parse_since(text: &str, now: WallTime, zone: &TimeZone) -> Result<WallTime, BadSince> {
    let bad = |why: String| BadSince { text: text.into(), why };
    let at = match parse_duration(text) {
        Ok(ago) => now.0.checked_sub(ago).map_err(|_| bad("that is before all time".into()))?,
        // Dates have dashes behind the year, and look like a number with a strange unit.
        Err(UnitError::BadUnit { unit, .. }) if unit.starts_with('-') => match text.parse() {
            Ok(at) => at,
            Err(_) => {
                let time: civil::DateTime = text.parse().map_err(|error| bad(format!("{error}")))?;
                let zoned = time.to_zoned(zone.clone()).map_err(|error| bad(format!("{error}")))?;
                zoned.timestamp()
            }
        },
        Err(error) => return Err(bad(error.to_string())),
    };
    if at > now.0 {
        return Err(bad("that is in the future".into()));
    }
    Ok(WallTime(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::exit::{Ended, LostCause, judge};
    use crate::model::job::Job;
    use crate::model::report::Usage;

    const OK: Ended = Ended::Waited { status: 0 };
    const FAILED: Ended = Ended::Waited { status: 1 << 8 };
    const LOST: Ended = Ended::Lost(LostCause::WrapperLost);

    fn job(id: &str, eligible: bool, intent: &str, tags: &[(&str, &str)]) -> Job {
        let tags: BTreeMap<_, _> = tags.iter().copied().collect();
        serde_json::from_value(serde_json::json!({
            "id": id, "lifecycle": "oneshot", "intent": intent, "sla_eligible": eligible, "tags": tags,
            "workload": {"exec": {"command": ["/bin/true"]}},
            "restart": {
                "policy": "never", "delay": 1, "max_delay": 1, "reset_after": 1, "success_exit_codes": [0],
            },
            "stop": {"signal": "SIGTERM", "timeout": 1, "on_remove": "stop"},
        }))
        .expect("a job")
    }

    /// The report of the job's run of this second; `None`: it runs.
    fn report(job: &Job, second: i64, ended: Option<&Ended>) -> Report {
        let at = WallTime::from_unix_ms(second * 1000);
        let mut report = Report::starting(job, RunId::new(second * 1000, 7), 0, at, "starting".into());
        if let Some(ended) = ended {
            report.end(at, Some(1.0), None, Usage::default(), judge(job, ended, None, None));
        }
        report
    }

    fn counts(tally: &Tally) -> (u64, u64) {
        (tally.successes, tally.total)
    }

    #[test]
    fn only_eligible_runs_that_have_ended_count() {
        let plain = job("plain", false, "production", &[]);
        let mut let_go = report(&job("taken", true, "production", &[]), 4, None);
        let_go.let_go(WallTime::from_unix_ms(5000), "let go".into());
        // What there is; what counts; what was read, and how much of it is not eligible.
        let eligible = job("a", true, "production", &[]);
        for (reports, expected, kept) in [
            (vec![], (0, 0), (0, 0)),
            (vec![report(&eligible, 1, None)], (0, 0), (0, 0)),
            (vec![let_go], (0, 0), (0, 0)),
            (vec![report(&plain, 1, Some(&OK)), report(&plain, 2, Some(&LOST))], (0, 0), (2, 2)),
            (vec![report(&eligible, 1, Some(&OK))], (1, 1), (1, 0)),
            // A workload's own failure is not the platform's.
            (vec![report(&eligible, 1, Some(&FAILED))], (1, 1), (1, 0)),
            (vec![report(&eligible, 1, Some(&LOST))], (0, 1), (1, 0)),
            // In both states.
            (vec![report(&eligible, 1, Some(&OK)), report(&eligible, 1, Some(&OK))], (1, 1), (1, 0)),
        ] {
            let sla = of(&reports, None);
            assert_eq!((counts(&sla.all), (sla.kept.runs, sla.kept.not_eligible)), (expected, kept));
            assert_eq!(sla.all.platform_sla_uptime.is_none(), expected.1 == 0, "nothing is not 100 %");
            assert_eq!(sla.all.percent().is_none(), expected.1 == 0);
        }
    }

    #[test]
    fn by_intent_tag_and_job_and_since_when() {
        let acme = job("a", true, "production", &[("customer", "acme"), ("site", "b")]);
        let other = job("b", true, "soak", &[("customer", "other")]);
        let reports = [
            report(&acme, 30, Some(&LOST)),
            report(&acme, 10, Some(&OK)),
            report(&other, 20, Some(&LOST)),
            report(&other, 40, Some(&FAILED)),
        ];
        let sla = of(&reports, None);
        let name = |id: &str| JobId::new(id).expect("a name");
        assert_eq!(counts(&sla.all), (2, 4));
        assert_eq!(sla.all.platform_sla_uptime, Some(0.5));
        assert_eq!(counts(&sla.by_intent[&Intent::Production]), (1, 2));
        assert_eq!(counts(&sla.by_intent[&Intent::Soak]), (1, 2));
        assert_eq!(sla.by_tag.keys().collect::<Vec<_>>(), ["customer=acme", "customer=other", "site=b"]);
        assert_eq!(counts(&sla.by_tag["site=b"]), (1, 2));
        assert_eq!(sla.by_job[&name("b")].first_ended_at, Some(WallTime::from_unix_ms(20_000)));
        let newest_first: Vec<&str> = sla.violations.iter().map(|found| found.job_id.as_str()).collect();
        assert_eq!(newest_first, ["a", "b"]);
        assert_eq!(sla.violations[0].platform_sla_reason.as_deref(), Some("exit_lost"));
        assert_eq!(sla.violations[0].message, "the wrapper was lost before it could record the exit");
        // From that very moment on.
        let sla = of(&reports, Some(WallTime::from_unix_ms(30_000)));
        assert_eq!((counts(&sla.all), sla.violations.len()), ((1, 2), 1));
        assert_eq!(sla.by_intent.keys().collect::<Vec<_>>(), [&Intent::Production, &Intent::Soak]);
        let kept = Kept { runs: 4, not_eligible: 0, first_ended_at: Some(WallTime::from_unix_ms(10_000)) };
        assert_eq!(sla.kept, kept, "what is kept does not depend on what is asked for");
    }

    #[test]
    fn one_failure_in_many_is_not_100_percent() {
        let percent = |successes, total| Tally { successes, total, ..Tally::default() }.percent();
        for (successes, total, expected) in
            [(0, 3, "0.00%"), (2, 3, "66.66%"), (3, 3, "100.00%"), (99_999, 100_000, "99.99%")]
        {
            assert_eq!(percent(successes, total).as_deref(), Some(expected));
        }
        assert_eq!(percent(0, 0), None);
    }

    #[test]
    fn since_when() {
        let now: WallTime = serde_json::from_str("\"2026-03-01T12:00:00Z\"").expect("a time");
        let zone = TimeZone::fixed(jiff::tz::offset(2));
        for (text, expected) in [
            ("24h", "2026-02-28T12:00:00.000Z"),
            ("7d", "2026-02-22T12:00:00.000Z"),
            ("1h30m", "2026-03-01T10:30:00.000Z"),
            ("2026-01-31", "2026-01-30T22:00:00.000Z"),
            ("2026-01-31T12:00", "2026-01-31T10:00:00.000Z"),
            ("2026-01-31 12:00:30", "2026-01-31T10:00:30.000Z"),
            ("2026-01-31T12:00:00Z", "2026-01-31T12:00:00.000Z"),
            ("2026-01-31T12:00:00+05:00", "2026-01-31T07:00:00.000Z"),
            ("2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000Z"),
        ] {
            let since = parse_since(text, now, &zone).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(since.to_string(), expected, "{text}");
        }
        for (text, why) in [
            ("", "does not begin with a number"),
            ("24", "has no unit"),
            ("yesterday", "does not begin with a number"),
            ("-1h", "does not begin with a number"),
            ("3 weeks", "\"weeks\" is no unit"),
            ("2026-13-01", "month"),
            ("2026-02-30", "day"),
            ("2026-01-31T12:00:00Q", "parse"),
            ("2026-03-01T12:00:01Z", "future"),
            ("2027-01-01", "future"),
            ("9999999d", "before all time"),
            ("99999999999999999999d", "too large"),
        ] {
            let error = parse_since(text, now, &zone).expect_err(text).to_string();
            assert!(error.contains(why) && error.contains("24h or 7d"), "{text}: {error}");
        }
    }
}
