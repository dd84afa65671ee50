//! Latencies, in a histogram of nanoseconds, and their percentiles.

use std::fmt;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::Error;

/// The longest latency told apart: ten minutes. Longer ones count as that.
const LONGEST: u64 = 600_000_000_000;

/// Latencies of one worker, or of all.
#[derive(Debug, Clone)]
pub struct Latencies(Histogram<u64>);

/// What a report says of latencies: microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Percentiles {
    /// How many were measured.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// Half were faster.
    pub p50: f64,
    /// 95 of 100 were faster.
    pub p95: f64,
    /// 99 of 100 were faster.
    pub p99: f64,
    /// 999 of 1000 were faster.
    pub p999: f64,
    /// The slowest.
    pub max: f64,
}

impl Latencies {
    /// An empty histogram, exact to three digits.
    pub fn new() -> Result<Self, Error> {
        let refuse = |error| Error::PerfArguments(format!("cannot build a histogram: {error}"));
        Histogram::new_with_bounds(1, LONGEST, 3)
            .map(Self)
            .map_err(refuse)
    }

    /// Counts a latency in nanoseconds.
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// Adds another worker's.
    pub fn add(&mut self, other: &Self) {
        // the same bounds everywhere, so nothing can be out of range
        let _ = self.0.add(&other.0);
    }

    /// The percentiles; `None` when nothing was measured.
    pub fn percentiles(&self) -> Option<Percentiles> {
        if self.0.is_empty() {
            return None;
        }
        let micros = |nanoseconds: u64| nanoseconds as f64 / 1000.0;
        let at = |quantile: f64| micros(self.0.value_at_quantile(quantile));
        Some(Percentiles {
            count: self.0.len(),
            mean: self.0.mean() / 1000.0,
            p50: at(0.5),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: micros(self.0.max()),
        })
    }
}

impl fmt::Display for Percentiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "p50 {:.0} us, p95 {:.0} us, p99 {:.0} us, p99.9 {:.0} us, max {:.0} us",
            self.p50, self.p95, self.p99, self.p999, self.max
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_microseconds_of_the_recorded_nanoseconds() {
        let mut latencies = Latencies::new().unwrap();
        let mut others = Latencies::new().unwrap();
        for microsecond in 1..=500 {
            latencies.record(microsecond * 1000);
            others.record((microsecond + 500) * 1000);
        }
        latencies.add(&others);
        let found = latencies.percentiles().unwrap();
        assert_eq!(found.count, 1000);
        let close = |found: f64, expected: f64| (found - expected).abs() <= expected / 500.0;
        assert!(
            close(found.p50, 500.0) && close(found.p99, 990.0),
            "{found:?}"
        );
        assert!(
            close(found.p999, 999.0) && close(found.max, 1000.0),
            "{found:?}"
        );
    }

    #[test]
    fn nothing_measured_has_no_percentiles() {
        assert_eq!(Latencies::new().unwrap().percentiles(), None);
    }
}
