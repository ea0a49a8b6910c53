//! How long changes take to arrive, counted from when each was due, not from when it could be
//! written: a target that stops reading gets no credit for what it keeps waiting.

use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;

/// How long single things took: percentiles, and how many took how long.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Latency {
    #[serde(flatten)]
    pub(crate) percentiles: Percentiles,
    /// How many were timed.
    pub(crate) count: u64,
    pub(crate) histogram: Vec<Bucket>,
    /// What is drawn: latencies in seconds, each over the number of nines of its percentile.
    #[serde(skip)]
    pub(crate) curve: Vec<(f64, f64)>,
}

/// How many took so long, but longer than the bucket before says.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Bucket {
    /// In seconds.
    pub(crate) up_to: f64,
    pub(crate) count: u64,
}

/// Percentiles, in seconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
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

    /// How many were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The percentiles; `None` if nothing was recorded.
    pub(crate) fn percentiles(&self) -> Option<Percentiles> {
        (!self.0.is_empty()).then(|| Percentiles {
            p50: self.seconds_at(0.5),
            p90: self.seconds_at(0.9),
            p99: self.seconds_at(0.99),
            max: seconds(self.0.max()),
        })
    }

    /// All that is known of them; `None` if nothing was recorded.
    pub(crate) fn latency(&self) -> Option<Latency> {
        Some(Latency {
            percentiles: self.percentiles()?,
            count: self.count(),
            histogram: self.histogram(),
            curve: self.curve(),
        })
    }

    /// Buckets that are not empty, each a quarter of a doubling wide: from a microsecond on.
    pub(crate) fn histogram(&self) -> Vec<Bucket> {
        let buckets = self.0.iter_log(NANOS_OF_FIRST_BUCKET, BUCKET_GROWTH);
        let bucket = buckets.map(|bucket| Bucket {
            // Durations that are kept as one are counted in one bucket: up to the longest of them.
            up_to: seconds(self.0.highest_equivalent(bucket.value_iterated_to())),
            count: bucket.count_since_last_iteration(),
        });
        bucket.filter(|bucket| bucket.count > 0).collect()
    }

    /// Up to the percentile that as many as there are tell from the next.
    fn curve(&self) -> Vec<(f64, f64)> {
        let nines = (self.count() as f64).log10().max(1.0);
        let steps = (nines / NINES_A_STEP) as u32;
        let point = |step| {
            let nines = f64::from(step) * NINES_A_STEP;
            (nines, self.seconds_at(1.0 - 0.1f64.powf(nines)))
        };
        let last = (nines, seconds(self.0.max()));
        (0..=steps).map(point).chain([last]).collect()
    }

    fn seconds_at(&self, quantile: f64) -> f64 {
        seconds(self.0.value_at_quantile(quantile))
    }
}

fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}

/// When changes were due, and how long after that they arrived.
pub(crate) struct Schedule {
    began: Instant,
    dues: Dues,
    latencies: Latencies,
}

/// What of that which arrives was due when.
enum Dues {
    /// Everything from the begin on: withdrawals too.
    AtOnce,
    /// Announcements, by their version and the rank of their prefix.
    InRounds {
        /// By the number of a prefix, its rank in the order of announcement.
        ranks: Vec<u32>,
        /// Changes a second; `None`: all are due at once.
        rate: Option<f64>,
    },
}

impl Schedule {
    /// Rounds that withdraw all prefixes and announce them again, from `began` on.
    pub(crate) fn in_rounds(began: Instant, ranks: Vec<u32>, rate: Option<f64>) -> Schedule {
        Schedule {
            began,
            dues: Dues::InRounds { ranks, rate },
            latencies: Latencies::new(),
        }
    }

    /// Everything is due when it begins.
    pub(crate) fn at_once(began: Instant) -> Schedule {
        Schedule {
            began,
            dues: Dues::AtOnce,
            latencies: Latencies::new(),
        }
    }

    /// What one UPDATE says has arrived.
    pub(crate) fn arrived(&mut self, told: &Told, at: Instant) {
        let (due, count) = match &self.dues {
            Dues::AtOnce => (0.0, told.announced + told.withdrawn),
            Dues::InRounds { ranks, rate } => {
                let (Some(version), Some(prefix)) = (told.version, told.first) else {
                    return;
                };
                let rank = ranks.get(prefix as usize).copied().unwrap_or(0);
                let rounds = f64::from(version).mul_add(2.0, -1.0);
                let changes = rounds.mul_add(ranks.len() as f64, f64::from(rank));
                (rate.map_or(0.0, |rate| changes / rate), told.announced)
            }
        };
        let due = Duration::try_from_secs_f64(due).unwrap_or_default();
        let latency = at.saturating_duration_since(self.began + due);
        self.latencies.record(latency, count);
    }

