//! Usage: how much CPU time, memory and I/O a run has taken, and how long it had to wait for them.

use serde::{Deserialize, Serialize};

/// What a run used. Null where nobody measured.
///
/// Of a run in a cgroup, that is what all its processes used; of one without, its main process and the
/// children that this waited for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time in seconds, user and system.
    pub cpu_sec: Option<f64>,
    /// Seconds for which it had to wait because its CPU quota was used up.
    pub cpu_throttled_sec: Option<f64>,
    /// Periods in which its CPU quota was used up.
    pub cpu_throttled_periods: Option<u64>,
    /// Most memory in use: in a cgroup with the files that the kernel caches for it, else the largest
    /// resident memory of a process.
    pub memory_peak_bytes: Option<u64>,
    /// Kills for memory, as the kernel counts them: more than 0 if there was any. It may count one twice.
    pub oom_kills: Option<u64>,
    /// Read from storage.
    pub io_read_bytes: Option<u64>,
    /// Written to storage.
    pub io_write_bytes: Option<u64>,
    /// Seconds for which at least one of its tasks waited for a CPU (`some` of `cpu.pressure`,
    /// Documentation/accounting/psi.rst); only cgroups of version 2 count this and the following.
    #[serde(default)]
    pub cpu_pressure_sec: Option<f64>,
    /// Seconds for which at least one of its tasks waited for memory (`some` of `memory.pressure`).
    #[serde(default)]
    pub memory_pressure_sec: Option<f64>,
    /// Seconds for which all of its tasks that were not idle did (`full`).
    #[serde(default)]
    pub memory_pressure_full_sec: Option<f64>,
    /// Seconds for which at least one of its tasks waited for storage (`some` of `io.pressure`).
    #[serde(default)]
    pub io_pressure_sec: Option<f64>,
    /// Seconds for which all of its tasks that were not idle did (`full`).
    #[serde(default)]
    pub io_pressure_full_sec: Option<f64>,
}

impl Usage {
    /// What was used since the baseline; of what that does not know, nothing is.
    #[must_use]
    pub fn since(&self, baseline: &Self) -> Self {
        let count = |now: Option<u64>, before: Option<u64>| now?.checked_sub(before?);
        // In microseconds, which is what the kernel counts: 0.3 - 0.1 is not quite 0.2.
        let seconds = |now: Option<f64>, before: Option<f64>| {
            let difference = ((now? - before?) * 1e6).round() / 1e6;
            (difference >= 0.0).then_some(difference)
        };
        Self {
            cpu_sec: seconds(self.cpu_sec, baseline.cpu_sec),
            cpu_throttled_sec: seconds(self.cpu_throttled_sec, baseline.cpu_throttled_sec),
            cpu_throttled_periods: count(self.cpu_throttled_periods, baseline.cpu_throttled_periods),
            // A peak is not counted up.
            memory_peak_bytes: baseline.memory_peak_bytes.and(self.memory_peak_bytes),
            oom_kills: count(self.oom_kills, baseline.oom_kills),
            io_read_bytes: count(self.io_read_bytes, baseline.io_read_bytes),
            io_write_bytes: count(self.io_write_bytes, baseline.io_write_bytes),
            cpu_pressure_sec: seconds(self.cpu_pressure_sec, baseline.cpu_pressure_sec),
            memory_pressure_sec: seconds(self.memory_pressure_sec, baseline.memory_pressure_sec),
            memory_pressure_full_sec: seconds(
                self.memory_pressure_full_sec,
                baseline.memory_pressure_full_sec,
            ),
            io_pressure_sec: seconds(self.io_pressure_sec, baseline.io_pressure_sec),
            io_pressure_full_sec: seconds(self.io_pressure_full_sec, baseline.io_pressure_full_sec),
        }
    }

    /// What a cgroup counted (`self`), completed by what was seen of the main process.
    ///
    /// Of bytes the larger count is taken, because each misses some: the cgroup what is still to be written
    /// when the run ends, the process what children did that it did not wait for.
    #[must_use]
    pub fn or(&self, process: &Self) -> Self {
        Self {
            cpu_sec: self.cpu_sec.or(process.cpu_sec),
            cpu_throttled_sec: self.cpu_throttled_sec.or(process.cpu_throttled_sec),
            cpu_throttled_periods: self.cpu_throttled_periods.or(process.cpu_throttled_periods),
            memory_peak_bytes: self.memory_peak_bytes.or(process.memory_peak_bytes),
            oom_kills: self.oom_kills.or(process.oom_kills),
            io_read_bytes: self.io_read_bytes.max(process.io_read_bytes),
            io_write_bytes: self.io_write_bytes.max(process.io_write_bytes),
            // No process has any of its own.
            cpu_pressure_sec: self.cpu_pressure_sec,
            memory_pressure_sec: self.memory_pressure_sec,
            memory_pressure_full_sec: self.memory_pressure_full_sec,
            io_pressure_sec: self.io_pressure_sec,
            io_pressure_full_sec: self.io_pressure_full_sec,
        }
    }
}
