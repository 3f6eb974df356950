//! What is told of a series of samples.

use serde::Serialize;

/// A series in brief. Percentiles are by nearest rank: always a value that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// How many samples.
    pub samples: usize,
    /// The least.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The 99th percentile: with fewer than 100 samples the largest.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// Of these values; none of an empty series.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let rank =
            |percent: usize| values.get((values.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Self {
            samples: values.len(),
            min: rank(0)?,
            median: rank(50)?,
            p99: rank(99)?,
            max: rank(100)?,
        })
    }
}

/// Milliseconds between two times of [`crate::workload::now`].
#[allow(clippy::cast_precision_loss)] // far below 2^52
pub fn millis(from: i64, to: i64) -> f64 {
    (to - from) as f64 / 1e6
}
