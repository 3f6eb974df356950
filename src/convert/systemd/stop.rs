//! How it is ended: `KillSignal=`, `TimeoutStopSec=`, `RuntimeMaxSec=` (systemd.kill(5)).

use super::conversion::Conversion;
use super::values::is_no;
use crate::model::signal::Signal;
use crate::model::units::format_duration;

/// Takes over `[stop]` and `[timeouts]`.
pub(super) fn take_over(work: &mut Conversion) {
    if let Some(signal) = work.unit.one("KillSignal") {
        let number = signal.parse().ok().and_then(Signal::from_number);
        let signal = number.map_or(signal, |signal| signal.to_string());
        work.draft.set("stop.signal", signal, "KillSignal=");
    }
    let both = work.time("TimeoutSec");
    match work.time("TimeoutStopSec").or(both) {
        Some(Some(timeout)) if !timeout.is_zero() => {
            work.draft.set("stop.timeout", format_duration(timeout), "TimeoutStopSec=");
        }
        Some(_) => work.draft.note(
            "TimeoutStopSec=",
            "to wait without end is not offered: what does not end is killed after stop.timeout (10s)",
        ),
        None => {}
    }
    if let Some(Some(run)) = work.time("RuntimeMaxSec") {
        work.draft.set("timeouts.run", format_duration(run), "RuntimeMaxSec=");
    }
    match work.unit.one("KillMode").as_deref() {
        None | Some("mixed") => {}
        Some(mode) => {
            let why = "stop.signal goes to the main process, and after stop.timeout SIGKILL to all, as with \
                       KillMode=mixed";
            work.odd("KillMode", mode, why);
        }
    }
    if work.unit.one("SendSIGKILL").is_some_and(|value| is_no(&value)) {
        work.draft.note("SendSIGKILL=no", "what does not end by itself is killed after stop.timeout");
    }
}
