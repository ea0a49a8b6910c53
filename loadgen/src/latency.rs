//! How long changes take to arrive, counted from when each was due, not from when it could be
//! written: a target that stops reading gets no credit for what it keeps waiting.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// Percentiles, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

/// Durations, with percentiles.
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    /// None yet.
    pub(crate) fn new() -> Latencies {
        Latencies(
            Histogram::new_with_bounds(1, NANOS_MAX, 3).expect("the bounds are constant and valid"),
        )
    }

    /// Adds a duration, `count` times.
    pub(crate) fn record(&mut self, duration: Duration, count: u64) {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(NANOS_MAX);
        self.0.saturating_record_n(nanos.max(1), count);
    }

    /// The percentiles; `None` if nothing was recorded.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        let seconds = |quantile| self.0.value_at_quantile(quantile) as f64 / 1e9;
        (!self.0.is_empty()).then(|| Percentiles {
            p50: seconds(0.5),
            p90: seconds(0.9),
            p99: seconds(0.99),
            max: self.0.max() as f64 / 1e9,
        })
    }
}

/// When announcements were due, by their version and the rank of their prefix.
pub(crate) struct Schedule {
    began: Instant,
    /// By the number of a prefix, its rank in the order of announcement.
    ranks: Vec<u32>,
    /// Changes a second; `None`: all are due at once.
    rate: Option<f64>,
    latencies: Latencies,
}

impl Schedule {
    /// Rounds that withdraw all prefixes and announce them again, from `began` on.
    pub(crate) fn new(began: Instant, ranks: Vec<u32>, rate: Option<f64>) -> Schedule {
        Schedule {
            began,
            ranks,
            rate,
            latencies: Latencies::new(),
        }
    }

    /// `count` announcements have arrived together; the first of them is of this prefix.
    pub(crate) fn arrived(&mut self, version: u16, prefix: u32, count: u64, at: Instant) {
        let rank = self.ranks.get(prefix as usize).copied().unwrap_or(0);
        let prefixes = self.ranks.len() as f64;
        let rounds = f64::from(version).mul_add(2.0, -1.0);
        let changes = rounds.mul_add(prefixes, f64::from(rank));
        let due = self.rate.map_or(0.0, |rate| changes / rate);
        let due = Duration::try_from_secs_f64(due).unwrap_or_default();
        let latency = at.saturating_duration_since(self.began + due);
        self.latencies.record(latency, count);
    }

    /// The percentiles of what has arrived.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        self.latencies.percentiles()
    }
}

/// The longest time that is told from longer ones, in nanoseconds: an hour.
const NANOS_MAX: u64 = 3_600_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_change_counts_from_when_it_was_due() {
        let began = clock::now();
        // Four prefixes, 100 changes a second: round 1 announces from 40 ms on, round 2 from 120.
        let mut schedule = Schedule::new(began, vec![0, 1, 2, 3], Some(100.0));
        let at = |millis| began + Duration::from_millis(millis);
        schedule.arrived(1, 0, 1, at(45));
        let first = schedule.percentiles().unwrap();
        assert!((first.max - 0.005).abs() < 1e-4, "{first:?}");
        // The target slept: what was due at 150 ms arrives at 1150 and counts as a second late.
        schedule.arrived(2, 3, 4, at(1150));
        let all = schedule.percentiles().unwrap();
        assert!((all.max - 1.0).abs() < 0.01 && all.p50 > 0.9, "{all:?}");
    }

    #[test]
    fn without_a_rate_all_is_due_at_once() {
        let began = clock::now();
        let mut schedule = Schedule::new(began, vec![0, 1], None);
        assert!(schedule.percentiles().is_none());
        schedule.arrived(9, 1, 2, began + Duration::from_millis(10));
        let percentiles = schedule.percentiles().unwrap();
        assert!((percentiles.p50 - 0.01).abs() < 1e-4, "{percentiles:?}");
    }
}
