//! PURE: `[stop]`: how a run is ended.

use std::time::Duration;

use super::reader::Reader;
use crate::config::problem::{At, KeyPath};
use crate::config::schema::StopTable;
use crate::config::suggest::nearest;
use crate::model::job::{OnRemove, SendTo, Stop, Workload};
use crate::model::signal::Signal;

/// What a file says of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct StopLayer {
    pub(super) on_remove: Option<OnRemove>,
    signal: Option<Signal>,
    send: Option<SendTo>,
    timeout: Option<Duration>,
}

/// Reads the table.
pub(super) fn read(read: &mut Reader, table: &StopTable) -> StopLayer {
    StopLayer {
        timeout: read.positive("stop.timeout", table.timeout.as_ref()),
        send: read.choice("stop.send", table.send.as_ref()),
        on_remove: read.choice("stop.on_remove", table.on_remove.as_ref()),
        signal: table.signal.as_ref().and_then(|name| {
            let signal = Signal::from_name(name);
            if signal.is_none() {
                let near = nearest(name, Signal::names()).unwrap_or("SIGTERM");
                read.error(
                    "unknown-value",
                    At::Value(KeyPath::of("stop.signal")),
                    format!("no signal is named {name:?}"),
                    format!("did you mean \"{near}\"?"),
                );
            }
            signal
        }),
    }
}

/// Values with others laid over them.
pub(super) fn overlay(base: StopLayer, over: StopLayer) -> StopLayer {
    StopLayer {
        on_remove: over.on_remove.or(base.on_remove),
        signal: over.signal.or(base.signal),
        send: over.send.or(base.send),
        timeout: over.timeout.or(base.timeout),
    }
}

impl StopLayer {
    /// Fills in the defaults.
    pub(super) fn finish(self, workload: &Workload) -> Stop {
        Stop {
            signal: self.signal.unwrap_or(match workload {
                Workload::Exec(exec) if exec.is_gst_launch() => Signal::INT,
                Workload::Exec(_) | Workload::Attach(_) => Signal::TERM,
            }),
            send: self.send.unwrap_or_default(),
            timeout: self.timeout.unwrap_or(Duration::from_secs(10)),
            on_remove: match workload {
                Workload::Exec(_) => self.on_remove.unwrap_or(OnRemove::Stop),
                // What we did not start, we never end.
                Workload::Attach(_) => OnRemove::Leave,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::config::resolve::testing::codes_with;

    #[test]
    fn every_wrong_value_has_its_code() {
        assert_eq!(codes_with("[stop]\nsignal = \"SIGTREM\"\n"), ["unknown-value"]);
        assert_eq!(codes_with("[stop]\ntimeout = \"0s\"\n"), ["out-of-range"]);
    }
}