    /// How long it took for what has arrived.
    pub(crate) fn latencies(&self) -> &Latencies {
        &self.latencies
    }
}

/// What one UPDATE said.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Which version of their runs the announcements are, if they are marked.
    pub(crate) version: Option<u16>,
    /// The number of the first prefix announced.
    pub(crate) first: Option<u32>,
    pub(crate) announced: u64,
    pub(crate) withdrawn: u64,
}

/// Where buckets begin, and how much longer each goes than the one before.
const NANOS_OF_FIRST_BUCKET: u64 = 1000;
const BUCKET_GROWTH: f64 = 1.189_207_115_002_721;
/// How far apart the points of a curve are.
const NINES_A_STEP: f64 = 0.05;
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
        let mut schedule = Schedule::in_rounds(began, vec![0, 1, 2, 3], Some(100.0));
        let at = |millis| began + Duration::from_millis(millis);
        schedule.arrived(&announced(1, 0, 1), at(45));
        let first = schedule.latencies().percentiles().unwrap();
        assert!((first.max - 0.005).abs() < 1e-4, "{first:?}");
        // The target slept: what was due at 150 ms arrives at 1150 and counts as a second late.
        schedule.arrived(&announced(2, 3, 4), at(1150));
        let all = schedule.latencies().percentiles().unwrap();
        assert!((all.max - 1.0).abs() < 0.01 && all.p50 > 0.9, "{all:?}");
    }

    #[test]
    fn without_a_rate_all_is_due_at_once() {
        let began = clock::now();
        let mut schedule = Schedule::in_rounds(began, vec![0, 1], None);
        assert!(schedule.latencies().percentiles().is_none());
        schedule.arrived(&announced(9, 1, 2), began + Duration::from_millis(10));
        let percentiles = schedule.latencies().percentiles().unwrap();
        assert!((percentiles.p50 - 0.01).abs() < 1e-4, "{percentiles:?}");
    }

    #[test]
    fn the_last_bucket_reaches_as_far_as_the_longest() {
        // Some fall on the edge between two buckets, at 1,024 µs.
        for nanos in (1_000_000..1_050_000).step_by(97) {
            let mut latencies = Latencies::new();
            latencies.record(Duration::from_nanos(nanos), 1);
            let latency = latencies.latency().unwrap();
            let longest = latency.histogram.last().unwrap().up_to;
            assert!(longest >= latency.percentiles.max, "{latency:?}");
        }
    }

    #[test]
    fn withdrawals_count_where_everything_is_due_at_once() {
        let began = clock::now();
        let withdrawn = Told {
            withdrawn: 3,
            ..Told::default()
        };
        let mut rounds = Schedule::in_rounds(began, vec![0, 1], None);
        rounds.arrived(&withdrawn, began);
        assert!(rounds.latencies().latency().is_none());
        let mut at_once = Schedule::at_once(began);
        at_once.arrived(&withdrawn, began + Duration::from_millis(2));
        at_once.arrived(&announced(1, 0, 1), began + Duration::from_millis(4));
        let latency = at_once.latencies().latency().unwrap();
        assert_eq!(latency.count, 4);
        let max = latency.percentiles.max;
        assert!((max - 0.004).abs() < 1e-5, "{latency:?}");
    }

    #[test]
    fn a_histogram_has_all_of_them_and_a_curve_ends_with_the_longest() {
        let mut latencies = Latencies::new();
        for millis in 1..=1000 {
            latencies.record(Duration::from_millis(millis), 2);
        }
        latencies.record(Duration::from_nanos(3), 1);
        let latency = latencies.latency().unwrap();
        let buckets = &latency.histogram;
        let count: u64 = buckets.iter().map(|bucket| bucket.count).sum();
        assert_eq!((count, latency.count), (2001, 2001));
        assert!(buckets.windows(2).all(|two| two[0].up_to < two[1].up_to));
        assert!(buckets.len() < 60, "{buckets:?}");
        assert!(buckets[0].up_to <= 1e-6 && buckets[0].count == 1);
        let last = buckets[buckets.len() - 1];
        assert!(last.up_to >= 1.0 && last.up_to < 1.3, "{last:?}");
        let curve = &latency.curve;
        assert!(
            curve.windows(2).all(|two| two[0].1 <= two[1].1),
            "{curve:?}"
        );
        let at_90 = curve.iter().find(|(nines, _)| *nines >= 0.999).unwrap();
        assert!((at_90.1 - 0.9).abs() < 0.01, "{at_90:?}");
        let end = curve[curve.len() - 1];
        assert!((end.0 - 3.3).abs() < 0.01 && (end.1 - 1.0).abs() < 0.01);
    }

    fn announced(version: u16, first: u32, announced: u64) -> Told {
        Told {
            version: Some(version),
            first: Some(first),
            announced,
            withdrawn: 0,
        }
    }
}
