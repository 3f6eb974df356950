//! Whether and when it runs again: `Type=`, `Restart=` and their kin (systemd.service(5)).

use std::time::Duration;

use super::conversion::Conversion;
use crate::convert::toml::Item;
use crate::model::units::format_duration;

/// Takes over `lifecycle` and `[restart]`.
pub(super) fn take_over(work: &mut Conversion) {
    let kind = work.unit.one("Type");
    match kind.as_deref() {
        None | Some("simple" | "exec" | "idle" | "oneshot") => {}
        Some("forking") => work.odd(
            "Type",
            "forking",
            "a program that goes into the background is no job: have it stay in the foreground (ffmpeg does; \
             for others see --foreground, --no-daemon or daemon=off), or take it over with [attach] and its \
             pid_file",
        ),
        Some(other) => {
            let why = "nobody waits for a program to be ready: a job runs from its first instruction on";
            work.odd("Type", other, why);
        }
    }
    let restart = work.unit.one("Restart").unwrap_or_else(|| "no".into());
    let from = format!("Restart={restart}");
    let lifecycle = if restart == "always" { "continuous" } else { "oneshot" };
    work.draft.set("lifecycle", lifecycle, "Type=");
    match restart.as_str() {
        "no" | "always" => {}
        "on-failure" => work.draft.set("restart.policy", "on-failure", from),
        "on-abnormal" | "on-abort" | "on-watchdog" => {
            work.draft.set("restart.policy", "on-failure", &from);
            work.draft.note(from, "became on-failure, which starts again after a bad exit code, too");
        }
        "on-success" => work.draft.note(
            from,
            "a job that starts again after success alone is not offered: it is never, on-failure or always",
        ),
        _ => work.draft.note(from, "not known"),
    }
    let restarts = restart != "no";
    if let Some(pause) = work.time("RestartSec").flatten().filter(|_| restarts) {
        // As there: the same pause each time.
        let most = work.time("RestartMaxDelaySec").flatten();
        let pause = pause.max(Duration::from_millis(1));
        work.draft.set("restart.delay", format_duration(pause), "RestartSec=");
        let most = format_duration(most.unwrap_or(pause).max(pause));
        work.draft.set("restart.max_delay", most, "RestartSec=");
    }
    if work.unit.one("RestartSteps").is_some() {
        work.draft.note("RestartSteps=", "a pause doubles each time, up to restart.max_delay");
    }
    let old = work.time("StartLimitInterval");
    let within = work.time("StartLimitIntervalSec").or(old);
    let starts = work.number("StartLimitBurst");
    // Both have a default of their own (systemd-system.conf(5)).
    let limited = within.is_some() || starts.is_some();
    let within = within.unwrap_or(Some(Duration::from_secs(10)));
    let starts = starts.unwrap_or(5);
    match within {
        Some(within) if limited && restarts && starts > 0 && !within.is_zero() => {
            work.draft.set("restart.limit.starts", starts, "StartLimitBurst=");
            work.draft.set("restart.limit.within", format_duration(within), "StartLimitIntervalSec=");
        }
        _ => {}
    }
    let codes = work.unit.all("SuccessExitStatus");
    let mut numbers = vec![0];
    for word in codes.iter().flat_map(|line| line.split_whitespace()) {
        match word.parse() {
            Ok(number) => numbers.push(number),
            Err(_) => work.draft.note(
                format!("SuccessExitStatus={word}"),
                "no number; restart.success_exit_codes takes exit codes alone, and no signals",
            ),
        }
    }
    if numbers.len() > 1 {
        numbers.sort_unstable();
        numbers.dedup();
        work.draft.set("restart.success_exit_codes", Item::Numbers(numbers), "SuccessExitStatus=");
    }
}
