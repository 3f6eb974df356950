//! PURE: `[restart]`: whether and when a run that has ended is followed by another one.

use std::collections::BTreeSet;
use std::time::Duration;

use super::reader::Reader;
use crate::config::problem::{At, KeyPath};
use crate::config::schema::{LimitTable, RestartTable};
use crate::model::job::{Lifecycle, Restart, RestartPolicy, StartLimit};

/// What a file says of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct RestartLayer {
    policy: Option<RestartPolicy>,
    delay: Option<Duration>,
    max_delay: Option<Duration>,
    reset_after: Option<Duration>,
    limit: Option<StartLimit>,
    success_exit_codes: Option<BTreeSet<u8>>,
}

/// Reads the table.
pub(super) fn read(read: &mut Reader, table: &RestartTable) -> RestartLayer {
    RestartLayer {
        policy: read.choice("restart.policy", table.policy.as_ref()),
        delay: read.positive("restart.delay", table.delay.as_ref()),
        max_delay: read.positive("restart.max_delay", table.max_delay.as_ref()),
        reset_after: read.positive("restart.reset_after", table.reset_after.as_ref()),
        limit: table.limit.as_ref().and_then(|table| limit(read, table)),
        success_exit_codes: table.success_exit_codes.as_ref().map(|codes| {
            let path = KeyPath::of("restart.success_exit_codes");
            let numbers = codes.iter().enumerate();
            numbers
                .filter_map(|(n, code)| read.range(path.clone().index(n), *code, 0, 255))
                .map(|v| v as u8)
                .collect()
        }),
    }
}

/// Values with others laid over them.
pub(super) fn overlay(base: RestartLayer, over: RestartLayer) -> RestartLayer {
    RestartLayer {
        policy: over.policy.or(base.policy),
        delay: over.delay.or(base.delay),
        max_delay: over.max_delay.or(base.max_delay),
        reset_after: over.reset_after.or(base.reset_after),
        limit: over.limit.or(base.limit),
        success_exit_codes: over.success_exit_codes.or(base.success_exit_codes),
    }
}

impl RestartLayer {
    /// Fills in the defaults.
    pub(super) fn finish(self, lifecycle: Lifecycle) -> Restart {
        Restart {
            policy: self.policy.unwrap_or(match lifecycle {
                Lifecycle::Oneshot => RestartPolicy::Never,
                Lifecycle::Continuous => RestartPolicy::Always,
            }),
            delay: self.delay.unwrap_or(Duration::from_secs(1)),
            max_delay: self.max_delay.unwrap_or(Duration::from_secs(60)),
            reset_after: self.reset_after.unwrap_or(Duration::from_secs(300)),
            limit: self.limit,
            success_exit_codes: self.success_exit_codes.unwrap_or_else(|| BTreeSet::from([0])),
        }
    }
}

fn limit(read: &mut Reader, table: &LimitTable) -> Option<StartLimit> {
    let starts = read.integer("restart.limit.starts", table.starts, 1, 1000);
    let within = read.positive("restart.limit.within", table.within.as_ref());
    if table.starts.is_none() || table.within.is_none() {
        read.error(
            "incomplete-limit",
            At::Value(KeyPath::of("restart.limit")),
            "`limit` needs both `starts` and `within`",
            "write `limit = { starts = 10, within = \"10m\" }`",
        );
    }
    Some(StartLimit { starts: u32::try_from(starts?).ok()?, within: within? })
}

#[cfg(test)]
mod tests {
    use crate::config::resolve::testing::codes_with;

    #[test]
    fn every_wrong_value_has_its_code() {
        assert_eq!(codes_with("[restart]\npolicy = \"allways\"\n"), ["unknown-value"]);
        assert_eq!(codes_with("[restart]\nlimit = { starts = 3 }\n"), ["incomplete-limit"]);
    }
}
