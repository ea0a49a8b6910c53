//! Time as an argument: a point on a monotonic clock that everything below the ring is handed.
//!
//! Here live the type and the one place that reads the machine's clock. Nothing else in the
//! engine may read a clock, so that sessions, shards and groups run the same on the simulator's
//! virtual one.

use std::ops::{Add, Sub};
use std::time::{Duration, Instant};

/// Nanoseconds since an arbitrary start. Only differences have a meaning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// How long after `earlier` this is; zero if it is not after it.
    pub fn saturating_since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, duration: Duration) -> Time {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, duration: Duration) -> Time {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_sub(nanos))
    }
}

/// The machine's monotonic clock. Steps of the wall clock do not move it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock whose zero is now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads the clock"
    )]
    pub fn system() -> Clock {
        Clock {
            start: Instant::now(),
        }
    }

    /// The current time on this clock.
    pub fn now(&self) -> Time {
        Time(0) + self.start.elapsed()
    }

    /// The standard library's instant for a point on this clock, for timers of a runtime.
    pub fn instant(&self, time: Time) -> Instant {
        self.start + Duration::from_nanos(time.0)
    }
}
